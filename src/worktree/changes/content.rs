//! What an apply compares, merges and writes: contents as the user's checkout has them, beside what git
//! keeps of them.

use std::path::Path;

use super::apply::Target;
use super::disk::{Found, stamp};
use super::swap::Wanted;
use super::text::{is_binary, merged};
use crate::worktree::carry::Entry;
use crate::worktree::compare::same_content;
use crate::worktree::convert::Converter;
use crate::worktree::eol::{self, Eol};
use crate::worktree::error::WorktreeError;
use crate::worktree::large;
use crate::worktree::objects::{EXECUTABLE, FILE, GITLINK, LINK};

impl Target<'_> {
    /// Whether what is on the disk is what git has, as the checkout would have it.
    pub(super) fn is_same(&self, path: &Path, found: &Found, entry: &Entry) -> Result<bool, WorktreeError> {
        Ok(match found {
            Found::File { bytes, executable } if matches!(entry.mode, FILE | EXECUTABLE) => {
                let is_mode = !self.written.modes || (entry.mode == EXECUTABLE) == *executable;
                is_mode && self.is_same_content(path, bytes, entry)?
            }
            Found::File { bytes, .. } if entry.mode == LINK && !self.written.links => {
                *bytes == self.objects.blob(&entry.object)?
            }
            Found::Link(target) if entry.mode == LINK => *target == self.objects.blob(&entry.object)?,
            _ => false,
        })
    }

    fn is_same_content(&self, path: &Path, bytes: &[u8], entry: &Entry) -> Result<bool, WorktreeError> {
        let blob = self.objects.blob(&entry.object)?;
        Ok(bytes == blob
            || eol::of(bytes, &blob) == Eol::CrLf && eol::to_lf(bytes) == blob
            || self.is_large_copy(path, &blob)
            || Converter::of(self.checkout).is_kept_as(path, bytes, (&entry.object, &blob))?)
    }

    /// Whether the checkout has a copy of a large file already.
    fn is_large_copy(&self, path: &Path, blob: &[u8]) -> bool {
        let theirs = self.known.path.join(path);
        large::pointer(&theirs).as_deref() == Some(blob) && same_content(&theirs, &self.known.top.join(path))
    }

    /// A new content as it is to be in the checkout.
    pub(super) fn wanted(
        &self,
        path: &Path,
        entry: &Entry,
        found: &Found,
    ) -> Result<Result<Wanted, String>, WorktreeError> {
        let bytes = self.objects.blob(&entry.object)?;
        if entry.mode == LINK && !self.written.links {
            return Ok(Ok(Wanted::File { bytes, executable: false }));
        }
        if entry.mode == LINK {
            return Ok(Ok(Wanted::Link(bytes)));
        }
        if entry.mode == GITLINK {
            return Ok(Err("it is a submodule now".to_owned()));
        }
        if large::size_of(&bytes).is_some() {
            let from = self.known.path.join(path);
            let seen = stamp(&from);
            return Ok(if large::pointer(&from).as_deref() == Some(&bytes[..]) {
                Ok(Wanted::Copy { from, seen })
            } else {
                Err("it is too large to be kept, and was changed since it was listed".to_owned())
            });
        }
        let before = match found {
            Found::File { bytes, .. } => Some(&bytes[..]),
            _ => None,
        };
        self.written_file(path, (&entry.object, bytes), before, entry.mode == EXECUTABLE)
    }

    fn written_file(
        &self,
        path: &Path,
        kept: (&str, Vec<u8>),
        before: Option<&[u8]>,
        executable: bool,
    ) -> Result<Result<Wanted, String>, WorktreeError> {
        let converter = Converter::by_attributes_of(self.checkout, self.attributes.clone());
        Ok(match converter.written(path, kept, before)? {
            Ok(bytes) => Ok(Wanted::File { bytes, executable }),
            Err(why) => Err(why.to_string()),
        })
    }

    /// Both changes in one file, if they are in different places.
    pub(super) fn merged(
        &self,
        (path, found): (&Path, &Found),
        base: &Entry,
        theirs: &Entry,
    ) -> Result<Result<Wanted, String>, WorktreeError> {
        let both_changed = || Ok(Err("it was changed in the checkout as well".to_owned()));
        let Found::File { bytes: ours, executable } = found else {
            return Ok(Err(match found {
                Found::Nothing => "it was deleted in the checkout".to_owned(),
                _ => "something else is there in the checkout".to_owned(),
            }));
        };
        let is_file = |entry: &Entry| matches!(entry.mode, FILE | EXECUTABLE);
        if !is_file(base) || !is_file(theirs) {
            return both_changed();
        }
        let (base_text, their_text) = (self.objects.blob(&base.object)?, self.objects.blob(&theirs.object)?);
        let our_text = Converter::of(self.checkout).kept(path, ours, &base_text)?;
        let is_large = |bytes: &[u8]| large::size_of(bytes).is_some();
        if [&base_text, &their_text, &our_text].iter().any(|bytes| is_binary(bytes) || is_large(bytes)) {
            return both_changed();
        }
        let failed = |error| WorktreeError::git("merge two changes", Path::new("a file"), &error);
        let Some(text) = merged(&base_text, &our_text, &their_text).map_err(failed)? else {
            return Ok(Err("it was changed at the same place in the checkout".to_owned()));
        };
        let their_mode = (base.mode != theirs.mode).then_some(theirs.mode == EXECUTABLE);
        let executable = their_mode.unwrap_or(*executable);
        let both = self.objects.write_blob(&text)?;
        self.written_file(path, (&both, text), Some(ours), executable)
    }
}
