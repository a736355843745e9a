//! Swaps that come to their end, or are taken back by an error; and how tests cut one short.

use super::*;

std::thread_local! {
    /// How many renames are made before a swap is cut short.
    static CUT: std::cell::Cell<Option<usize>> = const { std::cell::Cell::new(None) };
}

/// From now on a swap of this thread ends after so many renames, as if the daemon were killed.
pub(super) fn cut_after(renames: Option<usize>) {
    CUT.set(renames.map(|n| n.saturating_add(1)));
}

pub(super) fn cut() {
    let Some(left) = CUT.get() else { return };
    CUT.set(Some(left - 1));
    assert!(left > 1, "cut short, as asked for");
}

pub(super) fn intent() -> Intent {
    let (worktree, common_dir) = ("w-test".to_owned(), PathBuf::from("/repo"));
    Intent { worktree, common_dir, way: Way::Forward, baseline: None, then: None }
}

fn file(path: &str, text: &str, seen: Stamp) -> Replace {
    let wanted = Wanted::File { bytes: text.into(), executable: false };
    Replace { path: path.into(), wanted, seen }
}

#[test]
fn what_fails_in_the_middle_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let top = fs::canonicalize(dir.path()).unwrap();
    for name in ["changed", "sub/gone", "in-the-way"] {
        fs::create_dir_all(top.join(name).parent().unwrap()).unwrap();
        fs::write(top.join(name), name).unwrap();
    }
    let seen = |name: &str| stamp(&top.join(name));
    let gone = Replace { path: "sub/gone".into(), wanted: Wanted::Nothing, seen: seen("sub/gone") };
    let fine = [file("changed", "new", seen("changed")), file("made/new", "new", None), gone];
    let bad = file("in-the-way/new", "new", None);
    let records = tempfile::tempdir().unwrap();
    let swap = |replacements: &[Replace]| swap(records.path(), &top, replacements, intent());
    swap(&[&fine[..], &[bad]].concat()).unwrap_err();
    assert_eq!(Note::all(records.path()), []);
    let mut left: Vec<_> = fs::read_dir(&top).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["changed", "in-the-way", "sub"], "and nothing beside them");
    for name in ["changed", "sub/gone", "in-the-way"] {
        assert_eq!(fs::read_to_string(top.join(name)).unwrap(), name);
    }
    swap(&[file("changed", "new", seen("changed"))]).unwrap().settle();
    assert_eq!(fs::read_dir(&top).unwrap().count(), 3, "and nothing beside them");
    assert_eq!(fs::read_to_string(top.join("changed")).unwrap(), "new");
}

#[test]
fn the_bits_of_a_file_are_kept_but_for_those_that_run_it() {
    for (bits, executable, expected) in
        [(0o600, false, 0o600), (0o600, true, 0o700), (0o644, true, 0o755), (0o775, false, 0o664)]
    {
        assert_eq!(prepare::executable_as(bits, executable), expected, "{bits:o} {executable}");
    }
}
