//! Paths as text: on the socket, in the database and on a terminal.
//!
//! A path is bytes, and JSON has none. One that is UTF-8 is its own text. Any other is written as git
//! writes it (`core.quotePath`): in double quotes, with a backslash and three octal digits for a byte
//! that is no UTF-8. So is one that begins with a double quote, so that every text has one meaning. Pure.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// What begins and ends a text that is not the path itself.
const QUOTE: char = '"';
/// Octal digits of a byte.
const DIGITS: usize = 3;

/// The text of a path; [`path`] reads it back.
pub(crate) fn text(path: &Path) -> String {
    match path.to_str() {
        Some(plain) if !plain.starts_with(QUOTE) => plain.to_owned(),
        _ => quoted(path.as_os_str().as_bytes()),
    }
}

fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from(QUOTE);
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '"' | '\\' => text.extend(['\\', letter]),
                '\n' => text.push_str("\\n"),
                '\t' => text.push_str("\\t"),
                '\r' => text.push_str("\\r"),
                letter if letter.is_ascii_control() => octal(&mut text, letter as u8),
                letter => text.push(letter),
            }
        }
        chunk.invalid().iter().for_each(|byte| octal(&mut text, *byte));
    }
    text.push(QUOTE);
    text
}

fn octal(text: &mut String, byte: u8) {
    // Writing to a text cannot fail.
    let _ = write!(text, "\\{byte:03o}");
}

/// The path that a text stands for. A text in quotes that git would not write is a path itself.
pub(crate) fn path(text: &str) -> PathBuf {
    let inner = text.strip_prefix(QUOTE).and_then(|rest| rest.strip_suffix(QUOTE));
    match inner.and_then(unquoted) {
        Some(bytes) => PathBuf::from(OsString::from_vec(bytes)),
        None => PathBuf::from(text),
    }
}

/// For `#[serde(with = "path_text::serde")]`.
pub(crate) mod serde {
    use std::path::{Path, PathBuf};

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::text(path))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        Ok(super::path(&String::deserialize(deserializer)?))
    }
}

/// The bytes between the quotes; `None` if they are not well formed.
fn unquoted(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'"' => return None,
            b'\\' => {
                let (byte, length) = escaped(rest)?;
                bytes.push(byte);
                rest = &rest[length..];
            }
            byte => bytes.push(*byte),
        }
    }
    Some(bytes)
}

/// What stands behind a backslash, and how long that is.
fn escaped(rest: &[u8]) -> Option<(u8, usize)> {
    let letter = match rest.first()? {
        b'a' => 7,
        b'b' => 8,
        b't' => b'\t',
        b'n' => b'\n',
        b'v' => 11,
        b'f' => 12,
        b'r' => b'\r',
        byte @ (b'"' | b'\\') => *byte,
        _ => {
            let digits = std::str::from_utf8(rest.get(..DIGITS)?).ok()?;
            return Some((u8::from_str_radix(digits, 8).ok()?, DIGITS));
        }
    };
    Some((letter, 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(bytes: &[u8]) -> PathBuf {
        PathBuf::from(OsString::from_vec(bytes.to_vec()))
    }

    #[test]
    fn a_path_that_is_text_is_its_own_text_and_any_other_is_quoted_as_git_does() {
        let cases: [(&[u8], &str); 7] = [
            (b"src/lib.rs", "src/lib.rs"),
            ("caf\u{e9} \\ \n".as_bytes(), "caf\u{e9} \\ \n"),
            (b"caf\xe9.txt", r#""caf\351.txt""#),
            (b"a\"\\\n\xff\x01", r#""a\"\\\n\377\001""#),
            (b"\"quoted\"", r#""\"quoted\"""#),
            (b"\"", r#""\"""#),
            (b"", ""),
        ];
        for (bytes, expected) in cases {
            assert_eq!(text(&of(bytes)), expected);
            assert_eq!(path(expected), of(bytes), "{expected}");
        }
    }

    #[test]
    fn what_git_would_not_write_is_a_path_itself() {
        for odd in ["\"open", "\"a\"b\"", "\"a\\\"", "\"a\\9\"", "\"\\40\"", "\""] {
            assert_eq!(path(odd), Path::new(odd));
        }
        assert_eq!(path(r#""\a\v""#), of(b"\x07\x0b"));
    }

    proptest! {
        #[test]
        fn every_path_reads_back(bytes in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), 1..=255_u8], 0..20)) {
            prop_assert_eq!(path(&text(&of(&bytes))), of(&bytes));
        }
    }
}
