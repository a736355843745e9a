//! What hob keeps on refs, beside another git that prunes the same repository again and again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use super::*;

/// How often each is tried: before, about one of two failed.
const ROUNDS: usize = 8;
/// Files of each round.
const FILES: usize = 12;

/// Between two prunes, where the objects of a look are loose until they are in a pack.
const PAUSE: Duration = Duration::from_millis(50);

/// Prunes a repository until it is stopped.
struct Pruning {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Pruning {
    /// With a pause after each: what git itself writes is otherwise removed before it can be read.
    fn begin(repo: &Path, pause: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (repo, stopped) = (repo.to_owned(), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                try_git(&repo, &["prune", "--expire=now"]);
                thread::park_timeout(pause);
            }
        });
        Self { stop, thread }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

async fn scene(init: &[&str]) -> (Stage, Known) {
    let stage = Stage::with(init, &[]);
    stage.first_commit();
    let created = stage.create(|_| {}).await.unwrap();
    let known = known(&stage, &created);
    (stage, known)
}

fn write(known: &Known, round: usize) {
    for n in 0..FILES {
        let folder = known.path.join(format!("folder-{n}"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("file"), format!("{round} {n}\n")).unwrap();
    }
}

/// Everything that a ref leads to is there, and the person's own git is content.
fn is_whole(stage: &Stage, reference: &str) {
    let out = try_git(&stage.repo, &["rev-list", "--objects", "--quiet", reference]);
    assert!(out.status.success(), "{reference}: {}", String::from_utf8_lossy(&out.stderr));
}

fn collects_garbage(stage: &Stage) {
    let out = try_git(&stage.repo, &["gc", "--quiet", "--prune=now"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let packs = fs::read_dir(stage.repo.join(".git/objects/pack")).unwrap();
    let kept =
        packs.map(|entry| entry.unwrap().path()).find(|path| path.extension() == Some("keep".as_ref()));
    assert_eq!(kept, None, "a pack that is kept for ever");
}

#[tokio::test]
async fn a_salvage_beside_a_prune_is_whole() {
    for init in [&["init", "--quiet"][..], &["init", "--quiet", "--object-format=sha256"]] {
        let (stage, known) = scene(init).await;
        git(&known.path, &["checkout", "--quiet", "--detach"]);
        git(&known.path, &["commit", "--quiet", "--allow-empty", "-m", "own"]);
        let pruning = Pruning::begin(&stage.repo, Duration::ZERO);
        for round in 0..ROUNDS {
            write(&known, round);
            let salvaged = stage.worktrees.salvage(&known, &[]).await.unwrap();
            is_whole(&stage, &salvaged.reference);
        }
        pruning.end();
        is_whole(&stage, &stage.worktrees.salvage_ref(&known));
        collects_garbage(&stage);
    }
}

#[tokio::test]
async fn what_is_put_away_beside_a_prune_comes_back() {
    let (stage, known) = scene(&["init", "--quiet"]).await;
    let pruning = Pruning::begin(&stage.repo, PAUSE);
    for round in 0..ROUNDS {
        write(&known, round);
        let stashed = stage.worktrees.stash(&known, None).await.unwrap();
        is_whole(&stage, &stashed.stash_ref);
        stage.worktrees.unstash(&known, None).await.unwrap();
        let read = fs::read_to_string(known.path.join("folder-0/file")).unwrap();
        assert_eq!(read, format!("{round} 0\n"));
    }
    pruning.end();
    collects_garbage(&stage);
}

#[tokio::test]
async fn a_look_beside_a_prune_is_whole_or_healed() {
    let (stage, known) = scene(&["init", "--quiet"]).await;
    let pruning = Pruning::begin(&stage.repo, PAUSE);
    let mut refs = Vec::new();
    for round in 0..ROUNDS {
        write(&known, round);
        let tree = stage.worktrees.snapshot(&known).await.unwrap().tree;
        let reference = known.tree_ref("look", &tree);
        stage.worktrees.keep_tree(&known, &reference, &tree, "a look").await.unwrap();
        refs.push(reference);
    }
    pruning.end();
    // One that was loose when a prune began that knew nothing of its ref is found later.
    let lost = stage.worktrees.heal(known.common_dir.clone()).await.unwrap();
    let is_lost = |reference: &&String| lost.iter().any(|text| text.contains(reference.as_str()));
    refs.iter().filter(|reference| !is_lost(reference)).for_each(|reference| is_whole(&stage, reference));
    assert!(lost.len() < ROUNDS / 2, "{lost:?}");
    collects_garbage(&stage);
}

#[tokio::test]
async fn a_look_while_garbage_is_collected_is_in_a_pack() {
    for init in [&["init", "--quiet"][..], &["init", "--quiet", "--object-format=sha256"]] {
        let (stage, known) = scene(init).await;
        let loose = |id: &str| stage.repo.join(".git/objects").join(&id[..2]).join(&id[2..]).exists();
        let mut kept = Vec::new();
        for round in 0..2 {
            write(&known, round);
            let tree = stage.worktrees.snapshot(&known).await.unwrap().tree;
            let reference = known.tree_ref("look", &tree);
            stage.worktrees.keep_tree(&known, &reference, &tree, "a look").await.unwrap();
            kept.push(stage.git(&["rev-parse", &reference]));
            fs::write(stage.repo.join(".git/gc.pid"), "1 host").unwrap();
        }
        git(&stage.repo, &["prune-packed"]);
        assert!(loose(&kept[0]) && !loose(&kept[1]), "{init:?}");
        fs::remove_file(stage.repo.join(".git/gc.pid")).unwrap();
        collects_garbage(&stage);
    }
}

/// Takes an object out of a repository.
fn lose(stage: &Stage, id: &str) {
    let objects = stage.repo.join(".git/objects");
    for pack in fs::read_dir(objects.join("pack")).unwrap() {
        let (from, to) = (pack.as_ref().unwrap().path(), stage.base().join("pack"));
        fs::rename(&from, &to).unwrap();
        if from.extension() == Some("pack".as_ref()) {
            let unpack = format!("alias.unpack=!git unpack-objects -q <{}", to.display());
            stage.git(&["-c", &unpack, "unpack"]);
        }
    }
    fs::remove_file(objects.join(&id[..2]).join(&id[2..])).unwrap();
    assert!(!try_git(&stage.repo, &["cat-file", "-e", id]).status.success());
}

#[tokio::test]
async fn a_ref_that_lost_something_is_healed_with_what_is_left() {
    let (stage, known) = scene(&["init", "--quiet"]).await;
    write(&known, 0);
    let reference = stage.worktrees.salvage(&known, &[]).await.unwrap().reference;
    let tree = stage.worktrees.snapshot(&known).await.unwrap().tree;
    let look = known.tree_ref("look", &tree);
    stage.worktrees.keep_tree(&known, &look, &tree, "a look").await.unwrap();
    let common_dir = known.common_dir.clone();
    assert_eq!(stage.worktrees.heal(common_dir.clone()).await.unwrap(), Vec::<String>::new());
    is_whole(&stage, &reference);

    let gone = stage.git(&["rev-parse", &format!("{reference}:folder-3/file")]);
    lose(&stage, &gone);
    assert!(!try_git(&stage.repo, &["gc", "--quiet", "--prune=now"]).status.success());
    let lost = stage.worktrees.heal(common_dir.clone()).await.unwrap();
    assert_eq!(lost.len(), 2, "{lost:?}");
    assert!(lost.iter().any(|what| what.contains("`folder-3/file`")), "{lost:?}");
    assert!(lost.iter().any(|what| what.contains(&look)), "{lost:?}");
    is_whole(&stage, &reference);
    assert_eq!(stage.git(&["show", &format!("{reference}:folder-4/file")]), "0 4");
    collects_garbage(&stage);
    // The next salvage has all of it again.
    let again = stage.worktrees.salvage(&known, &[]).await.unwrap();
    assert_eq!(stage.git(&["show", &format!("{}:folder-3/file", again.commit)]), "0 3");
    collects_garbage(&stage);
}

#[tokio::test]
async fn the_trash_stays_whose_salvage_lost_something() {
    let (stage, known) = scene(&["init", "--quiet"]).await;
    write(&known, 0);
    let salvaged = stage.worktrees.salvage(&known, &[]).await.unwrap();
    stage.worktrees.to_trash(&known, &salvaged).await.unwrap();
    lose(&stage, &stage.git(&["rev-parse", &format!("{}:folder-3/file", salvaged.commit)]));
    let refused = stage.worktrees.purge(&known).await.unwrap_err();
    assert!(refused.message.contains("last copy"), "{refused}");
    let lost = stage.worktrees.heal(known.common_dir.clone()).await.unwrap();
    assert!(lost[0].contains("hob worktree restore w-test"), "{lost:?}");
    collects_garbage(&stage);
    stage.worktrees.purge(&known).await.unwrap_err();
    assert!(stage.worktrees.restore(&known).await.unwrap().from_trash);
    assert_eq!(fs::read_to_string(known.path.join("folder-3/file")).unwrap(), "0 3\n");
}

#[tokio::test]
async fn what_a_killed_daemon_left_of_packs_is_cleared_up() {
    let (stage, known) = scene(&["init", "--quiet"]).await;
    let objects = known.common_dir.join("objects");
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(3_600);
    let age = |path: &Path| fs::File::open(path).unwrap().set_modified(long_ago).unwrap();
    let marks =
        [("pack/pack-1.keep", "hob\n"), ("pack/pack-2.keep", "hob of somebody"), ("pack/pack-3.keep", "")];
    for (mark, text) in marks {
        fs::write(objects.join(mark), text).unwrap();
        age(&objects.join(mark));
    }
    for (folder, is_left) in [("hob-pack-x", true), ("hob-draft-x", true), ("hob-draft-y", false)] {
        fs::create_dir(objects.join(folder)).unwrap();
        if is_left {
            age(&objects.join(folder));
        }
    }
    fs::write(objects.join("pack/pack-4.keep"), "hob\n").unwrap();
    stage.worktrees.heal(known.common_dir.clone()).await.unwrap();
    let is_there = |path: &str| objects.join(path).exists();
    assert!(!is_there("hob-pack-x") && !is_there("hob-draft-x") && !is_there("pack/pack-1.keep"));
    assert!(is_there("pack/pack-2.keep") && is_there("pack/pack-3.keep"));
    // Another daemon may be at work with these.
    assert!(is_there("hob-draft-y") && is_there("pack/pack-4.keep"));
}
