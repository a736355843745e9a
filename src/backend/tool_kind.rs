//! What kind of thing a tool does. Rules about permissions are written by kind, and some agents tell
//! none (goose) or words of their own. Pure.
//!
//! The table holds the names of the tools that the known agents were recorded with. What it lacks is
//! judged by the tool's input, and only where that shows something that a person may want to
//! forbid: a command, a file that is written, an address that is fetched.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The kind of what nobody can name.
pub(in crate::backend) const OTHER: &str = "other";

/// The kinds of the agent protocol, in which rules are written.
const KINDS: [&str; 10] =
    ["read", "edit", "delete", "move", "search", "execute", "think", "fetch", "switch_mode", OTHER];

/// The kinds, each with the names of the tools that are of it: in lower case, without what stands
/// between the words.
const NAMES: [(&str, &[&str]); 9] = [
    ("read", &["read", "readfile", "readmanyfiles", "readtextfile", "readimage", "view", "viewimage", "cat"]),
    (
        "edit",
        &[
            "write",
            "writefile",
            "writetextfile",
            "edit",
            "editfile",
            "multiedit",
            "patch",
            "applypatch",
            "replace",
            "notebookedit",
            "texteditor",
            "strreplaceeditor",
            "strreplace",
            "searchreplace",
            "create",
            "createfile",
            "insert",
        ],
    ),
    ("delete", &["delete", "deletefile", "remove", "removefile"]),
    ("move", &["move", "movefile", "rename", "renamefile"]),
    (
        "search",
        &[
            "grep",
            "grepsearch",
            "glob",
            "list",
            "ls",
            "listdirectory",
            "listfiles",
            "tree",
            "search",
            "searchfilecontent",
            "searchfiles",
            "find",
        ],
    ),
    (
        "execute",
        &[
            "bash",
            "shell",
            "localshell",
            "powershell",
            "runshellcommand",
            "runcommand",
            "execute",
            "executecommand",
            "exec",
            "execcommand",
            "terminal",
        ],
    ),
    ("think", &["todowrite", "todoread", "todo", "think", "updateplan"]),
    ("fetch", &["webfetch", "websearch", "googlewebsearch", "codesearch", "fetch"]),
    ("switch_mode", &["exitplanmode", "enterplanmode", "switchmode"]),
];

/// What an agent told of a tool call.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::backend) struct Clues<'a> {
    /// The kind, in its words.
    pub(in crate::backend) kind: Option<&'a str>,
    /// The tool's name.
    pub(in crate::backend) name: Option<&'a str>,
    /// What a person is shown.
    pub(in crate::backend) title: Option<&'a str>,
    /// What the tool is called with.
    pub(in crate::backend) input: Option<&'a RawValue>,
}

/// The kind of a tool call: the told one, else by name, by input, by title.
pub(in crate::backend) fn infer(clues: Clues<'_>) -> &'static str {
    let told = clues.kind.and_then(|kind| KINDS.into_iter().find(|known| *known == kind));
    told.filter(|kind| *kind != OTHER)
        .or_else(|| by_name(clues.name?))
        .or_else(|| by_name(clues.kind?))
        .or_else(|| by_input(clues.input?))
        .or_else(|| by_title(clues.title?))
        .unwrap_or(OTHER)
}

/// The kind of the tool of that name.
pub(in crate::backend) fn by_name(name: &str) -> Option<&'static str> {
    // An extension's prefix says where it comes from and not what it does.
    let name = name.rsplit("__").next().unwrap_or(name);
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    NAMES.iter().find(|(_, names)| names.contains(&plain.as_str())).map(|(kind, _)| *kind)
}

/// Goose's `shell · ls`, opencode's `bash`, `Edit: a.txt`: a name, and perhaps what it is about.
fn by_title(title: &str) -> Option<&'static str> {
    let name = [" · ", ": ", "("].iter().find_map(|end| Some(title.split_once(end)?.0)).unwrap_or(title);
    by_name(name)
}

fn by_input(input: &RawValue) -> Option<&'static str> {
    let input: Map<String, Value> = serde_json::from_str(input.get()).ok()?;
    let has =
        |names: &[&str]| names.iter().any(|name| input.get(*name).is_some_and(|value| !value.is_null()));
    let names_a_file = has(&["path", "file_path", "filePath", "absolute_path", "file", "filename"]);
    let brings_content = has(&[
        "content",
        "contents",
        "file_text",
        "new_string",
        "newString",
        "new_str",
        "new_text",
        "after",
        "diff",
        "patch",
    ]);
    match () {
        () if names_a_file && brings_content => Some("edit"),
        () if has(&["command", "cmd", "script"]) => Some("execute"),
        () if has(&["url", "urls", "uri"]) => Some("fetch"),
        () => None,
    }
}

/// `_meta` of a tool call, where agents name the tool: `toolName` (qwen), the same below a name of
/// their own (claude), below `toolCall` there (goose).
pub(in crate::backend) fn name_in_meta(meta: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named {
        tool_name: Option<String>,
        tool_call: Option<Inner>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Inner {
        tool_name: Option<String>,
    }
    let meta: Map<String, Value> = serde_json::from_str(meta.get()).ok()?;
    let own = meta.get("toolName").and_then(Value::as_str).map(str::to_owned);
    own.or_else(|| {
        meta.values().find_map(|value| {
            let named = Named::deserialize(value).ok()?;
            named.tool_name.or_else(|| named.tool_call?.tool_name)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls as agents were recorded to send them: agent, told kind, name in `_meta`, title, input,
    /// and what they are.
    type Recorded =
        (&'static str, Option<&'static str>, Option<&'static str>, &'static str, &'static str, &'static str);

    /// goose 1.34.0, qwen-code 0.15.10, opencode 1.18.33 (over ACP), claude-agent-acp 0.101.0 and
    /// codex-acp 2.6.0; what goose asks with has the kind `other` and the bare name as its title.
    const RECORDED: [Recorded; 15] = [
        ("goose", None, Some("write"), "write · a.txt", r#"{"path":"a.txt","content":"T"}"#, "edit"),
        ("goose", Some("other"), None, "write", r#"{"path":"a.txt","content":"T"}"#, "edit"),
        ("goose", None, Some("shell"), "shell · ls", r#"{"command":"ls"}"#, "execute"),
        ("goose", Some("other"), None, "shell", r#"{"command":"ls"}"#, "execute"),
        ("goose", Some("other"), None, "edit", r#"{"path":"b.txt","before":"hi","after":"ho"}"#, "edit"),
        ("goose", None, Some("tree"), "tree · .", r#"{"path":"."}"#, "search"),
        ("goose", Some("other"), None, "tree", r#"{"path":"."}"#, "search"),
        ("qwen", Some("edit"), None, "Writing to q.txt", r#"{"file_path":"/w/q.txt","content":"T"}"#, "edit"),
        ("qwen", Some("execute"), None, "touch x", r#"{"command":"touch x"}"#, "execute"),
        ("qwen", Some("fetch"), None, "Fetching content", r#"{"url":"http://h/","prompt":"x"}"#, "fetch"),
        ("qwen", Some("read"), Some("read_file"), "ReadFile: q.txt", r#"{"file_path":"/w/q.txt"}"#, "read"),
        ("qwen", None, Some("run_shell_command"), "", "null", "execute"),
        ("opencode", Some("execute"), None, "bash", "{}", "execute"),
        ("claude", None, Some("Bash"), "`ls`", r#"{"command":"ls"}"#, "execute"),
        ("codex", Some("read"), None, "cat a.txt", r#"{"command":["cat","a.txt"]}"#, "read"),
    ];

    #[test]
    fn every_recorded_call_has_its_kind() {
        for (agent, kind, name, title, input, expected) in RECORDED {
            let input: Box<RawValue> = serde_json::from_str(input).unwrap();
            let clues = Clues { kind, name, title: Some(title), input: Some(&input) };
            assert_eq!(infer(clues), expected, "{agent} {kind:?} {title}");
        }
    }

    #[test]
    fn what_is_known_by_none_of_its_names_is_judged_by_its_input() {
        let cases = [
            ("developer__shell", r#"{"command":"ls"}"#, "execute"),
            ("developer__text_editor", r#"{"command":"view","path":"a"}"#, "edit"),
            ("mcp__box__run-anything", r#"{"cmd":["ls"]}"#, "execute"),
            ("save", r#"{"path":"a","contents":"x"}"#, "edit"),
            ("peek", r#"{"url":"http://h/"}"#, "fetch"),
            ("peek", r#"{"path":"a"}"#, OTHER),
            ("db", r#"{"query":"drop table a"}"#, OTHER),
            ("odd", "[1]", OTHER),
            ("odd", r#"{"command":null}"#, OTHER),
        ];
        for (name, input, expected) in cases {
            let input: Box<RawValue> = serde_json::from_str(input).unwrap();
            assert_eq!(infer(Clues { name: Some(name), input: Some(&input), ..Clues::default() }), expected);
        }
    }

    #[test]
    fn a_word_of_an_agents_own_is_no_kind_and_a_sentence_no_name() {
        let kind = |kind| infer(Clues { kind: Some(kind), ..Clues::default() });
        assert_eq!(
            [kind("shell"), kind("Bash"), kind("magic"), kind("think")],
            ["execute", "execute", OTHER, "think"]
        );
        let title = |title| infer(Clues { title: Some(title), ..Clues::default() });
        assert_eq!(
            [title("shell · ls"), title("Edit: a"), title("read all about it")],
            ["execute", "edit", OTHER]
        );
    }

    #[test]
    fn the_name_is_found_where_agents_put_it() {
        let name = |meta: &str| name_in_meta(&serde_json::from_str::<Box<RawValue>>(meta).unwrap());
        let goose = r#"{"goose":{"toolCall":{"toolName":"shell","extensionName":"developer"}}}"#;
        assert_eq!(name(goose).as_deref(), Some("shell"));
        assert_eq!(name(r#"{"claudeCode":{"toolName":"Bash"}}"#).as_deref(), Some("Bash"));
        assert_eq!(name(r#"{"toolName":"edit"}"#).as_deref(), Some("edit"));
        for odd in ["null", "[]", "{}", r#"{"goose":1}"#, r#"{"goose":{"toolCall":7}}"#, r#"{"toolName":1}"#]
        {
            assert_eq!(name(odd), None, "{odd}");
        }
    }

    #[test]
    fn every_name_stands_under_one_kind_and_every_kind_is_one_of_the_protocols() {
        let mut seen = std::collections::BTreeSet::new();
        for (kind, names) in NAMES {
            assert!(KINDS.contains(&kind));
            assert!(names.iter().all(|name| seen.insert(*name)), "{kind}");
        }
    }
}
