//! What git was told not to see, or cannot.

use super::*;

#[expect(clippy::too_many_lines, reason = "one table, a line or a few for each state")]
pub(super) fn hidden() -> Vec<Case> {
    vec![
        case(
            "assume-unchanged",
            |s| {
                s.git(&["update-index", "--assume-unchanged", "README.md"]);
                s.write("README.md", "changed\n");
            },
            &["dirty"],
        ),
        case(
            "skip-worktree",
            |s| {
                s.git(&["update-index", "--skip-worktree", "README.md"]);
                s.write("README.md", "changed\n");
            },
            &["dirty"],
        ),
        case(
            "the same size and the same time",
            |s| {
                let path = s.tree.join("README.md");
                let before = fs::metadata(&path).unwrap().modified().unwrap();
                git(&s.repo, &["config", "core.trustctime", "false"]);
                git(&s.repo, &["config", "core.checkStat", "minimal"]);
                fs::write(&path, "A REPOSITORY\n").unwrap();
                fs::File::options().write(true).open(path).unwrap().set_modified(before).unwrap();
            },
            &["dirty"],
        ),
        case(
            "a hostile clean filter",
            |s| {
                let script = format!("touch {}; cat", s.marker().display());
                git(&s.repo, &["config", "filter.evil.clean", &script]);
                git(&s.repo, &["config", "filter.evil.smudge", &script]);
                git(&s.repo, &["config", "filter.evil.required", "true"]);
                s.write(".gitattributes", "* filter=evil\n");
                s.write("README.md", "changed\n");
            },
            &["dirty", "untracked"],
        ),
        case(
            "a hostile fsmonitor",
            |s| {
                let script = s.dir.join("monitor");
                fs::write(&script, format!("#!/bin/sh\ntouch {}\n", s.marker().display())).unwrap();
                fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
                s.write("new", "new\n");
                git(&s.repo, &["config", "core.fsmonitor", script.to_str().unwrap()]);
            },
            &["untracked"],
        ),
        case(
            "hostile hooks",
            |s| {
                let hooks = s.repo.join(".git/hooks");
                fs::create_dir_all(&hooks).unwrap();
                for name in ["post-checkout", "reference-transaction", "post-index-change", "pre-auto-gc"] {
                    let script = hooks.join(name);
                    fs::write(&script, format!("#!/bin/sh\ntouch {}\n", s.marker().display())).unwrap();
                    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
                }
                s.write("new", "new\n");
            },
            &["untracked"],
        ),
        case(
            "a redirected core.worktree",
            |s| {
                git(&s.repo, &["config", "extensions.worktreeConfig", "true"]);
                fs::write(s.admin().join("config.worktree"), "[core]\n\tworktree = /tmp\n").unwrap();
                s.write("new", "new\n");
            },
            &["untracked"],
        ),
        case("a corrupt index", |s| fs::write(s.admin().join("index"), "garbage").unwrap(), &["unreadable"]),
        case("no index", |s| fs::remove_file(s.admin().join("index")).unwrap(), &["dirty"]),
        case(
            "a missing object",
            |s| {
                s.commit("work");
                s.git(&["branch", "kept"]);
                let id = s.git(&["rev-parse", "HEAD:work"]);
                fs::remove_file(s.repo.join(".git/objects").join(&id[..2]).join(&id[2..])).unwrap();
            },
            &["missing"],
        ),
        needs(
            Needs::NoRoot,
            case(
                "a directory that may not be read",
                |s| {
                    s.write("secret/x", "x");
                    fs::set_permissions(s.tree.join("secret"), fs::Permissions::from_mode(0o000)).unwrap();
                },
                &["unreadable"],
            ),
        ),
        case(
            "a nested repository",
            |s| {
                fs::create_dir(s.tree.join("nested")).unwrap();
                git(&s.tree.join("nested"), &["init", "--quiet"]);
            },
            &["nested_repo"],
        ),
        case(
            "what is nearly called .git",
            |s| {
                fs::create_dir(s.tree.join(".GIT")).unwrap();
                s.write(".GIT/work", "work\n");
            },
            &["nested_repo"],
        ),
        case(
            "a nested repository in an ignored directory",
            |s| {
                fs::create_dir_all(s.tree.join("build/nested")).unwrap();
                git(&s.tree.join("build/nested"), &["init", "--quiet"]);
            },
            &["nested_repo"],
        ),
        case(
            "a nested repository in a disposable directory",
            |s| {
                fs::create_dir_all(s.tree.join("node_modules/pkg")).unwrap();
                git(&s.tree.join("node_modules/pkg"), &["init", "--quiet"]);
            },
            &["nested_repo"],
        ),
        case(
            "a bare repository in a disposable directory",
            |s| {
                fs::create_dir_all(s.tree.join("target/mirror")).unwrap();
                git(&s.tree.join("target/mirror"), &["init", "--quiet", "--bare"]);
            },
            &["nested_repo"],
        ),
        case(
            "a worktree of another repository inside",
            |s| {
                let other = s.dir.join("other");
                fs::create_dir(&other).unwrap();
                git(&other, &["init", "--quiet"]);
                git(&other, &["commit", "--quiet", "--allow-empty", "-m", "x"]);
                let inside = s.tree.join("inside");
                git(&other, &["worktree", "add", "--quiet", "--detach", inside.to_str().unwrap()]);
            },
            &["nested_repo"],
        ),
    ]
}
