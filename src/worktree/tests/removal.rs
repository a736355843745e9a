//! The removal of worktrees, where a daemon is not needed to show what must not be lost.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use hob_actors::worktree::{Preflight, ReasonKind};

use super::*;

const REFTABLE: &[&str] = &["init", "--quiet", "--ref-format=reftable", "--initial-branch=main"];

/// A worktree, with what is recorded of it.
struct Scene {
    stage: Stage,
    known: Known,
}

impl Scene {
    async fn set(stage: Stage) -> Self {
        let created = stage.create(|_| {}).await.unwrap();
        let known = known(&stage, &created);
        Self { stage, known }
    }

    async fn judge(&self, timeout: Duration) -> Preflight {
        let ask =
            PreflightAsk { known: self.known.clone(), disposable: Vec::new(), timeout, live: Vec::new() };
        self.stage.worktrees.preflight(ask).await
    }

    fn git(&self, args: &[&str]) -> String {
        git(&self.known.path, args)
    }

    /// The names of all commits that the salvage reaches.
    fn reached(&self) -> Vec<String> {
        let reference = self.stage.worktrees.salvage_ref(&self.known);
        self.stage.git(&["rev-list", &reference]).lines().map(str::to_owned).collect()
    }
}

fn kinds(preflight: &Preflight) -> Vec<ReasonKind> {
    preflight.reasons.iter().map(|reason| reason.kind).collect()
}

#[tokio::test]
async fn files_of_any_size_are_judged_without_being_read_to_their_end() {
    let scene = Scene::set(Stage::new()).await;
    for name in ["a.txt", "new"] {
        File::create(scene.known.path.join(name)).unwrap().set_len(1 << 40).unwrap();
    }
    let start = Instant::now();
    let preflight = scene.judge(Duration::from_secs(20)).await;
    assert!(start.elapsed() < Duration::from_secs(10), "{preflight:?}");
    let found = kinds(&preflight);
    assert!(found.contains(&ReasonKind::Dirty) && found.contains(&ReasonKind::Untracked), "{preflight:?}");
    assert!(!found.contains(&ReasonKind::Unreadable), "{preflight:?}");
    // The checkout has as long a file at the same place, so that it must be read.
    File::create(scene.stage.repo.join("new")).unwrap().set_len(1 << 40).unwrap();
    let preflight = scene.judge(Duration::from_millis(500)).await;
    assert!(kinds(&preflight).contains(&ReasonKind::Unreadable), "{preflight:?}");
}

#[tokio::test]
async fn commits_on_refs_of_the_worktree_alone_are_salvaged() {
    let plain: &[&str] = &["init", "--quiet", "--initial-branch=main"];
    for init in [plain, REFTABLE] {
        let stage = Stage::with(init, &[]);
        stage.first_commit();
        let scene = Scene::set(stage).await;
        let tree = scene.git(&["rev-parse", "HEAD^{tree}"]);
        let mine = scene.git(&["commit-tree", &tree, "-p", "HEAD", "-m", "mine"]);
        scene.git(&["update-ref", "refs/worktree/mine", &mine]);
        let found = kinds(&scene.judge(Duration::from_secs(20)).await);
        assert!(found.contains(&ReasonKind::Unreachable), "{init:?}: {found:?}");
        scene.stage.worktrees.salvage(&scene.known, &[]).await.unwrap();
        assert!(scene.reached().contains(&mine), "{init:?}");
    }
}

#[tokio::test]
async fn an_automatic_stash_is_salvaged() {
    for name in ["rebase-merge/autostash", "rebase-apply/autostash", "MERGE_AUTOSTASH"] {
        let scene = Scene::set(Stage::new()).await;
        fs::write(scene.known.path.join("a.txt"), "put aside\n").unwrap();
        let stash = scene.git(&["stash", "create"]);
        scene.git(&["reset", "--quiet", "--hard"]);
        let file = scene.known.admin().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, format!("{stash}\n")).unwrap();
        scene.stage.worktrees.salvage(&scene.known, &[]).await.unwrap();
        assert!(scene.reached().contains(&stash), "{name}");
    }
}

/// Directories inside one another that a purge does not go through to their end.
const TOO_DEEP: usize = 600;

impl Scene {
    async fn to_trash(&self) {
        let salvaged = self.stage.worktrees.salvage(&self.known, &[]).await.unwrap();
        self.stage.worktrees.to_trash(&self.known, &salvaged).await.unwrap();
    }

    async fn place(&self) -> Place {
        self.stage.worktrees.place(&self.known).await.unwrap()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.known.path.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.known.path.join(path)).unwrap()
    }
}

#[tokio::test]
async fn a_purge_that_stops_half_way_leaves_nothing_that_is_taken_for_the_worktree() {
    let scene = Scene::set(Stage::new()).await;
    scene.write("a.txt", "changed\n");
    scene.write("new", "new\n");
    let deep = (0..TOO_DEEP).map(|_| "d").collect::<PathBuf>();
    fs::create_dir_all(scene.known.path.join(deep)).unwrap();
    scene.to_trash().await;
    let worktrees = &scene.stage.worktrees;
    let left = worktrees.purge(&scene.known).await.unwrap().left;
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].why.contains("too deep") && left[0].path.exists(), "{left:?}");
    assert_eq!(scene.place().await, Place::Gone);

    let restored = worktrees.restore(&scene.known).await.unwrap();
    assert!(!restored.from_trash);
    assert_eq!((scene.read("a.txt"), scene.read("new")), ("changed\n".to_owned(), "new\n".to_owned()));
    assert_eq!(status(&scene.known.path), [" M a.txt", "?? new"]);

    // It is tried again, in vain until it can be removed, and nothing else is touched.
    let common_dirs = vec![scene.known.common_dir.clone()];
    assert_eq!(worktrees.sweep(common_dirs.clone()).await.unwrap(), left);
    fs::remove_dir_all(left[0].path.join("d")).unwrap();
    assert_eq!(worktrees.sweep(common_dirs).await.unwrap(), []);
    assert!(!left[0].path.exists() && scene.known.path.exists());
}

#[tokio::test]
async fn the_trash_is_not_emptied_of_the_last_copy() {
    let scene = Scene::set(Stage::new()).await;
    scene.write("new", "new\n");
    scene.to_trash().await;
    scene.stage.git(&["update-ref", "-d", &scene.stage.worktrees.salvage_ref(&scene.known)]);
    let refused = scene.stage.worktrees.purge(&scene.known).await.unwrap_err();
    assert!(refused.message.contains("last copy"), "{refused}");
    assert_eq!(scene.place().await, Place::InTrash);
    assert!(scene.stage.worktrees.restore(&scene.known).await.unwrap().from_trash);
    assert_eq!(scene.read("new"), "new\n");
    // In its place it is no trash at all.
    scene.stage.worktrees.purge(&scene.known).await.unwrap_err();
    assert_eq!(scene.read("new"), "new\n");
}

#[tokio::test]
async fn a_worktree_that_its_owner_moved_is_left_where_it_is() {
    let scene = Scene::set(Stage::new()).await;
    scene.stage.worktrees.salvage(&scene.known, &[]).await.unwrap();
    scene.git(&["worktree", "unlock", "."]);
    let to = scene.stage.base().join("moved");
    scene.stage.git(&["worktree", "move", scene.known.path.to_str().unwrap(), to.to_str().unwrap()]);
    fs::write(to.join("a.txt"), "staged there\n").unwrap();
    git(&to, &["add", "a.txt"]);
    let Place::Confused(why) = scene.place().await else { panic!("it is not where it was made") };
    assert!(why.contains(to.to_str().unwrap()), "{why}");
    let refused = scene.stage.worktrees.restore(&scene.known).await.unwrap_err();
    assert!(refused.message.contains(to.to_str().unwrap()), "{refused}");
    assert_eq!(status(&to), ["M  a.txt"]);
}

#[tokio::test]
async fn an_entry_whose_directory_was_removed_gives_way() {
    let scene = Scene::set(Stage::new()).await;
    scene.write("new", "new\n");
    scene.stage.worktrees.salvage(&scene.known, &[]).await.unwrap();
    fs::remove_dir_all(&scene.known.path).unwrap();
    assert_eq!(scene.place().await, Place::Gone);
    scene.stage.worktrees.restore(&scene.known).await.unwrap();
    assert_eq!(scene.read("new"), "new\n");
}

#[tokio::test]
async fn made_of_its_salvage_it_is_on_its_branch_again() {
    for format in [&["init", "--quiet"][..], REFTABLE, &["init", "--quiet", "--object-format=sha256"]] {
        let stage = Stage::with(format, &[]);
        stage.first_commit();
        let scene = Scene::set(stage).await;
        scene.write("new", "new\n");
        scene.to_trash().await;
        scene.stage.worktrees.purge(&scene.known).await.unwrap();
        let restored = scene.stage.worktrees.restore(&scene.known).await.unwrap();
        assert_eq!((restored.from_trash, restored.notices), (false, vec![]), "{format:?}");
        assert_eq!(git(&scene.known.path, &["symbolic-ref", "HEAD"]), "refs/heads/hob/w-test", "{format:?}");
        assert_eq!(status(&scene.known.path), ["?? new"], "{format:?}");
    }
}

#[tokio::test]
async fn settings_of_the_worktree_alone_come_back_with_its_salvage() {
    let sparse = ["sparse-checkout", "set", "--cone", "--no-sparse-index", "kept"];
    let own = ["config", "--worktree", "own.name", "kept"];
    for settings in [&[&sparse[..]][..], &[&["config", "extensions.worktreeConfig", "true"], &own], &[]] {
        let scene = Scene::set(Stage::new()).await;
        scene.write("left/out", "as it was\n");
        git(&scene.known.path, &["add", "."]);
        git(&scene.known.path, &["commit", "--quiet", "-m", "more"]);
        settings.iter().for_each(|words| drop(git(&scene.known.path, words)));
        scene.write("left/out", "changed where git leaves it out\n");
        let said = || {
            let own = try_git(&scene.known.path, &["config", "--get", "own.name"])
                .stdout
                .escape_ascii()
                .to_string();
            [own, status(&scene.known.path).join(" "), git(&scene.known.path, &["ls-files", "-v"])]
        };
        let before = said();
        scene.to_trash().await;
        scene.stage.worktrees.purge(&scene.known).await.unwrap();
        scene.stage.worktrees.restore(&scene.known).await.unwrap();
        assert_eq!(said(), before, "{settings:?}");
    }
}
