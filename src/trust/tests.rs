//! Places of ours, of others, and of nobody known.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use super::*;

const SOMEBODY: u32 = 12_345;

fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("a directory");
    fs::create_dir_all(home.path().join("a/b")).expect("made");
    for directory in ["a", "a/b"] {
        set_mode(&home.path().join(directory), 0o755);
    }
    fs::write(home.path().join("a/b/file"), "ours").expect("written");
    set_mode(&home.path().join("a/b/file"), 0o644);
    home
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("ours");
}

/// The message and the hint of a refusal.
fn refusal(found: Result<(), PlaceError>) -> String {
    match found.expect_err("refused") {
        PlaceError::Untrusted { message, hint } => format!("{message} | {hint}"),
        PlaceError::Io { source, .. } => panic!("not refused but failed: {source}"),
    }
}

#[test]
fn what_is_ours_and_what_is_not_there_yet_is_trusted() {
    let home = home();
    for place in ["a", "a/b", "a/b/file", "a/new", "a/new/deeper"] {
        let place = home.path().join(place);
        assert!(trusted_path(&place).is_ok(), "{}: {:?}", place.display(), trusted_path(&place));
    }
}

#[test]
fn a_directory_on_the_way_that_others_can_write_to_is_refused_with_the_command_that_mends_it() {
    let home = home();
    // Whether the group counts as others depends on who runs the tests.
    for mode in [0o777, 0o757] {
        set_mode(&home.path().join("a"), mode);
        for place in ["a", "a/b", "a/b/file", "a/new"] {
            let said = refusal(trusted_path(&home.path().join(place)));
            let directory = home.path().join("a").canonicalize().expect("there");
            assert!(said.contains("| chmod "), "{place}: {said}");
            assert!(said.ends_with(&format!("o-w {}", directory.display())), "{place}: {said}");
        }
    }
}

#[test]
fn a_sticky_directory_may_lie_on_the_way_and_may_not_be_the_place() {
    let home = home();
    set_mode(&home.path().join("a"), 0o1777);
    assert!(trusted_path(&home.path().join("a/b")).is_ok());
    assert!(trusted_path(&home.path().join("a/new")).is_ok());
    assert!(refusal(trusted_path(&home.path().join("a"))).contains("o-w "));
}

#[test]
fn a_link_is_followed_and_its_target_is_judged() {
    let home = home();
    let link = home.path().join("link");
    symlink(home.path().join("a/b/file"), &link).expect("made");
    assert!(trusted_path(&link).is_ok());
    set_mode(&home.path().join("a/b"), 0o777);
    assert!(refusal(trusted_path(&link)).contains("o-w "));
}

#[test]
fn a_place_of_somebody_else_is_refused_and_only_root_can_see_that_here() {
    if !geteuid().is_root() {
        eprintln!("SKIPPED: only root can make a file of somebody else's");
        return;
    }
    let home = home();
    chown(home.path().join("a/b"), Some(SOMEBODY), None).expect("root may");
    let said = refusal(trusted_path(&home.path().join("a/b/file")));
    assert!(said.contains("belongs to user 12345") && said.contains("sudo chown -h root"), "{said}");
    let (theirs, mut options) = (home.path().join("theirs"), OpenOptions::new());
    fs::write(&theirs, "theirs").expect("written");
    chown(&theirs, Some(SOMEBODY), None).expect("root may");
    let error = open_own(&theirs, options.append(true)).expect_err("not ours");
    assert!(error.to_string().contains("belongs to user 12345"), "{error}");
}

#[test]
fn what_hob_writes_is_opened_through_no_link_and_in_no_other_kind_of_file() {
    let home = home();
    let (link, fifo) = (home.path().join("link"), home.path().join("fifo"));
    symlink(home.path().join("a/b/file"), &link).expect("made");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("made");
    for (path, what) in
        [(&link, "is a link"), (&fifo, "is not a regular file"), (&home.path().join("a"), "cannot open")]
    {
        let error = open_own(path, OpenOptions::new().append(true).create(true)).expect_err("refused");
        assert!(error.to_string().contains(what), "{error}");
    }
    assert!(no_link(&link).is_err() && no_link(&fifo).is_ok());
    open_own(&home.path().join("new"), OpenOptions::new().append(true).create(true)).expect("made");
    assert_eq!(fs::read_to_string(home.path().join("a/b/file")).expect("there"), "ours");
}

#[test]
fn an_owner_without_a_number_is_the_machine_on_the_way_and_a_stranger_at_the_place() {
    let us = Us { uid: 1000, private_group: None, unmapped: Some(OVERFLOW_UID) };
    let (root, place) = (Path::new("/"), Path::new("/home/me/hob"));
    let owned = |path: &Path| fs_mistrust::Error::BadOwner(path.to_owned(), OVERFLOW_UID);
    assert!(fault(&owned(root), place, us).is_none());
    assert!(fault(&owned(place), place, us).is_some());
    let everybody_has_one = Us { unmapped: None, ..us };
    assert!(fault(&owned(root), place, everybody_has_one).is_some());
}

#[test]
fn just_the_rights_that_are_too_many_are_taken_away() {
    for (bits, wanted) in [(0o020, "g-w"), (0o002, "o-w"), (0o022, "go-w")] {
        assert_eq!(taken_away(bits), wanted, "{bits:o}");
    }
}

#[test]
fn a_map_of_user_numbers_is_read() {
    for (map, uid, expected) in [
        ("         0          0 4294967295\n", OVERFLOW_UID, true),
        ("         0       1000          1\n", OVERFLOW_UID, false),
        ("0 100000 65536\n", OVERFLOW_UID, true),
        ("0 1000 1\n1 100000 1000\n", 1000, true),
        ("0 1000 1\n1 100000 1000\n", 1001, false),
        ("", OVERFLOW_UID, true),
    ] {
        assert_eq!(is_mapped(map, uid), expected, "{map:?} {uid}");
    }
}
