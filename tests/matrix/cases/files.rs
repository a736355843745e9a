//! Files that are nowhere else.

use super::*;

#[expect(clippy::too_many_lines, reason = "one table, a line or a few for each state")]
pub(super) fn files() -> Vec<Case> {
    vec![
        case("changed", |s| s.write("README.md", "changed\n"), &["dirty", "pending_changes"]),
        case(
            "staged",
            |s| {
                s.write("README.md", "staged\n");
                s.git(&["add", "."]);
            },
            &["dirty"],
        ),
        case(
            "staged, and changed back on the disk",
            |s| {
                s.write("README.md", "staged\n");
                s.git(&["add", "."]);
                s.write("README.md", "a repository\n");
            },
            &["dirty"],
        ),
        case(
            "staged and changed again",
            |s| {
                s.write("README.md", "staged\n");
                s.git(&["add", "."]);
                s.write("README.md", "again\n");
            },
            &["dirty"],
        ),
        case("untracked", |s| s.write("new", "new\n"), &["untracked", "pending_changes"]),
        case("deep untracked", |s| s.write("a/b/c/d/e/new", "new\n"), &["untracked"]),
        case("untracked and empty", |s| s.write("new", ""), &["untracked"]),
        case(
            "untracked, and status told not to show it",
            |s| {
                git(&s.repo, &["config", "status.showUntrackedFiles", "no"]);
                s.write("new", "new\n");
            },
            &["untracked"],
        ),
        case(
            "untracked with a name of bytes",
            |s| {
                use std::os::unix::ffi::OsStrExt;
                fs::write(s.tree.join(std::ffi::OsStr::from_bytes(b"\xff\n name")), "x").unwrap();
            },
            &["untracked"],
        ),
        case("an ignored file of its own", |s| s.write(".env", "SECRET=2\n"), &["untracked"]),
        case(
            "an ignored file that differs from the checkout's",
            |s| {
                s.write_repo(".env", "SECRET=1\n");
                s.write(".env", "SECRET=2\n");
            },
            &["untracked"],
        ),
        case("an ignored directory of its own", |s| s.write("build/notes", "mine\n"), &["untracked"]),
        case(
            "everything ignored by info/exclude",
            |s| {
                fs::create_dir_all(s.repo.join(".git/info")).unwrap();
                fs::write(s.repo.join(".git/info/exclude"), "*\n").unwrap();
                s.write("new", "new\n");
            },
            &["untracked"],
        ),
        case(
            "a .gitignore of everything",
            |s| {
                s.write("sub/.gitignore", "*\n");
                s.write("sub/new", "new\n");
            },
            &["untracked"],
        ),
        case(
            "ignored by a configured file",
            |s| {
                s.write_repo("../excludes", "new\n");
                let path = s.dir.join("excludes");
                git(&s.repo, &["config", "core.excludesFile", path.to_str().unwrap()]);
                s.write("new", "new\n");
            },
            &["untracked"],
        ),
        case(
            "intent to add",
            |s| {
                s.write("new", "new\n");
                s.git(&["add", "-N", "new"]);
            },
            &["dirty"],
        ),
        case("deleted", |s| s.remove("README.md"), &["dirty"]),
        case(
            "deleted and staged",
            |s| {
                s.git(&["rm", "--quiet", "README.md"]);
            },
            &["dirty"],
        ),
        case(
            "taken out of the index alone",
            |s| {
                s.git(&["rm", "--quiet", "--cached", "README.md"]);
            },
            &["dirty"],
        ),
        case(
            "renamed and staged",
            |s| {
                s.git(&["mv", "README.md", "READ.md"]);
            },
            &["dirty"],
        ),
        case(
            "a file made a link",
            |s| {
                s.remove("README.md");
                symlink("run.sh", s.tree.join("README.md")).unwrap();
            },
            &["dirty"],
        ),
        case(
            "a link that points elsewhere",
            |s| {
                s.remove("link");
                symlink("run.sh", s.tree.join("link")).unwrap();
            },
            &["dirty"],
        ),
        case(
            "a file made a directory",
            |s| {
                s.remove("README.md");
                s.write("README.md/inside", "x");
            },
            &["untracked"],
        ),
        case(
            "executable now",
            |s| {
                fs::set_permissions(s.tree.join("README.md"), fs::Permissions::from_mode(0o755)).unwrap();
            },
            &["dirty"],
        ),
        case(
            "not executable any more",
            |s| {
                fs::set_permissions(s.tree.join("run.sh"), fs::Permissions::from_mode(0o644)).unwrap();
            },
            &["dirty"],
        ),
        case(
            "changed below a disposable directory that is tracked",
            |s| {
                s.commit("target/kept");
                git(&s.repo, &["merge", "--quiet", "--ff-only", &s.branch()]);
                s.write("target/kept", "changed\n");
            },
            &["dirty"],
        ),
        case("not ignored below a disposable directory", deployed, &["untracked", "pending_changes"]),
        case(
            "a module in a directory with a disposable name",
            |s| s.write("src/target/mod.rs", "mod work;\n"),
            &["untracked"],
        ),
        case("notes among what a build makes", |s| s.write("target/notes.md", "mine\n"), &["untracked"]),
        case(
            "a directory of packages without its list",
            |s| s.write("src/node_modules/mine.js", "x\n"),
            &["untracked"],
        ),
        case(
            "source among compiled modules",
            |s| s.write("src/__pycache__/mine.py", "pass\n"),
            &["untracked"],
        ),
        case(
            "a link with a disposable name",
            |s| {
                symlink("/nowhere", s.tree.join("node_modules")).unwrap();
            },
            &["untracked"],
        ),
        case(
            "a name that is no UTF-8",
            |s| fs::write(s.tree.join(OsStr::from_bytes(b"odd \xff name")), "odd\n").unwrap(),
            &["untracked"],
        ),
        of(
            folding,
            case("a name that differs by case alone", |s| s.write("readme.MD", "mine\n"), &["untracked"]),
        ),
        of(encoded, case("changed in another encoding", |s| s.write("text.utf16", b"x\0\n\0"), &["dirty"])),
        case(
            "an index in two files",
            |s| {
                s.write("README.md", "changed\n");
                s.git(&["update-index", "--split-index"]);
            },
            &["dirty"],
        ),
        case(
            "an index with whole directories",
            |s| {
                s.git(&["sparse-checkout", "set", "--cone", "--sparse-index", "src"]);
                s.write("src/lib.rs", "changed\n");
            },
            &["dirty"],
        ),
        case("a socket", |s| drop(UnixListener::bind(s.tree.join("socket")).unwrap()), &["untracked"]),
        case(
            "a pipe",
            |s| {
                nix::unistd::mkfifo(&s.tree.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
            },
            &["untracked"],
        ),
        of(
            crlf,
            case(
                "other ends of lines than configured, which git makes alike",
                |s| {
                    s.write("text.txt", "a\nb\r\n");
                },
                &[],
            ),
        ),
        of(
            lfs,
            case(
                "a file kept elsewhere, changed",
                |s| {
                    s.write("data.bin", "another content\n");
                },
                &["dirty"],
            ),
        ),
    ]
}
