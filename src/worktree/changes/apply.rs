//! Applies pending changes to the user's checkout, as uncommitted changes of its files; its index is not
//! touched. Where a file moved on it is merged; where it cannot be, nothing at all is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::choose::{Chosen, choose, spare};
use super::disk::{Found, Stamp, holds_only, look, stamp};
use super::ground;
use super::list::files;
use super::swap::{Intent, Replace, Wanted, Way, swap};
use super::{Applied, ChangeKind, Content, Run, Seen, Selection, Ticket, baseline};
use crate::worktree::carry::Entry;
use crate::worktree::convert;
use crate::worktree::error::{WorktreeError, WorktreeErrorKind};
use crate::worktree::file_system::Written;
use crate::worktree::known::Known;
use crate::worktree::lock::retry_busy;
use crate::worktree::objects::{Hold, Objects};
use crate::worktree::source::Source;
use crate::worktree::{Inner, Worktrees};

impl Worktrees {
    /// Removes what is left of a swap, when all that belongs to it is recorded.
    ///
    /// # Errors
    /// The job was lost.
    pub async fn settle(&self, ticket: Ticket) -> Result<(), WorktreeError> {
        self.job(&self.inner.jobs, move |_| {
            ticket.settle();
            Ok(())
        })
        .await
    }

    /// Applies pending changes to the user's checkout, as they were listed of what was seen.
    ///
    /// # Errors
    /// `InTheWay` for a hunk or path that names no pending change; what git or the disk says. A conflict
    /// is no error.
    pub async fn apply(
        &self,
        known: &Known,
        seen: Seen,
        selection: Selection,
        run: Run,
    ) -> Result<Applied, WorktreeError> {
        let known = known.clone();
        self.locked_job(&known.common_dir.clone(), move |inner, _lock| {
            apply(inner, &known, &seen, (&selection, run))
        })
        .await
    }
}

/// What the checkout of the user is made of, and with what.
pub(super) struct Target<'a> {
    pub(super) known: &'a Known,
    pub(super) objects: &'a Objects<'a>,
    pub(super) checkout: &'a Source<'a>,
    /// How its files were written.
    pub(super) written: Written,
    /// The tree whose attributes it will have, where they change.
    pub(super) attributes: Option<String>,
    /// Paths that are taken away: a directory may come in their place.
    going: BTreeSet<PathBuf>,
}

/// What is to be done for one change.
#[derive(Default)]
struct Plan {
    replacements: Vec<Replace>,
    baseline: Vec<(PathBuf, Option<Entry>)>,
}

fn apply(
    inner: &Inner,
    known: &Known,
    seen: &Seen,
    (selection, run): (&Selection, Run),
) -> Result<Applied, WorktreeError> {
    let source = inner.repository(known)?;
    let objects = Objects::of(&source);
    let checkout = inner.source(&known.top, &known.common_dir)?;
    let base = baseline(&objects, known)?;
    let ground = ground::of(&objects, known, seen)?;
    let chosen = choose(files(&objects, &ground.tree, &seen.present)?, selection)?;
    let (chosen, mut applied) = spare(chosen, &ground, selection);
    let going = chosen.iter().filter_map(Chosen::taken_away).collect();
    let paths = chosen.iter().map(|change| change.file.delta.path().as_path());
    let attributes = convert::brings_attributes(paths).then(|| seen.present.clone());
    let written = Written::of(&checkout)?;
    let target = Target { known, objects: &objects, checkout: &checkout, written, attributes, going };
    let (mut replacements, mut entries) = (Vec::new(), BTreeMap::new());
    for change in &chosen {
        match target.plan(change)? {
            Ok(plan) => {
                applied.paths.push(change.file.change.path.clone());
                replacements.extend(plan.replacements);
                entries.extend(plan.baseline);
            }
            Err(why) => applied.conflicts.push((change.file.change.path.clone(), why)),
        }
    }
    if !applied.conflicts.is_empty() {
        applied.paths.clear();
        applied.deletions.clear();
        return Ok(applied);
    }
    let then = match run {
        Run::Real { then } if !chosen.is_empty() => then,
        Run::Real { .. } | Run::Dry => return Ok(applied),
    };
    // Somebody's git is about to write: its picture of the files must stay true.
    let git_dir = git_dir_of(&checkout, &known.top);
    retry_busy(inner.options.lock_file_wait, || check_unlocked(&git_dir, &known.top))?;
    // Kept before anything is changed, so that nothing but the record of it can fail afterwards.
    let baseline = objects.tree_with(&base, &entries)?;
    objects.keep(&known.tree_ref("applied", &baseline), Hold::Loose(Some(&base)), || {
        objects.tree_with(&base, &entries)?;
        objects.commit(&baseline, &[], "hob: applied")
    })?;
    let baseline = Some(baseline);
    let intent = Intent { way: Way::Forward, baseline: baseline.clone(), then, ..Intent::within(known) };
    applied.ticket = swap(&inner.records(), &known.top, &replacements, intent)?;
    applied.baseline = baseline;
    Ok(applied)
}

/// The git directory of a checkout.
fn git_dir_of(source: &Source<'_>, top: &Path) -> PathBuf {
    source.repo.as_ref().map_or_else(|| top.join(".git"), |repo| repo.path().to_owned())
}

/// Whether no git is writing the index of a checkout.
pub(super) fn check_unlocked(git_dir: &Path, top: &Path) -> Result<(), WorktreeError> {
    let lock = git_dir.join("index.lock");
    if stamp(&lock).is_none() {
        return Ok(());
    }
    let message = format!("another git works in `{}`: `{}` is there", top.display(), lock.display());
    Err(WorktreeError::new(WorktreeErrorKind::Busy(lock.display().to_string()), message)
        .hint("try again when it is done"))
}

impl Target<'_> {
    /// What is to be done for a change, or what stands against it.
    fn plan(&self, chosen: &Chosen) -> Result<Result<Plan, String>, WorktreeError> {
        let change = &chosen.file.change;
        if change.content == Content::Submodule {
            return Ok(self.submodule(chosen));
        }
        if chosen.hunks.is_some() && matches!(change.kind, ChangeKind::Renamed | ChangeKind::Type) {
            return Ok(Err("it has another name or kind now, and goes only as a whole".to_owned()));
        }
        let mut plan = Plan::default();
        let old = chosen.file.delta.old.clone();
        let result = chosen.result(self.objects)?;
        let moved = old.as_ref().filter(|(path, _)| result.as_ref().is_none_or(|(new, _)| new != path));
        if let Some((path, entry)) = moved {
            let here = match self.removal(path, entry)? {
                Ok(here) => here,
                Err(why) => return Ok(Err(why)),
            };
            plan.replacements.extend(here.map(|seen| Replace {
                path: path.clone(),
                wanted: Wanted::Nothing,
                seen,
            }));
            plan.baseline.push((path.clone(), None));
        }
        if let Some((path, entry)) = result {
            let ancestor = old.as_ref().map(|(path, entry)| (path.as_path(), entry));
            match self.write(&path, &entry, ancestor)? {
                Ok(replace) => plan.replacements.extend(replace),
                Err(why) => return Ok(Err(why)),
            }
            plan.baseline.push((path, Some(entry)));
        }
        Ok(Ok(plan))
    }

    /// A submodule is checked out by its own git. Where the checkout has it so already, it counts as taken
    /// over.
    fn submodule(&self, chosen: &Chosen) -> Result<Plan, String> {
        let (old, new) = (&chosen.file.delta.old, &chosen.file.delta.new);
        if chosen.file.change.kind == ChangeKind::Type {
            return Err("it is, or was, a submodule; its own git takes it over".to_owned());
        }
        let Some((path, _)) = new.as_ref().or(old.as_ref()) else { return Ok(Plan::default()) };
        let place = self.known.top.join(path);
        let wanted = new.as_ref().map(|(_, entry)| entry.clone());
        let here = git2::Repository::open(&place)
            .and_then(|repo| repo.head()?.peel_to_commit().map(|commit| commit.id().to_string()))
            .ok();
        let is_so = match &wanted {
            Some(entry) => here.as_ref() == Some(&entry.object),
            None => stamp(&place).is_none(),
        };
        if is_so {
            let baseline = vec![(path.clone(), wanted)];
            return Ok(Plan { baseline, ..Plan::default() });
        }
        Err(match wanted {
            Some(entry) => format!(
                "it is a submodule; `git -C {} checkout {}` takes it over",
                place.display(),
                entry.object
            ),
            None => "it was a submodule; `git rm` takes it out".to_owned(),
        })
    }

    /// Whether a file may go: with its stamp if it is there.
    fn removal(&self, path: &Path, entry: &Entry) -> Result<Result<Option<Stamp>, String>, WorktreeError> {
        let (found, seen) = self.look(path)?;
        Ok(match found {
            Found::Nothing => Ok(None),
            found if self.is_same(path, &found, entry)? => Ok(Some(seen)),
            Found::Blocked(why) => Err(why),
            Found::Folder => Err("a directory is there in the checkout".to_owned()),
            _ => Err("it was changed in the checkout, and is to be removed".to_owned()),
        })
    }

    /// What is to be written at a path; nothing if it is there already.
    fn write(
        &self,
        path: &Path,
        theirs: &Entry,
        ancestor: Option<(&Path, &Entry)>,
    ) -> Result<Result<Option<Replace>, String>, WorktreeError> {
        let (mut found, mut seen) = self.look(path)?;
        // Everything in it goes, and it goes with that.
        if found == Found::Folder && holds_only(&self.known.top, path, &|path| self.going.contains(path)) {
            (found, seen) = (Found::Nothing, None);
        }
        let replace = |wanted| Ok(Ok(Some(Replace { path: path.to_owned(), wanted, seen })));
        if let Found::Blocked(why) = found {
            return Ok(Err(why));
        }
        if found == Found::Folder {
            return Ok(Err("a directory is there in the checkout".to_owned()));
        }
        if self.is_same(path, &found, theirs)? {
            return Ok(Ok(None));
        }
        // A file that is renamed was read where it was.
        let base = ancestor.filter(|(old, _)| *old == path).map(|(_, entry)| entry);
        let is_untouched = match base {
            Some(base) => self.is_same(path, &found, base)?,
            None => found == Found::Nothing,
        };
        if let Some(file) = self.file_above(path) {
            return Ok(Err(format!("`{}` is no directory in the checkout", file.display())));
        }
        if is_untouched {
            return replace(match self.wanted(path, theirs, &found)? {
                Ok(wanted) => wanted,
                Err(why) => return Ok(Err(why)),
            });
        }
        let Some(base) = base else {
            return Ok(Err("another file of that name is in the checkout".to_owned()));
        };
        match self.merged((path, &found), base, theirs)? {
            Ok(wanted) => replace(wanted),
            Err(why) => Ok(Err(why)),
        }
    }

    /// What stands where a directory would have to be, unless it is taken away.
    fn file_above<'p>(&self, path: &'p Path) -> Option<&'p Path> {
        let above = path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
        above.into_iter().find(|folder| {
            let found = std::fs::symlink_metadata(self.known.top.join(folder));
            found.is_ok_and(|found| !found.is_dir()) && !self.going.contains(*folder)
        })
    }

    fn look(&self, path: &Path) -> Result<(Found, Stamp), WorktreeError> {
        look(&self.known.top, path)
            .map_err(|error| WorktreeError::io("read", &self.known.top.join(path), &error))
    }
}
