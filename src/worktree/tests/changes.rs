//! Snapshots, pending changes, and what is done with them, on real repositories made with git.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::time::{SystemTime, UNIX_EPOCH};

use super::*;
use crate::worktree::{ChangeKind, Content, Known, Seen, Segment, Selection, Writer};

/// A worktree with its repository, and what was seen of it.
pub(super) struct Desk {
    pub(super) stage: Stage,
    pub(super) known: Known,
    pub(super) history: Vec<Segment>,
    pub(super) last: String,
}

pub(super) fn all() -> Selection {
    Selection::default()
}

pub(super) fn paths(paths: &[&str]) -> Selection {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    Selection { paths: Some(paths), ..Selection::default() }
}

pub(super) fn hunk(id: &str) -> Selection {
    Selection { hunks: Some(vec![id.to_owned()]), ..Selection::default() }
}

pub(super) fn numbered(changed: &[(usize, &str)]) -> String {
    let line =
        |n: usize| changed.iter().find(|(at, _)| *at == n).map_or(n.to_string(), |(_, t)| (*t).to_owned());
    (0..40).map(|n| line(n) + "\n").collect()
}

impl Desk {
    pub(super) async fn set() -> Self {
        Self::with(|_| ()).await
    }

    /// A repository that is made ready before the worktree is.
    pub(super) async fn with(prepare: impl FnOnce(&Stage)) -> Self {
        let stage = Stage::new();
        prepare(&stage);
        Self::at(stage).await
    }

    pub(super) async fn at(stage: Stage) -> Self {
        let created = stage.create(|_| ()).await.unwrap();
        let known = known(&stage, &created);
        let last = stage.worktrees.base_tree(&known).await.unwrap();
        Self { stage, known, history: Vec::new(), last }
    }

    pub(super) fn write(&self, path: &str, text: &str) {
        let path = self.known.path.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(super) async fn tree(&self) -> String {
        self.stage.worktrees.snapshot(&self.known).await.unwrap().tree
    }

    /// Writes down what changed since the last look as the work of these agents.
    pub(super) async fn look(&mut self, agents: &[&str]) -> String {
        let tree = self.tree().await;
        let n = self.history.len();
        let writer = |agent: &&str| Writer { turn: format!("u-{n}"), agent: (*agent).to_owned() };
        if tree != self.last {
            let from = std::mem::replace(&mut self.last, tree.clone());
            let writers = agents.iter().map(writer).collect();
            self.history.push(Segment { from, to: tree.clone(), writers, doubt: false, by_hook: false });
        }
        tree
    }

    /// What was seen of it, with the files as they are in a tree.
    pub(super) fn seen(&self, present: &str) -> Seen {
        Seen { present: present.to_owned(), history: self.history.clone() }
    }

    pub(super) async fn pending(&self) -> Vec<crate::worktree::Change> {
        let present = self.tree().await;
        self.stage.worktrees.pending(&self.known, self.seen(&present)).await.unwrap()
    }

    pub(super) async fn apply(&mut self, selection: Selection) -> crate::worktree::Applied {
        let present = self.tree().await;
        let applied = self
            .stage
            .worktrees
            .apply(&self.known, self.seen(&present), selection, Run::Real { then: None })
            .await
            .unwrap();
        self.stage.worktrees.settle(applied.ticket.clone()).await.unwrap();
        if applied.baseline.is_some() {
            self.known.baseline.clone_from(&applied.baseline);
        }
        applied
    }

    pub(super) async fn discard(&mut self, selection: Selection) -> crate::worktree::Discarded {
        let present = self.tree().await;
        self.stage.worktrees.discard(&self.known, self.seen(&present), selection, false).await.unwrap()
    }

    pub(super) fn checkout(&self, path: &str) -> String {
        fs::read_to_string(self.stage.repo.join(path)).unwrap_or_default()
    }

    pub(super) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.known.path.join(path)).unwrap_or_default()
    }

    /// Everything that git says of the user's checkout, and the bytes of its files.
    pub(super) fn state_of_checkout(&self) -> Vec<String> {
        let git = |args: &[&str]| self.stage.git(args);
        let mut state = vec![git(&["status", "--porcelain=v2"]), git(&["diff"]), git(&["diff", "--cached"])];
        let mut files: Vec<_> = walkdir::WalkDir::new(&self.stage.repo)
            .into_iter()
            .filter_entry(|entry| entry.file_name() != ".git")
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| format!("{} {:?}", entry.path().display(), fs::read(entry.path()).unwrap()))
            .collect();
        files.sort();
        state.append(&mut files);
        state
    }
}

#[tokio::test]
async fn an_unchanged_worktree_gives_the_tree_of_its_base_and_leaves_its_index_alone() {
    let desk = Desk::set().await;
    let index = fs::read(desk.known.admin().join("index")).unwrap();
    assert_eq!(desk.tree().await, desk.last);
    assert_eq!(fs::read(desk.known.admin().join("index")).unwrap(), index);
}

/// Changes a file at its size within the second in which the index was written, and waits for the
/// next: all that git notes of the file is as the index has it.
async fn change_without_a_trace(desk: &Desk) {
    let (file, index) = (desk.known.path.join("a.txt"), desk.known.admin().join("index"));
    loop {
        fs::write(&file, "two\n").unwrap();
        git(&desk.known.path, &["add", "a.txt"]);
        fs::write(&file, "six\n").unwrap();
        let [file, index] = [&file, &index].map(|path| fs::metadata(path).unwrap());
        // Else a second ended in the middle, and it is done again.
        if file.mtime() == index.mtime() {
            while SystemTime::now() < UNIX_EPOCH + Duration::from_secs(file.mtime().cast_unsigned() + 1) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            return;
        }
    }
}

/// What libgit2 reads, and what is left to the program.
pub(super) const FORMATS: [&[&str]; 2] = [&[], &["--object-format=sha256"]];

#[tokio::test]
async fn a_change_in_the_second_of_the_index_is_seen() {
    for format in FORMATS {
        let stage = Stage::with(&[&["init", "--quiet"][..], format].concat(), &[]);
        stage.first_commit();
        let desk = Desk::at(stage).await;
        change_without_a_trace(&desk).await;
        let tree = desk.tree().await;
        assert_eq!(desk.stage.git(&["cat-file", "-p", &format!("{tree}:a.txt")]), "six", "{format:?}");
    }
}

#[tokio::test]
async fn every_kind_of_change_is_listed_by_its_kind_and_applied_whole() {
    let mut desk = Desk::with(|stage| {
        fs::write(stage.repo.join("text"), numbered(&[])).unwrap();
        fs::write(stage.repo.join("gone"), "gone\n").unwrap();
        fs::write(stage.repo.join("was.txt"), numbered(&[])).unwrap();
        fs::write(stage.repo.join("bytes"), b"\0\x01\x02").unwrap();
        fs::write(stage.repo.join("run"), "#!/bin/sh\n").unwrap();
        fs::write(stage.repo.join("kind"), "a file\n").unwrap();
        symlink("text", stage.repo.join("link")).unwrap();
        stage.commit("all kinds");
    })
    .await;
    desk.write("text", &numbered(&[(3, "three")]));
    fs::remove_file(desk.known.path.join("gone")).unwrap();
    fs::rename(desk.known.path.join("was.txt"), desk.known.path.join("is.txt")).unwrap();
    fs::write(desk.known.path.join("bytes"), b"\0\x03").unwrap();
    fs::set_permissions(desk.known.path.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(desk.known.path.join("kind")).unwrap();
    symlink("text", desk.known.path.join("kind")).unwrap();
    fs::remove_file(desk.known.path.join("link")).unwrap();
    symlink("run", desk.known.path.join("link")).unwrap();
    desk.write("new dir/with space\nand line", "new\n");
    desk.write("empty", "");
    desk.look(&["demo"]).await;
    let listed: Vec<_> =
        desk.pending().await.into_iter().map(|c| (c.path, c.kind, c.content, c.agents.join("+"))).collect();
    let expected = [
        ("bytes", ChangeKind::Modified, Content::Binary),
        ("empty", ChangeKind::Added, Content::Text),
        ("gone", ChangeKind::Deleted, Content::Text),
        ("is.txt", ChangeKind::Renamed, Content::Text),
        ("kind", ChangeKind::Type, Content::Symlink),
        ("link", ChangeKind::Modified, Content::Symlink),
        ("new dir/with space\nand line", ChangeKind::Added, Content::Text),
        ("run", ChangeKind::Mode, Content::Text),
        ("text", ChangeKind::Modified, Content::Text),
    ];
    let expected: Vec<_> =
        expected.into_iter().map(|(p, k, c)| (p.to_owned(), k, c, "demo".to_owned())).collect();
    assert_eq!(listed, expected);
    let applied = desk.apply(all()).await;
    assert_eq!(applied.conflicts, []);
    assert_eq!(applied.paths.len(), 9);
    assert!(desk.pending().await.is_empty());
    for entry in walkdir::WalkDir::new(&desk.known.path).into_iter().filter_map(Result::ok) {
        let relative = entry.path().strip_prefix(&desk.known.path).unwrap();
        let there = desk.stage.repo.join(relative);
        if entry.file_type().is_symlink() {
            assert_eq!(fs::read_link(there).unwrap(), fs::read_link(entry.path()).unwrap());
        } else if entry.file_type().is_file() && relative != Path::new(".git") {
            assert_eq!(fs::read(&there).unwrap(), fs::read(entry.path()).unwrap(), "{}", there.display());
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o111;
            assert_eq!(mode(&there), mode(entry.path()), "{}", there.display());
        }
    }
    assert!(!desk.stage.repo.join("gone").exists() && !desk.stage.repo.join("was.txt").exists());
    assert_eq!(desk.stage.git(&["diff", "--cached"]), "", "the index is the user's");
}

#[tokio::test]
async fn two_agents_in_one_file_go_apart_and_a_later_turn_shows_only_its_own() {
    let mut desk = Desk::with(|stage| {
        fs::write(stage.repo.join("text"), numbered(&[])).unwrap();
        stage.commit("a text");
    })
    .await;
    desk.write("text", &numbered(&[(2, "left")]));
    desk.look(&["left"]).await;
    desk.write("text", &numbered(&[(2, "left"), (30, "right")]));
    desk.look(&["right"]).await;
    let pending = desk.pending().await;
    let hunks = &pending[0].hunks;
    assert_eq!([&hunks[0].agents, &hunks[1].agents], [&["left"], &["right"]]);
    let applied = desk.apply(hunk(&hunks[0].id)).await;
    assert_eq!(applied.paths, ["text"]);
    assert_eq!(desk.checkout("text"), numbered(&[(2, "left")]));
    let left_over = desk.pending().await;
    assert_eq!((left_over[0].hunks.len(), &left_over[0].hunks[0].agents[..]), (1, &["right".to_owned()][..]));
    desk.apply(all()).await;
    assert!(desk.pending().await.is_empty());
    desk.write("text", &numbered(&[(2, "left"), (15, "later"), (30, "right")]));
    desk.look(&["left"]).await;
    let later = desk.pending().await;
    assert_eq!((later[0].hunks.len(), &later[0].turns[..]), (1, &["u-2".to_owned()][..]));
}

#[tokio::test]
async fn a_checkout_that_moved_on_is_merged_into() {
    let mut desk = Desk::with(|stage| {
        fs::write(stage.repo.join("text"), numbered(&[])).unwrap();
        stage.commit("a text");
    })
    .await;
    desk.write("text", &numbered(&[(2, "agent")]));
    fs::write(desk.stage.repo.join("text"), numbered(&[(35, "mine")])).unwrap();
    let applied = desk.apply(all()).await;
    assert_eq!((applied.conflicts.len(), applied.paths.len()), (0, 1));
    assert_eq!(desk.checkout("text"), numbered(&[(2, "agent"), (35, "mine")]));
    assert!(desk.pending().await.is_empty());
}

#[tokio::test]
async fn a_conflict_changes_nothing_and_names_every_file_that_stands_against_it() {
    let mut desk = Desk::with(|stage| {
        for name in ["text", "fine", "staged", "gone", "dir-here", "bytes"] {
            fs::write(stage.repo.join(name), numbered(&[])).unwrap();
        }
        fs::write(stage.repo.join("bytes"), b"\0one").unwrap();
        stage.commit("texts");
    })
    .await;
    for name in ["text", "fine", "staged", "gone", "dir-here"] {
        desk.write(name, &numbered(&[(2, "agent")]));
    }
    fs::write(desk.known.path.join("bytes"), b"\0two").unwrap();
    desk.write("new", "the agent's\n");
    desk.write("deep/new", "the agent's\n");
    let mine = |name: &str, text: &str| fs::write(desk.stage.repo.join(name), text).unwrap();
    mine("text", &numbered(&[(2, "mine")]));
    mine("staged", &numbered(&[(2, "staged")]));
    desk.stage.git(&["add", "staged"]);
    mine("staged", &numbered(&[(2, "staged and more")]));
    mine("new", "mine\n");
    mine("bytes", "\0three");
    mine("deep", "a file in the way\n");
    fs::remove_file(desk.stage.repo.join("gone")).unwrap();
    fs::remove_file(desk.stage.repo.join("dir-here")).unwrap();
    fs::create_dir(desk.stage.repo.join("dir-here")).unwrap();
    fs::write(desk.stage.repo.join("dir-here/x"), "x").unwrap();
    let before = desk.state_of_checkout();
    let applied = desk.apply(all()).await;
    let named: Vec<_> = applied.conflicts.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(named, ["bytes", "deep/new", "dir-here", "gone", "new", "staged", "text"]);
    assert!(applied.paths.is_empty() && applied.baseline.is_none());
    assert_eq!(desk.state_of_checkout(), before);
}

#[tokio::test]
async fn a_file_that_nobody_else_may_read_stays_so_and_can_be_made_executable() {
    let mut desk = Desk::set().await;
    let mode = |desk: &Desk, name: &str| {
        fs::metadata(desk.stage.repo.join(name)).unwrap().permissions().mode() & 0o777
    };
    fs::set_permissions(desk.stage.repo.join("a.txt"), fs::Permissions::from_mode(0o600)).unwrap();
    desk.write("a.txt", "new\n");
    desk.apply(all()).await;
    assert_eq!((desk.checkout("a.txt"), mode(&desk, "a.txt")), ("new\n".to_owned(), 0o600));
    fs::set_permissions(desk.known.path.join("a.txt"), fs::Permissions::from_mode(0o755)).unwrap();
    desk.apply(all()).await;
    assert_eq!(mode(&desk, "a.txt"), 0o700);
}

#[tokio::test]
async fn what_git_was_told_not_to_look_at_is_looked_at() {
    let desk = Desk::with(|stage| {
        for name in ["assumed", "skipped", "intended"] {
            fs::write(stage.repo.join(name), "before\n").unwrap();
        }
        stage.git(&["add", "assumed", "skipped"]);
        stage.git(&["commit", "-qm", "two"]);
    })
    .await;
    git(&desk.known.path, &["update-index", "--assume-unchanged", "assumed"]);
    git(&desk.known.path, &["update-index", "--skip-worktree", "skipped"]);
    desk.write("assumed", "after!\n");
    desk.write("skipped", "after!\n");
    desk.write("intended", "after!\n");
    git(&desk.known.path, &["add", "-N", "intended"]);
    let listed: Vec<_> = desk.pending().await.into_iter().map(|change| change.path).collect();
    assert_eq!(listed, ["assumed", "intended", "skipped"]);
}

#[tokio::test]
async fn ends_of_lines_are_those_of_the_checkout() {
    let mut desk = Desk::with(|stage| {
        fs::write(stage.repo.join(".gitattributes"), "* text=auto eol=crlf\n").unwrap();
        fs::write(stage.repo.join("text"), numbered(&[]).replace('\n', "\r\n")).unwrap();
        stage.commit("with carriage returns");
    })
    .await;
    assert!(desk.read("text").contains("\r\n"));
    assert!(desk.pending().await.is_empty());
    desk.write("text", &numbered(&[(2, "agent")]).replace('\n', "\r\n"));
    desk.write("new", "a\r\nb\r\n");
    fs::write(desk.stage.repo.join("text"), numbered(&[(35, "mine")]).replace('\n', "\r\n")).unwrap();
    let applied = desk.apply(all()).await;
    assert_eq!(applied.conflicts, []);
    assert_eq!(desk.checkout("text"), numbered(&[(2, "agent"), (35, "mine")]).replace('\n', "\r\n"));
    assert_eq!(desk.checkout("new"), "a\r\nb\r\n");
    assert!(desk.pending().await.is_empty());
}

#[tokio::test]
async fn a_link_on_the_way_is_not_followed() {
    let mut desk = Desk::set().await;
    desk.write("other/new", "new\n");
    let outside = desk.stage.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, desk.stage.repo.join("other")).unwrap();
    let applied = desk.apply(all()).await;
    assert!(applied.conflicts[0].1.contains("symbolic link"), "{applied:?}");
    assert!(!outside.join("new").exists());
}

#[tokio::test]
async fn the_diff_is_what_git_writes() {
    let mut desk = Desk::with(|stage| {
        fs::write(stage.repo.join("text"), numbered(&[])).unwrap();
        fs::write(stage.repo.join("bytes"), b"\0one").unwrap();
        stage.commit("a text");
    })
    .await;
    desk.write("text", &numbered(&[(2, "two")]));
    fs::write(desk.known.path.join("bytes"), b"\0two").unwrap();
    desk.write("dir/new", "no end");
    let present = desk.look(&["demo"]).await;
    let diff = desk.stage.worktrees.diff(&desk.known, &desk.history[0].from, &present, None).await.unwrap();
    let theirs = desk.stage.git(&["diff", "-M", &desk.history[0].from, &present]);
    assert_eq!(String::from_utf8_lossy(&diff.text).trim_end(), theirs);
    let only = Some(vec!["dir".to_owned()]);
    let part = desk.stage.worktrees.diff(&desk.known, &desk.history[0].from, &present, only).await.unwrap();
    let text = String::from_utf8_lossy(&part.text);
    assert!(text.starts_with("diff --git a/dir/new b/dir/new"), "{text}");
}
