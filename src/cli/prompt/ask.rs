//! Asks the person what an agent asks, where there is a terminal to ask on.
//!
//! Reading a terminal blocks, so a thread does it; nobody waits for that thread at the end.

use std::collections::VecDeque;
use std::io::BufRead;

use nix::sys::termios::{FlushArg, tcflush};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::cli::context::Ctx;
use crate::cli::error::CliError;
use crate::cli::event::EventRow;
use crate::cli::follow::Follower;
use crate::cli::permission::Pick;
use crate::cli::render::{BOLD, one_line, paint};
use crate::control::wire::OptionRow;

/// The widest name of an option, in characters.
const NAME_WIDTH_MAX: usize = 60;

/// The questions that wait for the person.
pub(super) struct Asker {
    waiting: VecDeque<Question>,
    lines: Option<mpsc::UnboundedReceiver<String>>,
}

#[derive(Debug, Clone)]
struct Question {
    permission: String,
    options: Vec<OptionRow>,
}

/// What the person typed, and to which question.
pub(super) struct Answer {
    permission: String,
    /// The chosen option, or what to say about a line that chooses none.
    option: Result<Chosen, String>,
}

/// An option that the person chose.
#[derive(Debug)]
struct Chosen {
    /// Its id.
    option: String,
    /// For how long, where that is not the option's own affair.
    remember: Option<&'static str>,
}

impl Asker {
    pub(super) fn new() -> Self {
        Self { waiting: VecDeque::new(), lines: None }
    }

    /// Takes note of a question and of its end, wherever that came from.
    pub(super) fn event(&mut self, ctx: &mut Ctx, event: &EventRow) {
        let permission = event.text("permission").to_owned();
        match event.kind.as_str() {
            "permission_requested" => {
                let options = event.fields.get("options").cloned().unwrap_or_default();
                let options = serde_json::from_value(options).unwrap_or_default();
                self.waiting.push_back(Question { permission, options });
                if self.waiting.len() == 1 {
                    self.show(ctx);
                }
            }
            "permission_resolved" => {
                let was_shown =
                    self.waiting.front().is_some_and(|question| question.permission == permission);
                self.waiting.retain(|question| question.permission != permission);
                if was_shown && !self.waiting.is_empty() {
                    self.show(ctx);
                }
            }
            _ => {}
        }
    }

    fn show(&mut self, ctx: &mut Ctx) {
        if self.waiting.is_empty() {
            return;
        }
        self.forget_typed();
        let Some(question) = self.waiting.front() else { return };
        ctx.say(choices(&question.options));
        ctx.mutter("answer: ");
        self.lines.get_or_insert_with(read_lines);
    }

    /// What was typed before a question is shown is no answer to it.
    fn forget_typed(&mut self) {
        // Not a terminal: then nobody types.
        tcflush(std::io::stdin(), FlushArg::TCIFLUSH).ok();
        if let Some(lines) = &mut self.lines {
            while lines.try_recv().is_ok() {}
        }
    }

    async fn line(&mut self) -> Option<String> {
        match &mut self.lines {
            Some(lines) => lines.recv().await,
            None => None,
        }
    }
}

/// The next answer; never, where nobody can be asked or stdin has ended.
pub(super) async fn answer(asker: &mut Option<Asker>) -> Answer {
    let Some(asker) = asker else { return std::future::pending().await };
    loop {
        let Some(line) = asker.line().await else { return std::future::pending().await };
        if let Some(question) = asker.waiting.front() {
            let option = chosen(&line, &question.options);
            return Answer { permission: question.permission.clone(), option };
        }
    }
}

/// Sends an answer. One that came too late is no error: the event that says so is on its way.
pub(super) async fn send(ctx: &mut Ctx, events: &mut Follower, answer: Answer) -> Result<(), CliError> {
    let option = match answer.option {
        Ok(option) => option,
        Err(help) => {
            ctx.say(help);
            ctx.mutter("answer: ");
            return Ok(());
        }
    };
    let link = events.link(ctx).await?;
    let mut params = json!({"permission": answer.permission, "option": option.option});
    if let Some(remember) = option.remember {
        params["remember"] = json!(remember);
    }
    if let Err(error) = link.call::<Value>("permission/answer", params).await {
        ctx.say(error.message);
    }
    Ok(())
}

fn read_lines() -> mpsc::UnboundedReceiver<String> {
    let (sender, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The offered answers on one line, numbered.
fn choices(options: &[OptionRow]) -> String {
    let choice = |(at, option): (usize, &OptionRow)| {
        format!("{} {}", paint(BOLD, at + 1), one_line(&option.name, NAME_WIDTH_MAX))
    };
    format!("  {}", options.iter().enumerate().map(choice).collect::<Vec<_>>().join("   "))
}

/// The option that a line means: its number, `y`, `n`, or its id, kind or name.
fn chosen(line: &str, options: &[OptionRow]) -> Result<Chosen, String> {
    let line = line.trim();
    let by_number = line.parse::<usize>().ok().and_then(|number| options.get(number.checked_sub(1)?));
    let pick = match (by_number, line.to_ascii_lowercase().as_str()) {
        (Some(option), _) => Pick::Named(&option.id),
        (None, "y" | "yes") => Pick::Allow,
        (None, "n" | "no") => Pick::Reject,
        (None, _) => Pick::Named(line),
    };
    pick.from(options)
        .map(|option| Chosen { option: option.id.clone(), remember: pick.remembers() })
        .map_err(|_| format!("  a number from 1 to {}, y or n", options.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::plain;

    fn options() -> Vec<OptionRow> {
        [("opt-a", "Allow once", "allow_once"), ("opt-r", "Reject", "reject_once")]
            .map(|(id, name, kind)| OptionRow { id: id.into(), name: name.into(), kind: kind.into() })
            .to_vec()
    }

    #[test]
    fn the_answers_are_numbered() {
        assert_eq!(plain(&choices(&options())), "  1 Allow once   2 Reject");
    }

    #[test]
    fn a_number_a_letter_or_a_name_chooses() {
        for (line, id) in [
            ("1", "opt-a"),
            (" 2 ", "opt-r"),
            ("y", "opt-a"),
            ("N", "opt-r"),
            ("reject", "opt-r"),
            ("opt-a", "opt-a"),
        ] {
            assert_eq!(chosen(line, &options()).unwrap().option, id, "{line}");
        }
    }

    #[test]
    fn anything_else_says_what_can_be_typed() {
        for line in ["", "0", "3", "maybe"] {
            assert_eq!(chosen(line, &options()).unwrap_err(), "  a number from 1 to 2, y or n", "{line}");
        }
    }
}
