//! What a turn cost in tokens, from what its agent told: some tell the turn, some the whole conversation
//! so far (copilot, vibe), and of others nobody knows before the numbers show it. Pure.

use crate::event::Usage;

/// What an agent's numbers are about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tells {
    /// The turn.
    Turn,
    /// The conversation so far.
    Total,
    /// Nobody knows.
    #[default]
    Unknown,
}

/// Turns in a row that must look like totals before they are taken for that.
const EVIDENCE: u32 = 2;

/// The numbers of one conversation.
#[derive(Debug, Clone, Default)]
pub struct Spending {
    last: Option<Usage>,
    /// The input of the turn before, if its numbers are totals.
    own_input: u64,
    n_rising: u32,
    /// What the numbers have shown.
    shown: Option<Tells>,
    /// Nothing was said in it before it was opened.
    is_new: bool,
}

impl Spending {
    /// A conversation is open: a new one, or the one that there was.
    pub fn opened(&mut self, is_new: bool) {
        if is_new {
            *self = Self { shown: self.shown, is_new, ..Self::default() };
        }
    }

    /// What the turn cost.
    pub fn turn(&mut self, told: Usage, tells: Tells) -> Usage {
        if tells == Tells::Unknown {
            self.learn(&told);
        }
        let tells = if tells == Tells::Unknown { self.shown.unwrap_or_default() } else { tells };
        let last = self.last.replace(told.clone());
        match (tells, last) {
            (Tells::Turn | Tells::Unknown, _) => told,
            (Tells::Total, Some(last)) => less(told, &last),
            (Tells::Total, None) if self.is_new => told,
            // A total without its beginning says nothing of the turn.
            (Tells::Total, None) => Usage {
                input: None,
                output: None,
                reasoning: None,
                cached_read: None,
                cached_write: None,
                ..told
            },
        }
    }

    /// A total never falls, and each turn reads what was said before: so its own input grows, too. What one
    /// turn cost grows by little, and falls.
    fn learn(&mut self, told: &Usage) {
        let (input, output) = (told.input.unwrap_or(0), told.output.unwrap_or(0));
        let Some(last) = &self.last else {
            self.own_input = input;
            return;
        };
        if self.shown.is_some() {
            return;
        }
        let (input_before, output_before) = (last.input.unwrap_or(0), last.output.unwrap_or(0));
        if input < input_before || output < output_before {
            self.shown = Some(Tells::Turn);
            return;
        }
        let own = input - input_before;
        self.n_rising = if own > 0 && own >= self.own_input { self.n_rising + 1 } else { 0 };
        self.own_input = own;
        if self.n_rising >= EVIDENCE {
            self.shown = Some(Tells::Total);
        }
    }
}

/// A total less the one before; a smaller one began anew.
fn less(told: Usage, last: &Usage) -> Usage {
    let fell = |now: Option<u64>, before: Option<u64>| now < before;
    if fell(told.input, last.input) || fell(told.output, last.output) {
        return told;
    }
    let less = |now: Option<u64>, before: Option<u64>| now.map(|now| now.saturating_sub(before.unwrap_or(0)));
    Usage {
        input: less(told.input, last.input),
        output: less(told.output, last.output),
        reasoning: less(told.reasoning, last.reasoning),
        cached_read: less(told.cached_read, last.cached_read),
        cached_write: less(told.cached_write, last.cached_write),
        ..told
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usage(input: u64, output: u64) -> Usage {
        Usage { input: Some(input), output: Some(output), ..Usage::default() }
    }

    /// What each turn is said to have cost.
    fn costs(tells: Tells, told: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let mut spending = Spending::default();
        spending.opened(true);
        let turn = |(input, output): &(u64, u64)| {
            let cost = spending.turn(usage(*input, *output), tells);
            (cost.input.unwrap_or(0), cost.output.unwrap_or(0))
        };
        told.iter().map(turn).collect()
    }

    #[test]
    fn totals_are_told_apart_and_turns_are_left_as_they_are() {
        // copilot, as it was recorded: four turns of a conversation.
        let totals = [(5_000, 20), (11_000, 45), (18_500, 80), (22_700, 110)];
        let turns = [(5_000, 20), (6_000, 25), (7_500, 35), (4_200, 30)];
        assert_eq!(costs(Tells::Total, &totals), turns);
        assert_eq!(costs(Tells::Turn, &totals), totals);
        // Of an agent that nobody knows it shows with the third turn.
        let totals = [(5_000, 20), (11_000, 45), (18_500, 80), (27_000, 110)];
        assert_eq!(costs(Tells::Unknown, &totals)[2..], [(7_500, 35), (8_500, 30)]);
        // One that tells each turn reads a little more each time, and writes now more and now less.
        let turns =
            [(5_000, 20), (5_300, 45), (5_700, 50), (6_300, 10), (20_000, 60), (45_000, 80), (95_000, 90)];
        assert_eq!(costs(Tells::Unknown, &turns), turns);
    }

    #[test]
    fn a_total_without_its_beginning_is_unknown_and_one_that_fell_began_anew() {
        let mut spending = Spending::default();
        let resumed = spending.turn(usage(90_000, 900), Tells::Total);
        assert_eq!((resumed.input, resumed.output), (None, None));
        assert_eq!(spending.turn(usage(97_000, 950), Tells::Total), usage(7_000, 50));
        assert_eq!(spending.turn(usage(6_000, 10), Tells::Total), usage(6_000, 10));
        spending.opened(false);
        assert_eq!(spending.turn(usage(7_000, 30), Tells::Total), usage(1_000, 20));
        spending.opened(true);
        assert_eq!(spending.turn(usage(7_000, 30), Tells::Total), usage(7_000, 30));
    }

    proptest! {
        #[test]
        fn the_parts_of_a_total_make_it_up(parts in prop::collection::vec((0u64..10_000, 0u64..1_000), 1..20)) {
            let totals: Vec<_> = parts.iter().scan((0, 0), |sum, part| {
                *sum = (sum.0 + part.0, sum.1 + part.1);
                Some(*sum)
            }).collect();
            prop_assert_eq!(costs(Tells::Total, &totals), parts);
        }
    }
}
