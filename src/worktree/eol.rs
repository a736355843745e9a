//! The ends of lines: as git keeps them, and as a checkout has them. Pure.

/// How lines end in a checkout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Eol {
    /// As git keeps them.
    AsKept,
    /// With a carriage return, which git leaves out.
    CrLf,
}

/// How the lines of a file of the checkout end, beside the content that git keeps of it.
pub(super) fn of(checkout: &[u8], kept: &[u8]) -> Eol {
    let has_crlf = memchr::memmem::find(checkout, b"\r\n").is_some();
    let is_all = has_crlf && to_crlf(&to_lf(checkout)) == checkout;
    if is_all && memchr::memchr(b'\r', kept).is_none() { Eol::CrLf } else { Eol::AsKept }
}

/// Every line with a line feed alone.
pub(super) fn to_lf(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for (n, byte) in text.iter().enumerate() {
        if *byte != b'\r' || text.get(n + 1) != Some(&b'\n') {
            out.push(*byte);
        }
    }
    out
}

/// Every line with both.
pub(super) fn to_crlf(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 32);
    for (n, byte) in text.iter().enumerate() {
        if *byte == b'\n' && (n == 0 || text[n - 1] != b'\r') {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_whose_every_line_has_both_is_taken_for_converted() {
        assert_eq!(of(b"a\r\nb\r\n", b"a\nb\n"), Eol::CrLf);
        assert_eq!(of(b"a\r\nb\n", b"a\nb\n"), Eol::AsKept);
        assert_eq!(of(b"a\r\n", b"a\r\n"), Eol::AsKept);
        assert_eq!(of(b"a\nb\n", b"a\nb\n"), Eol::AsKept);
        assert_eq!(of(b"", b""), Eol::AsKept);
    }

    #[test]
    fn both_ways_are_each_others_inverse() {
        for text in [&b"a\nb\n"[..], b"", b"no end", b"\n\n"] {
            assert_eq!(to_lf(&to_crlf(text)), text);
        }
        assert_eq!(to_lf(b"a\rb\r\n"), b"a\rb\n");
    }
}
