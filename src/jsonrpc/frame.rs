//! Cuts a stream of bytes into lines, within a bound; a line that cannot be used is an item too.
//!
//! Errors are items because `FramedRead` ends its stream after a decoder's error, and one bad line
//! of an agent must not end its connection. Does not parse JSON.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio_util::codec::Decoder;

/// A buffer that grew past this for one line is given back after it.
const KEEP_BYTES: usize = 256 * 1024;
/// What a buffer begins with.
const FIRST_BYTES: usize = 8 * 1024;

/// One line, or what was wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A line that is UTF-8, without its end and the blanks around it; never empty.
    Line(Bytes),
    /// A line that was longer than the limit; it was skipped without being held.
    TooLong {
        /// Its length, in bytes.
        bytes: u64,
    },
    /// A line that is not UTF-8.
    Invalid {
        /// Its bytes, without its end and the blanks around it.
        line: Bytes,
    },
}

impl Frame {
    /// The bytes that it holds in memory.
    pub fn held_bytes(&self) -> usize {
        match self {
            Self::Line(line) | Self::Invalid { line } => line.len(),
            Self::TooLong { .. } => 0,
        }
    }
}

/// Decodes newline-delimited frames of at most `line_bytes_max` bytes.
#[derive(Debug)]
pub struct Ndjson {
    line_bytes_max: usize,
    /// How much of the buffer is known to hold no newline.
    scanned: usize,
    /// The bytes of a too long line that were dropped so far.
    skipped: Option<u64>,
}

impl Ndjson {
    /// A decoder for lines of at most `line_bytes_max` bytes, not counting their end.
    pub fn new(line_bytes_max: usize) -> Self {
        Self { line_bytes_max, scanned: 0, skipped: None }
    }

    /// Takes the line that ends at `end` (a newline there, or the end of the stream).
    fn take(&mut self, src: &mut BytesMut, end: usize, ended_by_newline: bool) -> Option<Frame> {
        let line = src.split_to(end);
        if ended_by_newline {
            drop(src.split_to(1));
        }
        self.scanned = 0;
        if let Some(dropped) = self.skipped.take() {
            return Some(Frame::TooLong { bytes: dropped + line.len() as u64 });
        }
        if line.len() > KEEP_BYTES {
            *src = fresh_from(src);
        }
        classify(line, self.line_bytes_max)
    }
}

/// The same bytes in a buffer of their own, so that a large one can be given back.
fn fresh_from(src: &BytesMut) -> BytesMut {
    let mut fresh = BytesMut::with_capacity(FIRST_BYTES.max(src.len()));
    fresh.extend_from_slice(src);
    fresh
}

/// `None` for a blank line.
fn classify(line: BytesMut, line_bytes_max: usize) -> Option<Frame> {
    if line.len() > line_bytes_max {
        return Some(Frame::TooLong { bytes: line.len() as u64 });
    }
    let line = line.freeze();
    let trimmed = line.trim_ascii();
    if trimmed.is_empty() {
        None
    } else if std::str::from_utf8(trimmed).is_err() {
        Some(Frame::Invalid { line: line.slice_ref(trimmed) })
    } else {
        Some(Frame::Line(line.slice_ref(trimmed)))
    }
}

impl Decoder for Ndjson {
    type Item = Frame;
    type Error = io::Error;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, io::Error> {
        loop {
            if let Some(at) = memchr::memchr(b'\n', &src[self.scanned..]) {
                let end = self.scanned + at;
                match self.take(src, end, true) {
                    Some(frame) => return Ok(Some(frame)),
                    None => continue,
                }
            }
            if self.skipped.is_some() || src.len() > self.line_bytes_max {
                *self.skipped.get_or_insert(0) += src.len() as u64;
                if src.len() > KEEP_BYTES {
                    *src = BytesMut::with_capacity(FIRST_BYTES);
                }
                src.clear();
            }
            self.scanned = src.len();
            return Ok(None);
        }
    }

    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, io::Error> {
        if let Some(frame) = self.decode(src)? {
            return Ok(Some(frame));
        }
        if src.is_empty() && self.skipped.is_none() {
            return Ok(None);
        }
        let end = src.len();
        Ok(self.take(src, end, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds the pieces one after the other, as reads of a pipe would.
    fn decode(pieces: &[&[u8]], line_bytes_max: usize) -> (Vec<Frame>, usize) {
        let mut decoder = Ndjson::new(line_bytes_max);
        let mut buffer = BytesMut::new();
        let mut frames = Vec::new();
        let mut held_max = 0;
        for piece in pieces {
            buffer.extend_from_slice(piece);
            while let Some(frame) = decoder.decode(&mut buffer).unwrap() {
                frames.push(frame);
            }
            held_max = held_max.max(buffer.len());
        }
        while let Some(frame) = decoder.decode_eof(&mut buffer).unwrap() {
            frames.push(frame);
        }
        (frames, held_max)
    }

    fn line(text: &'static str) -> Frame {
        Frame::Line(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn blank_lines_and_carriage_returns_are_no_frames() {
        let (frames, _) = decode(&[b"\n \r\n{\"a\":1}\r\n\n{}"], 100);
        assert_eq!(frames, [line("{\"a\":1}"), line("{}")]);
    }

    #[test]
    fn a_line_of_exactly_the_limit_passes_and_one_more_byte_does_not() {
        let (frames, _) = decode(&[b"12345\n123456\n1234567"], 6);
        assert_eq!(frames, [line("12345"), line("123456"), Frame::TooLong { bytes: 7 }]);
    }

    #[test]
    fn a_long_line_is_skipped_without_being_held() {
        let piece = vec![b'x'; 1000];
        let mut pieces = vec![piece.as_slice(); 1000];
        pieces.push(b"\n{}\n");
        let (frames, held_max) = decode(&pieces, 5000);
        assert_eq!(frames, [Frame::TooLong { bytes: 1_000_000 }, line("{}")]);
        assert!(held_max <= 5000, "held {held_max}");
    }

    #[test]
    fn invalid_utf8_costs_only_its_own_line() {
        let (frames, _) = decode(&[b"{}\n\xff\xfe\n{}\n"], 100);
        assert_eq!(
            frames,
            [line("{}"), Frame::Invalid { line: Bytes::from_static(b"\xff\xfe") }, line("{}")]
        );
    }

    #[test]
    fn half_a_line_at_the_end_is_told() {
        let (frames, _) = decode(&[b"{}\n{\"half\":"], 100);
        assert_eq!(frames, [line("{}"), line("{\"half\":")]);
    }

    #[test]
    fn a_large_buffer_is_given_back_after_its_line() {
        let mut decoder = Ndjson::new(8 << 20);
        let mut buffer = BytesMut::from(&vec![b'x'; 4 << 20][..]);
        buffer.extend_from_slice(b"\nrest");
        assert!(decoder.decode(&mut buffer).unwrap().is_some());
        assert_eq!(&buffer[..], b"rest");
        assert!(buffer.capacity() <= KEEP_BYTES, "kept {}", buffer.capacity());
    }

    /// Lines of every sort: text, blanks, broken UTF-8, too long.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let line = prop_oneof![
            "[ -~]{0,12}".prop_map(String::into_bytes),
            "\\PC{0,6}".prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..6),
            (20usize..60).prop_map(|n| vec![b'y'; n]),
            Just(vec![]),
        ];
        (proptest::collection::vec(line, 0..12), any::<bool>()).prop_map(|(lines, newline)| {
            let mut bytes = lines.join(&b'\n');
            if newline {
                bytes.push(b'\n');
            }
            bytes
        })
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_frames(bytes in stream(), cuts in proptest::collection::vec(1usize..9, 1..40)) {
            let (whole, _) = decode(&[&bytes], 16);
            let mut pieces = Vec::new();
            let mut rest = &bytes[..];
            let mut sizes = cuts.iter().cycle();
            while !rest.is_empty() {
                let (piece, more) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                pieces.push(piece);
                rest = more;
            }
            let (pieced, held_max) = decode(&pieces, 16);
            prop_assert_eq!(whole, pieced);
            prop_assert!(held_max <= 16);
        }

        #[test]
        fn a_short_clean_line_always_arrives_whatever_comes_before_it(noise in stream()) {
            let mut bytes = noise;
            bytes.extend_from_slice(b"\n{\"ok\":1}\n");
            let (frames, _) = decode(&[&bytes], 16);
            prop_assert_eq!(frames.last(), Some(&line("{\"ok\":1}")));
        }
    }
}
