//! `hob demo`: the main job, shown on a machine with nothing installed.

use crate::support::home::Setup;

#[test]
fn the_demo_works_and_leaves_nothing_behind() {
    let home = Setup::new().home();
    let ran = home.hob(&["demo"]).ok();
    assert!(!ran.stdout.is_empty(), "{ran:?}");
    assert_eq!(home.processes(), [], "processes of the demo");
    let left: Vec<_> = std::fs::read_dir(home.root().join("tmp")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(!home.socket().exists(), "the demo has a home of its own");
}
