//! Git is in the middle of something, or somebody is.

use super::*;

/// Two commits that conflict.
fn conflict(site: &Site) {
    site.write_repo("README.md", "main's\n");
    git(&site.repo, &["commit", "--quiet", "-am", "main's"]);
    site.write("README.md", "the branch's\n");
    site.git(&["commit", "--quiet", "-am", "the branch's"]);
}

#[expect(clippy::too_many_lines, reason = "one table, a line or a few for each state")]
pub(super) fn operations() -> Vec<Case> {
    vec![
        case(
            "a merge in conflict",
            |s| {
                conflict(s);
                try_git(&s.tree, &["merge", "main"]);
            },
            &["operation", "dirty"],
        ),
        case(
            "a merge that is not committed",
            |s| {
                s.write_repo("more", "more\n");
                git(&s.repo, &["add", "."]);
                git(&s.repo, &["commit", "--quiet", "-m", "more"]);
                s.git(&["merge", "--quiet", "--no-ff", "--no-commit", "main"]);
            },
            &["operation"],
        ),
        case(
            "a stopped rebase",
            |s| {
                conflict(s);
                try_git(&s.tree, &["rebase", "main"]);
            },
            &["operation"],
        ),
        case(
            "a stopped rebase with an automatic stash",
            |s| {
                conflict(s);
                s.write("run.sh", "#!/bin/sh\necho\n");
                try_git(&s.tree, &["rebase", "--autostash", "main"]);
            },
            &["operation"],
        ),
        case(
            "a stopped cherry-pick",
            |s| {
                conflict(s);
                try_git(&s.tree, &["cherry-pick", "main"]);
            },
            &["operation"],
        ),
        case(
            "a stopped revert",
            |s| {
                s.commit("one");
                s.write("one", "changed\n");
                s.git(&["commit", "--quiet", "-am", "two"]);
                try_git(&s.tree, &["revert", "--no-edit", "HEAD~1"]);
            },
            &["operation"],
        ),
        case(
            "a bisect",
            |s| {
                s.git(&["bisect", "start"]);
            },
            &["operation"],
        ),
        case(
            "patches being applied",
            |s| {
                conflict(s);
                let patch = git(&s.repo, &["format-patch", "--stdout", "-1", "main"]);
                fs::write(s.dir.join("patch"), patch + "\n").unwrap();
                try_git(&s.tree, &["am", s.dir.join("patch").to_str().unwrap()]);
            },
            &["operation"],
        ),
        case(
            "locked by somebody",
            |s| {
                s.git(&["worktree", "unlock", "."]);
                s.git(&["worktree", "lock", "--reason", "on a stick", "."]);
            },
            &["locked"],
        ),
        case(
            "locked without a reason",
            |s| {
                s.git(&["worktree", "unlock", "."]);
                s.git(&["worktree", "lock", "."]);
            },
            &["locked"],
        ),
        case("index.lock", |s| fs::write(s.admin().join("index.lock"), "").unwrap(), &["lock_file"]),
        case("HEAD.lock", |s| fs::write(s.admin().join("HEAD.lock"), "").unwrap(), &["lock_file"]),
        case(
            "packed-refs.lock",
            |s| {
                fs::write(s.repo.join(".git/packed-refs.lock"), "").unwrap();
            },
            &["lock_file"],
        ),
        case("config.lock", |s| fs::write(s.repo.join(".git/config.lock"), "").unwrap(), &["lock_file"]),
        case(
            "a branch's lock",
            |s| {
                fs::write(s.repo.join(".git/refs/heads/main.lock"), "").unwrap();
            },
            &["lock_file"],
        ),
        case("a process inside", |s| s.hold(&s.tree, ""), &["in_use"]),
        case("a process deep inside", |s| s.hold(&s.tree.join("src/deep"), ""), &["in_use"]),
        case(
            "an open file inside",
            |s| {
                s.hold(&s.dir, &format!("exec 3<{}", s.tree.join("README.md").display()));
            },
            &["in_use"],
        ),
        case(
            "an open file inside that was deleted",
            |s| {
                let file = s.tree.join("scratch");
                s.hold(&s.dir, &format!("exec 3>{0}; rm {0}", file.display()));
            },
            &["in_use"],
        ),
    ]
}
