//! Nothing would be lost.

use super::*;

#[expect(clippy::too_many_lines, reason = "one table, a line or a few for each state")]
pub(super) fn safe() -> Vec<Case> {
    vec![
        case("untouched", nothing, &[]),
        case("built", built, &[]),
        of(reftable, case("built in a reftable repository", built, &[])),
        of(sha256, case("built in a repository with longer names", built, &[])),
        case(
            "ignored one by one below a disposable directory",
            |s| {
                s.write("src/.venv/.gitignore", "*\n");
                s.write("src/.venv/pyvenv.cfg", "home = /usr/bin\n");
                s.write("src/.venv/bin/python", "program\n");
            },
            &[],
        ),
        case(
            "a copied .env",
            |s| {
                s.write_repo(".env", "SECRET=1\n");
                s.write(".env", "SECRET=1\n");
            },
            &[],
        ),
        case(
            "a copied link",
            |s| {
                symlink("/etc/hostname", s.repo.join("x.ignored")).unwrap();
                symlink("/etc/hostname", s.tree.join("x.ignored")).unwrap();
            },
            &[],
        ),
        case(
            "changed and changed back",
            |s| {
                s.write("README.md", "another\n");
                s.write("README.md", "a repository\n");
            },
            &[],
        ),
        case(
            "touched",
            |s| {
                let file = fs::File::options().write(true).open(s.tree.join("README.md")).unwrap();
                file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)).unwrap();
            },
            &[],
        ),
        case("empty directories", |s| fs::create_dir_all(s.tree.join("a/b/c")).unwrap(), &[]),
        of(
            with_remote,
            case(
                "committed and pushed",
                |s| {
                    s.commit("work");
                    s.git(&["push", "--quiet", "origin", "HEAD"]);
                },
                &[],
            ),
        ),
        case(
            "committed and merged by fast-forward",
            |s| {
                s.commit("work");
                git(&s.repo, &["merge", "--quiet", "--ff-only", &s.branch()]);
            },
            &[],
        ),
        case(
            "committed and merged by a merge commit",
            |s| {
                s.commit("work");
                git(&s.repo, &["merge", "--quiet", "--no-ff", "-m", "merge", &s.branch()]);
            },
            &[],
        ),
        case(
            "committed, and another branch has it",
            |s| {
                s.commit("work");
                s.git(&["branch", "kept"]);
            },
            &[],
        ),
        case(
            "detached where main is, and back",
            |s| {
                s.git(&["checkout", "--quiet", "--detach", "main"]);
                s.git(&["checkout", "--quiet", &s.branch()]);
            },
            &[],
        ),
        case(
            "detached where main is",
            |s| {
                s.git(&["checkout", "--quiet", "--detach", "main"]);
            },
            &[],
        ),
        case(
            "behind main",
            |s| {
                s.write_repo("more", "more\n");
                git(&s.repo, &["add", "."]);
                git(&s.repo, &["commit", "--quiet", "-m", "more"]);
            },
            &[],
        ),
        case(
            "on main's newest by a merge",
            |s| {
                s.write_repo("more", "more\n");
                git(&s.repo, &["add", "."]);
                git(&s.repo, &["commit", "--quiet", "-m", "more"]);
                s.git(&["merge", "--quiet", "--ff-only", "main"]);
            },
            &[],
        ),
        of(crlf, case("ends of lines as configured", nothing, &[])),
        of(
            lfs,
            case(
                "a file kept elsewhere, checked out",
                |s| {
                    s.write("data.bin", "the real content\n");
                },
                &[],
            ),
        ),
        of(submodule, case("a submodule that is not checked out", nothing, &[])),
        of(shallow, case("of a shallow clone", nothing, &[])),
        of(partial, case("of a partial clone", nothing, &[])),
        of(reftable, case("of a repository with a reftable", nothing, &[])),
        of(sha256, case("of a repository with longer names", nothing, &[])),
        case(
            "a file with odd permission bits of its own",
            |s| {
                let path = s.tree.join("README.md");
                fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
            },
            &[],
        ),
        case(
            "reflogs are off",
            |s| {
                git(&s.repo, &["config", "core.logAllRefUpdates", "false"]);
                fs::remove_dir_all(s.admin().join("logs")).ok();
            },
            &[],
        ),
    ]
}
