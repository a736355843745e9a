//! What becomes of a swap that was cut short: finished or taken back as a whole, by its record and what
//! is on the disk. Where neither can be, because somebody changed the files since, they are left alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::record::{Note, Print, Record, Step};
use super::{Way, exchange_names, is_no_exchange};
use crate::worktree::Worktrees;
use crate::worktree::changes::disk::{holds_only, stamp};
use crate::worktree::error::{WorktreeError, WorktreeErrorKind};
use crate::worktree::safe_path::beneath;

/// How far one path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// As it was; whether what is to be there is still there to be put.
    Undone { has_new: bool },
    /// What was there is beside, and nothing in its place yet.
    Half,
    /// As it is to be; whether what was there is beside, where something was.
    Done { has_old: bool },
    /// It was not replaced, and somebody changed it since.
    Ahead,
    /// It was replaced, and somebody changed it since.
    Over,
}

/// What is done with all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Finish,
    TakeBack,
    LeaveAlone,
}

/// Decides. Nobody's later change is overwritten.
fn decide(way: Way, states: &[State]) -> Verdict {
    let can_finish =
        !states.iter().any(|state| matches!(state, State::Ahead | State::Undone { has_new: false }));
    let can_go_back =
        !states.iter().any(|state| matches!(state, State::Over | State::Done { has_old: false }));
    match (way, can_finish, can_go_back) {
        (Way::Forward, true, _) | (Way::Back, true, false) => Verdict::Finish,
        (Way::Back, _, true) | (Way::Forward, false, true) => Verdict::TakeBack,
        (Way::Forward | Way::Back, false, false) => Verdict::LeaveAlone,
    }
}

/// What became of a swap that was cut short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It is done: what is to be recorded now, and what is left to be removed after that.
    Finished {
        /// The tree that counts as the person's own now.
        baseline: Option<String>,
        /// What else is to be recorded, in the words of who asked for it.
        then: Option<String>,
    },
    /// Everything is as it was before.
    TakenBack,
    /// Files were changed since: some are replaced and some are not. Where those of before are.
    LeftAlone(PathBuf),
}

/// A swap that an earlier daemon did not come to the end of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutShort {
    /// The worktree whose changes they are.
    pub worktree: String,
    /// The directory whose files are replaced.
    pub top: PathBuf,
    /// What became of it.
    pub ending: Ending,
    ticket: super::Ticket,
}

impl CutShort {
    /// What is left to be removed when it is recorded.
    pub fn ticket(&self) -> super::Ticket {
        self.ticket.clone()
    }
}

impl Worktrees {
    /// Finishes or takes back every swap that an earlier daemon did not come to the end of. What cannot
    /// be reached now is left for the next start.
    pub async fn cut_short(&self) -> Vec<CutShort> {
        let mut found = Vec::new();
        for note in Note::all(&self.inner.records()) {
            let Ok(record) = note.read() else {
                // It was never whole, so nothing was begun.
                note.remove();
                continue;
            };
            let common_dir = record.common_dir.clone();
            match self.locked_job(&common_dir, move |_, _lock| recover(&note, &record)).await {
                Ok(ended) => found.push(ended),
                Err(error) => tracing::warn!(%error, "files that were being replaced are left as they are"),
            }
        }
        found
    }
}

fn recover(note: &Note, record: &Record) -> Result<CutShort, WorktreeError> {
    let place = note.place(&record.top);
    let done = |ending| {
        Ok(CutShort {
            worktree: record.worktree.clone(),
            top: record.top.clone(),
            ending,
            ticket: super::Ticket::of(place.clone(), note.clone()),
        })
    };
    let failed = |error: io::Error| WorktreeError::io("put right the files of", &record.top, &error);
    // On a disk that is not there now, it may be later.
    fs::symlink_metadata(&record.top).map_err(failed)?;
    let Some(steps) = &record.steps else { return done(Ending::TakenBack) };
    let paths = steps.iter().map(|step| path_of(&record.top, step)).collect::<Result<Vec<_>, _>>()?;
    let all = || steps.iter().zip(&paths).enumerate().map(|(n, (step, path))| (n, step, path.as_path()));
    let states: Vec<_> = all()
        .map(|(n, step, path)| {
            // A directory in the place of a file, or before it is one, is not what is asked about.
            let makes_room = holds_only_ours(record, steps, path);
            state(&place, n, (step, (!makes_room).then_some(path)))
        })
        .collect();
    match decide(record.way, &states) {
        Verdict::Finish => {
            // What goes first, as when it was begun.
            let (gone, there): (Vec<_>, Vec<_>) = all().partition(|(_, step, _)| step.new.is_none());
            for (n, step, path) in gone.into_iter().chain(there) {
                finish(&place, n, (step, path), states[n]).map_err(failed)?;
                remove_empty_above(&record.top, path, step.new.is_none());
            }
            done(Ending::Finished { baseline: record.baseline.clone(), then: record.then.clone() })
        }
        Verdict::TakeBack => {
            let (gone, there): (Vec<_>, Vec<_>) = all().partition(|(_, step, _)| step.new.is_none());
            for (n, step, path) in there.into_iter().chain(gone) {
                take_back(&place, n, (step, path), states[n]).map_err(failed)?;
                remove_empty_above(&record.top, path, step.old.is_none());
            }
            done(Ending::TakenBack)
        }
        Verdict::LeaveAlone => {
            note.remove();
            done(Ending::LeftAlone(place.clone()))
        }
    }
}

fn path_of(top: &Path, step: &Step) -> Result<PathBuf, WorktreeError> {
    let bad = |why: String| WorktreeError::new(WorktreeErrorKind::InTheWay, why);
    let path = step.path().ok_or_else(|| bad("a path that was written down cannot be read".to_owned()))?;
    beneath(top, &path).or_else(|problem| match problem {
        // A file is there that is to become a directory, or was one.
        crate::worktree::safe_path::PathProblem::NotADirectory(_) => Ok(top.join(path)),
        other => Err(bad(other.to_string())),
    })
}

/// Where the file lies that is to be at path `n`, and the one that was.
fn beside(place: &Path, n: usize) -> (PathBuf, PathBuf) {
    (place.join(format!("new-{n}")), place.join(format!("old-{n}")))
}

/// Whether a directory is at the path of a step, and holds nothing but what goes or came.
fn holds_only_ours(record: &Record, steps: &[Step], path: &Path) -> bool {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    let Ok(relative) = path.strip_prefix(&record.top) else { return false };
    let goes = |path: &Path| steps.iter().any(|step| step.path().as_deref() == Some(path));
    is_folder && holds_only(&record.top, relative, &goes)
}

fn state(place: &Path, n: usize, (step, path): (&Step, Option<&Path>)) -> State {
    let (new_file, old_file) = beside(place, n);
    let at = path.and_then(|path| Print::of(stamp(path)));
    let [new, old] = [&new_file, &old_file].map(|path| Print::of(stamp(path)));
    let has_old = step.old.is_none() || [new, old].contains(&step.old);
    let has_new = step.new.is_none() || new == step.new;
    if at == step.new && step.new != step.old {
        return State::Done { has_old };
    }
    if at == step.old {
        return State::Undone { has_new };
    }
    match (at, step.old.is_some() && has_old, has_new) {
        (None, true, true) => State::Half,
        (_, true, _) => State::Over,
        // What is to be there still lies beside, so it never was there.
        (_, false, true) if step.new.is_some() || step.old.is_some() => State::Ahead,
        _ => State::Over,
    }
}

fn finish(place: &Path, n: usize, (step, path): (&Step, &Path), state: State) -> io::Result<()> {
    let (new, old) = beside(place, n);
    match (state, step.new) {
        (State::Done { .. } | State::Over | State::Ahead, _) => Ok(()),
        (State::Undone { .. } | State::Half, None) => match fs::rename(path, old) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        },
        (State::Undone { .. } | State::Half, Some(_)) => put(&new, path, &old),
    }
}

fn take_back(place: &Path, n: usize, (step, path): (&Step, &Path), state: State) -> io::Result<()> {
    let (new, old) = beside(place, n);
    match state {
        State::Undone { .. } | State::Over | State::Ahead => Ok(()),
        State::Half => fs::rename(old, path),
        State::Done { .. } if step.old.is_none() => fs::rename(path, new),
        State::Done { .. } => {
            let kept = if Print::of(stamp(&new)) == step.old { new } else { old };
            put(&kept, path, &place.join(format!("back-{n}")))
        }
    }
}

/// Puts a file in its place; what is there comes beside.
fn put(file: &Path, path: &Path, aside: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, format!("`{}`", path.display())));
    }
    if stamp(path).is_none() {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        return fs::rename(file, path);
    }
    match exchange_names(file, path) {
        Err(errno) if is_no_exchange(errno) => {
            fs::rename(path, aside)?;
            fs::rename(file, path)
        }
        done => Ok(done?),
    }
}

/// Directories that hold nothing when a file went from them. One with anything in it stays.
fn remove_empty_above(top: &Path, path: &Path, is_gone: bool) {
    if !is_gone || stamp(path).is_some() {
        return;
    }
    let above = path.ancestors().skip(1).take_while(|folder| *folder != top);
    for folder in above {
        if fs::remove_dir(folder).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
