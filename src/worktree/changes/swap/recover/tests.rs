//! What a cut leaves, and what a start makes of it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::super::{Intent, Replace, Wanted, swap, tests};
use super::*;

const STATES: [State; 7] = [
    State::Undone { has_new: true },
    State::Undone { has_new: false },
    State::Half,
    State::Done { has_old: true },
    State::Done { has_old: false },
    State::Ahead,
    State::Over,
];

#[test]
fn nobodys_later_change_is_overwritten_and_what_can_be_whole_is() {
    for way in [Way::Forward, Way::Back] {
        for one in STATES {
            for other in STATES {
                let states = [one, other];
                let verdict = decide(way, &states);
                let has = |wanted: &[State]| states.iter().any(|state| wanted.contains(state));
                let stands_against_finishing = has(&[State::Ahead, State::Undone { has_new: false }]);
                let stands_against_going_back = has(&[State::Over, State::Done { has_old: false }]);
                match verdict {
                    Verdict::Finish => assert!(!stands_against_finishing, "{states:?}"),
                    Verdict::TakeBack => assert!(!stands_against_going_back, "{states:?}"),
                    Verdict::LeaveAlone => {
                        assert!(stands_against_finishing && stands_against_going_back, "{states:?}");
                    }
                }
                if !stands_against_finishing && !stands_against_going_back {
                    let wished = if way == Way::Forward { Verdict::Finish } else { Verdict::TakeBack };
                    assert_eq!(verdict, wished, "{states:?}");
                }
            }
        }
    }
}

/// A checkout, and the records of a daemon.
struct Stage {
    _dir: tempfile::TempDir,
    top: PathBuf,
    records: PathBuf,
}

impl Stage {
    fn set() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(dir.path()).unwrap();
        let (top, records) = (base.join("top"), base.join("records"));
        for name in ["first", "last", "sub/gone", "thing", "folder/inner"] {
            fs::create_dir_all(top.join(name).parent().unwrap()).unwrap();
            fs::write(top.join(name), format!("{name}, as it was\n")).unwrap();
        }
        Self { _dir: dir, top, records }
    }

    /// What is there, with its content; directories too.
    fn state(&self) -> BTreeMap<PathBuf, String> {
        let entries = walkdir::WalkDir::new(&self.top).min_depth(1).into_iter().map(Result::unwrap);
        entries
            .map(|entry| (entry.path().to_owned(), fs::read_to_string(entry.path()).unwrap_or_default()))
            .collect()
    }

    /// Two files that change, one that goes, one that comes, a file that becomes a directory, and a
    /// directory that becomes a file.
    fn replacements(&self) -> Vec<Replace> {
        let replace = |path: &str, text: Option<&str>| Replace {
            path: path.into(),
            wanted: text
                .map_or(Wanted::Nothing, |text| Wanted::File { bytes: text.into(), executable: false }),
            seen: if path == "folder" { None } else { stamp(&self.top.join(path)) },
        };
        vec![
            replace("first", Some("new\n")),
            replace("sub/gone", None),
            replace("made/deep/new", Some("new\n")),
            replace("thing", None),
            replace("thing/inner", Some("new\n")),
            replace("folder/inner", None),
            replace("folder", Some("new\n")),
            replace("last", Some("new\n")),
        ]
    }

    /// Replaces all of it, cut short after so many renames; whether it was.
    fn cut(&self, after: usize, way: Way) -> bool {
        let intent = Intent { way, ..tests::intent() };
        tests::cut_after(Some(after));
        let run = || swap(&self.records, &self.top, &self.replacements(), intent);
        let ended = catch_unwind(AssertUnwindSafe(run));
        tests::cut_after(None);
        match ended {
            Ok(done) => {
                done.unwrap().settle();
                false
            }
            Err(_) => true,
        }
    }

    fn recover(&self) -> Ending {
        let notes = Note::all(&self.records);
        assert_eq!(notes.len(), 1);
        let ended = recover(&notes[0], &notes[0].read().unwrap()).unwrap();
        if !matches!(ended.ending, Ending::LeftAlone(_)) {
            ended.ticket().settle();
        }
        assert_eq!(Note::all(&self.records), []);
        ended.ending
    }
}

#[test]
fn cut_short_anywhere_it_is_finished_or_taken_back_and_leaves_nothing() {
    let whole = Stage::set();
    assert!(!whole.cut(usize::MAX, Way::Forward));
    let names = |stage: &Stage| -> BTreeMap<PathBuf, String> {
        let all = stage.state().into_iter();
        all.map(|(path, text)| (path.strip_prefix(&stage.top).unwrap().to_owned(), text)).collect()
    };
    let (before, after) = (names(&Stage::set()), names(&whole));
    for way in [Way::Forward, Way::Back] {
        let mut n = 0;
        loop {
            let stage = Stage::set();
            if !stage.cut(n, way) {
                break;
            }
            let ending = stage.recover();
            let (wished, expected) = match way {
                Way::Forward => (matches!(ending, Ending::Finished { .. }), &after),
                Way::Back => (ending == Ending::TakenBack, &before),
            };
            assert!(wished, "{way:?} after {n}: {ending:?}");
            assert_eq!(&names(&stage), expected, "{way:?} after {n}");
            n += 1;
        }
        assert!(n > 8, "every rename is one of the places: {n}");
    }
}

#[test]
fn what_was_changed_since_stays() {
    // The first is replaced, and the last is not.
    let ahead = Stage::set();
    assert!(ahead.cut(5, Way::Forward));
    fs::write(ahead.top.join("last"), "mine\n").unwrap();
    assert_eq!(ahead.recover(), Ending::TakenBack);
    let read = |stage: &Stage, name: &str| fs::read_to_string(stage.top.join(name)).unwrap();
    assert_eq!((read(&ahead, "first"), read(&ahead, "last")), ("first, as it was\n".into(), "mine\n".into()));

    let over = Stage::set();
    assert!(over.cut(5, Way::Back));
    fs::write(over.top.join("first"), "mine\n").unwrap();
    assert!(matches!(over.recover(), Ending::Finished { .. }));
    assert_eq!((read(&over, "first"), read(&over, "last")), ("mine\n".into(), "new\n".into()));

    let both = Stage::set();
    assert!(both.cut(5, Way::Forward));
    fs::write(both.top.join("first"), "mine\n").unwrap();
    fs::write(both.top.join("last"), "mine\n").unwrap();
    let Ending::LeftAlone(place) = both.recover() else { panic!("neither can be whole") };
    assert_eq!((read(&both, "first"), read(&both, "last")), ("mine\n".into(), "mine\n".into()));
    let kept: Vec<_> = fs::read_dir(place)
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    assert!(kept.contains(&"first, as it was\n".to_owned()), "{kept:?}");
}
