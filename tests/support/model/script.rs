//! The language in which a prompt tells the scripted model what to answer.
//!
//! The last directive line of the newest prompt is obeyed: some agents glue the prompt of a turn
//! that was cut short to the next one, and all of them wrap reminders around it. The steps of one
//! line are joined by ` ;; `. A step that calls a tool ends the model's answer; the next step runs
//! when the tool's result comes back.
//!
//! | step | answer |
//! |---|---|
//! | `say: TEXT` | the text, word by word |
//! | `think: TEXT` | the text as reasoning |
//! | `slow: N MS` | N words, one every MS milliseconds |
//! | `big: KB` | that much text, at once |
//! | `sleep: MS` | silence, then the next step |
//! | `count` | `prompts=N`: how many directive lines the conversation holds |
//! | `recall` | all of them, joined by ` || ` |
//! | `write: PATH: TEXT` `read: PATH` `shell: COMMAND` | a call of the tool that the agent offers for it |
//! | `tool: NAME {JSON}` | a call of the tool of that name, as it is or behind the name of its server |
//! | `usage: IN OUT` | the tokens that this prompt's answers claim to have cost |
//! | `hang` | nothing, not even a status line, until the client goes away |
//! | `stall: N` | N words, then silence until the client goes away |
//! | `error: CODE` | that HTTP status |

use std::time::Duration;

/// One step of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Say(String),
    Think(String),
    Slow { words: usize, gap: Duration },
    Big { bytes: usize },
    Sleep(Duration),
    Count,
    Recall,
    Tool(Tool),
    Usage { input: u64, output: u64 },
    Hang,
    Stall { words: usize },
    Error(u16),
}

/// A tool, by what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tool {
    Write { path: String, text: String },
    Read { path: String },
    Shell { command: String },
    Named { name: String, arguments: String },
}

/// The directive lines of a message, oldest first; what agents wrap in tags is left out.
pub fn directives(message: &str) -> Vec<String> {
    without_tagged_blocks(message)
        .lines()
        .map(|line| line.trim().trim_matches('"'))
        .filter(|line| line.split(" ;; ").next().is_some_and(|first| step(first).is_some()))
        .map(str::to_owned)
        .collect()
}

/// The steps of a directive line.
pub fn steps(line: &str) -> Vec<Step> {
    line.split(" ;; ").filter_map(step).collect()
}

fn step(piece: &str) -> Option<Step> {
    let piece = piece.trim();
    match piece {
        "count" => return Some(Step::Count),
        "recall" => return Some(Step::Recall),
        "hang" => return Some(Step::Hang),
        _ => {}
    }
    let (word, rest) = piece.split_once(':')?;
    let rest = rest.trim();
    let number = |at: usize| rest.split_whitespace().nth(at)?.parse::<u64>().ok();
    let millis = |at: usize| number(at).map(Duration::from_millis);
    let count = |at: usize| number(at).map(|n| n as usize);
    Some(match word {
        "say" => Step::Say(rest.to_owned()),
        "think" => Step::Think(rest.to_owned()),
        "slow" => Step::Slow { words: count(0)?, gap: millis(1)? },
        "big" => Step::Big { bytes: count(0)? * 1024 },
        "sleep" => Step::Sleep(millis(0)?),
        "usage" => Step::Usage { input: number(0)?, output: number(1)? },
        "stall" => Step::Stall { words: count(0)? },
        "error" => Step::Error(number(0)?.try_into().ok()?),
        "write" => {
            let (path, text) = rest.split_once(": ")?;
            Step::Tool(Tool::Write { path: path.to_owned(), text: text.to_owned() })
        }
        "read" => Step::Tool(Tool::Read { path: rest.to_owned() }),
        "tool" => {
            let (name, arguments) = rest.split_once(' ')?;
            Step::Tool(Tool::Named { name: name.to_owned(), arguments: arguments.trim().to_owned() })
        }
        "shell" => Step::Tool(Tool::Shell { command: rest.to_owned() }),
        _ => return None,
    })
}

/// Leaves out `<tag>` … `</tag>` where each stands at the beginning of a line.
fn without_tagged_blocks(text: &str) -> String {
    let mut kept = String::new();
    let mut inside: Option<String> = None;
    for line in text.lines() {
        let trimmed = line.trim();
        match &inside {
            Some(close) => {
                if trimmed.ends_with(close.as_str()) {
                    inside = None;
                }
            }
            None => match opening_tag(trimmed) {
                Some(name) if trimmed.ends_with(&format!("</{name}>")) => {}
                Some(name) => inside = Some(format!("</{name}>")),
                None => {
                    kept.push_str(line);
                    kept.push('\n');
                }
            },
        }
    }
    kept
}

fn opening_tag(line: &str) -> Option<&str> {
    let name = line.strip_prefix('<')?.split(['>', ' ']).next()?;
    let named = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    (named && name.starts_with(|c: char| c.is_ascii_alphabetic()) && line.contains('>')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_wraps_around_a_prompt_is_no_directive() {
        let message = "<system-reminder>\nsay: not me\n</system-reminder>\nHello.\nsay: me\n<info>say: nor me</info>\nbye";
        assert_eq!(directives(message), ["say: me"]);
    }

    #[test]
    fn steps_are_joined_on_one_line() {
        assert_eq!(
            steps("think: hm ;; write: a/b.txt: x: y ;; count"),
            [
                Step::Think("hm".into()),
                Step::Tool(Tool::Write { path: "a/b.txt".into(), text: "x: y".into() }),
                Step::Count,
            ]
        );
    }

    #[test]
    fn ordinary_text_is_no_directive() {
        for text in ["count the files", "please say: x", "slow: down", "http://127.0.0.1:80", ""] {
            assert_eq!(directives(text), Vec::<String>::new(), "{text}");
        }
    }
}
