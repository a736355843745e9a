//! The ends of lines: as git keeps them, and as a checkout is to have them. Pure, but for a look at the
//! attributes and the configuration of a repository.

use std::path::Path;

use git2::{AttrCheckFlags, AttrValue, Repository};

use super::source::Source;

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

/// How the lines of a new file are to end, by its attributes and the configuration.
pub(super) fn configured(source: &Source<'_>, path: &Path, content: &[u8]) -> Eol {
    let Some(repo) = &source.repo else { return Eol::AsKept };
    if memchr::memchr(0, content).is_some() || memchr::memchr(b'\r', content).is_some() {
        return Eol::AsKept;
    }
    if wants_crlf(repo, path) { Eol::CrLf } else { Eol::AsKept }
}

fn wants_crlf(repo: &Repository, path: &Path) -> bool {
    let attribute = |name: &str| {
        // What cannot be read asks for nothing.
        let value = repo.get_attr(path, name, AttrCheckFlags::default()).ok().flatten();
        match AttrValue::from_string(value) {
            AttrValue::True => Some("set".to_owned()),
            AttrValue::False => Some("unset".to_owned()),
            AttrValue::String(text) => Some(text.to_owned()),
            AttrValue::Bytes(_) | AttrValue::Unspecified => None,
        }
    };
    let text = attribute("text").or_else(|| attribute("crlf"));
    if text.as_deref() == Some("unset") {
        return false;
    }
    match attribute("eol").as_deref() {
        Some("crlf") => return true,
        Some("lf") => return false,
        _ => {}
    }
    let config = repo.config().and_then(|mut config| config.snapshot());
    let said = |key: &str| config.as_ref().ok().and_then(|config| config.get_string(key).ok());
    let auto_crlf = said("core.autocrlf").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let eol_crlf = text.is_some() && said("core.eol").is_some_and(|value| value.eq_ignore_ascii_case("crlf"));
    auto_crlf || eol_crlf
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
