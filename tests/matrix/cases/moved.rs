//! Work that was carried in, put away or brought back, and worktrees that are mounted elsewhere.

use super::*;

pub(super) fn moved() -> Vec<Case> {
    let mut all = vec![
        carried(case("carried, and in the checkout still", nothing, &[])),
        carried(case(
            "carried, and gone from the checkout",
            |s| {
                git(&s.repo, &["checkout", "--quiet", "--", "README.md"]);
                fs::remove_file(s.repo.join("notes.txt")).unwrap();
            },
            &["dirty", "untracked"],
        )),
        carried(case("carried, and changed since", |s| s.write("notes.txt", "more\n"), &["untracked"])),
        carried(case("carried, and committed", |s| s.commit("notes.txt"), &["unpushed"])),
        carried(case(
            "carried, and put away by git",
            |s| {
                s.git(&["stash", "push", "--quiet", "--include-untracked"]);
            },
            &["stash_here"],
        )),
        carried(case(
            "carried, put away by git and brought back",
            |s| {
                s.git(&["stash", "push", "--quiet", "--include-untracked"]);
                s.git(&["stash", "pop", "--quiet"]);
            },
            &[],
        )),
        case(
            "put away, brought back and given up",
            |s| {
                s.write("README.md", "changed\n");
                s.git(&["stash", "--quiet"]);
                s.git(&["stash", "pop", "--quiet"]);
                s.git(&["checkout", "--quiet", "--", "."]);
            },
            &[],
        ),
    ];
    all.extend([
        needs(
            Needs::Root,
            case("mounted elsewhere, too", |s| s.bind(&s.tree, &s.dir.join("elsewhere")), &["mount"]),
        ),
        needs(Needs::Root, case("mounted in a container", |s| s.contain(&s.dir.join("box")), &["in_use"])),
    ]);
    all
}
