//! The same look with the `git` program: with a copy of the index, which `git add` brings up to date.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::memory::{Found, Memory};
use super::weight::{Fate, Kept, Weight, plan};
use super::{LeftOut, Look, Snapshot, is_file, left_over, mode_of};
use crate::regular;
use crate::worktree::carry::Entry;
use crate::worktree::error::WorktreeError;
use crate::worktree::git_program::{Call, Git};
use crate::worktree::known::Known;
use crate::worktree::large::{self, NAMED_BYTES_MIN};
use crate::worktree::objects::{FILE, GITLINK, Objects};
use crate::worktree::source::{Source, bytes_of, path_from, records};
use crate::worktree::submodules;

/// Paths that one `git add` leaves out at most: it compares each file with all of them.
const EXCLUDED_MAX: usize = 1_024;

/// Copies an index with the time at which it was written: git compares the content of a file that is
/// not older than the index, since it may have been changed in the same second without a trace.
fn copy_index(own: &Path, copy: &Path) -> io::Result<()> {
    // Taken first: an index that is written meanwhile makes more files suspicious, not fewer.
    let written = fs::metadata(own)?.modified()?;
    let mut to = fs::File::create(copy)?;
    io::copy(&mut regular::open(own)?, &mut to)?;
    to.set_modified(written)
}

/// The program with a copy of the index.
struct Draft<'a> {
    source: &'a Source<'a>,
    git: &'a Git,
    copy: &'a Path,
    memory: &'a mut Memory,
    bytes_left: u64,
    out: LeftOut,
    /// What is put into the index as it is known, and not by `git add`.
    entries: Vec<(PathBuf, Entry)>,
    /// What `git add` reads, and is to be remembered.
    to_read: Vec<Found>,
}

/// Takes the snapshot.
pub(super) fn take(look: Look<'_>, known: &Known, memory: &mut Memory) -> Result<Snapshot, WorktreeError> {
    let source = look.source;
    let dir =
        tempfile::tempdir().map_err(|error| WorktreeError::io("make", Path::new("a directory"), &error))?;
    let (own, copy) = (known.admin().join("index"), dir.path().join("index"));
    copy_index(&own, &copy).map_err(|error| WorktreeError::io("copy", &own, &error))?;
    let mut draft = Draft {
        source,
        git: source.program()?,
        copy: &copy,
        memory,
        bytes_left: look.bytes_left,
        out: LeftOut::default(),
        entries: Vec::new(),
        to_read: Vec::new(),
    };
    draft.unmask()?;
    draft.weigh()?;
    draft.add()?;
    let tree = draft.run(&["write-tree"], Vec::new())?;
    let tree = String::from_utf8_lossy(&tree).trim().to_owned();
    draft.finish()?;
    Ok(Snapshot { tree, notices: draft.out.notices() })
}

impl Draft<'_> {
    fn run(&self, args: &[&str], stdin: Vec<u8>) -> Result<Vec<u8>, WorktreeError> {
        let mut call = Call { stdin, ..self.source.call(args) };
        call.env.push(("GIT_INDEX_FILE", self.copy.to_owned().into_os_string()));
        self.git.run(&call)
    }

    /// Entries that git is told not to compare are compared.
    fn unmask(&self) -> Result<(), WorktreeError> {
        let flagged = self.run(&["ls-files", "-v", "-z"], Vec::new())?;
        let named = |wanted: &dyn Fn(u8, &[u8]) -> bool| -> Vec<u8> {
            records(&flagged)
                .filter_map(|line| Some((*line.first()?, line.get(2..)?)))
                .filter(|(flag, path)| wanted(*flag, path))
                .flat_map(|(_, path)| path.iter().copied().chain([0]))
                .collect()
        };
        let masked = named(&|flag, _| flag.is_ascii_lowercase());
        // One that is left out of the checkout on purpose is not there.
        let skipped = named(&|flag, path| {
            flag.eq_ignore_ascii_case(&b'S') && is_file(&self.source.top.join(path_from(path.to_vec())))
        });
        for (option, paths) in [("--no-assume-unchanged", masked), ("--no-skip-worktree", skipped)] {
            if !paths.is_empty() {
                self.run(&["update-index", option, "-z", "--stdin"], paths)?;
            }
        }
        Ok(())
    }

    /// Decides what is read of what differs.
    fn weigh(&mut self) -> Result<(), WorktreeError> {
        let others = self.run(&["ls-files", "--others", "--exclude-standard", "-z"], Vec::new())?;
        let changed = self.run(&["ls-files", "--modified", "-z"], Vec::new())?;
        self.as_kept(&changed)?;
        let mut found = Vec::new();
        for path in records(&others).chain(records(&changed)) {
            if let Some(place) = left_over(path) {
                self.out.left.insert(place);
            } else if let Some(folder) = path.strip_suffix(b"/") {
                self.out.nested.push(path_from(folder.to_vec()));
            } else if !self.entries.iter().any(|(known, _)| bytes_of(known) == path) {
                found.push(self.memory.find(&self.source.top, path_from(path.to_vec())));
            }
        }
        let weights: Vec<Weight> = found.iter().map(|found| found.weight.clone()).collect();
        let fates = plan(&weights, &mut self.bytes_left);
        let objects = Objects::of(self.source);
        for (found, fate) in found.into_iter().zip(fates) {
            match fate {
                Fate::Known(entry)
                    if self.entries.len() < EXCLUDED_MAX && objects.blob_size(&entry.object).is_ok() =>
                {
                    self.entries.push((found.path.clone(), entry.clone()));
                    self.memory.keep(found, Kept::Content { entry, is_settled: true });
                }
                Fate::Named => {
                    // It became small while we looked.
                    let Some(pointer) = large::pointer(&self.source.top.join(&found.path)) else { continue };
                    let entry = Entry { mode: FILE, object: objects.write_blob(&pointer)? };
                    self.entries.push((found.path.clone(), entry));
                    self.out.named.push(found.path.clone());
                    self.memory.keep(found, Kept::Name);
                }
                Fate::Known(_) | Fate::Read => {
                    if found.weight.size > NAMED_BYTES_MIN {
                        self.to_read.push(found);
                    }
                }
            }
        }
        Ok(())
    }

    /// Leaves out what is as git keeps it, byte for byte: git would make some of it alike when it adds it,
    /// and nobody changed it.
    fn as_kept(&mut self, changed: &[u8]) -> Result<(), WorktreeError> {
        let is_plain = |path: &&[u8]| !path.contains(&b'\n') && !path.starts_with(b"\"");
        let there: Vec<&[u8]> = records(changed)
            .filter(is_plain)
            .filter(|path| mode_at(&self.source.top.join(path_from(path.to_vec()))).is_some())
            .collect();
        if there.is_empty() {
            return Ok(());
        }
        let staged = self.run(&["ls-files", "--stage", "-z"], Vec::new())?;
        let entries: HashMap<PathBuf, Entry> = records(&staged).filter_map(entry).collect();
        let lines = there.iter().flat_map(|path| [path, &b"\n"[..]].concat()).collect();
        let mut call = self.source.call(&["hash-object", "--no-filters", "--stdin-paths"]);
        call.stdin = lines;
        // One that went meanwhile ends it: then each is looked at as it comes.
        let Some(names) = self.git.probe(&call)? else { return Ok(()) };
        for (path, name) in there.iter().zip(String::from_utf8_lossy(&names).lines()) {
            let path = path_from(path.to_vec());
            let is_so = |entry: &&Entry| {
                entry.object == name && mode_at(&self.source.top.join(&path)) == Some(entry.mode)
            };
            if let Some(entry) = entries.get(&path).filter(is_so)
                && self.entries.len() < EXCLUDED_MAX
            {
                self.entries.push((path, entry.clone()));
            }
        }
        Ok(())
    }

    /// Brings the copy up to date.
    fn add(&self) -> Result<(), WorktreeError> {
        let mut add = self.source.call(&["add", "--all", "--sparse", "--", ":(top)"]);
        let entries = self.entries.iter().map(|(path, _)| path);
        let left_out = entries.chain(&self.out.nested).chain(&self.out.left);
        let specs = left_out.map(|path| [b":(top,literal,exclude)", bytes_of(path)].concat());
        add.args.extend(specs.map(|spec| path_from(spec).into_os_string()));
        add.magic_pathspecs = true;
        add.env.push(("GIT_INDEX_FILE", self.copy.to_owned().into_os_string()));
        self.git.run(&add)?;
        if self.entries.is_empty() {
            return Ok(());
        }
        let line = |(path, entry): &(PathBuf, Entry)| {
            [format!("{:06o} {} 0\t", entry.mode, entry.object).as_bytes(), bytes_of(path), b"\0"].concat()
        };
        let lines = self.entries.iter().flat_map(line).collect();
        self.run(&["update-index", "-z", "--index-info"], lines).map(drop)
    }

    /// Remembers what was read, and finds what is in submodules.
    fn finish(&mut self) -> Result<(), WorktreeError> {
        let staged = self.run(&["ls-files", "--stage", "-z"], Vec::new())?;
        let entries: HashMap<PathBuf, Entry> = records(&staged).filter_map(entry).collect();
        for found in std::mem::take(&mut self.to_read) {
            if let Some(entry) = entries.get(&found.path) {
                self.memory.keep_read(&self.source.top, found, entry.clone());
            }
        }
        let links = entries.iter().filter(|(_, entry)| entry.mode == GITLINK);
        let mut links: Vec<PathBuf> = links.map(|(path, _)| path.clone()).collect();
        links.sort();
        self.out.unseen = submodules::unseen(&self.source.top, links);
        Ok(())
    }
}

/// The mode of a file of a worktree, as git writes it.
fn mode_at(path: &Path) -> Option<u32> {
    mode_of(&fs::symlink_metadata(path).ok()?)
}

/// An entry as `ls-files --stage` tells it.
fn entry(line: &[u8]) -> Option<(PathBuf, Entry)> {
    let tab = line.iter().position(|byte| *byte == b'\t')?;
    let mut words = std::str::from_utf8(&line[..tab]).ok()?.split(' ');
    let mode = u32::from_str_radix(words.next()?, 8).ok()?;
    let object = words.next()?.to_owned();
    Some((path_from(line.get(tab + 1..)?.to_vec()), Entry { mode, object }))
}
