//! What a checkout has of a file, and what git keeps of it: with other ends of lines, in another encoding,
//! with its own name in it, or through a filter. What git does on the way to the disk, git undoes: the
//! program is asked for it wherever a plain look at the ends of lines is not enough. So are the person's
//! filters run, by git, as the person's git would; none is while a setting is there that can run a program
//! and was not when the repository was first seen.

use std::path::Path;

use git2::{AttrCheckFlags, AttrValue, Config, Repository};

use super::eol::{self, Eol};
use super::error::WorktreeError;
use super::facts;
use super::git_program::Call;
use super::objects::Objects;
use super::source::{Source, bytes_of, path_from};

/// Attributes that say how git converts a file (gitattributes(5)).
const NAMES: [&str; 6] = ["text", "crlf", "eol", "ident", "working-tree-encoding", "filter"];

/// Converts for one checkout.
pub(super) struct Converter<'a> {
    source: &'a Source<'a>,
    /// The tree whose attributes hold; `None` for those of the checkout.
    attributes: Option<String>,
}

/// Whether one of some paths says which attributes hold.
pub(super) fn brings_attributes<'p>(mut paths: impl Iterator<Item = &'p Path>) -> bool {
    paths.any(|path| path.file_name().is_some_and(|name| name == ".gitattributes"))
}

/// The value of an attribute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Value {
    /// Nothing is said.
    #[default]
    Unspecified,
    Set,
    Unset,
    Text(String),
}

/// What attributes and settings ask for a file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    filter: Option<String>,
    has_ident: bool,
    encoding: Option<String>,
    /// Lines end with both in the checkout.
    crlf: bool,
    /// Ends of lines are made alike on the way to git.
    is_text: bool,
}

/// What holds for all files of a checkout.
#[derive(Debug, Default, PartialEq, Eq)]
struct Settings {
    auto_crlf: Option<String>,
    eol: Option<String>,
}

impl Asked {
    /// Decides by the attributes in the order of [`NAMES`], and the settings. Pure.
    fn by([text, crlf, eol, ident, encoding, filter]: [Value; 6], settings: &Settings) -> Self {
        let word = |value: Value| match value {
            Value::Text(text) => Some(text),
            Value::Unspecified | Value::Set | Value::Unset => None,
        };
        // `crlf` is how `text` was called before; `crlf=input` is `text eol=lf`.
        let is_input = crlf == Value::Text("input".to_owned());
        let text = if text == Value::Unspecified { crlf } else { text };
        let is = |value: &Option<String>, wanted: &str| {
            value.as_ref().is_some_and(|value| value.eq_ignore_ascii_case(wanted))
        };
        let eol = word(eol);
        let has_auto_crlf = is(&settings.auto_crlf, "true") || is(&settings.auto_crlf, "input");
        let is_text = text != Value::Unset && (text != Value::Unspecified || eol.is_some() || has_auto_crlf);
        let crlf = is_text
            && match eol.as_deref() {
                Some("crlf") => true,
                Some("lf") => false,
                _ if is_input || is(&settings.auto_crlf, "input") => false,
                _ => is(&settings.auto_crlf, "true") || is(&settings.eol, "crlf"),
            };
        Self { filter: word(filter), has_ident: ident == Value::Set, encoding: word(encoding), crlf, is_text }
    }

    /// Whether a file of the checkout can be another than what git keeps.
    fn changes_on_the_way_in(&self, bytes: &[u8]) -> bool {
        self.filter.is_some()
            || self.has_ident
            || self.encoding.is_some()
            || self.is_text && memchr::memchr(b'\r', bytes).is_some()
    }

    fn changes_on_the_way_out(&self) -> bool {
        self.filter.is_some() || self.has_ident || self.encoding.is_some() || self.crlf
    }
}

/// Why a file is not written.
#[derive(Debug)]
pub(super) enum Refused {
    /// It goes through a filter, which needs the program.
    Filter(String),
    /// It goes through a filter, and a setting appeared that an agent may have planted.
    Planted { filter: String, setting: String },
    /// That needs the program.
    Encoding(String),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Filter(name) => {
                write!(
                    f,
                    "it goes through the filter `{name}`, which needs the `git` program, and there is none"
                )
            }
            Self::Planted { filter, setting } => write!(
                f,
                "it goes through the filter `{filter}`, which is not run: the setting `{setting}` appeared after \
                 hob first saw the repository and is not trusted"
            ),
            Self::Encoding(name) => {
                write!(f, "it is in the encoding `{name}`, which needs the `git` program, and there is none")
            }
        }
    }
}

impl<'a> Converter<'a> {
    /// For a checkout, by its own attributes.
    pub(super) fn of(source: &'a Source<'a>) -> Self {
        Self { source, attributes: None }
    }

    /// The same by the attributes of a tree, which the checkout will have.
    pub(super) fn by_attributes_of(source: &'a Source<'a>, tree: Option<String>) -> Self {
        Self { source, attributes: tree }
    }

    /// The checkout.
    pub(super) fn source(&self) -> &'a Source<'a> {
        self.source
    }

    /// Whether git would keep this blob of a file of the checkout, which has other bytes.
    pub(super) fn is_kept_as(
        &self,
        path: &Path,
        bytes: &[u8],
        (object, blob): (&str, &[u8]),
    ) -> Result<bool, WorktreeError> {
        let asked = self.asked(path)?;
        // Told without the program, since it is so for every text of some repositories.
        let is_crlf = asked.crlf && eol::of(bytes, blob) == Eol::CrLf;
        let plain = if is_crlf { eol::to_lf(bytes) } else { bytes.to_vec() };
        if plain == blob || asked.has_ident && without_names(&plain) == blob {
            return Ok(true);
        }
        Ok(self.hashed(&asked, (path, bytes), false)?.as_deref() == Some(object))
    }

    /// What git would keep of a file of the checkout. It is written as `git add` writes it.
    pub(super) fn kept(&self, path: &Path, bytes: &[u8], like: &[u8]) -> Result<Vec<u8>, WorktreeError> {
        if let Some(name) = self.hashed(&self.asked(path)?, (path, bytes), true)? {
            return Objects::of(self.source).blob(&name);
        }
        Ok(if eol::of(bytes, like) == Eol::CrLf { eol::to_lf(bytes) } else { bytes.to_vec() })
    }

    /// The name of what git would keep, where that is another than the file itself.
    fn hashed(
        &self,
        asked: &Asked,
        (path, bytes): (&Path, &[u8]),
        is_to_write: bool,
    ) -> Result<Option<String>, WorktreeError> {
        let Ok(git) = &self.source.git else { return Ok(None) };
        let is_planted = asked.filter.is_some() && self.source.unrecorded.is_some();
        if is_planted || !asked.changes_on_the_way_in(bytes) {
            return Ok(None);
        }
        let mut call = self.call(&["hash-object", "--stdin"]);
        call.args.extend(is_to_write.then(|| "-w".into()));
        call.args.push(path_from([b"--path=", bytes_of(path)].concat()).into_os_string());
        call.stdin = bytes.to_vec();
        if asked.filter.is_some() {
            // What a filter refuses is not to be kept unfiltered: it may be a secret.
            return git.line(&call).map(|out| Some(String::from_utf8_lossy(&out).into_owned()));
        }
        // What cannot be converted stays as it is.
        Ok(git.probe(&call)?.map(|out| String::from_utf8_lossy(&out).trim().to_owned()))
    }

    /// A blob as it is to be in the checkout, where `before` is now.
    pub(super) fn written(
        &self,
        path: &Path,
        (object, blob): (&str, Vec<u8>),
        before: Option<&[u8]>,
    ) -> Result<Result<Vec<u8>, Refused>, WorktreeError> {
        let asked = self.asked(path)?;
        if let (Some(filter), Some(setting)) = (&asked.filter, &self.source.unrecorded) {
            return Ok(Err(Refused::Planted { filter: filter.clone(), setting: setting.clone() }));
        }
        if asked.changes_on_the_way_out() {
            if let Ok(git) = &self.source.git {
                let mut call = self.call(&["cat-file", "--filters"]);
                call.args.push(path_from([b"--path=", bytes_of(path)].concat()).into_os_string());
                call.args.push(object.into());
                return git.run(&call).map(Ok);
            }
            if let Some(filter) = asked.filter {
                return Ok(Err(Refused::Filter(filter)));
            }
            if let Some(encoding) = asked.encoding {
                return Ok(Err(Refused::Encoding(encoding)));
            }
        }
        let has_both = match before {
            Some(before) => eol::of(before, &eol::to_lf(before)) == Eol::CrLf,
            None => asked.crlf && memchr::memchr2(0, b'\r', &blob).is_none(),
        };
        Ok(Ok(if has_both { eol::to_crlf(&blob) } else { blob }))
    }

    fn call(&self, args: &[&str]) -> Call<'_> {
        let mut call = self.source.call(args);
        // Older programs do not know it, and read those of the checkout.
        call.env.extend(self.attributes.clone().map(|tree| ("GIT_ATTR_SOURCE", tree.into())));
        call
    }

    fn asked(&self, path: &Path) -> Result<Asked, WorktreeError> {
        let (values, config) = match (&self.source.repo, &self.attributes) {
            (Some(repo), None) => {
                let failed =
                    |error: git2::Error| WorktreeError::git("read the attributes", &self.source.top, &error);
                let config = repo.config().and_then(|mut config| config.snapshot()).map_err(failed)?;
                (by_libgit2(repo, path).map_err(failed)?, Some(config))
            }
            (repo, _) if self.source.git.is_ok() => {
                let config = repo.as_ref().and_then(|repo| repo.config().ok()?.snapshot().ok());
                (self.by_program(path)?, config)
            }
            // Those that will hold cannot be read.
            (Some(_), Some(_)) => return Self::of(self.source).asked(path),
            (None, _) => return Err(self.source.program().err().unwrap_or_else(|| self.source.no_commit())),
        };
        let settings = match &config {
            Some(config) => {
                let said = |key: &str| config.get_string(key).ok();
                Settings { auto_crlf: said("core.autocrlf"), eol: said("core.eol") }
            }
            None => {
                let said = |key: &str| -> Result<Option<String>, WorktreeError> {
                    let out = self.source.program()?.probe(&self.source.call(&["config", "--get", key]))?;
                    Ok(out.map(|out| String::from_utf8_lossy(&out).trim().to_owned()))
                };
                Settings { auto_crlf: said("core.autocrlf")?, eol: said("core.eol")? }
            }
        };
        let mut asked = Asked::by(values, &settings);
        // One that nobody configured is none.
        asked.filter = asked.filter.filter(|name| self.is_driver(config.as_ref(), name));
        Ok(asked)
    }

    fn is_driver(&self, config: Option<&Config>, name: &str) -> bool {
        match config {
            Some(config) => facts::is_driver(config, name),
            // With the program everything that is named counts.
            None => true,
        }
    }

    fn by_program(&self, path: &Path) -> Result<[Value; 6], WorktreeError> {
        let mut call = self.source.call(&["check-attr", "-z", "--stdin"]);
        call.args.extend(self.attributes.as_ref().map(|tree| format!("--source={tree}").into()));
        call.args.extend(NAMES.map(Into::into));
        call.stdin = [bytes_of(path), b"\0"].concat();
        let told = self.source.program()?.run(&call)?;
        // The path, the attribute, its value, of each.
        let words: Vec<&[u8]> = told.split(|byte| *byte == 0).collect();
        let value = |n: usize| match words.get(3 * n + 2) {
            None | Some(&b"unspecified" | &b"") => Value::Unspecified,
            Some(&b"set") => Value::Set,
            Some(&b"unset") => Value::Unset,
            Some(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        };
        Ok([0, 1, 2, 3, 4, 5].map(value))
    }
}

/// A text without the names that git wrote into it: `$Id: NAME $` is `$Id$` to git (gitattributes(5)).
fn without_names(text: &[u8]) -> Vec<u8> {
    const START: &[u8] = b"$Id: ";
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some(at) = memchr::memmem::find(rest, START) {
        let after = &rest[at + START.len()..];
        out.extend_from_slice(&rest[..at]);
        match memchr::memchr2(b'$', b'\n', after) {
            Some(end) if after[end] == b'$' => {
                out.extend_from_slice(b"$Id$");
                rest = &after[end + 1..];
            }
            _ => {
                out.extend_from_slice(START);
                rest = after;
            }
        }
    }
    out.extend_from_slice(rest);
    out
}

fn by_libgit2(repo: &Repository, path: &Path) -> Result<[Value; 6], git2::Error> {
    let mut values: [Value; 6] = Default::default();
    for (value, name) in values.iter_mut().zip(NAMES) {
        *value = match AttrValue::from_string(repo.get_attr(path, name, AttrCheckFlags::default())?) {
            AttrValue::True => Value::Set,
            AttrValue::False => Value::Unset,
            AttrValue::String(text) => Value::Text(text.to_owned()),
            AttrValue::Bytes(bytes) => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
            AttrValue::Unspecified => Value::Unspecified,
        };
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(attributes: &[(&str, Value)], auto_crlf: Option<&str>, eol: Option<&str>) -> Asked {
        let value = |name: &str| {
            let found = attributes.iter().find(|(one, _)| *one == name);
            found.map_or(Value::Unspecified, |(_, value)| value.clone())
        };
        let settings = Settings { auto_crlf: auto_crlf.map(str::to_owned), eol: eol.map(str::to_owned) };
        Asked::by(NAMES.map(value), &settings)
    }

    fn text(value: &str) -> Value {
        Value::Text(value.to_owned())
    }

    #[test]
    fn lines_end_with_both_where_git_would_write_both() {
        let both = |attributes: &[(&str, Value)], auto_crlf, eol| asked(attributes, auto_crlf, eol).crlf;
        assert!(!both(&[], None, None) && !both(&[], None, Some("crlf")));
        assert!(both(&[], Some("true"), None) && both(&[], Some("TRUE"), Some("lf")));
        assert!(!both(&[], Some("input"), Some("crlf")));
        assert!(both(&[("eol", text("crlf"))], None, None));
        assert!(!both(&[("eol", text("lf"))], Some("true"), None));
        assert!(both(&[("text", text("auto"))], None, Some("crlf")));
        assert!(!both(&[("text", Value::Unset), ("eol", text("crlf"))], Some("true"), None));
        assert!(!both(&[("crlf", text("input"))], Some("true"), None));
        assert!(both(&[("crlf", Value::Set)], Some("true"), None));
        assert!(!both(&[("crlf", Value::Unset)], Some("true"), None));
    }

    #[test]
    fn names_are_taken_out_as_git_takes_them_out() {
        for (written, kept) in [
            (&b"a $Id: 4d49e4 $ b"[..], &b"a $Id$ b"[..]),
            (b"$Id: x $$Id: y $", b"$Id$$Id$"),
            (b"$Id$ $Id", b"$Id$ $Id"),
            (b"$Id: no end\n$", b"$Id: no end\n$"),
            (b"$Id: no end", b"$Id: no end"),
        ] {
            assert_eq!(without_names(written), kept);
        }
    }

    #[test]
    fn what_git_keeps_is_asked_for_only_where_it_can_be_another() {
        let plain = asked(&[], None, None);
        assert!(!plain.changes_on_the_way_in(b"a\r\n") && !plain.changes_on_the_way_out());
        let auto = asked(&[("text", text("auto"))], None, None);
        assert!(auto.changes_on_the_way_in(b"a\r\n") && !auto.changes_on_the_way_in(b"a\n"));
        assert!(!auto.changes_on_the_way_out());
        let wide = asked(&[("working-tree-encoding", text("UTF-16"))], None, None);
        assert!(wide.changes_on_the_way_in(b"a") && wide.changes_on_the_way_out());
        let named = asked(&[("ident", Value::Set)], None, None);
        assert!(named.changes_on_the_way_in(b"a") && named.changes_on_the_way_out());
    }
}
