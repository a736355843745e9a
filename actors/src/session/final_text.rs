//! The last message of a turn, which is kept with its task: what was said after the last tool call, in
//! one message, up to a bound. From what the agent says while it runs, and from the journal of one that
//! was cut short. Pure.

/// How much of it is kept, in bytes; the journal has all of it.
pub const BYTES_MAX: usize = 1 << 20;

/// The message as far as it was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FinalText {
    text: String,
    message: Option<String>,
    /// Bytes of the whole, kept or not.
    n_bytes: usize,
}

impl FinalText {
    /// A piece. Of another message it begins the text anew.
    pub fn say(&mut self, text: &str, message: Option<&str>) {
        if self.message.as_deref() != message {
            self.begin_anew();
            self.message = message.map(str::to_owned);
        }
        let is_whole = self.n_bytes == self.text.len();
        self.n_bytes += text.len();
        // What comes after a cut would not follow on what is there.
        if is_whole {
            let room = text.floor_char_boundary(BYTES_MAX - self.text.len());
            self.text.push_str(&text[..room]);
        }
    }

    /// A tool was called: what was said before is not the answer.
    pub fn begin_anew(&mut self) {
        self.text.clear();
        self.n_bytes = 0;
    }

    /// The text; one that was cut says so, and how long the whole is.
    pub fn take(&mut self) -> String {
        let said = std::mem::take(self);
        if said.n_bytes == said.text.len() {
            return said.text;
        }
        format!(
            "{}\n[hob: cut here; the message has {} bytes, `hob log` shows it all]",
            said.text, said.n_bytes
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(pieces: &[(&str, Option<&str>)]) -> String {
        let mut text = FinalText::default();
        pieces.iter().for_each(|(piece, message)| text.say(piece, *message));
        text.take()
    }

    #[test]
    fn it_is_the_last_message_after_the_last_tool() {
        assert_eq!(said(&[("one", Some("a")), ("two ", Some("b")), ("three", Some("b"))]), "two three");
        assert_eq!(said(&[("one ", None), ("two", None)]), "one two");
        let mut text = FinalText::default();
        text.say("before", None);
        text.begin_anew();
        assert_eq!(text.take(), "");
        text.say("after", None);
        assert_eq!(text.take(), "after");
    }

    #[test]
    fn one_that_is_too_long_keeps_its_beginning_and_says_so() {
        let long = "é".repeat(BYTES_MAX);
        for pieces in [&[(long.as_str(), None)][..], &[("x", None), (&long, None), ("end", None)]] {
            let text = said(pieces);
            let (kept, mark) = text.split_once("\n[hob: cut here").unwrap();
            assert!(kept.len() <= BYTES_MAX && kept.len() >= BYTES_MAX - 1, "{}", kept.len());
            let whole: usize = pieces.iter().map(|(piece, _)| piece.len()).sum();
            assert!(mark.contains(&format!("has {whole} bytes")), "{mark}");
        }
        assert_eq!(said(&[(&"x".repeat(BYTES_MAX), None)]).len(), BYTES_MAX);
        assert_eq!(said(&[(&long, Some("a")), ("short", Some("b"))]), "short");
    }

    proptest! {
        #[test]
        fn in_however_many_pieces_it_is_the_same(text in ".{0,60}", cuts in proptest::collection::vec(0..60_usize, 0..6)) {
            let mut at: Vec<usize> = cuts.into_iter().map(|cut| text.floor_char_boundary(cut.min(text.len()))).collect();
            at.extend([0, text.len()]);
            at.sort_unstable();
            let pieces: Vec<_> = at.windows(2).map(|two| (&text[two[0]..two[1]], None)).collect();
            prop_assert_eq!(said(&pieces), text.clone());
        }
    }
}
