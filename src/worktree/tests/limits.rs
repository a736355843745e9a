//! Locks of others, and callers that go away.

use std::fs::File;

use super::*;

/// Waits for locks of others for a moment.
fn impatient() -> Stage {
    Stage::new().options(|options| options.lock_wait = Duration::from_millis(200))
}

#[tokio::test]
async fn a_repository_that_this_process_works_on_is_busy_after_a_while() {
    let stage = impatient();
    let located = stage.worktrees.locate(&stage.repo).await.unwrap();
    let turn = stage.worktrees.inner.locks.turn(&located.common_dir).await.unwrap();
    let error = stage.worktrees.create(stage.request(located.clone())).await.expect_err("a refusal");
    assert!(matches!(&error.kind, WorktreeErrorKind::Busy(what) if what.ends_with(".git")), "{error:?}");
    assert!(error.hint.is_some());
    drop(turn);
    let stage = stage.options(|options| options.lock_wait = Duration::from_secs(30));
    stage.worktrees.create(stage.request(located)).await.unwrap();
}

#[tokio::test]
async fn a_repository_that_another_daemon_works_on_is_busy_after_a_while() {
    let stage = impatient();
    let located = stage.worktrees.locate(&stage.repo).await.unwrap();
    let records = stage.worktrees.inner.records();
    fs::create_dir_all(&records).unwrap();
    let path = records.join(format!("{}.lock", lock::name_of(&located.common_dir)));
    let held = File::create(path).unwrap();
    held.lock().unwrap();
    let (before, request) = (stage.state(), stage.request(located));
    let error = stage.worktrees.create(request.clone()).await.expect_err("a refusal");
    assert!(error.message.contains("another daemon"), "{error:?}");
    assert_eq!(stage.state(), before);
    drop(held);
    let stage = stage.options(|options| options.lock_wait = Duration::from_secs(30));
    stage.worktrees.create(request).await.unwrap();
}

#[tokio::test]
async fn other_repositories_are_not_held_up() {
    let (busy, free) = (Stage::new(), Stage::new());
    let located = busy.worktrees.locate(&busy.repo).await.unwrap();
    let _turn = free.worktrees.inner.locks.turn(&located.common_dir).await.unwrap();
    free.create(|_| {}).await.unwrap();
}

/// The lock of a foreign git on the branch that we are about to make.
fn foreign_lock(stage: &Stage) -> PathBuf {
    let lock = stage.repo.join(".git/refs/heads/hob/w-test.lock");
    fs::create_dir_all(lock.parent().unwrap()).unwrap();
    fs::write(&lock, "").unwrap();
    lock
}

#[tokio::test]
async fn a_lock_file_of_a_foreign_git_is_waited_for_within_a_bound_and_never_removed() {
    let stage = Stage::new();
    let lock = foreign_lock(&stage);
    let error = stage.create(|_| {}).await.expect_err("a refusal");
    assert!(matches!(error.kind, WorktreeErrorKind::Busy(_)), "{error:?}");
    assert!(error.message.contains("w-test.lock"), "{error}");
    assert!(lock.exists());
    assert!(stage.made().is_empty());
}

#[tokio::test]
async fn a_lock_file_that_goes_in_time_is_no_trouble() {
    let stage = Stage::new().options(|options| options.lock_file_wait = Duration::from_secs(30));
    let lock = foreign_lock(&stage);
    let removal = tokio::task::spawn(async move {
        tokio::time::sleep(Duration::from_millis(150)).await;
        fs::remove_file(lock).unwrap();
    });
    stage.create(|_| {}).await.unwrap();
    removal.await.unwrap();
}

#[tokio::test]
async fn a_lock_on_the_users_index_is_none_of_our_business() {
    let stage = Stage::new();
    stage.write("a.txt", "changed\n");
    stage.write(".git/index.lock", "");
    let created = stage.create(|request| request.carry_changes = true).await.unwrap();
    assert_eq!(fs::read_to_string(created.path.join("a.txt")).unwrap(), "changed\n");
    assert!(stage.repo.join(".git/index.lock").exists());
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_nothing_behind() {
    let stage = Stage::new();
    let before = stage.state();
    let located = stage.worktrees.locate(&stage.repo).await.unwrap();
    // So that the job begins and waits, and nobody is there when it is done.
    let held = {
        let records = stage.worktrees.inner.records();
        fs::create_dir_all(&records).unwrap();
        let path = records.join(format!("{}.lock", lock::name_of(&located.common_dir)));
        let file = File::create(path).unwrap();
        file.lock().unwrap();
        file
    };
    let stage = stage.options(|options| options.lock_wait = Duration::from_secs(30));
    let worktrees = stage.worktrees.clone();
    let request = stage.request(located.clone());
    let caller = tokio::spawn(async move { worktrees.create(request).await });
    while stage.worktrees.inner.jobs.available_permits() == JOBS_MAX {
        tokio::task::yield_now().await;
    }
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    drop(held);
    // In line behind the abandoned job.
    drop(stage.worktrees.inner.locks.turn(&located.common_dir).await.unwrap());
    assert_eq!(stage.state(), before);
    assert!(stage.made().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_to_while_it_is_read_is_no_fault() {
    use std::sync::atomic::{AtomicBool, Ordering};
    for format in super::changes::FORMATS {
        let stage = Stage::with(&[&["init", "--quiet", "--initial-branch=main"][..], format].concat(), &[]);
        stage.first_commit();
        let created = stage.create(|_| ()).await.unwrap();
        let known = known(&stage, &created);
        let is_over = Arc::new(AtomicBool::new(false));
        let (path, stop) = (created.path.join("growing"), is_over.clone());
        let writer = std::thread::spawn(move || {
            for n in 0_usize.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                fs::write(&path, vec![b'x'; (n % 7) * 60_000]).unwrap();
            }
        });
        let mut wrong = Vec::new();
        for _ in 0..40 {
            let looked = stage.worktrees.snapshot(&known).await;
            wrong.extend(looked.err().filter(|error| error.kind != WorktreeErrorKind::Changing));
        }
        is_over.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        assert!(wrong.is_empty(), "{format:?}: {wrong:?}");
        stage.worktrees.snapshot(&known).await.unwrap();
    }
}
