//! Who runs in whose slot, and that nobody waits for ever.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::dispatch::queue::{Queue, Stage};
use crate::event::TaskState;
use crate::id::AgentKey;
use crate::ports::{Limits, Route, TaskCard};

/// A task in a chat of its own, as those that agents make are.
fn card(order: usize, agent: &str) -> TaskCard {
    TaskCard {
        task: format!("t-{order}").as_str().into(),
        key: AgentKey::new(format!("c-{order}").as_str(), agent),
        session: "s-1".into(),
        order: i64::try_from(order).expect("small"),
        state: TaskState::Queued,
        prompt: "say: hello".into(),
        permissions: None,
        no_wait: false,
        no_retry: false,
        is_delegated: false,
        cwd: "/nowhere".into(),
        as_of: 0,
        route: Route::Warm,
    }
}

fn limits(max_running: usize, max_running_per_agent: usize) -> Limits {
    Limits { max_live: 100, min_available: 0, max_running, max_running_per_agent }
}

fn task(order: usize) -> TaskId {
    format!("t-{order}").as_str().into()
}

fn loan(waiter: usize, child: usize) -> Loan {
    Loan { waiter: task(waiter), child: task(child) }
}

/// A queue of so many tasks, of which these are in flight and these wait for others.
fn queue(n_tasks: usize, in_flight: &[usize], waits: &[(usize, usize)]) -> Queue {
    let mut queue = Queue::default();
    for order in 1..=n_tasks {
        queue.insert(card(order, if order % 2 == 0 { "even" } else { "odd" }));
    }
    for order in in_flight {
        queue.begin(&task(*order));
    }
    for (id, (waiter, child)) in waits.iter().enumerate() {
        queue.lend(LoanId(id as u64), loan(*waiter, *child));
    }
    queue
}

#[test]
fn a_slot_goes_to_the_task_that_its_turn_waits_for_and_to_no_other() {
    type Case<'a> = (&'a str, usize, &'a [usize], &'a [(usize, usize)], &'a [usize]);
    let cases: [Case<'_>; 9] = [
        ("nobody waits", 1, &[1], &[], &[]),
        ("its own child, not the older stranger", 1, &[1], &[(1, 3)], &[3]),
        ("one of two children at a time", 1, &[1], &[(1, 3), (1, 4)], &[3]),
        ("the second child while the first runs", 1, &[1, 3], &[(1, 3), (1, 4)], &[]),
        ("a chain of waits", 1, &[1, 2], &[(1, 2), (2, 4)], &[4]),
        ("two waiters give two slots", 2, &[1, 2], &[(1, 3), (2, 4)], &[3, 4]),
        ("two that wait for the same give it one", 2, &[1, 2], &[(1, 3), (2, 3)], &[3]),
        ("a waiter that is not in flight has no slot", 1, &[1], &[(2, 3)], &[]),
        ("a free slot is for the oldest", 2, &[1], &[(1, 3)], &[2, 3]),
    ];
    for (name, max, in_flight, waits, expected) in cases {
        let started = queue(4, in_flight, waits).next(limits(max, 0));
        let expected: Vec<TaskId> = expected.iter().map(|order| task(*order)).collect();
        assert_eq!(started, expected, "{name}");
    }
}

#[test]
fn a_slot_that_is_given_back_is_lent_no_more() {
    let mut queue = queue(3, &[1], &[(1, 3), (1, 3)]);
    queue.give_back(LoanId(0));
    assert_eq!(queue.next(limits(1, 0)), [task(3)], "another wait for it goes on");
    queue.give_back(LoanId(1));
    assert!(queue.next(limits(1, 0)).is_empty());
    queue.lend(LoanId(2), loan(1, 1));
    assert!(queue.next(limits(1, 0)).is_empty(), "nobody lends to itself");
}

#[test]
fn a_child_whose_parent_waits_no_more_keeps_its_slot_and_nobody_else_gets_one() {
    let mut queue = queue(3, &[1, 3], &[(1, 3)]);
    assert_eq!(queue.slots().n_taken(), 1);
    queue.give_back(LoanId(0));
    assert_eq!(queue.slots().n_taken(), 2);
    assert!(queue.next(limits(2, 0)).is_empty());
    queue.remove(&task(3));
    assert_eq!(queue.next(limits(2, 0)), [task(2)]);
}

#[test]
fn two_agents_with_one_turn_each_do_not_wait_for_each_other() {
    // `odd` waits for a child of `even` and the other way round.
    let queue = queue(4, &[1, 2], &[(1, 4), (2, 3)]);
    assert_eq!(queue.next(limits(2, 1)), [task(3), task(4)]);
}

#[test]
fn a_turn_that_waits_for_a_person_lends_its_slot_to_whoever_is_next() {
    let mut queue = queue(4, &[1], &[]);
    assert!(queue.next(limits(1, 1)).is_empty());
    queue.set_asking(&task(1), true);
    assert_eq!(queue.slots().n_taken(), 0);
    let next = queue.next(limits(1, 0));
    assert_eq!(next, [task(2)]);
    queue.begin(&next[0]);
    // It goes on at once, and nothing else begins until there is a slot again.
    queue.set_asking(&task(1), false);
    assert_eq!(queue.slots().n_taken(), 2);
    assert!(queue.next(limits(2, 0)).is_empty());
    queue.remove(&task(2));
    assert_eq!(queue.next(limits(2, 0)), [task(3)]);
    // What is over waits for nobody.
    queue.set_asking(&task(1), true);
    queue.remove(&task(1));
    assert_eq!(queue.slots().n_taken(), 0);
}

#[test]
fn it_is_not_counted_among_the_turns_of_its_agent_either() {
    let mut queue = queue(3, &[1], &[]);
    assert!(queue.next(limits(4, 1)).iter().all(|next| *next != task(3)), "of the same agent");
    queue.set_asking(&task(1), true);
    assert!(queue.next(limits(4, 1)).contains(&task(3)));
}

proptest! {
    #[test]
    fn never_more_at_work_than_slots_and_never_all_of_them_waiting(
        parents in prop::collection::vec(prop::option::of(any::<prop::sample::Index>()), 1..30),
        max in 1usize..4,
        per_agent in 0usize..3,
        ends in prop::collection::vec(any::<prop::sample::Index>(), 120),
    ) {
        // A task with a parent is made, and waited for, when that begins to run.
        let parent = |n: usize| parents[n].filter(|_| n > 0).map(|index| index.index(n));
        let mut queue = Queue::default();
        let mut running: BTreeSet<usize> = BTreeSet::new();
        let mut done: BTreeSet<usize> = BTreeSet::new();
        for n in (0..parents.len()).filter(|n| parent(*n).is_none()) {
            queue.insert(card(n, if n % 2 == 0 { "even" } else { "odd" }));
        }
        let mut ends = ends.into_iter();
        while done.len() < parents.len() {
            let started = queue.next(limits(max, per_agent));
            for begun in &started {
                queue.begin(begun);
                let n: usize = begun.as_str()[2..].parse().expect("a number");
                running.insert(n);
                for child in (0..parents.len()).filter(|child| parent(*child) == Some(n)) {
                    queue.insert(card(child, if child % 2 == 0 { "even" } else { "odd" }));
                    queue.lend(LoanId(child as u64), loan(n, child));
                }
            }
            let waits = |n: &usize| (0..parents.len()).any(|child| parent(child) == Some(*n) && !done.contains(&child));
            let at_work: Vec<usize> = running.iter().filter(|n| !waits(n)).copied().collect();
            prop_assert!(queue.slots().n_taken() <= max, "more slots than there are");
            prop_assert!(at_work.len() <= max, "{at_work:?} of {running:?}");
            prop_assert!(!at_work.is_empty() || !started.is_empty(), "all wait: {running:?}");
            if at_work.is_empty() {
                continue;
            }
            let ended = at_work[ends.next().map_or(0, |index| index.index(at_work.len()))];
            running.remove(&ended);
            done.insert(ended);
            queue.remove(&task(ended));
            queue.give_back(LoanId(ended as u64));
        }
        prop_assert!(queue.iter().all(|entry| entry.stage != Stage::InFlight));
    }
}
