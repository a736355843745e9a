//! How the demo looks: numbered steps, the agent's words behind a bar, a ✓ for what was checked.

use crate::cli::context::Ctx;
use crate::cli::error::CliError;
use crate::cli::render::{BAD, BOLD, DIM, GOOD, NAME, harmless, paint};

/// What stands before everything that belongs to a step.
const INDENT: &str = "    ";

/// What a person has to know before.
const INTRODUCTION: &str = "Everything below really happens; a ✓ means that it was checked.
The built-in agent calls no model: it does what its prompt says, the same each time.";

/// The teller of the demo.
pub(super) struct Show<'a> {
    ctx: &'a mut Ctx,
    steps: usize,
    title: String,
    in_line: bool,
}

impl<'a> Show<'a> {
    pub(super) fn new(ctx: &'a mut Ctx) -> Self {
        Self { ctx, steps: 0, title: String::new(), in_line: false }
    }

    pub(super) fn title(&mut self, text: &str) -> Result<(), CliError> {
        self.human(&format!("{}\n{}\n", paint(BOLD, text), paint(DIM, INTRODUCTION)))
    }

    /// Begins a step.
    pub(super) fn step(&mut self, title: &str) -> Result<(), CliError> {
        self.steps += 1;
        title.clone_into(&mut self.title);
        self.human(&format!("\n{}  {}\n", paint(DIM, format_args!("{:>2}", self.steps)), paint(BOLD, title)))
    }

    /// Ends a step that worked, with what was seen.
    pub(super) fn worked(&mut self, seen: &str) -> Result<(), CliError> {
        self.ended(true, seen)
    }

    /// Ends a step that did not, with what was expected and seen.
    pub(super) fn failed(&mut self, why: &str) -> Result<(), CliError> {
        self.ended(false, why)
    }

    fn ended(&mut self, ok: bool, seen: &str) -> Result<(), CliError> {
        if self.ctx.globals.json {
            let line = serde_json::json!({"step": self.steps, "title": self.title, "ok": ok, "seen": seen});
            return self.ctx.print(format_args!("{line}\n"));
        }
        let sign = if ok { paint(GOOD, "✓") } else { paint(BAD, "✗") };
        self.flush()?;
        self.human(&format!("{INDENT}{sign} {}\n", seen.replace('\n', "\n      ")))
    }

    /// A prompt, as a person would type it.
    pub(super) fn prompt(&mut self, chat: &str, text: &str) -> Result<(), CliError> {
        self.flush()?;
        self.human(&format!("{INDENT}{} {}\n", paint(NAME, format_args!("{chat} ❯")), paint(DIM, text)))
    }

    /// A piece of an agent's answer, as it comes.
    pub(super) fn piece(&mut self, text: &str) -> Result<(), CliError> {
        for line in harmless(text).split_inclusive('\n') {
            if !self.in_line {
                self.human(&format!("{INDENT}{} ", paint(DIM, "│")))?;
            }
            self.in_line = !line.ends_with('\n');
            self.human(line)?;
        }
        Ok(())
    }

    /// A line of something that happened.
    pub(super) fn line(&mut self, text: &str) -> Result<(), CliError> {
        self.flush()?;
        self.human(&format!("{INDENT}{} {}\n", paint(DIM, "│"), text))
    }

    /// Lines as a command would print them.
    pub(super) fn block(&mut self, text: &str) -> Result<(), CliError> {
        self.flush()?;
        text.lines().try_for_each(|line| self.human(&format!("{INDENT}{line}\n")))
    }

    /// The last words.
    pub(super) fn closing(&mut self, text: &str) -> Result<(), CliError> {
        self.human(&format!("\n{}\n", paint(BOLD, text)))
    }

    /// Ends the line that is open.
    pub(super) fn flush(&mut self) -> Result<(), CliError> {
        if std::mem::take(&mut self.in_line) {
            self.human("\n")?;
        }
        Ok(())
    }

    /// What is not said to programs.
    fn human(&mut self, text: &str) -> Result<(), CliError> {
        if self.ctx.globals.json { Ok(()) } else { self.ctx.print(text) }
    }
}
