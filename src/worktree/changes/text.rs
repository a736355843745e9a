//! Texts, line by line: the hunks between two of them, and one with some of the hunks taken over.
//! Pure: bytes in, bytes out.

use git2::{DiffOptions, MergeFileInput, MergeFileOptions, Patch, merge_file};
use sha2::{Digest, Sha256};

/// Unchanged lines around a hunk, as git shows them.
pub(super) const CONTEXT_LINES: u32 = 3;
/// How much of a file git looks at to tell text from anything else.
const BINARY_LOOK_BYTES: usize = 8_000;
/// Texts of more bytes have no hunks: they go whole.
pub(super) const TEXT_BYTES_MAX: usize = 8 << 20;
/// Hexadecimal characters in the name of a hunk.
const ID_CHARS: usize = 10;

/// What becomes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays.
    Kept,
    /// It comes.
    Added,
    /// It goes.
    Removed,
}

/// A hunk with its lines; positions count from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HunkText {
    /// Where it begins in the old text.
    pub(super) old_at: usize,
    /// How many old lines it covers.
    pub(super) old_lines: usize,
    /// Where it begins in the new text.
    pub(super) new_at: usize,
    /// As git writes it.
    pub(super) header: String,
    /// The lines, each with its end.
    pub(super) lines: Vec<(Fate, Vec<u8>)>,
}

impl HunkText {
    /// How many lines have this fate.
    pub(super) fn count(&self, fate: Fate) -> u64 {
        self.lines.iter().filter(|(found, _)| *found == fate).count() as u64
    }
}

/// Whether git would take it for anything but text.
pub(in crate::worktree) fn is_binary(bytes: &[u8]) -> bool {
    memchr::memchr(0, &bytes[..bytes.len().min(BINARY_LOOK_BYTES)]).is_some()
}

/// The merge of three texts; `None` if they conflict.
pub(in crate::worktree) fn merged(
    base: &[u8],
    ours: &[u8],
    theirs: &[u8],
) -> Result<Option<Vec<u8>>, git2::Error> {
    let input = |bytes| {
        let mut input = MergeFileInput::new();
        input.content(bytes);
        input
    };
    let mut options = MergeFileOptions::new();
    options.style_standard(true);
    let (base, ours, theirs) = (input(base), input(ours), input(theirs));
    let merged = merge_file(&base, &ours, &theirs, Some(&mut options))?;
    Ok(merged.is_automergeable().then(|| merged.content().to_vec()))
}

/// The lines of a text, each with its end.
pub(super) fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

/// The hunks between two texts, with so many unchanged lines around each.
pub(super) fn hunks(old: &[u8], new: &[u8], context: u32) -> Result<Vec<HunkText>, git2::Error> {
    let mut options = DiffOptions::new();
    options.context_lines(context).interhunk_lines(0).force_text(true).indent_heuristic(true);
    let patch = Patch::from_buffers(old, None, new, None, Some(&mut options))?;
    let mut found = Vec::with_capacity(patch.num_hunks());
    for n in 0..patch.num_hunks() {
        let (hunk, n_lines) = patch.hunk(n)?;
        // Without lines on one side, the position is that of the line before.
        let at = |start: u32, lines: u32| (start as usize).saturating_sub(usize::from(lines > 0));
        let mut lines = Vec::with_capacity(n_lines);
        for m in 0..n_lines {
            let line = patch.line_in_hunk(n, m)?;
            let fate = match line.origin() {
                '+' => Fate::Added,
                '-' => Fate::Removed,
                ' ' => Fate::Kept,
                // Says only that a line has no end, which the line itself shows.
                _ => continue,
            };
            lines.push((fate, line.content().to_vec()));
        }
        found.push(HunkText {
            old_at: at(hunk.old_start(), hunk.old_lines()),
            old_lines: hunk.old_lines() as usize,
            new_at: at(hunk.new_start(), hunk.new_lines()),
            header: String::from_utf8_lossy(hunk.header()).trim_end().to_owned(),
            lines,
        });
    }
    Ok(found)
}

/// The old text with these of its hunks taken over.
pub(super) fn with_hunks(old: &[u8], hunks: &[&HunkText]) -> Vec<u8> {
    let old = lines(old);
    let (mut text, mut at) = (Vec::new(), 0);
    for hunk in hunks {
        text.extend(old[at..hunk.old_at].iter().flat_map(|line| line.iter()));
        let new = hunk.lines.iter().filter(|(fate, _)| *fate != Fate::Removed);
        text.extend(new.flat_map(|(_, line)| line.iter()));
        at = hunk.old_at + hunk.old_lines;
    }
    text.extend(old[at..].iter().flat_map(|line| line.iter()));
    text
}

/// Names for the hunks of a file: each stays the same for as long as its lines do, wherever in the
/// file they move. One of several that are equal has their number in its name, so that the name means
/// none of them any more when there are fewer.
pub(super) fn ids(path: &str, hunks: &[HunkText]) -> Vec<String> {
    let digests: Vec<[u8; 32]> = hunks.iter().map(|hunk| digest(path, hunk)).collect();
    let id = |(n, digest): (usize, &[u8; 32])| {
        let mut id = data_encoding::HEXLOWER.encode(digest);
        id.truncate(ID_CHARS);
        let is_equal = |other: &&[u8; 32]| *other == digest;
        match digests.iter().filter(is_equal).count() {
            1 => format!("h-{id}"),
            n_all => {
                format!("h-{id}-{}of{n_all}", digests[..=n].iter().filter(is_equal).count())
            }
        }
    };
    digests.iter().enumerate().map(id).collect()
}

fn digest(path: &str, hunk: &HunkText) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(path.as_bytes());
    for (fate, line) in &hunk.lines {
        hash.update([0, *fate as u8]);
        hash.update(line);
    }
    hash.finalize().into()
}
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(lines: &[u8], has_end: bool) -> Vec<u8> {
        let mut text: Vec<u8> = lines.iter().flat_map(|n| format!("line {n}\n").into_bytes()).collect();
        if !has_end {
            text.pop();
        }
        text
    }

    proptest! {
        #[test]
        fn all_hunks_make_the_new_text_and_none_leave_the_old(
            old in proptest::collection::vec(0..6_u8, 0..40), old_end: bool,
            new in proptest::collection::vec(0..6_u8, 0..40), new_end: bool,
        ) {
            let (old, new) = (text(&old, old_end), text(&new, new_end));
            let hunks = hunks(&old, &new, CONTEXT_LINES).unwrap();
            let all: Vec<_> = hunks.iter().collect();
            prop_assert_eq!(with_hunks(&old, &all), new);
            prop_assert_eq!(with_hunks(&old, &[]), old);
        }

        #[test]
        fn some_hunks_first_and_then_the_rest_make_the_new_text(
            old in proptest::collection::vec(0..9_u8, 20..80),
            new in proptest::collection::vec(0..9_u8, 20..80),
            chosen: u64,
        ) {
            let (old, new) = (text(&old, true), text(&new, true));
            let first = hunks(&old, &new, CONTEXT_LINES).unwrap();
            let some: Vec<_> =
                first.iter().enumerate().filter(|(n, _)| chosen >> (n % 64) & 1 == 1).map(|(_, hunk)| hunk).collect();
            let between = with_hunks(&old, &some);
            let rest = hunks(&between, &new, CONTEXT_LINES).unwrap();
            prop_assert_eq!(with_hunks(&between, &rest.iter().collect::<Vec<_>>()), new);
        }
    }

    #[test]
    fn a_hunk_keeps_its_name_when_lines_come_above_it() {
        let old: Vec<u8> = (0..40).collect();
        let mut new = old.clone();
        new[30] = 99;
        let below = ids("a", &hunks(&text(&old, true), &text(&new, true), CONTEXT_LINES).unwrap());
        new.insert(2, 98);
        let both = ids("a", &hunks(&text(&old, true), &text(&new, true), CONTEXT_LINES).unwrap());
        assert_eq!((below.len(), both.len()), (1, 2));
        assert_eq!(below[0], both[1]);
    }

    #[test]
    fn equal_hunks_have_names_of_their_own() {
        let line = |n: usize| if n % 20 == 10 { "x\n" } else { "y\n" };
        let old: String = (0..60).map(|_| "y\n").collect();
        let new: String = (0..60).map(line).collect();
        let ids = ids("a", &hunks(old.as_bytes(), new.as_bytes(), CONTEXT_LINES).unwrap());
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!((ids.len(), distinct.len()), (3, 3));
        // When one of them is applied, the names of the others mean none that is left.
        let line = |n: usize| if n % 20 == 10 && n > 20 { "x\n" } else { "y\n" };
        let fewer: String = (0..60).map(line).collect();
        let left = super::ids("a", &hunks(old.as_bytes(), fewer.as_bytes(), CONTEXT_LINES).unwrap());
        assert!(left.len() == 2 && left.iter().all(|id| !ids.contains(id)), "{left:?} {ids:?}");
    }

    #[test]
    fn what_holds_a_zero_byte_is_no_text() {
        assert!(is_binary(b"a\0b"));
        assert!(!is_binary("äöü".as_bytes()));
    }
}
