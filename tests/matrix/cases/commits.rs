//! Commits that are nowhere else.

use super::*;

#[expect(clippy::too_many_lines, reason = "one table, a line or a few for each state")]
pub(super) fn commits() -> Vec<Case> {
    vec![
        case("committed, without a remote", |s| s.commit("work"), &["unpushed"]),
        of(with_remote, case("committed, and no upstream", |s| s.commit("work"), &["unpushed"])),
        of(
            with_remote,
            case(
                "ahead of its upstream",
                |s| {
                    s.commit("one");
                    s.git(&["push", "--quiet", "-u", "origin", "HEAD"]);
                    s.commit("two");
                },
                &["unpushed"],
            ),
        ),
        of(
            with_remote,
            case(
                "its upstream is gone",
                |s| {
                    s.commit("one");
                    s.git(&["push", "--quiet", "-u", "origin", "HEAD"]);
                    git(
                        &s.dir.join("origin.git"),
                        &["update-ref", "-d", &format!("refs/heads/{}", s.branch())],
                    );
                    git(&s.repo, &["fetch", "--quiet", "--prune", "origin"]);
                },
                &["unpushed"],
            ),
        ),
        case(
            "squash-merged",
            |s| {
                s.commit("one");
                s.commit("two");
                git(&s.repo, &["merge", "--quiet", "--squash", &s.branch()]);
                git(&s.repo, &["commit", "--quiet", "-m", "both"]);
            },
            &["unpushed"],
        ),
        case(
            "cherry-picked",
            |s| {
                s.commit("one");
                s.commit("two");
                git(&s.repo, &["cherry-pick", &s.branch()]);
            },
            &["unpushed"],
        ),
        case(
            "only a tag has it",
            |s| {
                s.commit("work");
                s.git(&["tag", "v1"]);
            },
            &["unpushed"],
        ),
        case(
            "detached with a commit",
            |s| {
                s.git(&["checkout", "--quiet", "--detach"]);
                s.commit("work");
            },
            &["unreachable"],
        ),
        case(
            "detached with a commit, and back",
            |s| {
                s.git(&["checkout", "--quiet", "--detach"]);
                s.commit("work");
                s.git(&["checkout", "--quiet", &s.branch()]);
            },
            &["unreachable"],
        ),
        case(
            "amended",
            |s| {
                s.commit("work");
                s.git(&["commit", "--quiet", "--amend", "-m", "better"]);
            },
            &["unreachable"],
        ),
        case(
            "reset away",
            |s| {
                s.commit("work");
                s.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
            },
            &["unreachable"],
        ),
        case(
            "detached with a commit, reflogs off",
            |s| {
                git(&s.repo, &["config", "core.logAllRefUpdates", "false"]);
                s.git(&["checkout", "--quiet", "--detach"]);
                s.commit("work");
            },
            &["unreachable"],
        ),
        case(
            "its branch deleted beneath it",
            |s| {
                s.commit("work");
                git(&s.repo, &["update-ref", "-d", &format!("refs/heads/{}", s.branch())]);
            },
            &["unreachable"],
        ),
        case(
            "a ref of the worktree's own",
            |s| {
                s.commit("work");
                s.git(&["update-ref", "refs/worktree/mine", "HEAD"]);
                s.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
                fs::remove_dir_all(s.admin().join("logs")).ok();
                fs::remove_file(s.admin().join("ORIG_HEAD")).ok();
            },
            &["unreachable"],
        ),
        case(
            "ORIG_HEAD alone",
            |s| {
                s.commit("work");
                s.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
                fs::remove_dir_all(s.admin().join("logs")).ok();
            },
            &["unreachable"],
        ),
        case(
            "the reflog of its branch alone",
            |s| {
                s.commit("work");
                s.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
                fs::remove_dir_all(s.admin().join("logs")).ok();
                fs::remove_file(s.admin().join("ORIG_HEAD")).ok();
            },
            &["unreachable"],
        ),
        case(
            "fetched by its address",
            |s| {
                let other = s.dir.join("other");
                git(&s.dir, &["clone", "--quiet", "repo", "other"]);
                git(&other, &["commit", "--quiet", "--allow-empty", "-m", "theirs"]);
                s.git(&["fetch", "--quiet", other.to_str().unwrap()]);
            },
            &["unreachable"],
        ),
        case(
            "a linked worktree inside, detached with a commit",
            |s| {
                s.git(&["worktree", "add", "--quiet", "--detach", "inner"]);
                git(&s.tree.join("inner"), &["commit", "--quiet", "--allow-empty", "-m", "inner"]);
            },
            &["unreachable", "nested_repo"],
        ),
        case(
            "another branch checked out, with a commit",
            |s| {
                s.git(&["checkout", "--quiet", "-b", "mine"]);
                s.commit("work");
                git(&s.repo, &["update-ref", "-d", "refs/heads/mine"]);
            },
            &["unreachable"],
        ),
        case(
            "a stash of its branch",
            |s| {
                s.write("README.md", "stashed\n");
                s.git(&["stash", "--quiet"]);
            },
            &["stash_here"],
        ),
        of(reftable, case("committed in a reftable repository", |s| s.commit("work"), &["unpushed"])),
        of(sha256, case("committed in a sha256 repository", |s| s.commit("work"), &["unpushed"])),
        of(
            reftable,
            case(
                "detached with a commit and back, in a reftable repository",
                |s| {
                    s.git(&["checkout", "--quiet", "--detach"]);
                    s.commit("work");
                    s.git(&["checkout", "--quiet", &s.branch()]);
                },
                &["unreachable"],
            ),
        ),
    ]
}
