//! Picks the tool that an agent offers for a job, and fills in what its schema asks for.

use serde_json::{Map, Value, json};

use super::script::Tool;

const WRITE: &[&str] = &["write", "write_file", "create_file"];
const READ: &[&str] = &["read", "read_file", "view"];
const SHELL: &[&str] = &["shell", "bash", "run_shell_command"];

const PATH_KEYS: &[&str] = &["path", "file_path", "filePath", "absolute_path"];
const TEXT_KEYS: &[&str] = &["content", "text", "file_text"];
const COMMAND_KEYS: &[&str] = &["command", "cmd"];

/// The name and the arguments of the call, or what is missing.
///
/// `cwd` is where the agent says that it works: some tools take no relative path.
pub fn call(tool: &Tool, offered: &[Value], cwd: Option<&str>) -> Result<(String, Value), String> {
    let own_name;
    let names = match tool {
        Tool::Named { name, .. } => {
            own_name = [name.as_str()];
            &own_name
        }
        Tool::Write { .. } => WRITE,
        Tool::Read { .. } => READ,
        Tool::Shell { .. } => SHELL,
    };
    let found =
        names.iter().find_map(|name| offered.iter().map(|o| &o["function"]).find(|f| is_called(f, name)));
    let function = match (found, tool) {
        (Some(function), _) => function,
        // Some agents read files with the shell only.
        (None, Tool::Read { path }) => {
            return call(&Tool::Shell { command: format!("cat '{path}'") }, offered, cwd);
        }
        (None, _) => return Err(format!("no tool for {tool:?} among the offered ones")),
    };
    let mut arguments = Map::new();
    match tool {
        Tool::Write { path, text } => {
            put(function, &mut arguments, PATH_KEYS, &place(function, path, cwd))?;
            put(function, &mut arguments, TEXT_KEYS, text)?;
        }
        Tool::Read { path } => put(function, &mut arguments, PATH_KEYS, &place(function, path, cwd))?,
        Tool::Shell { command } => put(function, &mut arguments, COMMAND_KEYS, command)?,
        Tool::Named { arguments: given, .. } => {
            arguments = serde_json::from_str(given).map_err(|e| format!("bad arguments {given}: {e}"))?;
        }
    }
    fill_required(function, &mut arguments);
    let name = function["name"].as_str().unwrap_or_default().to_owned();
    Ok((name, Value::Object(arguments)))
}

/// Extensions and servers of an agent put their name before the tool's: `developer__shell`,
/// `hob_new_task`.
fn is_called(function: &Value, name: &str) -> bool {
    let Some(full) = function["name"].as_str() else { return false };
    full.rsplit("__").next() == Some(name) || full.strip_prefix("hob_") == Some(name)
}

/// A relative path, as an absolute one where the tool insists on that.
fn place(function: &Value, path: &str, cwd: Option<&str>) -> String {
    let insists = PATH_KEYS.iter().any(|key| {
        let about = function["parameters"]["properties"][key]["description"].as_str();
        about.is_some_and(|text| text.to_lowercase().contains("absolute path"))
    });
    match cwd {
        Some(cwd) if insists && !path.starts_with('/') => format!("{cwd}/{path}"),
        _ => path.to_owned(),
    }
}

fn put(
    function: &Value,
    arguments: &mut Map<String, Value>,
    keys: &[&str],
    value: &str,
) -> Result<(), String> {
    let properties = &function["parameters"]["properties"];
    let key = keys
        .iter()
        .find(|key| properties.get(key).is_some())
        .ok_or_else(|| format!("none of {keys:?} among the parameters of {}", function["name"]))?;
    arguments.insert((*key).to_owned(), json!(value));
    Ok(())
}

fn fill_required(function: &Value, arguments: &mut Map<String, Value>) {
    let parameters = &function["parameters"];
    for key in parameters["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if arguments.contains_key(key) {
            continue;
        }
        let schema = &parameters["properties"][key];
        let value = match schema["type"].as_str() {
            Some("boolean") => json!(false),
            Some("integer" | "number") => json!(1),
            Some("array") => json!([]),
            Some("object") => json!({}),
            _ => schema["enum"].get(0).cloned().unwrap_or_else(|| json!(format!("scripted {key}"))),
        };
        arguments.insert(key.to_owned(), value);
    }
}
