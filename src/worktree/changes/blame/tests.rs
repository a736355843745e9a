//! Whose a hunk is, case by case and over random histories.

use proptest::prelude::*;

use super::super::text::CONTEXT_LINES;
use super::*;

fn step(agents: &[&str]) -> Step {
    let writer = |agent: &&str| Writer { turn: format!("u-{agent}"), agent: (*agent).to_owned() };
    Step { writers: agents.iter().map(writer).collect(), doubt: false, by_hook: false }
}

fn text(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect()
}

/// Forty numbered lines, some of them replaced.
fn page(changed: &[(usize, &str)]) -> Vec<u8> {
    let line =
        |n: usize| changed.iter().find(|(at, _)| *at == n).map_or(n.to_string(), |(_, t)| (*t).to_owned());
    (0..40).flat_map(|n| format!("{}\n", line(n)).into_bytes()).collect()
}

fn judge(versions: &[Vec<u8>], steps: &[Step], baseline: &[u8]) -> Vec<Owner> {
    let story = Story { versions: versions.to_vec(), steps: steps.to_vec() };
    let pending = hunks(baseline, versions.last().unwrap(), CONTEXT_LINES).unwrap();
    owners(&story, baseline, &pending).unwrap()
}

fn agents(owners: &[Owner]) -> Vec<String> {
    let words = |owner: &Owner| {
        let person = if owner.by_user { "+person" } else { "" };
        let shared = if owner.shared { "?" } else { "" };
        format!("{}{person}{shared}", owner.agents.join("+"))
    };
    owners.iter().map(words).collect()
}

#[test]
fn each_hunk_is_its_own_agents() {
    let (a, b) = (page(&[(2, "a")]), page(&[(2, "a"), (30, "b")]));
    let owners = judge(&[page(&[]), a, b], &[step(&["left"]), step(&["right"])], &page(&[]));
    assert_eq!(agents(&owners), ["left", "right"]);
    assert_eq!(owners[0].turns, ["u-left"]);
}

#[test]
fn what_two_wrote_one_after_the_other_in_one_hunk_is_of_both_and_no_doubt() {
    let versions = [page(&[]), page(&[(2, "a")]), page(&[(2, "a"), (3, "b")])];
    let owners = judge(&versions, &[step(&["left"]), step(&["right"])], &page(&[]));
    assert_eq!(agents(&owners), ["left+right"]);
}

#[test]
fn what_two_wrote_at_once_is_shared() {
    let owners = judge(&[page(&[]), page(&[(2, "a")])], &[step(&["left", "right"])], &page(&[]));
    assert_eq!(agents(&owners), ["left+right?"]);
}

#[test]
fn a_line_that_was_written_over_is_of_the_last_who_did() {
    let versions = [page(&[]), page(&[(2, "a")]), page(&[(2, "b")])];
    let steps = [step(&["left"]), step(&["right"])];
    // The old line was taken away by the first, and what is there now came from the second.
    assert_eq!(agents(&judge(&versions, &steps, &page(&[]))), ["left+right"]);
    // With the first adopted, all of it is the second's.
    assert_eq!(agents(&judge(&versions, &steps, &versions[1])), ["right"]);
}

#[test]
fn the_persons_own_edits_carry_no_agent() {
    let versions = [page(&[]), page(&[(2, "a")]), page(&[(2, "a"), (30, "mine")])];
    let owners = judge(&versions, &[step(&["left"]), step(&[])], &page(&[]));
    assert_eq!(agents(&owners), ["left", "+person"]);
}

#[test]
fn lines_that_were_taken_away_are_of_who_took_them() {
    let short: Vec<u8> = page(&[]).split_inclusive(|b| *b == b'\n').skip(2).flatten().copied().collect();
    assert_eq!(agents(&judge(&[page(&[]), short], &[step(&["left"])], &page(&[]))), ["left"]);
}

#[test]
fn what_was_applied_in_part_leaves_the_rest_to_its_owner() {
    let versions = [page(&[]), page(&[(2, "a")]), page(&[(2, "a"), (30, "b")])];
    let steps = [step(&["left"]), step(&["right"])];
    // The second was applied alone: no version ever was like that.
    assert_eq!(agents(&judge(&versions, &steps, &page(&[(30, "b")]))), ["left"]);
}

#[test]
fn a_person_who_undoes_a_turn_gives_the_lines_back() {
    let versions = [page(&[]), page(&[(2, "a")]), page(&[(2, "b")]), page(&[(2, "a")])];
    let steps = [step(&["left"]), step(&["right"]), step(&[])];
    assert_eq!(agents(&judge(&versions, &steps, &page(&[]))), ["left"]);
}

#[test]
fn where_a_line_cannot_be_followed_it_is_of_all_and_shared() {
    // The baseline was never seen.
    let versions = [text(&["a", "b"]), text(&["a", "b", "c"])];
    let owners = judge(&versions, &[step(&["left"])], &text(&["x", "y"]));
    assert_eq!(owners[0].agents, ["left"]);
    let versions = [text(&["a", "b"]), text(&["a", "b", "c"]), text(&["a", "b", "c", "d"])];
    let owners = judge(&versions, &[step(&["left"]), step(&["right"])], &text(&["x", "y"]));
    assert!(owners[0].shared, "{owners:?}");
}

/// Edits of single lines, each with a mark of its agent, so that what is there says whose it is.
fn edits() -> impl Strategy<Value = Vec<(usize, usize, bool)>> {
    proptest::collection::vec((0..3_usize, 0..40_usize, any::<bool>()), 1..12)
}

proptest! {
    #[test]
    fn no_hunk_is_given_to_one_who_wrote_nothing_of_it(edits in edits(), applied in 0..6_usize) {
        const NAMES: [&str; 3] = ["left", "right", "third"];
        let mut lines: Vec<String> = (0..40).map(|n| n.to_string()).collect();
        let join = |lines: &[String]| lines.iter().flat_map(|l| format!("{l}\n").into_bytes()).collect::<Vec<u8>>();
        let (mut versions, mut steps) = (vec![join(&lines)], Vec::new());
        for (n, (who, at, is_new)) in edits.iter().enumerate() {
            let text = format!("{} {n}", NAMES[*who]);
            let at = at % lines.len();
            if *is_new { lines.insert(at, text) } else { lines[at] = text }
            versions.push(join(&lines));
            steps.push(step(&[NAMES[*who]]));
        }
        let baseline = versions[applied.min(versions.len() - 1)].clone();
        let pending = hunks(&baseline, versions.last().unwrap(), CONTEXT_LINES).unwrap();
        let found = judge(&versions, &steps, &baseline);
        for (hunk, owner) in pending.iter().zip(&found) {
            for (fate, line) in &hunk.lines {
                let line = String::from_utf8_lossy(line);
                let author = line.split(' ').next().unwrap_or_default().trim().to_owned();
                if *fate == Fate::Added && NAMES.contains(&author.as_str()) {
                    prop_assert!(owner.agents.contains(&author) || owner.shared, "{owner:?} {line}");
                }
            }
            prop_assert!(!owner.by_user && !owner.agents.is_empty());
        }
        // With one agent there is nothing to doubt.
        if edits.iter().all(|(who, ..)| *who == edits[0].0) {
            prop_assert!(found.iter().all(|owner| !owner.shared));
        }
    }
}
