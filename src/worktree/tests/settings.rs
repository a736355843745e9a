//! Settings that make git see other files than the disk has: names that differ by case, links and modes
//! that the settings of a clone deny. None of them makes a change before anybody changed something, an
//! edit goes back as git would write it, and a worktree without changes is clean.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::Duration;

use super::changes::*;
use super::*;
use crate::worktree::PreflightAsk;
use crate::worktree::method::PROGRAM_FILES_MIN;

/// How a worktree is made: by libgit2 without the program, as it comes, and by the program for its size.
pub(super) const WAYS: [Making; 3] = [Making::WithoutProgram, Making::AsItComes, Making::Large];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Making {
    WithoutProgram,
    AsItComes,
    Large,
}

/// A repository with what `prepare` commits, and a worktree of it. The setting is made when all is
/// committed, as in a checkout that was copied from another machine.
pub(super) async fn desk(making: Making, prepare: impl Fn(&Stage), settings: &[(&str, &str)]) -> Desk {
    let mut stage = Stage::new();
    prepare(&stage);
    if making == Making::Large {
        for n in 0..PROGRAM_FILES_MIN {
            stage.write(format!("many/{n}"), format!("{n}\n"));
        }
    }
    // No more than what is new: git would make alike what it keeps otherwise than its attributes say.
    let new = stage.git(&["ls-files", "--others", "-z"]);
    let new: Vec<_> = new.split('\0').filter(|path| !path.is_empty()).collect();
    for some in new.chunks(1_000) {
        stage.git(&[&["add", "--"], some].concat());
    }
    stage.git(&["commit", "--quiet", "--allow-empty", "-m", "prepared"]);
    for (key, value) in settings {
        stage.git(&["config", key, value]);
    }
    if making == Making::WithoutProgram {
        stage = stage.options(|options| options.path = None);
    }
    Desk::at(stage).await
}

/// That nothing counts as changed, and that the worktree may go.
pub(super) async fn is_untouched(desk: &Desk, what: &str) {
    assert_eq!(desk.tree().await, desk.last, "{what}: the look");
    assert_eq!(desk.pending().await, [], "{what}");
    assert_eq!(status(&desk.known.path), Vec::<String>::new(), "{what}: git status");
    let ask = PreflightAsk {
        known: desk.known.clone(),
        disposable: Vec::new(),
        timeout: Duration::from_secs(20),
        live: Vec::new(),
    };
    let judged = desk.stage.worktrees.preflight(ask).await;
    assert_eq!(judged.reasons, [], "{what}");
}

/// An edit in the worktree, as text of the checkout, and its way to the checkout, which git then sees as
/// this one change.
pub(super) async fn applies(desk: &mut Desk, path: &str, bytes: &[u8], what: &str) {
    fs::write(desk.known.path.join(path), bytes).unwrap();
    desk.look(&["demo"]).await;
    let pending = desk.pending().await;
    let listed: Vec<_> = pending.iter().map(|change| &*change.path).collect();
    assert_eq!(listed, [path], "{what}");
    let before = files(&desk.stage.repo);
    let applied = desk.apply(all()).await;
    assert_eq!((applied.conflicts, applied.paths), (vec![], vec![path.to_owned()]), "{what}");
    assert_eq!(fs::read(desk.stage.repo.join(path)).unwrap(), bytes, "{what}");
    for (other, content) in files(&desk.stage.repo) {
        if other != Path::new(path) && !other.starts_with(".git") {
            assert_eq!(Some(&content), before.get(&other), "{what}: `{}`", other.display());
        }
    }
    assert_eq!(desk.pending().await, [], "{what}");
}

#[tokio::test]
async fn names_that_differ_by_case_are_two_files() {
    for making in WAYS {
        let prepare = |stage: &Stage| {
            stage.write("net/xt_TCPMSS.c", "target\n");
            stage.write("net/xt_tcpmss.c", "match\n");
            stage.write("Readme", "upper\n");
            stage.write("README", "all upper\n");
        };
        let mut desk = desk(making, prepare, &[("core.ignorecase", "true")]).await;
        let what = format!("{making:?}");
        assert_eq!(desk.read("net/xt_TCPMSS.c"), "target\n", "{what}");
        assert_eq!(desk.read("net/xt_tcpmss.c"), "match\n", "{what}");
        assert_eq!(desk.read("Readme"), "upper\n", "{what}");
        is_untouched(&desk, &what).await;
        applies(&mut desk, "net/xt_tcpmss.c", b"match, edited\n", &what).await;
        assert_eq!(desk.checkout("net/xt_TCPMSS.c"), "target\n");
        // A new one beside them, and one that goes.
        applies(&mut desk, "net/XT_TCPMSS.c", b"new\n", &what).await;
        fs::remove_file(desk.known.path.join("Readme")).unwrap();
        desk.look(&["demo"]).await;
        assert_eq!(desk.apply(all()).await.paths, ["Readme"], "{what}");
        assert_eq!((desk.checkout("Readme"), desk.checkout("README")), (String::new(), "all upper\n".into()));
    }
}

#[tokio::test]
async fn what_was_carried_beside_a_name_of_another_case_comes_along() {
    for making in [Making::AsItComes, Making::Large] {
        let prepare = |stage: &Stage| {
            stage.write("A.txt", "upper\n");
            stage.write("many/x", "x\n");
        };
        let first = desk(making, prepare, &[("core.ignorecase", "true")]).await;
        let stage = first.stage;
        stage.write("a.txt", "edited by the user\n");
        stage.write("MANY", "another\n");
        let created = stage
            .create(|request| {
                request.id = "w-carry".into();
                request.carry_changes = true;
            })
            .await
            .unwrap();
        let read = |path: &str| fs::read_to_string(created.path.join(path)).unwrap_or_default();
        assert_eq!((read("a.txt"), read("A.txt")), ("edited by the user\n".into(), "upper\n".into()));
        assert_eq!((read("MANY"), read("many/x")), ("another\n".into(), "x\n".into()), "{making:?}");
    }
}

#[tokio::test]
async fn names_of_both_unicode_forms_stay_as_they_are() {
    for making in WAYS {
        let prepare = |stage: &Stage| {
            stage.write("caf\u{e9}.txt", "composed\n");
            stage.write("cafe\u{301}.txt", "decomposed\n");
        };
        let mut desk = desk(making, prepare, &[("core.precomposeunicode", "true")]).await;
        let what = format!("{making:?}");
        is_untouched(&desk, &what).await;
        applies(&mut desk, "cafe\u{301}.txt", b"edited\n", &what).await;
        assert_eq!(desk.checkout("caf\u{e9}.txt"), "composed\n");
    }
}

#[tokio::test]
async fn links_and_modes_are_there_whatever_the_clone_was_made_on() {
    for making in WAYS {
        let prepare = |stage: &Stage| {
            symlink("a.txt", stage.repo.join("link")).unwrap();
            stage.write("run.sh", "#!/bin/sh\n");
            fs::set_permissions(stage.repo.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        };
        let settings = [("core.symlinks", "false"), ("core.fileMode", "false")];
        let mut desk = desk(making, prepare, &settings).await;
        let what = format!("{making:?}");
        // As a clone without links has them, and one without modes.
        fs::remove_file(desk.stage.repo.join("link")).unwrap();
        desk.stage.write("link", "a.txt");
        fs::set_permissions(desk.stage.repo.join("run.sh"), fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(status(&desk.stage.repo), Vec::<String>::new());
        assert_eq!(fs::read_link(desk.known.path.join("link")).unwrap(), Path::new("a.txt"), "{what}");
        let mode = fs::metadata(desk.known.path.join("run.sh")).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{what}");
        is_untouched(&desk, &what).await;
        applies(&mut desk, "run.sh", b"#!/bin/sh\necho\n", &what).await;
        // A link that points elsewhere is in that checkout what git would write there.
        fs::remove_file(desk.known.path.join("link")).unwrap();
        symlink("dir/b.txt", desk.known.path.join("link")).unwrap();
        fs::set_permissions(desk.known.path.join("a.txt"), fs::Permissions::from_mode(0o755)).unwrap();
        desk.look(&["demo"]).await;
        let applied = desk.apply(all()).await;
        assert_eq!(
            (applied.conflicts, applied.paths),
            (vec![], vec!["a.txt".into(), "link".into()]),
            "{what}"
        );
        assert_eq!(desk.checkout("link"), "dir/b.txt", "{what}");
        assert!(fs::symlink_metadata(desk.stage.repo.join("link")).unwrap().is_file(), "{what}");
        assert_eq!(desk.pending().await, [], "{what}");
    }
}

#[tokio::test]
async fn what_is_carried_from_such_a_clone_has_its_links_and_modes() {
    for making in [Making::AsItComes, Making::Large] {
        let prepare = |stage: &Stage| {
            symlink("a.txt", stage.repo.join("link")).unwrap();
            stage.write("run.sh", "#!/bin/sh\n");
            fs::set_permissions(stage.repo.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        };
        let settings = [("core.symlinks", "false"), ("core.fileMode", "false")];
        let stage = desk(making, prepare, &settings).await.stage;
        fs::remove_file(stage.repo.join("link")).unwrap();
        stage.write("link", "dir/b.txt");
        stage.write("run.sh", "#!/bin/sh\necho\n");
        fs::set_permissions(stage.repo.join("run.sh"), fs::Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(stage.repo.join("a.txt"), fs::Permissions::from_mode(0o755)).unwrap();
        let carry = |request: &mut CreateRequest| {
            request.id = "w-carry".into();
            request.carry_changes = true;
        };
        let created = stage.create(carry).await.unwrap();
        assert_eq!(fs::read_link(created.path.join("link")).unwrap(), Path::new("dir/b.txt"), "{making:?}");
        assert_ne!(fs::metadata(created.path.join("run.sh")).unwrap().mode() & 0o111, 0, "{making:?}");
        assert_eq!(status(&created.path), [" M link", " M run.sh"], "{making:?}");
    }
}

#[tokio::test]
async fn what_could_not_be_made_is_told_and_does_not_count_as_deleted() {
    for path in [std::env::var_os("PATH"), None] {
        let stage = Stage::new().options(|options| options.path.clone_from(&path));
        let created = stage.create(|_| {}).await.unwrap();
        assert_eq!(created.lacking, Vec::<PathBuf>::new());
        let inner = &stage.worktrees.inner;
        let source = Source::open(&created.path, &created.common_dir, inner).unwrap();
        fs::remove_file(created.path.join("a.txt")).unwrap();
        fs::remove_file(created.path.join("dir/b.txt")).unwrap();
        fs::hard_link(created.path.join(".gitignore"), created.path.join("dir/b.txt")).unwrap();
        let lacking = lacking::files(&source, &created.path).unwrap();
        assert_eq!(lacking, [".gitignore", "a.txt", "dir/b.txt"].map(PathBuf::from));
        assert!(lacking::notice(&lacking).unwrap().contains("`a.txt`"));
    }
}
