//! Asks hunk by hunk, in the manner of `git add -p`. What is asked and what an answer means is pure; the
//! terminal is at the edge.

use std::io::BufRead as _;

use serde_json::json;

use super::apply::Act;
use super::context::Ctx;
use super::diff::{Whose, coloured};
use super::error::{CliError, Exit};
use super::link::Link;
use super::render::{BOLD, DIM, NAME, one_line, paint};
use crate::control::wire::{ChangeRow, DiffReply};
use crate::worktree::is_within;

/// What can be answered.
const HELP: &str = "y  yes, this one
n  no, not this one
a  this one and all the rest of the file
d  neither this one nor the rest of the file
q  quit: neither this one nor any of the rest
?  this help";

/// What was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Nothing.
    Nothing,
    /// These.
    These {
        /// Files that go whole.
        paths: Vec<String>,
        /// Hunks of others.
        hunks: Vec<String>,
    },
}

/// Something to be asked about: a hunk, or a file that has none.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    path: String,
    /// `None` for the file as a whole.
    hunk: Option<String>,
    shown: String,
}

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    All,
    Done,
    Quit,
    Help,
}

fn read(line: &str) -> Answer {
    match line.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Answer::Yes,
        "n" | "no" => Answer::No,
        "a" => Answer::All,
        "d" => Answer::Done,
        "q" => Answer::Quit,
        _ => Answer::Help,
    }
}

/// Goes through the items; `ask` gives the answer to one, `None` where nobody answers any more.
fn walk(items: &[Item], mut ask: impl FnMut(&Item, usize) -> Option<Answer>) -> Choice {
    let (mut paths, mut hunks, mut decided) = (Vec::new(), Vec::new(), None::<(String, bool)>);
    for (at, item) in items.iter().enumerate() {
        let for_file = decided.as_ref().filter(|(path, _)| *path == item.path).map(|(_, yes)| *yes);
        let yes = match for_file {
            Some(yes) => yes,
            None => match ask(item, at) {
                Some(Answer::Yes) => true,
                Some(Answer::No | Answer::Help) => false,
                Some(Answer::All) => {
                    decided = Some((item.path.clone(), true));
                    true
                }
                Some(Answer::Done) => {
                    decided = Some((item.path.clone(), false));
                    false
                }
                Some(Answer::Quit) | None => break,
            },
        };
        if yes {
            match &item.hunk {
                Some(hunk) => hunks.push(hunk.clone()),
                None => paths.push(item.path.clone()),
            }
        }
    }
    if paths.is_empty() && hunks.is_empty() { Choice::Nothing } else { Choice::These { paths, hunks } }
}

/// Asks on the terminal.
pub async fn choose(
    ctx: &mut Ctx,
    link: &Link,
    session: &str,
    (paths, act): (&[String], Act),
) -> Result<Choice, CliError> {
    let rows: Vec<ChangeRow> = link.call("change/list", json!({"session": session})).await?;
    let rows = rows
        .into_iter()
        .filter(|row| paths.is_empty() || paths.iter().any(|path| is_within(&row.path, path)));
    let mut items = Vec::new();
    for row in rows {
        let diff: DiffReply = link.call("change/diff", json!({"session": session, "path": row.path})).await?;
        if !is_of_one_look(&row, &diff.diff) {
            let what = format!("`{}` was changed while it was being read", row.path);
            return Err(CliError::new(Exit::TryAgain, what));
        }
        items.extend(items_of(&row, &diff.diff));
    }
    let verb = if act == Act::Apply { "apply" } else { "discard" };
    let n_items = items.len();
    Ok(walk(&items, |item, at| {
        ctx.mutter(&item.shown);
        let what = if item.hunk.is_some() { "hunk" } else { "file" };
        loop {
            let question = format!("({}/{n_items}) {verb} this {what} [y,n,a,d,q,?]? ", at + 1);
            ctx.mutter(paint(BOLD, question));
            match line().map(|line| read(&line))? {
                Answer::Help => ctx.say(HELP),
                answer => return Some(answer),
            }
        }
    }))
}

/// Asks a question whose answer is yes or no.
pub fn confirm(ctx: &mut Ctx, question: &str) -> Result<bool, CliError> {
    ctx.mutter(format_args!("{question} [y,N] "));
    Ok(line().is_some_and(|line| read(&line) == Answer::Yes))
}

fn line() -> Option<String> {
    let mut line = String::new();
    // The end of the terminal is no answer.
    let n = std::io::stdin().lock().read_line(&mut line).unwrap_or(0);
    (n > 0).then_some(line)
}

/// Whether a diff shows the hunks that were listed: a name must not be asked for under the lines of
/// another.
fn is_of_one_look(row: &ChangeRow, diff: &str) -> bool {
    if goes_whole(row) {
        return true;
    }
    let bodies = hunk_texts(diff);
    let shown = bodies.iter().map(|body| lines_of(body));
    bodies.is_empty() || shown.eq(row.hunks.iter().map(|hunk| lines_of(&hunk.header)))
}

/// `-1,3 +1,4` of a hunk. What git writes behind it depends on the attributes of the file.
fn lines_of(header: &str) -> Option<&str> {
    header.split("@@").nth(1)
}

/// A file as what is to be asked: each hunk with its lines and its owner.
fn items_of(row: &ChangeRow, diff: &str) -> Vec<Item> {
    let title =
        |whose: String| format!("{}  {}\n", paint(BOLD, one_line(&row.path, usize::MAX)), paint(NAME, whose));
    let bodies = hunk_texts(diff);
    if goes_whole(row) || bodies.len() != row.hunks.len() {
        let whose = Whose::from(row).to_string();
        let kind = paint(DIM, format_args!("{} {}\n", row.content, row.kind));
        let shown = format!("{}{kind}{}", title(whose), coloured(diff));
        return vec![Item { path: row.path.clone(), hunk: None, shown }];
    }
    let item = |(hunk, body): (&crate::control::wire::HunkRow, &String)| Item {
        path: row.path.clone(),
        hunk: Some(hunk.id.clone()),
        shown: format!("{}{}", title(Whose::from(hunk).to_string()), coloured(body)),
    };
    row.hunks.iter().zip(&bodies).map(item).collect()
}

fn goes_whole(row: &ChangeRow) -> bool {
    matches!(row.kind.as_str(), "renamed" | "type") || row.hunks.is_empty()
}

/// The hunks of a diff of one file, as text.
fn hunk_texts(diff: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in diff.split_inclusive('\n') {
        if line.starts_with("@@ ") {
            found.push(line.to_owned());
        } else if let Some(hunk) = found.last_mut() {
            hunk.push_str(line);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items() -> Vec<Item> {
        let item = |path: &str, hunk: Option<&str>| Item {
            path: path.into(),
            hunk: hunk.map(str::to_owned),
            shown: String::new(),
        };
        vec![item("a", Some("h-1")), item("a", Some("h-2")), item("a", Some("h-3")), item("b.png", None)]
    }

    fn answered(answers: &str) -> Choice {
        let mut answers = answers.split(' ').map(read);
        walk(&items(), |_, _| answers.next())
    }

    fn these(paths: &[&str], hunks: &[&str]) -> Choice {
        let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Choice::These { paths: own(paths), hunks: own(hunks) }
    }

    #[test]
    fn each_answer_means_what_it_means_in_git() {
        assert_eq!(answered("y n y y"), these(&["b.png"], &["h-1", "h-3"]));
        assert_eq!(answered("n a n"), these(&[], &["h-2", "h-3"]));
        assert_eq!(answered("y d y"), these(&["b.png"], &["h-1"]));
        assert_eq!(answered("y q"), these(&[], &["h-1"]));
        assert_eq!(answered("q"), Choice::Nothing);
        assert_eq!(answered("n n n n"), Choice::Nothing);
        assert_eq!(read("what"), Answer::Help);
    }

    #[test]
    fn a_diff_of_another_look_is_not_shown() {
        let row = json!({
            "path": "x", "kind": "modified", "content": "text", "agents": [], "turns": [],
            "shared": false, "by_user": false, "insertions": 1, "deletions": 1,
            "hunks": [{"id": "h-1", "header": "@@ -9 +9 @@", "agents": [], "turns": [], "shared": false,
                "by_user": false}],
        });
        let row: ChangeRow = serde_json::from_value(row).unwrap();
        assert!(is_of_one_look(&row, "--- a/x\n+++ b/x\n@@ -9 +9 @@\n-c\n+d\n"));
        assert!(is_of_one_look(&row, "@@ -9 +9 @@ fn main()\n-c\n+d\n"), "by the lines alone");
        assert!(is_of_one_look(&row, ""), "it has none, as a file that is too large");
        assert!(!is_of_one_look(&row, "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"));
        assert!(!is_of_one_look(&row, "@@ -1 +1 @@\n-a\n+b\n@@ -9 +9 @@\n-c\n+d\n"));
    }

    #[test]
    fn a_diff_is_cut_into_its_hunks() {
        let diff = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n@@ -9 +9 @@\n-c\n+d\n";
        assert_eq!(hunk_texts(diff), ["@@ -1 +1 @@\n-a\n+b\n", "@@ -9 +9 @@\n-c\n+d\n"]);
    }
}
