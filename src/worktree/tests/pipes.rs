//! Named pipes where git has its files: nobody waits for them, and nobody for whoever would.

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::*;

/// Far more than a look takes, and far less than anybody waits for ever.
const SOON: Duration = Duration::from_secs(20);

fn pipe(at: &Path) {
    fs::remove_file(at).ok();
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    mkfifo(at, Mode::S_IRWXU).unwrap();
}

async fn soon<T>(job: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, job).await.expect("an end")
}

/// A worktree, and where a pipe in it or in its git directory stops git.
async fn made(stage: &Stage) -> (Known, Vec<PathBuf>) {
    let created = stage.create(|_| {}).await.unwrap();
    let (top, admin) = (&created.path, stage.repo.join(".git/worktrees/w-test"));
    let in_files =
        [".gitignore", ".gitattributes", ".gitmodules", "dir/.gitignore", "new/deep/.gitattributes"];
    let in_entry = ["HEAD", "index", "ORIG_HEAD", "logs/HEAD", "refs/bisect/bad", "config.worktree"];
    let pipes = in_files.map(|name| top.join(name)).into_iter().chain(in_entry.map(|name| admin.join(name)));
    (known(stage, &created), pipes.collect())
}

#[tokio::test]
async fn a_pipe_in_the_place_of_a_file_of_gits_is_named_at_once_and_holds_nobody_up() {
    let stage = Stage::new();
    let (known, pipes) = made(&stage).await;
    let before = soon(stage.worktrees.snapshot(&known)).await.unwrap();
    for at in pipes {
        let kept = fs::read(&at).ok();
        pipe(&at);
        let error = soon(stage.worktrees.snapshot(&known)).await.expect_err("it cannot be looked at");
        assert_eq!(error.kind, WorktreeErrorKind::InTheWay, "{error:?}");
        assert!(error.message.contains(at.to_str().unwrap()), "{error:?} does not name {}", at.display());
        assert_eq!(error.hint, Some(format!("rm {}", at.display())));
        let other = soon(stage.create(|request| request.id = "w-other".into())).await.unwrap();
        drop(soon(stage.worktrees.undo_create(&other)).await.unwrap());
        fs::remove_file(&at).unwrap();
        if let Some(kept) = kept {
            fs::write(&at, kept).unwrap();
        }
    }
    assert_eq!(soon(stage.worktrees.snapshot(&known)).await.unwrap(), before, "nothing stays of it");
}

#[tokio::test]
async fn a_worktree_is_made_by_the_program_beside_one_that_git_would_wait_for() {
    let stage = Stage::new();
    stage.git(&["config", "filter.f.clean", "cat"]);
    stage.write(".gitattributes", "*.bin filter=f\n");
    stage.commit("a filter");
    let (_, pipes) = made(&stage).await;
    pipe(pipes.iter().find(|at| at.ends_with("w-test/HEAD")).unwrap());
    let other = soon(stage.create(|request| request.id = "w-other".into())).await.unwrap();
    assert!(status(&other.path).is_empty());
    assert_eq!(git(&other.path, &["symbolic-ref", "HEAD"]), "refs/heads/hob/w-other");
    stage.git(&["config", "core.sparseCheckout", "true"]);
    let error = soon(stage.create(|request| request.id = "w-third".into())).await.expect_err("a refusal");
    assert!(error.message.contains("w-test/HEAD"), "{error:?}");
    assert_eq!(stage.git(&["branch", "--list", "hob/w-third"]), "");
}

#[tokio::test]
async fn links_sockets_and_what_a_configuration_names_are_looked_at_as_well() {
    let stage = Stage::new();
    let (known, _) = made(&stage).await;
    let outside = stage.base().join("pipe");
    pipe(&outside);
    let link = known.path.join("dir/.gitignore");
    std::os::unix::fs::symlink(&outside, &link).unwrap();
    let error = soon(stage.worktrees.snapshot(&known)).await.expect_err("a link to a pipe");
    assert!(error.message.contains("dir/.gitignore"), "{error:?}");
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    soon(stage.worktrees.snapshot(&known)).await.expect("an empty device is no trap");
    fs::remove_file(&link).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(known.path.join("socket")).unwrap();
    pipe(&known.path.join("another-pipe"));
    soon(stage.worktrees.snapshot(&known)).await.expect("what has no name of git's is left alone");
    drop(socket);
    for key in ["include.path", "core.excludesFile", "core.attributesFile"] {
        git(&known.path, &["config", key, outside.to_str().unwrap()]);
        let error = soon(stage.worktrees.snapshot(&known)).await.expect_err(key);
        assert!(error.message.contains(outside.to_str().unwrap()), "{error:?}");
        // git itself would wait for it.
        let config = known.common_dir.join("config");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, text.rsplit_once('[').unwrap().0).unwrap();
    }
}

#[tokio::test]
async fn pipes_in_the_checkout_of_the_user_are_named_before_anything_is_made() {
    let stage = Stage::new();
    pipe(&stage.repo.join(".worktreeinclude"));
    pipe(&stage.repo.join("dir/.gitignore"));
    soon(stage.create(|_| {})).await.expect("nothing of them is needed");
    let stage = Stage::new();
    pipe(&stage.repo.join("dir/.gitignore"));
    let refused = soon(stage.create(|request| request.carry_changes = true)).await.expect_err("a refusal");
    assert!(refused.message.contains("dir/.gitignore"), "{refused:?}");
    pipe(&stage.repo.join(".git/HEAD"));
    let refused = soon(stage.worktrees.locate(&stage.repo)).await.expect_err("a refusal");
    assert!(refused.message.contains(".git/HEAD"), "{refused:?}");
}

#[tokio::test]
async fn a_look_that_was_given_up_holds_neither_its_repository_nor_others() {
    let stage = Stage::new();
    let created = stage.create(|_| {}).await.unwrap();
    let known = known(&stage, &created);
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let ended = Arc::new(std::sync::Mutex::new(ended));
    // As many as there are jobs at once, and one more.
    for _ in 0..=JOBS_MAX {
        let ended = Arc::clone(&ended);
        let hangs = stage.worktrees.locked_look(&known, move |_| Ok(ended.lock().unwrap().recv().is_err()));
        tokio::time::timeout(Duration::from_millis(100), hangs).await.expect_err("it hangs");
    }
    soon(stage.worktrees.snapshot(&known)).await.expect("the next look is made");
    soon(stage.create(|request| request.id = "w-other".into())).await.unwrap();
    let mut n_more = 0;
    let refused = loop {
        let ended = Arc::clone(&ended);
        let hangs = stage.worktrees.locked_look(&known, move |_| Ok(ended.lock().unwrap().recv().is_err()));
        match tokio::time::timeout(Duration::from_millis(20), hangs).await {
            Ok(answer) => break answer.expect_err("too many"),
            Err(_) => n_more += 1,
        }
        assert!(n_more < 100, "threads are spent without a bound");
    };
    assert!(matches!(refused.kind, WorktreeErrorKind::Busy(_)), "{refused:?}");
    drop(end);
}
