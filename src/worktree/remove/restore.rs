//! Brings a removed worktree back: from the trash by the renames backwards, or from its salvage alone,
//! byte for byte, with its index. A branch that moved meanwhile is left alone.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use git2::{IndexEntry, Oid};

use super::files::places;
use super::manifest::{Manifest, path as path_of};
use super::place::{Place, is_new, mark, place};
use super::purge::put_aside;
use super::salvage::{is_of_conflict, sync};
use super::trash::{back, make};
use super::{MODULES_DIR, TRASH_DIR, salvage_ref, settings, trashed_entry};
use crate::regular;
use crate::worktree::carry::{Entry, index_entry};
use crate::worktree::error::{WorktreeError, WorktreeErrorKind, shell};
use crate::worktree::identity::{Identity, fresh_mark, write_mark};
use crate::worktree::known::Known;
use crate::worktree::objects::{EXECUTABLE, Entries, LINK, Objects, index_info};
use crate::worktree::source::{Source, bytes_of, path_from};
use crate::worktree::undo::Names;
use crate::worktree::{Inner, LOCK_REASON, Worktrees, entry, index, own_place};

/// In the flags of an index entry: assume-unchanged, and where its stage lies; in the extended ones:
/// intent-to-add, skip-worktree; in the flags: that there are extended ones.
const ASSUME_UNCHANGED: u16 = 0x8000;
const EXTENDED: u16 = 0x4000;
const STAGE_SHIFT: u16 = 12;
const INTENT_TO_ADD: u16 = 1 << 13;
const SKIP_WORKTREE: u16 = 1 << 14;

/// A worktree that is back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Which directory it is.
    pub identity: Identity,
    /// What a person should know.
    pub notices: Vec<String>,
    /// Whether it came from the trash, with everything.
    pub from_trash: bool,
}

impl Worktrees {
    /// Brings a worktree back, from the trash or from the ref that its salvage is on. One that is in its
    /// place is left alone.
    ///
    /// # Errors
    /// `InTheWay` where something is in its place, or nothing is left of it; what git or the disk says.
    pub async fn restore(&self, known: &Known) -> Result<Restored, WorktreeError> {
        let known = known.clone();
        self.locked_job(&known.common_dir.clone(), move |inner, _lock| restore(inner, &known)).await
    }
}

fn restore(inner: &Inner, known: &Known) -> Result<Restored, WorktreeError> {
    let from_trash = match place(inner, known) {
        Place::Gone => {
            from_salvage(inner, known)?;
            false
        }
        Place::InPlace if is_new(known) => {
            // It was cut short when all was there but the index.
            finish(inner, known)?;
            false
        }
        _ => {
            back(inner, known)?;
            true
        }
    };
    let mut notices = Vec::new();
    let source = inner.source(&known.path, &known.common_dir)?;
    own_place::settle(&source, &Names::known(known))?;
    if let Some(manifest) = manifest(inner, known)? {
        notices.extend(follow_branch(&source, known, &manifest)?);
        if !from_trash {
            notices.extend(manifest.left_out.iter().map(|what| format!("not salvaged: {what}")));
        }
    }
    let identity = Identity::of(&known.path, &known.admin())
        .map_err(|error| WorktreeError::io("look at", &known.path, &error))?;
    Ok(Restored { identity, notices, from_trash })
}

/// What was written down when it was salvaged, if it was.
fn manifest(inner: &Inner, known: &Known) -> Result<Option<Manifest>, WorktreeError> {
    let common = inner.repository(known)?;
    match common.commit_of_ref(&salvage_ref(known))? {
        Some(commit) => Manifest::read(&Objects::of(&common).message(&commit)?).map(Some),
        None => Ok(None),
    }
}

/// HEAD as it was: on its branch, if that is where it was and nobody else has it; detached otherwise.
pub(super) fn follow_branch(
    source: &Source<'_>,
    known: &Known,
    manifest: &Manifest,
) -> Result<Option<String>, WorktreeError> {
    let (Some(branch), Some(head)) = (&manifest.branch, &manifest.head) else { return Ok(None) };
    let objects = Objects::of(source);
    let short = branch.trim_start_matches("refs/heads/");
    let why = match source.commit_of_ref(branch)? {
        Some(at) if at == *head => match checked_out_at(known, branch) {
            None => return Ok(None),
            Some(place) => format!("the branch `{short}` is checked out in `{}`", place.display()),
        },
        Some(at) => format!("the branch `{short}` was moved to {at}"),
        None if source.in_the_way(branch)?.is_none() => {
            objects.set_ref(branch, head)?;
            return Ok(Some(format!("the branch `{short}` was gone and is back at {head}")));
        }
        None => format!("the name of the branch `{short}` is taken"),
    };
    source.detach(head)?;
    Ok(Some(format!("{why}, so HEAD is detached at {head}")))
}

/// Another worktree, or the main checkout, that has a branch.
fn checked_out_at(known: &Known, branch: &str) -> Option<PathBuf> {
    let has = |dir: &Path| {
        regular::read_text(&dir.join("HEAD")).is_ok_and(|text| text.trim() == format!("ref: {branch}"))
    };
    if has(&known.common_dir) {
        return Some(known.common_dir.clone());
    }
    let others = fs::read_dir(known.common_dir.join("worktrees")).into_iter().flatten().flatten();
    others.map(|entry| entry.path()).find(|path| *path != known.admin() && has(path))
}

// ---------------------------------------------------------------------------------------------
// From the salvage alone

/// Beside its place, until it is whole.
pub(super) fn unfinished(inner: &Inner, known: &Known) -> PathBuf {
    inner.root.join(TRASH_DIR).join(format!("{}.restoring", known.id))
}

fn from_salvage(inner: &Inner, known: &Known) -> Result<(), WorktreeError> {
    let common = inner.repository(known)?;
    let objects = Objects::of(&common);
    let Some(commit) = common.commit_of_ref(&salvage_ref(known))? else {
        let message = format!("nothing is left of the worktree `{}`", known.id);
        return Err(WorktreeError::new(WorktreeErrorKind::InTheWay, message)
            .hint(format!("git -C {} reflog --all", shell(&known.top))));
    };
    let manifest = Manifest::read(&objects.message(&commit)?)?;
    let place = unfinished(inner, known);
    make(&inner.root.join(TRASH_DIR))?;
    // An entry in the trash whose directory is gone is no half of this one.
    put_aside(&trashed_entry(known))?;
    // What an earlier try left is nothing but copies, and an entry whose worktree is elsewhere was
    // recognised before.
    clear(&place)?;
    clear(&known.admin())?;
    make(&place)?;
    write_files(&objects, &place, &commit, &manifest)?;
    crash_point!("restore.written");
    make_entry(&common, known, &manifest)?;
    settings::write(&known.admin(), &manifest.settings)?;
    entry::link_keys(&known.common_dir, &known.admin())?;
    if let Some(modules) = &manifest.modules {
        let place = known.admin().join(MODULES_DIR);
        make(&place)?;
        write_files(&objects, &place, &modules.commit, &modules.manifest)?;
    }
    let dot_git = [b"gitdir: ", bytes_of(&known.admin()), b"\n"].concat();
    fs::write(place.join(".git"), dot_git).map_err(|error| WorktreeError::io("write", &place, &error))?;
    let own = known.identity.mark.clone().unwrap_or_else(fresh_mark);
    write_mark(&known.admin(), &own)?;
    mark(known, &place)?;
    crash_point!("restore.linked");
    fs::rename(&place, &known.path).map_err(|error| WorktreeError::io("move", &place, &error))?;
    crash_point!("restore.renamed");
    finish(inner, known)
}

/// Removes what is nothing but copies.
pub(super) fn clear(left: &Path) -> Result<(), WorktreeError> {
    match fs::remove_dir_all(left) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(WorktreeError::io("clear", left, &error))
        }
        _ => Ok(()),
    }
}

fn finish(inner: &Inner, known: &Known) -> Result<(), WorktreeError> {
    let source = inner.source(&known.path, &known.common_dir)?;
    finish_with(inner, &source, known, &manifest(inner, known)?.unwrap_or_default())
}

/// The index, if there is none yet, once everything else is in its place.
pub(super) fn finish_with(
    inner: &Inner,
    source: &Source<'_>,
    known: &Known,
    manifest: &Manifest,
) -> Result<(), WorktreeError> {
    if !known.admin().join("index").exists() {
        write_index(inner, source, manifest)?;
    }
    sync(&inner.root)?;
    sync(&known.common_dir)
}

/// Every file, with its bytes and its permission bits.
pub(super) fn write_files(
    objects: &Objects<'_>,
    place: &Path,
    commit: &str,
    manifest: &Manifest,
) -> Result<(), WorktreeError> {
    let places = places(manifest);
    let modes: BTreeMap<PathBuf, u32> =
        manifest.modes.iter().map(|(path, mode)| (path_from(path_of(path)), *mode)).collect();
    for (called, entry) in objects.entries(commit)? {
        let path = places.get(&called).unwrap_or(&called);
        let to = place.join(path);
        let failed = |error: io::Error| WorktreeError::io("write", &to, &error);
        let above = to.parent().unwrap_or(place);
        fs::create_dir_all(above).map_err(failed)?;
        let bytes = objects.blob(&entry.object)?;
        if entry.mode == LINK {
            symlink(path_from(bytes), &to).map_err(failed)?;
            continue;
        }
        let mode = modes.get(path).copied().unwrap_or(if entry.mode == EXECUTABLE { 0o755 } else { 0o644 });
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&to)?;
            file.write_all(&bytes)?;
            file.set_permissions(fs::Permissions::from_mode(mode))
        };
        write().map_err(failed)?;
    }
    for empty in &manifest.empty {
        let relative = path_from(path_of(empty));
        // A repository inside has some, and is none without them.
        let is_inside = relative.components().all(|part| matches!(part, Component::Normal(_)));
        let folder = place.join(relative);
        if is_inside {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o777)
                .create(&folder)
                .map_err(|error| WorktreeError::io("make", &folder, &error))?;
        }
    }
    // At last, and the deepest first: one may be closed to its owner.
    for (folder, mode) in manifest.folders.iter().rev() {
        let folder = place.join(path_from(path_of(folder)));
        match fs::set_permissions(&folder, fs::Permissions::from_mode(*mode)) {
            // Nothing but what can be made again was in it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => done.map_err(|error| WorktreeError::io("set the mode of", &folder, &error))?,
        }
    }
    Ok(())
}

/// The entry in the repository, with HEAD.
pub(super) fn make_entry(
    common: &Source<'_>,
    known: &Known,
    manifest: &Manifest,
) -> Result<(), WorktreeError> {
    let head = manifest.head.clone().unwrap_or_else(|| known.base_commit.clone());
    if common.repo.is_none() {
        // Its refs are kept in a way that only the program knows.
        let beside = known.path.clone();
        let args = [
            "worktree",
            "add",
            "--quiet",
            "--no-checkout",
            "--detach",
            "--lock",
            "--reason",
            LOCK_REASON,
            "--",
        ];
        let mut call = common.call(&args);
        call.args.push(beside.clone().into_os_string());
        call.args.push(head.into());
        common.program()?.run(&call)?;
        if let Some(branch) = &manifest.branch {
            // Whether it may stay there is decided when everything is in its place.
            common.program()?.run(&common.call_in(&beside, &["symbolic-ref", "HEAD", branch]))?;
        }
        let dot_git = beside.join(".git");
        fs::remove_file(&dot_git).map_err(|error| WorktreeError::io("remove", &dot_git, &error))?;
        return fs::remove_dir(&beside).map_err(|error| WorktreeError::io("remove", &beside, &error));
    }
    let admin = known.admin();
    make(&admin)?;
    let write = |name: &str, text: &[u8]| {
        let file = admin.join(name);
        fs::write(&file, text).map_err(|error| WorktreeError::io("write", &file, &error))
    };
    write("commondir", b"../..\n")?;
    write("gitdir", &[bytes_of(&known.path.join(".git")), b"\n"].concat())?;
    write("locked", LOCK_REASON.as_bytes())?;
    let head = match &manifest.branch {
        Some(branch) => format!("ref: {branch}\n"),
        None => format!("{head}\n"),
    };
    write("HEAD", head.as_bytes())
}

/// The index, with everything that it said of its entries.
fn write_index(inner: &Inner, source: &Source<'_>, manifest: &Manifest) -> Result<(), WorktreeError> {
    let objects = Objects::of(source);
    let Some(commit) = &manifest.index else { return Ok(()) };
    let mut entries: Entries = objects.entries(commit)?;
    entries.retain(|path, _| !is_of_conflict(path));
    let Some(repo) = &source.repo else {
        let tree = objects.tree(&entries)?;
        index::read_tree(inner, source, &tree)?;
        flags_by_program(source, manifest)?;
        return conflicts_by_program(source, manifest);
    };
    let write = || {
        let mut index = repo.index()?;
        index.clear()?;
        for (path, entry) in &entries {
            index.add(&flagged(path, entry, manifest)?)?;
        }
        for (stage, mode, object, path) in &manifest.conflicts {
            let path = path_from(path_of(path));
            let mut entry = index_entry(&path, *mode, Oid::from_str(object)?);
            entry.flags |= stage << STAGE_SHIFT;
            index.add(&entry)?;
        }
        index.write()
    };
    write().map_err(|error: git2::Error| WorktreeError::git("write the index", &source.top, &error))
}

fn flagged(path: &Path, entry: &Entry, manifest: &Manifest) -> Result<IndexEntry, git2::Error> {
    let name = super::manifest::text(bytes_of(path));
    let mut written = index_entry(path, entry.mode, Oid::from_str(&entry.object)?);
    if manifest.assumed.contains(&name) {
        written.flags |= ASSUME_UNCHANGED;
    }
    for (list, flag) in [(&manifest.intended, INTENT_TO_ADD), (&manifest.skipped, SKIP_WORKTREE)] {
        if list.contains(&name) {
            written.flags |= EXTENDED;
            written.flags_extended |= flag;
        }
    }
    Ok(written)
}

/// What was announced, and what git was told not to compare.
fn flags_by_program(source: &Source<'_>, manifest: &Manifest) -> Result<(), WorktreeError> {
    let git = source.program()?;
    let commands: [(&[&str], &[String]); 4] = [
        (&["update-index", "--force-remove", "-z", "--stdin"], &manifest.intended),
        (
            &["add", "--intent-to-add", "--force", "--pathspec-from-file=-", "--pathspec-file-nul"],
            &manifest.intended,
        ),
        (&["update-index", "--assume-unchanged", "-z", "--stdin"], &manifest.assumed),
        (&["update-index", "--skip-worktree", "-z", "--stdin"], &manifest.skipped),
    ];
    for (args, names) in commands.into_iter().filter(|(_, names)| !names.is_empty()) {
        let mut call = source.call(args);
        call.stdin = names.iter().flat_map(|name| [path_of(name), vec![0]].concat()).collect();
        git.run(&call)?;
    }
    Ok(())
}

fn conflicts_by_program(source: &Source<'_>, manifest: &Manifest) -> Result<(), WorktreeError> {
    if manifest.conflicts.is_empty() {
        return Ok(());
    }
    let paths: Vec<PathBuf> = manifest.conflicts.iter().map(|(.., path)| path_from(path_of(path))).collect();
    let removals: Vec<_> = paths.iter().map(|path| (path, None)).collect();
    let mut input = index_info(source, &removals)?;
    for ((stage, mode, object, _), path) in manifest.conflicts.iter().zip(&paths) {
        input.extend_from_slice(format!("{mode:06o} {object} {stage}\t").as_bytes());
        input.extend_from_slice(bytes_of(path));
        input.push(0);
    }
    let mut call = source.call(&["update-index", "-z", "--index-info"]);
    call.stdin = input;
    source.program()?.run(&call).map(drop)
}
