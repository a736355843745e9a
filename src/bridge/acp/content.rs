//! Turns the blocks of a prompt into the text that an agent is asked. Pure.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::bad_param;
use crate::control::params::plain;
use crate::jsonrpc::RpcError;

/// A block, as far as its type says which members there are.
#[derive(Deserialize)]
struct Block {
    r#type: String,
    text: Option<String>,
    uri: Option<String>,
    name: Option<String>,
    resource: Option<Resource>,
}

/// What is embedded.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    uri: String,
    text: Option<String>,
    mime_type: Option<String>,
}

/// The text of a prompt. Blocks stand one after the other; resources on lines of their own.
///
/// # Errors
/// Names the block that cannot be said in text, and why.
pub(super) fn text(blocks: &[Box<RawValue>]) -> Result<String, RpcError> {
    let mut said = String::new();
    for (at, raw) in blocks.iter().enumerate() {
        let path = format!("prompt[{at}]");
        let block: Block =
            serde_json::from_str(raw.get()).map_err(|error| bad_param(&path, &plain(&error.to_string())))?;
        let (text, own_line) = block_text(block).map_err(|why| bad_param(&path, &why))?;
        let begins_line = said.is_empty() || said.ends_with('\n');
        if own_line && !begins_line {
            said.push('\n');
        }
        said.push_str(&text);
        if own_line {
            said.push('\n');
        }
    }
    let said = said.trim_end_matches('\n').to_owned();
    if said.trim().is_empty() {
        return Err(bad_param("prompt", "it says nothing"));
    }
    Ok(said)
}

/// The text of a block, and whether it stands on lines of its own.
fn block_text(block: Block) -> Result<(String, bool), String> {
    let member = |value: Option<String>, name: &str| value.ok_or_else(|| format!("missing field `{name}`"));
    match block.r#type.as_str() {
        "text" => Ok((member(block.text, "text")?, false)),
        "resource_link" => {
            let uri = member(block.uri, "uri")?;
            let name = block.name.filter(|name| !name.is_empty()).unwrap_or_else(|| uri.clone());
            Ok((format!("[@{name}]({uri})"), false))
        }
        "resource" => {
            let resource = block.resource.ok_or("missing field `resource`")?;
            Ok((embedded(&resource), true))
        }
        kind @ ("image" | "audio") => Err(format!("{kind} is not taken, only text and resources are")),
        kind => Err(format!("unknown type `{kind}`")),
    }
}

fn embedded(resource: &Resource) -> String {
    let Resource { uri, text, mime_type } = resource;
    match (text, mime_type) {
        (Some(text), _) => format!("<context ref=\"{uri}\">\n{}\n</context>", text.trim_end_matches('\n')),
        (None, Some(kind)) => format!("[@{uri}]({uri}) ({kind}, not text)"),
        (None, None) => format!("[@{uri}]({uri}) (not text)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn of(blocks: Value) -> Result<String, String> {
        let blocks: Vec<Box<RawValue>> = serde_json::from_str(&blocks.to_string()).unwrap();
        text(&blocks).map_err(|error| {
            assert_eq!(error.code, -32602);
            error.message
        })
    }

    #[test]
    fn everything_that_can_be_said_in_text_is() {
        let file =
            |text: &str| json!({"type": "resource", "resource": {"uri": "file:///a.rs", "text": text}});
        let blob = json!({"type": "resource", "resource": {"uri": "file:///a.png", "blob": "AA==", "mimeType": "image/png"}});
        let link = json!({"type": "resource_link", "uri": "file:///b.rs", "name": "b.rs"});
        let say = |text: &str| json!({"type": "text", "text": text});
        let cases = [
            (json!([say("hello")]), "hello"),
            (json!([say("look at "), link, say(" please")]), "look at [@b.rs](file:///b.rs) please"),
            (
                json!([say("fix"), file("fn a() {}\n"), say("now")]),
                "fix\n<context ref=\"file:///a.rs\">\nfn a() {}\n</context>\nnow",
            ),
            (json!([blob, say("?")]), "[@file:///a.png](file:///a.png) (image/png, not text)\n?"),
        ];
        for (blocks, expected) in cases {
            assert_eq!(of(blocks.clone()).as_deref(), Ok(expected), "{blocks}");
        }
    }

    #[test]
    fn what_cannot_is_named_with_its_place() {
        let cases = [
            (json!([]), "prompt: it says nothing"),
            (json!([{"type": "text", "text": " \n"}]), "prompt: it says nothing"),
            (json!([{"type": "text"}]), "prompt[0]: missing field `text`"),
            (json!([{"type": "resource_link", "name": "a"}]), "prompt[0]: missing field `uri`"),
            (
                json!([{"type": "text", "text": "a"}, {"type": "image", "data": "", "mimeType": "image/png"}]),
                "prompt[1]: image is not taken, only text and resources are",
            ),
            (json!([{"type": "smell"}]), "prompt[0]: unknown type `smell`"),
            (json!([{"text": "a"}]), "prompt[0]: missing field `type`"),
            (json!(["a"]), "prompt[0]: invalid type: string \"a\", expected struct Block"),
        ];
        for (blocks, expected) in cases {
            assert_eq!(of(blocks.clone()), Err(expected.to_owned()), "{blocks}");
        }
    }
}
