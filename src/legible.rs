//! JSON that somebody else wrote, made so that every reader takes it.
//!
//! JSON allows what most readers refuse: half of a surrogate pair (agents that cut a text inside of an
//! emoji write one), numbers beyond those of a double, nesting without end, a zero byte in a text. Such a
//! value is replaced where it enters, and where a row of before is read; everything else stays the bytes
//! that it was. Pure.

use std::borrow::Cow;
use std::ops::Range;

/// The deepest nesting that is kept. Readers stop at 128 (serde_json, and many after it), and an event
/// goes on inside of some more levels.
const DEPTH_MAX: usize = 100;
/// The replacement character, as an escape.
const REPLACEMENT: &str = "\\ufffd";
/// What stands for values that are nested too deep.
const CUT: &str = "\"…\"";
/// A number of fewer bytes without an exponent is always finite.
const DIGITS_SAFE: usize = 300;

/// The text of one JSON value as every reader takes it: borrowed where it is so already, as it nearly
/// always is. A text that is no JSON stays none.
pub(crate) fn legible(text: &str) -> Cow<'_, str> {
    let edits = Walk { bytes: text.as_bytes(), at: 0, depth: 0, edits: Vec::new() }.walk(text);
    if edits.is_empty() {
        return Cow::Borrowed(text);
    }
    let (mut made, mut from) = (String::with_capacity(text.len()), 0);
    for edit in edits {
        made.push_str(&text[from..edit.range.start]);
        made.push_str(&edit.text);
        from = edit.range.end;
    }
    made.push_str(&text[from..]);
    Cow::Owned(made)
}

/// The same, of bytes that should be UTF-8.
pub(crate) fn legible_bytes(bytes: &[u8]) -> Cow<'_, str> {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => legible(text),
        Cow::Owned(text) => Cow::Owned(legible(&text).into_owned()),
    }
}

/// A piece of a text, and what it becomes.
struct Edit {
    range: Range<usize>,
    text: Cow<'static, str>,
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    edits: Vec<Edit>,
}

impl Walk<'_> {
    fn walk(mut self, text: &str) -> Vec<Edit> {
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b'"' => self.string(),
                b'{' | b'[' if self.depth == DEPTH_MAX => self.cut(),
                b'{' | b'[' => {
                    self.depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.at += 1;
                }
                b'-' | b'0'..=b'9' => self.number(text),
                _ => self.at += 1,
            }
        }
        self.edits
    }

    /// From its opening quote to behind its closing one.
    fn string(&mut self) {
        self.at += 1;
        while let Some(found) = memchr::memchr2(b'"', b'\\', &self.bytes[self.at..]) {
            self.at += found;
            if self.bytes[self.at] == b'"' {
                self.at += 1;
                return;
            }
            self.escape();
        }
        self.at = self.bytes.len();
    }

    /// From a backslash to behind what it stands for.
    fn escape(&mut self) {
        let start = self.at;
        let Some(unit) = self.unit(start) else {
            // One letter, or no escape at all.
            self.at = (start + 2).min(self.bytes.len());
            return;
        };
        self.at = start + REPLACEMENT.len();
        let is_half = match unit {
            0 | 0xDC00..=0xDFFF => true,
            0xD800..=0xDBFF => match self.unit(self.at) {
                Some(0xDC00..=0xDFFF) => {
                    self.at += REPLACEMENT.len();
                    false
                }
                _ => true,
            },
            _ => false,
        };
        if is_half {
            self.edits.push(Edit { range: start..self.at, text: REPLACEMENT.into() });
        }
    }

    /// The unit that `\uXXXX` stands for, if that is what lies there.
    fn unit(&self, at: usize) -> Option<u16> {
        let digits = self.bytes.get(at..at + REPLACEMENT.len())?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }

    fn number(&mut self, text: &str) {
        let start = self.at;
        let is_of_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let length = self.bytes[start..].iter().take_while(|byte| is_of_number(byte)).count();
        self.at += length;
        let number = &text[start..self.at];
        let may_be_large = length > DIGITS_SAFE || number.contains(['e', 'E']);
        if may_be_large && number.parse::<f64>().is_ok_and(f64::is_infinite) {
            self.edits.push(Edit { range: start..self.at, text: format!("\"{number}\"").into() });
        }
    }

    /// Replaces a value with everything below it.
    fn cut(&mut self) {
        let (start, n_edits) = (self.at, self.edits.len());
        let mut open = 0_usize;
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b'"' => {
                    self.string();
                    continue;
                }
                b'{' | b'[' => open += 1,
                b'}' | b']' => open -= 1,
                _ => {}
            }
            self.at += 1;
            if open == 0 {
                break;
            }
        }
        self.edits.truncate(n_edits);
        self.edits.push(Edit { range: start..self.at, text: CUT.into() });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;
    use serde_json::Value;

    use super::*;

    fn nested(depth: usize) -> String {
        format!("{}1{}", "[".repeat(depth), "]".repeat(depth))
    }

    #[test]
    fn what_no_reader_takes_is_replaced_and_nothing_else() {
        let deep = nested(DEPTH_MAX + 40);
        let cut = format!("{}\"…\"{}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX));
        let long = "9".repeat(400);
        let quoted = format!("\"{long}\"");
        let cases = [
            (r#"{"a":"\ud83d\ude00"}"#, r#"{"a":"\ud83d\ude00"}"#),
            (r#"{"a":"\ud83d"}"#, r#"{"a":"\ufffd"}"#),
            (r#"{"a":"x\ude00y"}"#, r#"{"a":"x\ufffdy"}"#),
            (r#"{"a":"\ud83d\ud83d\ude00"}"#, r#"{"a":"\ufffd\ud83d\ude00"}"#),
            (r#"{"\ud800":1}"#, r#"{"\ufffd":1}"#),
            (r#""\\ud800""#, r#""\\ud800""#),
            (r#""a\u0000b""#, r#""a\ufffdb""#),
            (
                r#"{"a":1e400,"b":-1E+999,"c":1e-400,"d":2e3}"#,
                r#"{"a":"1e400","b":"-1E+999","c":1e-400,"d":2e3}"#,
            ),
            (&long, &quoted),
            (&deep, &cut),
            ("[[],{}]", "[[],{}]"),
            ("no json \\ud800 {", "no json \\ud800 {"),
            ("\"\\", "\"\\"),
            ("\"\\u12", "\"\\u12"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(legible(text), expected);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_too() {
        assert_eq!(legible_bytes(b"{\"a\":\"\xf0\x9f\"}"), "{\"a\":\"\u{fffd}\"}");
        assert!(matches!(legible_bytes(b"{}"), Cow::Borrowed("{}")));
    }

    /// Values of everything that is allowed and hardly read.
    fn hostile() -> impl Strategy<Value = String> {
        let unit = prop_oneof![Just("d83d"), Just("de00"), Just("0000"), Just("0041"), Just("ffff")];
        let piece = prop_oneof![
            unit.prop_map(|unit| format!("\\u{unit}")),
            Just("\\\\".into()),
            Just("é\\\"".into())
        ];
        let string =
            proptest::collection::vec(piece, 0..6).prop_map(|pieces| format!("\"{}\"", pieces.concat()));
        let number = prop_oneof![
            Just("1e999".to_owned()),
            Just("-0.5".into()),
            Just("1".repeat(350)),
            Just("7".into())
        ];
        let leaf = prop_oneof![string, number, Just("null".into()), (90..140_usize).prop_map(nested)];
        leaf.prop_recursive(4, 32, 4, |inner| {
            proptest::collection::vec(inner, 0..4)
                .prop_map(|values| {
                    values.into_iter().enumerate().map(|(n, value)| format!("\"{n}\": {value}"))
                })
                .prop_map(|members| format!("{{{}}}", members.collect::<Vec<_>>().join(",")))
        })
    }

    proptest! {
        #[test]
        fn whatever_is_json_is_read_afterwards(text in hostile()) {
            prop_assert!(serde_json::from_str::<IgnoredAny>(&text).is_ok());
            let made = legible(&text);
            let read: Result<Value, _> = serde_json::from_str(&made);
            prop_assert!(read.is_ok(), "{} of {made}", read.unwrap_err());
            prop_assert!(matches!(legible(&made), Cow::Borrowed(_)));
        }

        #[test]
        fn no_text_is_too_odd(text in "[\\[\\]{}\"\\\\ud800e19, é]*") {
            drop(legible(&text));
        }
    }
}
