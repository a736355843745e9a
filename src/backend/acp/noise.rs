//! What an agent writes to its output that is no message: told, but not for every line. Pure.

use std::collections::{BTreeMap, VecDeque};

use hob_actors::event::{Event, Level};

use crate::jsonrpc::Problem;

/// Lines that are kept for the reason of a start that fails.
const LAST_MAX: usize = 5;

/// Lines of one kind that are told one by one; the rest are counted.
const TOLD_MAX: u64 = 3;

/// What is told of an agent whose JSON not every reader takes.
const ALTERED: &str = "the agent wrote text or numbers that JSON readers refuse (half a character, a zero \
    byte, a number too large, too deep a nesting)";

/// The lines of one kind.
#[derive(Debug, Default, Clone, Copy)]
struct Count {
    seen: u64,
    /// How many of them were told of, one by one or in a sum.
    told: u64,
}

/// Counts noise by its kind.
#[derive(Debug, Default)]
pub(super) struct Noise {
    lines: BTreeMap<&'static str, Count>,
    altered: bool,
    /// The last lines that were no messages: what an agent says before it ends.
    last: VecDeque<String>,
}

impl Noise {
    /// A line of noise; the notice of it, unless there were too many of its kind.
    pub(super) fn line(&mut self, problem: Problem, excerpt: &str) -> Option<Event> {
        if !excerpt.is_empty() {
            if self.last.len() == LAST_MAX {
                self.last.pop_front();
            }
            self.last.push_back(excerpt.to_owned());
        }
        let count = self.lines.entry(kind(problem)).or_default();
        count.seen += 1;
        if count.seen > TOLD_MAX {
            return None;
        }
        count.told += 1;
        let text = if excerpt.is_empty() {
            format!("the agent wrote {problem} to its output, it was skipped")
        } else {
            format!("the agent wrote {problem} to its output, it was skipped: {excerpt}")
        };
        Some(Event::Notice { level: Level::Warning, text })
    }

    /// The last lines, as they came.
    pub(super) fn last_lines(&self) -> String {
        self.last.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// Something in a message was replaced; the notice of it, once for each process.
    pub(super) fn altered(&mut self) -> Option<Event> {
        let is_first = !std::mem::replace(&mut self.altered, true);
        let text = format!("{ALTERED}; it is replaced by � and …");
        is_first.then_some(Event::Notice { level: Level::Warning, text })
    }

    /// The sums of what was not told of yet.
    pub(super) fn rest(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for (kind, count) in &mut self.lines {
            let untold = count.seen - count.told;
            if untold > 0 {
                count.told = count.seen;
                let text = format!("the agent wrote {untold} more of these to its output: {kind}");
                events.push(Event::Notice { level: Level::Warning, text });
            }
        }
        events
    }
}

fn kind(problem: Problem) -> &'static str {
    match problem {
        Problem::Parse => "lines that are not JSON objects",
        Problem::Batch => "JSON-RPC batches",
        Problem::Invalid => "JSON objects that are no JSON-RPC messages",
        Problem::TooLong(_) => "lines that are too long",
        Problem::NotUtf8 => "lines that are not UTF-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(event: &Event) -> &str {
        let Event::Notice { text, .. } = event else { panic!("{event:?}") };
        text
    }

    #[test]
    fn the_first_lines_are_told_and_the_rest_is_counted() {
        let mut noise = Noise::default();
        let told = (0..1000).filter_map(|_| noise.line(Problem::Parse, "boo")).count();
        assert_eq!(told as u64, TOLD_MAX);
        let rest = noise.rest();
        assert_eq!(rest.len(), 1);
        assert!(text(&rest[0]).contains("997 more"), "{rest:?}");
        assert!(noise.rest().is_empty());
    }

    #[test]
    fn each_kind_is_told_for_itself_and_a_long_line_with_its_size() {
        let mut noise = Noise::default();
        for _ in 0..10 {
            noise.line(Problem::Parse, "boo");
        }
        let event = noise.line(Problem::TooLong(100_000_000), "").unwrap();
        assert!(text(&event).contains("a line of 100000000 bytes"), "{event:?}");
    }
}
