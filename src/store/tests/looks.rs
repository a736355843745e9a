//! Looks at worktrees: each change has the writers who may have made it, whatever happens between.

use super::*;
use crate::worktree::{Segment, Span, Trimmed, Writer};
use hob_actors::event::ChangedFile;

impl Stage {
    async fn look(&self, tree: Option<&str>, occasion: Occasion) {
        let look = Look {
            worktree: "w-s".to_owned(),
            tree: tree.map(str::to_owned),
            start: Some("base".to_owned()),
            occasion,
        };
        self.store.record_look(look).await.unwrap();
    }

    async fn before(&self, turn: &TurnId, tree: &str) {
        self.look(Some(tree), Occasion::Before(turn.as_str().to_owned())).await;
    }

    async fn after(&self, turn: &TurnId, tree: &str) {
        self.look(Some(tree), Occasion::After(turn.as_str().to_owned())).await;
    }

    async fn asked(&self, tree: &str) {
        self.look(Some(tree), Occasion::Asked).await;
    }

    /// The segments, each as `from>to: turns`, with a `?` where there is doubt.
    async fn story(&self) -> Vec<String> {
        let words = |segment: Segment| {
            let turns: Vec<_> = segment.writers.into_iter().map(|writer| writer.turn).collect();
            let doubt = if segment.doubt { "?" } else { "" };
            format!("{}>{}: {}{doubt}", segment.from, segment.to, turns.join("+"))
        };
        self.store.segments("w-s").await.unwrap().into_iter().map(words).collect()
    }

    /// Makes the first look an earlier one, so that there is nothing to doubt.
    async fn seen(&self) {
        self.asked("base").await;
    }
}

#[tokio::test]
async fn what_changes_in_a_turn_is_its_own_and_what_changes_between_is_nobodys() {
    let stage = Stage::set().await;
    stage.seen().await;
    let (task, turn) = stage.running("one").await;
    stage.before(&turn, "a").await;
    stage.after(&turn, "b").await;
    stage.store.end_turn(ending(&task, &turn, Outcome::Completed)).await.unwrap();
    stage.asked("b").await;
    stage.asked("c").await;
    assert_eq!(stage.story().await, ["base>a: ".to_owned(), format!("a>b: {turn}"), "b>c: ".to_owned()]);
    let trees = stage.store.turn_trees(turn.as_str()).await.unwrap().unwrap();
    assert_eq!((trees.before.as_deref(), trees.after.as_deref()), (Some("a"), Some("b")));
    let writer = &stage.store.segments("w-s").await.unwrap()[1].writers;
    assert_eq!(*writer, [Writer { turn: turn.as_str().to_owned(), agent: "demo".to_owned() }]);
}

#[tokio::test]
async fn turns_that_overlap_share_only_the_overlap() {
    let stage = Stage::set().await;
    stage.seen().await;
    let ((_, first), (_, second)) = (stage.running("one").await, stage.running("two").await);
    stage.before(&first, "base").await;
    stage.before(&second, "a").await;
    stage.after(&first, "b").await;
    stage.after(&second, "c").await;
    let both = |separator: &str| format!("{first}{separator}{second}");
    let story = stage.story().await;
    assert_eq!(story[0], format!("base>a: {first}"));
    assert!(story[1] == format!("a>b: {}", both("+")) || story[1] == format!("a>b: {second}+{first}"));
    assert_eq!(story[2], format!("b>c: {second}"));
}

#[tokio::test]
async fn a_look_in_the_middle_of_a_turn_leaves_it_open() {
    let stage = Stage::set().await;
    stage.seen().await;
    let (_, turn) = stage.running("one").await;
    stage.before(&turn, "base").await;
    stage.asked("a").await;
    stage.after(&turn, "b").await;
    assert_eq!(stage.story().await, [format!("base>a: {turn}"), format!("a>b: {turn}")]);
}

#[tokio::test]
async fn a_turn_that_the_daemon_did_not_see_the_end_of_has_its_last_word_with_doubt() {
    let mut stage = Stage::set().await;
    stage.seen().await;
    let (_, turn) = stage.running("one").await;
    stage.before(&turn, "a").await;
    stage.reopen().await;
    stage.store.settle("killed").await.unwrap();
    let (_, next) = stage.running("two").await;
    stage.before(&next, "b").await;
    stage.after(&next, "c").await;
    let story = stage.story().await;
    assert_eq!(story[1..], [format!("a>b: {turn}?"), format!("b>c: {next}")]);
    let trees = stage.store.turn_trees(turn.as_str()).await.unwrap().unwrap();
    assert_eq!(trees.after.as_deref(), Some("b"));
}

#[tokio::test]
async fn a_turn_whose_first_look_was_lost_with_the_power_is_not_forgotten() {
    let mut stage = Stage::set().await;
    stage.seen().await;
    let (_, turn) = stage.running("one").await;
    stage.reopen().await;
    stage.store.settle("killed").await.unwrap();
    stage.asked("a").await;
    stage.asked("b").await;
    assert_eq!(stage.story().await, [format!("base>a: {turn}?"), "a>b: ".to_owned()]);
}

#[tokio::test]
async fn a_look_that_failed_puts_doubt_on_what_is_seen_next() {
    let stage = Stage::set().await;
    stage.seen().await;
    let (_, turn) = stage.running("one").await;
    stage.look(None, Occasion::Before(turn.as_str().to_owned())).await;
    stage.after(&turn, "a").await;
    stage.asked("b").await;
    assert_eq!(stage.story().await, [format!("base>a: {turn}?"), "a>b: ".to_owned()]);
}

#[tokio::test]
async fn a_worktree_that_nobody_looked_at_when_it_was_made_begins_with_doubt() {
    let stage = Stage::set().await;
    stage.asked("a").await;
    assert_eq!(stage.story().await, ["base>a: ?"]);
}

#[tokio::test]
async fn what_a_turn_changed_is_told_and_kept_with_it() {
    let stage = Stage::set().await;
    let (task, turn) = stage.running("one").await;
    let file = ChangedFile { path: "a.txt".into(), old_path: None, kind: "added", shared: false };
    stage.store.record_changes(turn.as_str(), vec![file], 2).await.unwrap();
    let told = stage.told_of(&task).await;
    assert_eq!(told.last().map(String::as_str), Some("changes"));
    let event = stage.journal().await.pop().unwrap();
    assert_eq!(event["files"][0]["path"], "a.txt");
    assert_eq!((event["files"][0]["kind"].as_str(), event["omitted"].as_u64()), (Some("added"), Some(2)));
    assert_eq!(stage.task(&task).await.turns.unwrap()[0].files.as_deref(), Some(&["a.txt".to_owned()][..]));
}

#[tokio::test]
async fn what_was_applied_is_the_new_baseline() {
    let stage = Stage::set().await;
    stage.store.record_applied("w-s", Some("applied".into()), None).await.unwrap();
    let found = stage.store.worktree_of_session("s").await.unwrap().unwrap();
    assert_eq!(found.known.baseline.as_deref(), Some("applied"));
    assert_eq!(stage.store.known_worktree("w-s").await.unwrap(), Some(found));
}

#[tokio::test]
async fn only_turns_that_run_are_at_work() {
    let stage = Stage::set().await;
    let (task, turn) = stage.running("one").await;
    assert_eq!(stage.store.turns_at_work("w-s").await.unwrap(), [turn.as_str()]);
    stage.store.end_turn(ending(&task, &turn, Outcome::Completed)).await.unwrap();
    assert!(stage.store.turns_at_work("w-s").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_turn_whose_first_look_could_not_be_recorded_is_among_the_writers() {
    let stage = Stage::set().await;
    stage.seen().await;
    let (_, turn) = stage.running("one").await;
    // Nothing was written of its beginning: the disk was full.
    stage.after(&turn, "a").await;
    assert_eq!(stage.story().await, [format!("base>a: {turn}?")]);
    let trees = stage.store.turn_trees(turn.as_str()).await.unwrap().unwrap();
    assert_eq!((trees.before, trees.after.as_deref()), (None, Some("a")));
}

#[tokio::test]
async fn what_was_before_a_turn_is_not_known_where_it_could_not_be_looked_at() {
    let stage = Stage::set().await;
    stage.seen().await;
    let (_, turn) = stage.running("one").await;
    stage.look(None, Occasion::Before(turn.as_str().to_owned())).await;
    stage.after(&turn, "a").await;
    assert_eq!(stage.story().await, [format!("base>a: {turn}?")]);
    assert_eq!(stage.store.turn_trees(turn.as_str()).await.unwrap().unwrap().before, None);
}

#[tokio::test]
async fn a_turn_that_ended_while_its_agent_is_being_stopped_is_at_work() {
    let stage = Stage::set().await;
    stage.seen().await;
    let (task, turn) = stage.running("one").await;
    stage.before(&turn, "base").await;
    stage.store.end_turn(ending(&task, &turn, Outcome::Cancelled)).await.unwrap();
    assert_eq!(stage.store.turns_at_work("w-s").await.unwrap(), [turn.as_str()]);
    stage.after(&turn, "a").await;
    assert!(stage.store.turns_at_work("w-s").await.unwrap().is_empty());
}

#[tokio::test]
async fn turns_of_a_history_that_was_made_small_are_told_from_those_that_nobody_saw() {
    let stage = Stage::set().await;
    stage.seen().await;
    let mut turns = Vec::new();
    for (chat, from, to) in [("one", "base", "a"), ("two", "a", "b"), ("three", "b", "b"), ("four", "b", "c")]
    {
        let (_, turn) = stage.running(chat).await;
        stage.before(&turn, from).await;
        stage.after(&turn, to).await;
        turns.push(turn);
    }
    let (_, open) = stage.running("five").await;
    stage.before(&open, "c").await;
    let span = |from: &str, to: &str| Span { from: from.to_owned(), to: to.to_owned() };
    let whole = ["b", "c"].map(str::to_owned).into();
    let trimmed = Trimmed { oldest: vec![span("base", "small-a"), span("small-a", "small-b")], whole };
    let named = stage.store.record_trimmed("w-s", trimmed).await.unwrap();
    assert_eq!(named.into_iter().collect::<Vec<_>>(), ["b", "base", "c", "small-a", "small-b"]);
    let story = stage.story().await;
    assert_eq!(story.len(), 3, "{story:?}");
    assert!(story[0].starts_with("base>small-a: ") && story[1].starts_with("small-a>small-b: "), "{story:?}");
    assert!(story[2].starts_with("b>c: "), "{story:?}");
    let mut seen = Vec::new();
    for turn in turns.iter().chain([&open]) {
        let trees = stage.store.turn_trees(turn.as_str()).await.unwrap().unwrap();
        seen.push((trees.before.unwrap_or_default(), trees.is_dropped));
    }
    let kept = |tree: &str| (tree.to_owned(), false);
    let dropped = (String::new(), true);
    assert_eq!(seen, [dropped.clone(), dropped, kept("b"), kept("b"), kept("c")]);
}

#[tokio::test]
async fn the_oldest_segments_become_one_before_all_others() {
    let stage = Stage::set().await;
    stage.seen().await;
    for (chat, from, to) in [("one", "base", "a"), ("two", "a", "b"), ("three", "b", "c"), ("four", "c", "d")]
    {
        let (_, turn) = stage.running(chat).await;
        stage.before(&turn, from).await;
        stage.after(&turn, to).await;
    }
    let one = Segment {
        from: "base".to_owned(),
        to: "b".to_owned(),
        writers: vec![Writer { turn: "u-2".to_owned(), agent: "demo".to_owned() }],
        doubt: true,
        by_hook: false,
    };
    stage.store.merge_segments("w-s", 2, one.clone()).await.unwrap();
    let segments = stage.store.segments("w-s").await.unwrap();
    let spans: Vec<_> = segments.iter().map(|segment| format!("{}>{}", segment.from, segment.to)).collect();
    assert_eq!(spans, ["base>b", "b>c", "c>d"]);
    assert_eq!(segments[0], one);
}
