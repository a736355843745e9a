//! That the salvage has what a worktree had: whatever is asked consent for, and what it cannot have is
//! named before and after.

use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};

use hob_actors::worktree::{Preflight, ReasonKind};

use super::*;

/// What is ignored in these, but for what `first_commit` has.
const IGNORED: &str = "*.ignored\n.env\ntarget/\nnode_modules/\n";

struct Scene {
    stage: Stage,
    known: Known,
}

impl Scene {
    async fn set(prepare: impl FnOnce(&Stage)) -> Self {
        let stage = Stage::new();
        stage.write(".gitignore", IGNORED);
        stage.write("Cargo.toml", "[package]\n");
        stage.commit("what is ignored");
        prepare(&stage);
        let created = stage.create(|_| {}).await.unwrap();
        let known = known(&stage, &created);
        Self { stage, known }
    }

    fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = self.known.path.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn write(&self, path: impl AsRef<Path>, text: impl AsRef<[u8]>) {
        fs::write(self.at(path), text).unwrap();
    }

    fn git(&self, args: &[&str]) -> String {
        git(&self.known.path, args)
    }

    async fn judge(&self) -> Preflight {
        let disposable = disposable();
        let ask = PreflightAsk {
            known: self.known.clone(),
            disposable,
            timeout: Duration::from_secs(60),
            live: Vec::new(),
        };
        self.stage.worktrees.preflight(ask).await
    }

    /// Away with it, and back from the salvage alone. Gives what was left out.
    async fn there_and_back(&mut self) -> Vec<String> {
        let worktrees = &self.stage.worktrees;
        let salvaged = worktrees.salvage(&self.known, &disposable()).await.unwrap();
        worktrees.to_trash(&self.known, &salvaged).await.unwrap();
        assert_eq!(worktrees.purge(&self.known).await.unwrap().left, []);
        let restored = worktrees.restore(&self.known).await.unwrap();
        assert!(!restored.from_trash);
        self.known.identity = restored.identity;
        salvaged.left_out
    }

    /// The names of all commits that the salvage reaches.
    async fn reached(&self) -> Vec<String> {
        let salvaged = self.stage.worktrees.salvage(&self.known, &disposable()).await.unwrap();
        self.stage.git(&["rev-list", &salvaged.reference]).lines().map(str::to_owned).collect()
    }
}

fn disposable() -> Vec<String> {
    ["target", "node_modules", ".venv", "__pycache__"].map(str::to_owned).to_vec()
}

fn detail(preflight: &Preflight, kind: ReasonKind) -> String {
    let found = preflight.reasons.iter().find(|reason| reason.kind == kind);
    found.map(|reason| reason.detail.clone()).unwrap_or_default()
}

fn everything(scene: &Scene) {
    scene.write("a.txt", "changed\n");
    fs::remove_file(scene.at("dir/b.txt")).unwrap();
    scene.write("new", "new\n");
    scene.write("secret.ignored", "ignored\n");
    scene.write(Path::new(OsStr::from_bytes(b"odd \xff\n name")), "odd\n");
    scene.write("closed", "closed\n");
    fs::set_permissions(scene.at("closed"), Permissions::from_mode(0o4600)).unwrap();
    symlink("nowhere", scene.at("link")).unwrap();
    fs::create_dir_all(scene.at("empty/er")).unwrap();
    scene.write("private/key", "key\n");
    fs::set_permissions(scene.at("private"), Permissions::from_mode(0o700)).unwrap();
    scene.write("staged", "staged\n");
    scene.git(&["add", "staged"]);
    scene.write("staged", "and changed\n");
    fs::create_dir_all(scene.at("nested")).unwrap();
    git(&scene.at("nested"), &["init", "--quiet"]);
    scene.write("nested/inside", "inside\n");
    git(&scene.at("nested"), &["add", "."]);
    git(&scene.at("nested"), &["commit", "--quiet", "-m", "nested"]);
    fs::create_dir_all(scene.at("target/debug/fork")).unwrap();
    git(&scene.at("target/debug/fork"), &["init", "--quiet"]);
    scene.write("target/debug/fork/work", "work\n");
    scene.write("src/target/mod.rs", "mod work;\n");
    scene.write("target/notes.md", "notes\n");
}

#[tokio::test]
async fn every_kind_of_content_is_as_it_was_or_is_named_before_and_after() {
    let mut scene = Scene::set(|_| {}).await;
    everything(&scene);
    nix::unistd::mkfifo(&scene.at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    File::create(scene.at("huge.ignored")).unwrap().set_len(65 << 20).unwrap();
    scene.write("target/debug/made.o", "made\n");
    let judged = scene.judge().await;
    let untracked = detail(&judged, ReasonKind::Untracked);
    let told: Vec<_> = judged.reasons.iter().map(|reason| reason.kind).collect();
    for kind in [ReasonKind::Dirty, ReasonKind::Untracked, ReasonKind::NestedRepo] {
        assert!(told.contains(&kind), "{judged:?}");
    }
    let before = files(&scene.known.path);
    let left_out = scene.there_and_back().await;
    let after = files(&scene.known.path);
    let lost: Vec<_> = before.iter().filter(|(path, was)| after.get(*path) != Some(was)).collect();
    let lost: Vec<_> = lost.iter().map(|(path, _)| path.to_str().unwrap()).collect();
    // What was built is made again; what git keeps of its own directory is written anew.
    assert_eq!(lost, ["huge.ignored", "pipe", "target/debug/made.o"], "{left_out:?} {untracked}");
    for name in ["huge.ignored", "pipe"] {
        assert!(left_out.iter().any(|what| what.starts_with(name)), "{name}: {left_out:?}");
    }
}

#[tokio::test]
async fn what_no_salvage_can_have_is_named_before_the_consent() {
    let scene = Scene::set(|_| {}).await;
    nix::unistd::mkfifo(&scene.at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    File::create(scene.at("huge.ignored")).unwrap().set_len(65 << 20).unwrap();
    scene.write("small.ignored", "small\n");
    let untracked = detail(&scene.judge().await, ReasonKind::Untracked);
    assert!(untracked.contains("`huge.ignored` (ignored, and too large for the salvage)"), "{untracked}");
    assert!(untracked.contains("`pipe` (no file and no link: it is in no salvage)"), "{untracked}");
    assert!(untracked.contains("`small.ignored`,") || untracked.ends_with("`small.ignored`"), "{untracked}");
}

#[tokio::test]
async fn what_only_has_the_name_of_something_disposable_is_somebodys_work() {
    let mut scene = Scene::set(|_| {}).await;
    scene.write("src/target/mod.rs", "mod work;\n");
    assert_eq!(detail(&scene.judge().await, ReasonKind::Untracked), "`src/target/mod.rs`");
    scene.write("target/debug/a.o", "object\n");
    scene.write("target/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n");
    assert_eq!(detail(&scene.judge().await, ReasonKind::Untracked), "`src/target/mod.rs`");
    scene.there_and_back().await;
    assert_eq!(fs::read_to_string(scene.at("src/target/mod.rs")).unwrap(), "mod work;\n");
    assert!(!scene.known.path.join("target").exists());
}

fn with_submodule(stage: &Stage) {
    let library = stage.base().join("library");
    fs::create_dir(&library).unwrap();
    git(&library, &["init", "--quiet"]);
    fs::write(library.join("lib"), "lib\n").unwrap();
    git(&library, &["add", "."]);
    git(&library, &["commit", "--quiet", "-m", "lib"]);
    stage.git(&["submodule", "--quiet", "add", library.to_str().unwrap(), "library"]);
    stage.commit("a submodule");
}

#[tokio::test]
async fn the_repository_of_a_submodule_comes_back() {
    let mut scene = Scene::set(with_submodule).await;
    scene.git(&["submodule", "--quiet", "update", "--init"]);
    let library = scene.at("library");
    fs::write(library.join("lib"), "mine\n").unwrap();
    git(&library, &["commit", "--quiet", "--all", "-m", "mine"]);
    let mine = git(&library, &["rev-parse", "HEAD"]);
    fs::write(library.join("lib"), "staged\n").unwrap();
    git(&library, &["add", "lib"]);
    let modules = files(&scene.known.admin().join("modules"));
    assert!(scene.judge().await.reasons.iter().any(|reason| reason.kind == ReasonKind::NestedRepo));
    assert_eq!(scene.there_and_back().await, Vec::<String>::new());
    assert_eq!(files(&scene.known.admin().join("modules")), modules);
    assert_eq!(git(&library, &["rev-parse", "HEAD"]), mine);
    assert_eq!(status(&library), ["M  lib"]);
    assert_eq!(git(&library, &["fsck", "--no-progress"]), "");
    // Again, it says the same, and is the same.
    let first = scene.stage.worktrees.salvage(&scene.known, &[]).await.unwrap();
    assert_eq!(scene.stage.worktrees.salvage(&scene.known, &[]).await.unwrap().commit, first.commit);
}

#[tokio::test]
async fn the_repository_of_a_submodule_without_a_checkout_comes_back() {
    let mut scene = Scene::set(with_submodule).await;
    scene.git(&["submodule", "--quiet", "update", "--init"]);
    let library = scene.at("library");
    git(&library, &["commit", "--quiet", "--allow-empty", "-m", "mine"]);
    let mine = git(&library, &["rev-parse", "HEAD"]);
    scene.git(&["submodule", "--quiet", "deinit", "--force", "library"]);
    scene.there_and_back().await;
    let module = scene.known.admin().join("modules/library");
    assert_eq!(git(&module, &["--git-dir=.", "-c", "core.worktree=", "cat-file", "-t", &mine]), "commit");
}

#[tokio::test]
async fn commits_that_only_one_place_names_are_seen_and_salvaged() {
    let log_of_branch = |scene: &Scene| {
        scene.git(&["commit", "--quiet", "--allow-empty", "-m", "mine"]);
        let mine = scene.git(&["rev-parse", "HEAD"]);
        scene.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
        fs::remove_dir_all(scene.known.admin().join("logs")).unwrap();
        fs::remove_file(scene.known.admin().join("ORIG_HEAD")).unwrap();
        mine
    };
    let fetched = |scene: &Scene| {
        let other = scene.stage.base().join("other");
        git(&scene.stage.base(), &["clone", "--quiet", "repo", "other"]);
        git(&other, &["commit", "--quiet", "--allow-empty", "-m", "theirs"]);
        scene.git(&["fetch", "--quiet", other.to_str().unwrap()]);
        git(&other, &["rev-parse", "HEAD"])
    };
    let inside = |scene: &Scene| {
        scene.git(&["worktree", "add", "--quiet", "--detach", "inner"]);
        let inner = scene.at("inner");
        git(&inner, &["commit", "--quiet", "--allow-empty", "-m", "inner"]);
        git(&inner, &["rev-parse", "HEAD"])
    };
    let stashed = |scene: &Scene| {
        scene.write("a.txt", "stashed\n");
        scene.git(&["stash", "--quiet"]);
        scene.git(&["rev-parse", "refs/stash"])
    };
    type Make<'a> = &'a dyn Fn(&Scene) -> String;
    let places: [(&str, ReasonKind, Make<'_>); 4] = [
        ("the reflog of its branch", ReasonKind::Unreachable, &log_of_branch),
        ("FETCH_HEAD", ReasonKind::Unreachable, &fetched),
        ("a linked worktree inside", ReasonKind::Unreachable, &inside),
        ("a stash of its branch", ReasonKind::StashHere, &stashed),
    ];
    for (place, kind, make) in places {
        let scene = Scene::set(|_| {}).await;
        let only_there = make(&scene);
        let judged = scene.judge().await;
        assert!(judged.reasons.iter().any(|reason| reason.kind == kind), "{place}: {judged:?}");
        assert!(scene.reached().await.contains(&only_there), "{place}");
    }
}
