//! The commit that a worktree was started from, when histories are rewritten and branches deleted.

use std::fs;
use std::time::Duration;

use hob_actors::worktree::{Consents, ReasonKind};

use super::changes::*;
use super::*;
use crate::worktree::{Grounds, PreflightAsk};

fn kept(desk: &Desk) -> Option<String> {
    let name = format!("refs/hob/base/{}", desk.known.id);
    let out = try_git(&desk.stage.repo, &["rev-parse", "--verify", "--quiet", &name]);
    out.status.success().then(|| String::from_utf8(out.stdout).unwrap().trim().to_owned())
}

/// Begins both branches anew without what they were, and lets git forget everything else.
fn rewrite(desk: &Desk) {
    desk.stage.git(&["checkout", "--quiet", "--orphan", "new"]);
    fs::remove_file(desk.stage.repo.join("dir/b.txt")).unwrap();
    let new = desk.stage.commit("rewritten");
    desk.stage.git(&["branch", "--quiet", "--force", "main"]);
    desk.stage.git(&["update-ref", &format!("refs/heads/{}", desk.known.branch), &new]);
    forget(desk);
}

fn forget(desk: &Desk) {
    for entry in ["logs", "ORIG_HEAD"] {
        let place = desk.known.admin().join(entry);
        fs::remove_dir_all(&place).or_else(|_| fs::remove_file(&place)).ok();
    }
    desk.stage.git(&["reflog", "expire", "--expire=now", "--all"]);
    desk.stage.git(&["gc", "--quiet", "--prune=now"]);
}

fn delete_ours(desk: &Desk) {
    let refs = desk.stage.git(&["for-each-ref", "--format=%(refname)", "refs/hob/"]);
    for name in refs.lines() {
        desk.stage.git(&["update-ref", "-d", name]);
    }
}

impl Desk {
    async fn is_ground_lost(&self) -> bool {
        self.stage.worktrees.has_lost_ground(&self.known, Some(&self.last)).await.unwrap()
    }

    /// Takes what is there for what is gone, as the daemon does.
    async fn regrounded(&mut self) -> String {
        let recorded = Grounds {
            base_commit: self.known.base_commit.clone(),
            baseline: self.known.baseline.clone(),
            last_tree: Some(self.last.clone()),
            history: self.history.clone(),
        };
        let (now, text) = self.stage.worktrees.other_grounds(&self.known, recorded).await.unwrap();
        (self.known.base_commit, self.known.baseline) = (now.base_commit, now.baseline);
        self.history = now.history;
        assert!(!self.stage.worktrees.has_lost_ground(&self.known, now.last_tree.as_deref()).await.unwrap());
        text
    }

    async fn judged(&self) -> hob_actors::worktree::Preflight {
        let ask = PreflightAsk {
            known: self.known.clone(),
            disposable: Vec::new(),
            timeout: Duration::from_secs(20),
            live: Vec::new(),
        };
        self.stage.worktrees.preflight(ask).await
    }

    /// That it goes with consent, and comes back with its files.
    async fn goes_and_comes_back(&self, path: &str) {
        let judged = self.judged().await;
        let all = Consents { changes: true, unpushed: true };
        assert_eq!(judged.objections(all), Vec::<&_>::new());
        let text = self.read(path);
        let worktrees = &self.stage.worktrees;
        let salvaged = worktrees.salvage(&self.known, &[]).await.unwrap();
        worktrees.to_trash(&self.known, &salvaged).await.unwrap();
        worktrees.purge(&self.known).await.unwrap();
        self.stage.git(&["fsck", "--connectivity-only"]);
        worktrees.restore(&self.known).await.unwrap();
        assert_eq!(self.read(path), text);
    }
}

#[tokio::test]
async fn a_base_outlives_its_branch_and_a_gc() {
    for format in FORMATS {
        let stage = Stage::with(&[&["init", "--quiet", "--initial-branch=main"][..], format].concat(), &[]);
        stage.first_commit();
        let mut desk = Desk::at(stage).await;
        assert_eq!(kept(&desk).as_ref(), Some(&desk.known.base_commit));
        desk.write("a.txt", "edited\n");
        let tree = desk.look(&["demo"]).await;
        let name = format!("refs/hob/turns/{}/look", desk.known.id);
        desk.stage.worktrees.keep_tree(&desk.known, &name, &tree, "a look").await.unwrap();
        // The person begins anew, and so does the agent in the worktree.
        rewrite(&desk);
        assert!(!desk.is_ground_lost().await);
        let listed: Vec<_> =
            desk.pending().await.into_iter().map(|change| (change.path, change.agents)).collect();
        assert_eq!(listed, [("a.txt".to_owned(), vec!["demo".to_owned()])]);
        assert_eq!(desk.apply(all()).await.paths, ["a.txt"]);
        assert_eq!(desk.checkout("a.txt"), "edited\n");
        desk.stage.worktrees.forget_trees(&desk.known).await.unwrap();
        assert_eq!(kept(&desk), None);
    }
}

#[tokio::test]
async fn a_worktree_that_is_taken_back_leaves_no_ref() {
    let stage = Stage::new();
    let created = stage.create(|_| ()).await.unwrap();
    assert_eq!(stage.git(&["for-each-ref", "--format=%(refname)", "refs/hob/"]), "refs/hob/base/w-test");
    assert!(stage.worktrees.undo_create(&created).await.unwrap().kept.is_empty());
    assert_eq!(stage.git(&["for-each-ref", "refs/hob/"]), "");
    assert!(!stage.repo.join(".git/refs/hob").exists());
}

#[tokio::test]
async fn one_of_before_is_kept_from_the_next_start_on() {
    let desk = Desk::set().await;
    delete_ours(&desk);
    desk.stage.worktrees.hold_base(&desk.known).await.unwrap();
    assert_eq!(kept(&desk).as_ref(), Some(&desk.known.base_commit));
    // One that is gone is not pointed at.
    let lost = Known { id: "w-lost".into(), base_commit: "1".repeat(40), ..desk.known.clone() };
    desk.stage.worktrees.hold_base(&lost).await.unwrap();
    assert_eq!(desk.stage.git(&["for-each-ref", "refs/hob/base/w-lost"]), "");
}

#[tokio::test]
async fn a_base_that_is_gone_all_the_same_is_told_and_what_is_there_is_compared_with() {
    for format in FORMATS {
        let stage = Stage::with(&[&["init", "--quiet", "--initial-branch=main"][..], format].concat(), &[]);
        stage.first_commit();
        let mut desk = Desk::at(stage).await;
        desk.write("a.txt", "edited\n");
        desk.look(&["demo"]).await;
        desk.write("new.txt", "new\n");
        desk.look(&["other"]).await;
        delete_ours(&desk);
        rewrite(&desk);
        assert!(desk.is_ground_lost().await);
        let text = desk.regrounded().await;
        assert!(text.contains("is gone from the repository") && text.contains("compared with"), "{text}");
        desk.last = desk.tree().await;
        let pending = desk.pending().await;
        let listed: Vec<_> = pending.iter().map(|change| &*change.path).collect();
        // `dir/b.txt` is not in the history that was begun anew.
        assert_eq!(listed, ["a.txt", "dir/b.txt", "new.txt"]);
        let applied = desk.apply(paths(&["new.txt"])).await;
        assert_eq!((applied.conflicts, applied.paths), (vec![], vec!["new.txt".to_owned()]));
        assert_eq!(desk.discard(paths(&["a.txt"])).await.conflicts, []);
        assert_eq!(desk.read("a.txt"), "one\n");
        desk.write("a.txt", "work\n");
        desk.goes_and_comes_back("a.txt").await;
    }
}

#[tokio::test]
async fn a_repository_without_any_commit_of_the_worktrees_lets_it_go_with_consent() {
    for format in FORMATS {
        let stage = Stage::with(&[&["init", "--quiet", "--initial-branch=main"][..], format].concat(), &[]);
        stage.first_commit();
        let mut desk = Desk::at(stage).await;
        desk.write("a.txt", "edited\n");
        desk.look(&["demo"]).await;
        delete_ours(&desk);
        desk.stage.git(&["update-ref", "-d", &format!("refs/heads/{}", desk.known.branch)]);
        desk.stage.git(&["checkout", "--quiet", "--orphan", "new"]);
        desk.stage.write("a.txt", "another\n");
        desk.stage.commit("rewritten");
        desk.stage.git(&["branch", "--quiet", "-D", "main"]);
        let index = fs::read(desk.known.admin().join("index")).unwrap();
        // What its index names goes, too.
        fs::remove_file(desk.known.admin().join("index")).unwrap();
        forget(&desk);
        fs::write(desk.known.admin().join("index"), index).unwrap();
        assert!(desk.is_ground_lost().await);
        let text = desk.regrounded().await;
        assert!(text.contains("every file counts as new"), "{text}");
        let judged = desk.judged().await;
        let kinds: Vec<_> = judged.reasons.iter().map(|reason| reason.kind).collect();
        assert!(
            kinds.contains(&ReasonKind::Missing) && !kinds.contains(&ReasonKind::Unreadable),
            "{judged:?}"
        );
        assert!(!judged.objections(Consents { changes: true, unpushed: false }).is_empty());
        desk.goes_and_comes_back("a.txt").await;
    }
}
