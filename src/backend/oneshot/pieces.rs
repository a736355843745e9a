//! Cuts the output of a run: plain text as it comes, as long as no line says that there is more to
//! know about it, and then line by line. Pure.

use bytes::BytesMut;
use tokio_util::codec::Decoder as _;

use crate::jsonrpc::frame::{Frame, Ndjson};

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Text for a person; what is no UTF-8 in it is replaced.
    Text(String),
    /// A whole line that begins like a JSON object, as it came.
    Object(String),
    /// A line of an output that is known to consist of JSON lines.
    Line(Frame),
}

impl Piece {
    /// The bytes that it holds in memory.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Self::Text(text) | Self::Object(text) => text.len(),
            Self::Line(frame) => frame.held_bytes(),
        }
    }
}

/// Cuts a stream that comes in reads of any size.
#[derive(Debug)]
pub(super) struct Pieces {
    buffer: BytesMut,
    line_bytes_max: usize,
    /// The next byte begins a line.
    at_line_start: bool,
    lines: Option<Ndjson>,
}

impl Pieces {
    /// For lines of at most `line_bytes_max` bytes.
    pub(super) fn new(line_bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), line_bytes_max, at_line_start: true, lines: None }
    }

    /// From here on everything is a JSON line.
    pub(super) fn only_lines(&mut self) {
        self.lines.get_or_insert_with(|| Ndjson::new(self.line_bytes_max));
    }

    /// Takes in what was read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next piece; at the end of the stream (`ended`) also what no newline follows.
    pub(super) fn next(&mut self, ended: bool) -> Option<Piece> {
        if let Some(lines) = &mut self.lines {
            let buffer = &mut self.buffer;
            let frame = if ended { lines.decode_eof(buffer) } else { lines.decode(buffer) };
            return frame.ok().flatten().map(Piece::Line);
        }
        if self.at_line_start {
            match self.buffer.iter().find(|byte| !matches!(byte, b' ' | b'\t')) {
                Some(b'{') => return self.object(ended),
                None if !ended && self.buffer.len() <= self.line_bytes_max => return None,
                Some(_) | None => {}
            }
        }
        self.text(ended)
    }

    fn object(&mut self, ended: bool) -> Option<Piece> {
        match memchr::memchr(b'\n', &self.buffer) {
            Some(at) => {
                let line = self.buffer.split_to(at + 1);
                Some(Piece::Object(lossy(&line)))
            }
            None if ended => {
                let line = self.buffer.split();
                Some(Piece::Object(lossy(&line)))
            }
            // Nothing of an agent that is known is that long.
            None if self.buffer.len() > self.line_bytes_max => self.text(ended),
            None => None,
        }
    }

    /// As much text as there is, up to a line that may be an object.
    fn text(&mut self, ended: bool) -> Option<Piece> {
        let begins_object = |&at: &usize| matches!(self.buffer.get(at + 1), Some(b'{' | b' ' | b'\t') | None);
        let line_end = memchr::memchr_iter(b'\n', &self.buffer).find(begins_object);
        let end = match line_end {
            Some(at) => at + 1,
            None if ended => self.buffer.len(),
            None => whole_characters(&self.buffer),
        };
        if end == 0 {
            return None;
        }
        self.at_line_start = line_end.is_some();
        let text = self.buffer.split_to(end);
        Some(Piece::Text(lossy(&text)))
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The length without a character at the end that is not complete yet.
fn whole_characters(bytes: &[u8]) -> usize {
    // No character is longer than four bytes: what is cut begins in the last three.
    let is_first = |byte: u8| byte & 0xC0 != 0x80;
    let n = bytes.len();
    let last_first = (n.saturating_sub(3)..n).rev().find(|at| is_first(bytes[*at]));
    match last_first {
        Some(at) => match std::str::from_utf8(&bytes[at..]) {
            Err(error) if error.error_len().is_none() => at,
            _ => n,
        },
        None => n,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(reads: &[&[u8]], max: usize) -> Vec<Piece> {
        let mut pieces = Pieces::new(max);
        let mut found = Vec::new();
        for read in reads {
            pieces.push(read);
            found.extend(std::iter::from_fn(|| pieces.next(false)));
        }
        found.extend(std::iter::from_fn(|| pieces.next(true)));
        found
    }

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    fn object(text: &str) -> Piece {
        Piece::Object(text.into())
    }

    #[test]
    fn blanks_that_may_begin_an_object_are_kept_up_to_the_limit_of_a_line() {
        let blanks = " ".repeat(50);
        let mut pieces = Pieces::new(60);
        pieces.push(blanks.as_bytes());
        assert_eq!(pieces.next(false), None);
        pieces.push(blanks.as_bytes());
        assert_eq!(pieces.next(false), Some(text(&blanks.repeat(2))));
    }

    #[test]
    fn text_comes_at_once_and_an_object_when_it_is_whole() {
        assert_eq!(
            cut(&[b"hel", b"lo\n{\"a\"", b":1}\nend"], 100),
            [text("hel"), text("lo\n"), object("{\"a\":1}\n"), text("end")]
        );
        assert_eq!(cut(&[b"a {\nb", b"\n  {\"half"], 100), [text("a {\nb"), text("\n"), object("  {\"half")]);
        assert_eq!(cut(&[b"\n\nx\n\ny\n"], 100), [text("\n\nx\n\ny\n")]);
    }

    #[test]
    fn a_character_that_comes_in_parts_is_put_together_and_what_is_none_is_replaced() {
        assert_eq!(
            cut(&[b"a\xc3", b"\xa9b\xff\xfe", b"c\xe2\x82"], 100),
            [text("a"), text("\u{e9}b\u{fffd}\u{fffd}"), text("c"), text("\u{fffd}")]
        );
    }

    #[test]
    fn an_object_without_an_end_is_text_in_the_end() {
        let found = cut(&[b"{", &[b'x'; 50], &[b'y'; 50], b"\n{}\n"], 60);
        assert_eq!(found.last(), Some(&object("{}\n")));
        assert!(matches!(&found[0], Piece::Text(text) if text.len() == 101), "{found:?}");
    }

    #[test]
    fn lines_are_cut_as_lines_once_that_is_known() {
        let mut pieces = Pieces::new(10);
        pieces.push(b"{\"a\":1}\n{\"b\":2}\nvery long indeed\n\xff\n{\"half");
        assert_eq!(pieces.next(false), Some(object("{\"a\":1}\n")));
        pieces.only_lines();
        let rest: Vec<Piece> = std::iter::from_fn(|| pieces.next(true)).collect();
        assert_eq!(
            rest,
            [
                Piece::Line(Frame::Line("{\"b\":2}".into())),
                Piece::Line(Frame::TooLong { bytes: 16 }),
                Piece::Line(Frame::Invalid { line: b"\xff".as_slice().into() }),
                Piece::Line(Frame::Line("{\"half".into())),
            ]
        );
    }

    proptest! {
        #[test]
        fn nothing_is_lost_however_it_is_read(
            lines in proptest::collection::vec("[a{ é\\t}]{0,8}", 0..8), sizes in proptest::collection::vec(1usize..7, 1..20)
        ) {
            let whole = lines.join("\n");
            let mut reads = Vec::new();
            let mut rest = whole.as_bytes();
            let mut sizes = sizes.iter().cycle();
            while !rest.is_empty() {
                let (read, more) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                reads.push(read);
                rest = more;
            }
            let found = cut(&reads, 1000);
            let objects: Vec<&str> = found.iter().filter_map(|piece| match piece {
                Piece::Object(text) => Some(text.trim()),
                _ => None,
            }).collect();
            let expected: Vec<&str> =
                whole.split('\n').filter(|line| line.trim_start_matches([' ', '\t']).starts_with('{')).map(str::trim).collect();
            prop_assert_eq!(objects, expected);
            let again: String = found.iter().map(|piece| match piece {
                Piece::Text(text) | Piece::Object(text) => text.as_str(),
                Piece::Line(_) => "",
            }).collect();
            prop_assert_eq!(again, whole);
        }
    }
}
