//! Large untracked files: each is read once, no look reads more than its share, and what was left out is
//! told.

use super::*;

const MIB: usize = 1 << 20;

/// A worktree whose looks read so many MiB of new files.
async fn made(budget: usize, by_program: bool) -> (Stage, Known) {
    let stage = Stage::new().options(|options| options.look_bytes = (budget * MIB) as u64);
    if by_program {
        stage.git(&["config", "filter.f.clean", "cat"]);
        stage.write(".gitattributes", "*.none filter=f\n");
        stage.commit("a filter");
    }
    let created = stage.create(|_| {}).await.unwrap();
    let known = known(&stage, &created);
    (stage, known)
}

/// Content that does not shrink, other for each seed.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(bytes).collect()
}

fn lay(known: &Known, name: &str, content: &[u8]) {
    fs::write(known.path.join(name), content).unwrap();
}

/// Lets the times of what was written become older than what a file system can tell apart.
async fn let_it_settle() {
    tokio::time::sleep(Duration::from_millis(250)).await;
}

fn loose_bytes(stage: &Stage) -> u64 {
    let objects = walkdir::WalkDir::new(stage.repo.join(".git/objects")).into_iter().flatten();
    objects.filter(|entry| entry.file_type().is_file()).map(|entry| entry.metadata().unwrap().len()).sum()
}

fn blob(stage: &Stage, tree: &str, path: &str) -> String {
    stage.git(&["rev-parse", &format!("{tree}:{path}")])
}

#[tokio::test]
async fn more_than_a_look_may_read_is_named_the_largest_first_and_stays_so() {
    for by_program in [false, true] {
        let (stage, known) = made(5, by_program).await;
        for (n, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
            lay(&known, name, &noise(n as u64, 2 * MIB));
        }
        lay(&known, "larger", &noise(9, 4 * MIB));
        lay(&known, "small", b"small\n");
        let before = loose_bytes(&stage);
        let first = stage.worktrees.snapshot(&known).await.unwrap();
        let told = first.notices.join("\n");
        assert!(told.contains("too much for one look") && told.contains("`larger`"), "{told}");
        let seen = Seen { present: first.tree.clone(), history: Vec::new() };
        let listed = stage.worktrees.pending(&known, seen).await.unwrap();
        let of = |content| listed.iter().filter(move |change| change.content == content).count();
        assert_eq!((listed.len(), of(Content::Large), of(Content::Binary), of(Content::Text)), (6, 3, 2, 1));
        assert!(listed.iter().all(|change| change.path == "small" || change.size_bytes >= Some(2 << 20)));
        // What changes nothing adds nothing, however often it is looked at.
        let kept = loose_bytes(&stage);
        assert!(kept - before < 5 * MIB as u64, "{} bytes", kept - before);
        for _ in 0..3 {
            assert_eq!(stage.worktrees.snapshot(&known).await.unwrap(), first);
        }
        assert_eq!(loose_bytes(&stage), kept);
        // A daemon that starts anew, and one more file, change nothing for those that were there.
        let stage = stage.options(|options| options.look_bytes = 64 << 20);
        lay(&known, "new", &noise(10, 3 * MIB));
        let second = stage.worktrees.snapshot(&known).await.unwrap();
        for name in ["a", "b", "c", "d", "larger", "small"] {
            assert_eq!(blob(&stage, &first.tree, name), blob(&stage, &second.tree, name), "{name}");
        }
        // One that is written again is another, and is read when there is room.
        lay(&known, "larger", &noise(11, 4 * MIB));
        let third = stage.worktrees.snapshot(&known).await.unwrap();
        let wanted = git(&known.path, &["hash-object", "--no-filters", "larger"]);
        assert_eq!(blob(&stage, &third.tree, "larger"), wanted);
    }
}

#[tokio::test]
async fn a_file_is_read_once_for_as_long_as_it_is_left_alone() {
    for by_program in [false, true] {
        let (stage, known) = made(64, by_program).await;
        let big = known.path.join("big");
        lay(&known, "big", &noise(1, 2 * MIB));
        let_it_settle().await;
        let first = stage.worktrees.snapshot(&known).await.unwrap();
        let record = stage.worktrees.inner.records().join("w-test.files");
        let text = String::from_utf8_lossy(&fs::read(&record).unwrap()).into_owned();
        assert!(text.contains("read 100644 "), "{text}");
        let other = stage.git(&["hash-object", "-w", "a.txt"]);
        fs::write(&record, text.replace(&blob(&stage, &first.tree, "big"), &other)).unwrap();
        let second = stage.worktrees.snapshot(&known).await.unwrap();
        assert_eq!(blob(&stage, &second.tree, "big"), other, "what is written down is believed");
        // Times that were set back do not hide a write: that of the inode tells.
        let at = fs::metadata(&big).unwrap().modified().unwrap();
        lay(&known, "big", &noise(2, 2 * MIB));
        fs::File::options().write(true).open(&big).unwrap().set_modified(at).unwrap();
        let third = stage.worktrees.snapshot(&known).await.unwrap();
        let object = git(&known.path, &["hash-object", "--no-filters", "big"]);
        assert_eq!(blob(&stage, &third.tree, "big"), object);
        // What git took away is read again.
        let_it_settle().await;
        stage.worktrees.snapshot(&known).await.unwrap();
        fs::remove_file(stage.repo.join(".git/objects").join(&object[..2]).join(&object[2..])).unwrap();
        assert_eq!(stage.worktrees.snapshot(&known).await.unwrap().tree, third.tree);
        assert_eq!(stage.git(&["cat-file", "-t", &object]), "blob");
    }
}

#[tokio::test]
async fn a_file_that_is_written_twice_in_a_moment_is_seen_as_it_is() {
    for by_program in [false, true] {
        let (stage, known) = made(64, by_program).await;
        for seed in 0..8 {
            lay(&known, "big", &noise(seed, 2 * MIB));
            let snapshot = stage.worktrees.snapshot(&known).await.unwrap();
            let wanted = git(&known.path, &["hash-object", "--no-filters", "big"]);
            assert_eq!(blob(&stage, &snapshot.tree, "big"), wanted);
        }
    }
}
