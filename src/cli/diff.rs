//! `hob diff`: what agents changed and nobody has applied or given up yet.

use std::fmt;
use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use clap::Args;
use data_encoding::BASE64;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Outcome;
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::find::{self, Kind};
use super::link::Link;
use super::render::{BAD, BOLD, DIM, GOOD, NAME, WARN, harmless, one_line, paint};
use super::{pager, target};
use crate::control::wire::{ChangeRow, DiffReply, HunkRow};

/// The widest bar of `--stat`, in characters.
const BAR_WIDTH_MAX: u64 = 40;
/// The headers of hunks, as git colours them.
const HUNK: Style = AnsiColor::Cyan.on_default();

/// Arguments of `hob diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// Of this session, instead of that of the working directory
    #[arg(long, short)]
    pub session: Option<String>,
    /// Only what this turn changed, applied or not
    #[arg(long, value_name = "TURN")]
    pub turn: Option<String>,
    /// Show how much changed in each file, and by whom
    #[arg(long)]
    pub stat: bool,
    /// List the hunks, with their names and whose they are
    #[arg(long, conflicts_with = "stat")]
    pub hunks: bool,
    /// Never through a pager
    #[arg(long)]
    pub no_pager: bool,
    /// Only these files, and what is below these directories
    pub paths: Vec<PathBuf>,
}

/// Runs the command.
pub async fn run(ctx: &mut Ctx, args: &DiffArgs) -> Outcome {
    let link = ctx.link().await?;
    let target = target::find(ctx, &link, args.session.as_deref()).await?;
    let paths = target.paths(&args.paths)?;
    let mut params = json!({"session": target.session});
    if args.stat || args.hunks {
        let answer = ask(&link, "change/list", params, args.turn.as_deref()).await?;
        let rows: Vec<ChangeRow> = serde_json::from_str(answer.get())?;
        let rows: Vec<ChangeRow> = rows.into_iter().filter(|row| is_wanted(row, &paths)).collect();
        if ctx.globals.json {
            ctx.print(format_args!("{}\n", serde_json::to_string(&rows)?))?;
            return Ok(Exit::Done);
        }
        say_nothing(ctx, rows.is_empty());
        let text = if args.stat { stat(&rows) } else { hunks(&rows) };
        pager::show(ctx, &text, args.no_pager)?;
        return Ok(Exit::Done);
    }
    if !paths.is_empty() {
        params["paths"] = json!(paths);
    }
    let answer = ask(&link, "change/diff", params, args.turn.as_deref()).await?;
    if ctx.globals.json {
        ctx.print(format_args!("{}\n", answer.get()))?;
        return Ok(Exit::Done);
    }
    let reply: DiffReply = serde_json::from_str(answer.get())?;
    say_nothing(ctx, reply.diff.is_empty() && reply.left_out.is_empty());
    for line in &reply.left_out {
        ctx.say(format_args!("{} {line}", paint(WARN, "left out:")));
    }
    if ctx.out_is_terminal() {
        pager::show(ctx, &coloured(&reply.diff), args.no_pager)?;
    } else {
        // What reads it (`git apply`) needs every byte.
        ctx.print_exactly(&exact(&reply)?)?;
    }
    Ok(Exit::Done)
}

/// The diff byte for byte.
fn exact(reply: &DiffReply) -> Result<Vec<u8>, CliError> {
    match &reply.bytes {
        Some(bytes) => BASE64.decode(bytes.as_bytes()).map_err(|error| CliError::failed(error.to_string())),
        None => Ok(reply.diff.clone().into_bytes()),
    }
}

/// Makes a call about the turn that is meant, or about all of them.
async fn ask(
    link: &Link,
    method: &str,
    params: Value,
    turn: Option<&str>,
) -> Result<Box<RawValue>, CliError> {
    let Some(turn) = turn else { return link.raw(method, params).await };
    find::with_id(link, Kind::Turn, turn, async |turn| {
        let mut params = params.clone();
        params["turn"] = json!(turn);
        link.raw(method, params).await
    })
    .await
}

fn say_nothing(ctx: &mut Ctx, is_empty: bool) {
    if is_empty {
        ctx.say("no pending changes");
    }
}

fn is_wanted(row: &ChangeRow, paths: &[String]) -> bool {
    let names = [Some(&row.path), row.old_path.as_ref()];
    paths.is_empty()
        || names
            .into_iter()
            .flatten()
            .any(|name| paths.iter().any(|path| crate::worktree::is_within(name, path)))
}

/// A unified diff in the colours of git's.
pub fn coloured(diff: &str) -> String {
    let mut text = String::with_capacity(diff.len() + diff.len() / 4);
    let mut is_in_hunk = false;
    for line in diff.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |body| (body, "\n"));
        let body = &*harmless(line);
        let style = match body.as_bytes().first() {
            Some(b'd') if body.starts_with("diff ") => {
                is_in_hunk = false;
                Some(BOLD)
            }
            Some(b'@') => {
                is_in_hunk = true;
                Some(HUNK)
            }
            Some(b'+') if is_in_hunk => Some(GOOD),
            Some(b'-') if is_in_hunk => Some(AnsiColor::Red.on_default()),
            Some(_) if !is_in_hunk => Some(BOLD),
            _ => None,
        };
        match style {
            Some(style) => text.push_str(&paint(style, body)),
            None => text.push_str(body),
        }
        text.push_str(end);
    }
    text
}

/// Whose a change is.
#[derive(Debug, Clone, Copy)]
pub struct Whose<'a> {
    agents: &'a [String],
    shared: bool,
    by_user: bool,
    by_hook: bool,
}

impl<'a> From<&'a ChangeRow> for Whose<'a> {
    fn from(row: &'a ChangeRow) -> Self {
        Self { agents: &row.agents, shared: row.shared, by_user: row.by_user, by_hook: row.by_hook }
    }
}

impl<'a> From<&'a HunkRow> for Whose<'a> {
    fn from(row: &'a HunkRow) -> Self {
        Self { agents: &row.agents, shared: row.shared, by_user: row.by_user, by_hook: row.by_hook }
    }
}

impl fmt::Display for Whose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words: Vec<&str> = self.agents.iter().map(String::as_str).collect();
        words.extend(self.by_hook.then_some("a hook"));
        words.extend(self.by_user.then_some("you"));
        let text = if words.is_empty() { "nobody known".to_owned() } else { words.join(", ") };
        f.write_str(&if self.shared { format!("{text} (shared)") } else { text })
    }
}

fn name(row: &ChangeRow) -> String {
    let name = one_line(&row.path, usize::MAX);
    match &row.old_path {
        Some(old) => format!("{} => {name}", one_line(old, usize::MAX)),
        None => name,
    }
}

/// The table of `--stat`: each file with its lines and its owners.
pub fn stat(rows: &[ChangeRow]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let names: Vec<String> = rows.iter().map(name).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    let most = rows.iter().map(|row| row.insertions + row.deletions).max().unwrap_or_default();
    let mut text = String::new();
    for (row, name) in rows.iter().zip(&names) {
        let pad = " ".repeat(width - name.chars().count());
        let whose = paint(NAME, Whose::from(row));
        text.push_str(&format!(" {name}{pad} | {}  {whose}\n", amount(row, most)));
    }
    let (come, go) = rows.iter().fold((0, 0), |(come, go), row| (come + row.insertions, go + row.deletions));
    let files = if rows.len() == 1 { "1 file".to_owned() } else { format!("{} files", rows.len()) };
    text.push_str(&format!(" {files} changed, {come} insertions(+), {go} deletions(-)\n"));
    text
}

/// How much of a file changed: a bar for text, words for everything else.
fn amount(row: &ChangeRow, most: u64) -> String {
    if row.content != "text" || row.kind == "mode" {
        let size = row.size_bytes.map(|bytes| format!(", {}", super::render::size(bytes)));
        return format!("{} {}{}", row.content, row.kind, size.unwrap_or_default());
    }
    let all = row.insertions + row.deletions;
    let scaled = |n: u64| if most > BAR_WIDTH_MAX { (n * BAR_WIDTH_MAX).div_ceil(most) } else { n };
    let bar = |sign: &str, n: u64| sign.repeat(usize::try_from(scaled(n)).unwrap_or_default());
    format!("{all:>4} {}{}", paint(GOOD, bar("+", row.insertions)), paint(BAD, bar("-", row.deletions)))
}

/// The list of `--hunks`: what `--hunk` takes, and whose it is.
pub fn hunks(rows: &[ChangeRow]) -> String {
    let mut text = String::new();
    for row in rows {
        let whose = paint(NAME, Whose::from(row));
        text.push_str(&format!("{}  {} {}  {whose}\n", paint(BOLD, name(row)), row.content, row.kind));
        for hunk in &row.hunks {
            text.push_str(&hunk_line(hunk));
        }
    }
    text
}

fn hunk_line(hunk: &HunkRow) -> String {
    let whose = paint(NAME, Whose::from(hunk));
    let turns = paint(DIM, hunk.turns.join(" "));
    format!("  {}  {}  {whose}  {turns}\n", paint(WARN, &hunk.id), one_line(&hunk.header, 60))
}

#[cfg(test)]
mod tests {
    use super::super::render::plain;
    use super::*;

    pub(in super::super) fn row(path: &str, agents: &[&str]) -> ChangeRow {
        let agents: Vec<String> = agents.iter().map(|agent| (*agent).to_owned()).collect();
        ChangeRow {
            path: path.into(),
            old_path: None,
            kind: "modified".into(),
            content: "text".into(),
            old_mode: None,
            mode: None,
            size_bytes: Some(2048),
            insertions: 3,
            deletions: 1,
            hunks: vec![HunkRow {
                id: "h-0123456789".into(),
                header: "@@ -1,3 +1,5 @@ fn main()".into(),
                agents: agents.clone(),
                turns: vec!["u-1".into()],
                shared: false,
                by_user: false,
                by_hook: false,
            }],
            agents,
            turns: vec!["u-1".into()],
            shared: false,
            by_user: false,
            by_hook: false,
        }
    }

    #[test]
    fn files_are_shown_with_how_much_changed_and_by_whom() {
        let mut binary = row("logo.png", &[]);
        (binary.content, binary.kind, binary.by_user) = ("binary".into(), "added".into(), true);
        let mut shared = row("src/lib.rs", &["goose", "qwen"]);
        shared.shared = true;
        insta::assert_snapshot!(plain(&stat(&[binary, row("a.txt", &["goose"]), shared])), @r"
         logo.png   | binary added, 2.0KiB  you
         a.txt      |    4 +++-  goose
         src/lib.rs |    4 +++-  goose, qwen (shared)
         3 files changed, 9 insertions(+), 3 deletions(-)
        ");
    }

    #[test]
    fn hunks_are_shown_with_their_names() {
        insta::assert_snapshot!(plain(&hunks(&[row("a.txt", &["goose"])])), @r"
        a.txt  text modified  goose
          h-0123456789  @@ -1,3 +1,5 @@ fn main()  goose  u-1
        ");
    }

    #[test]
    fn a_diff_in_colours_is_the_same_diff() {
        let diff =
            "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n--- a line of minus signs\n+b\n same\n";
        let shown = coloured(diff);
        assert_eq!(plain(&shown), diff);
        assert!(shown.contains(&paint(GOOD, "+b")));
    }
}
