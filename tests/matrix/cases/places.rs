//! It is not what it was, or not where it was.

use super::*;

#[expect(clippy::too_many_lines, reason = "one table, a line or a few for each state")]
pub(super) fn places() -> Vec<Case> {
    vec![
        case(".git is missing", |s| s.remove(".git"), &["foreign"]),
        case(
            ".git points elsewhere",
            |s| {
                fs::write(s.tree.join(".git"), "gitdir: /nowhere/.git/worktrees/x\n").unwrap();
            },
            &["foreign"],
        ),
        case(
            ".git is a repository",
            |s| {
                s.remove(".git");
                s.git(&["init", "--quiet"]);
            },
            &["foreign"],
        ),
        case(
            "its entry points elsewhere",
            |s| {
                fs::write(s.admin().join("gitdir"), "/nowhere/.git\n").unwrap();
            },
            &["foreign"],
        ),
        case(
            "git no longer knows it",
            |s| {
                fs::remove_dir_all(s.admin()).unwrap();
            },
            &["foreign"],
        ),
        case(
            "another directory in its place",
            |s| {
                let aside = s.dir.join("aside");
                fs::rename(&s.tree, &aside).unwrap();
                fs::create_dir(&s.tree).unwrap();
                for name in [".git", "README.md"] {
                    fs::copy(aside.join(name), s.tree.join(name)).unwrap();
                }
            },
            &["foreign"],
        ),
        case(
            "a link in its place",
            |s| {
                let aside = s.dir.join("aside");
                fs::rename(&s.tree, &aside).unwrap();
                symlink(&aside, &s.tree).unwrap();
            },
            &["foreign"],
        ),
        needs(
            Needs::Root,
            case(
                "something bound below it",
                |s| {
                    s.bind(&s.dir.join("elsewhere"), &s.tree.join("target"));
                },
                &["mount"],
            ),
        ),
        needs(
            Needs::Root,
            case(
                "something bound onto it",
                |s| {
                    let aside = s.dir.join("aside");
                    fs::create_dir(&aside).unwrap();
                    s.bind(&aside, &s.tree);
                },
                &["foreign"],
            ),
        ),
        needs(
            Needs::Root,
            case(
                "it belongs to another user",
                |s| {
                    std::os::unix::fs::chown(&s.tree, Some(12345), None).unwrap();
                },
                &["foreign"],
            ),
        ),
    ]
}
