//! The queue: named cases, and what holds of every choice of the next.

use proptest::prelude::*;

use super::*;

pub(in crate::dispatch::queue) fn card(order: i64, chat: u8, agent: &str) -> TaskCard {
    TaskCard {
        task: format!("t-{order}").into(),
        key: AgentKey::new(format!("c-{chat}").as_str(), agent),
        session: "s-1".into(),
        order,
        state: TaskState::Queued,
        prompt: "say: hello".into(),
        permissions: None,
        no_wait: false,
        no_retry: false,
        is_delegated: false,
        cwd: "/nowhere".into(),
        route: crate::ports::Route::Warm,
        as_of: 0,
    }
}

pub(in crate::dispatch::queue) fn limits(max_running: usize, max_running_per_agent: usize) -> Limits {
    Limits { max_live: 100, min_available: 0, max_running, max_running_per_agent }
}

pub(in crate::dispatch::queue) fn queue(cards: &[(i64, u8, &str)]) -> Queue {
    let mut queue = Queue::default();
    for (order, chat, agent) in cards {
        queue.insert(card(*order, *chat, agent));
    }
    queue
}

fn names(tasks: &[TaskId]) -> Vec<&str> {
    tasks.iter().map(TaskId::as_str).collect()
}

#[test]
fn heads_of_all_agent_sessions_go_side_by_side() {
    let queue = queue(&[(1, 1, "a"), (2, 1, "a"), (3, 2, "a"), (4, 1, "b")]);
    assert_eq!(names(&queue.next(limits(8, 0))), ["t-1", "t-3", "t-4"]);
}

#[test]
fn limits_hold_for_all_and_for_each_agent() {
    let queue = queue(&[(1, 1, "a"), (2, 2, "a"), (3, 3, "b"), (4, 4, "b")]);
    assert_eq!(names(&queue.next(limits(1, 0))), ["t-1"]);
    assert_eq!(names(&queue.next(limits(8, 1))), ["t-1", "t-3"]);
}

#[test]
fn a_held_chat_waits_and_nobody_else_does() {
    let mut queue = queue(&[(1, 1, "a"), (2, 2, "a")]);
    queue.set_held(&"c-1".into(), Word { held: true, as_of: 1 });
    assert_eq!(names(&queue.next(limits(8, 0))), ["t-2"]);
    queue.set_held(&"c-1".into(), Word { held: false, as_of: 2 });
    assert_eq!(names(&queue.next(limits(8, 0))), ["t-1", "t-2"]);
}

#[test]
fn the_later_of_a_copy_and_a_word_holds_whichever_comes_first() {
    let (held, released) = (Word { held: true, as_of: 5 }, Word { held: false, as_of: 7 });
    let read = |state, as_of| TaskCard { state, as_of, ..card(1, 1, "a") };
    // what was read, the words in the order in which they come, and how it stands then
    let cases = [
        (read(TaskState::Held, 6), vec![released], TaskState::Queued),
        (read(TaskState::Held, 6), vec![released, held], TaskState::Queued),
        (read(TaskState::Queued, 8), vec![held, released], TaskState::Queued),
        (read(TaskState::Queued, 3), vec![held], TaskState::Held),
        (read(TaskState::Queued, 3), vec![released, held], TaskState::Queued),
        (read(TaskState::Held, 8), vec![released], TaskState::Held),
        (read(TaskState::Running, 3), vec![held], TaskState::Running),
    ];
    for (card, words, expected) in cases {
        let chat = card.key.chat.clone();
        for n_before in 0..=words.len() {
            let mut queue = Queue::default();
            words[..n_before].iter().for_each(|word| queue.set_held(&chat, *word));
            queue.insert(card.clone());
            words[n_before..].iter().for_each(|word| queue.set_held(&chat, *word));
            let state = queue.get(&card.task).map(|entry| entry.card.state);
            assert_eq!(state, Some(expected), "{card:?} {words:?}, {n_before} before");
        }
    }
}

#[test]
fn a_release_while_a_held_card_is_on_its_way_back_is_heard() {
    let mut queue = queue(&[(1, 1, "a"), (2, 1, "a")]);
    let errand = queue.begin(&"t-1".into()).expect("queued");
    queue.set_held(&"c-1".into(), Word { held: true, as_of: 1 });
    let again = queue.send_for(&errand.task).expect("in flight");
    let read = TaskCard { state: TaskState::Held, as_of: 1, ..card(1, 1, "a") };
    queue.set_held(&"c-1".into(), Word { held: false, as_of: 2 });
    assert_eq!(queue.put_back(&again, Some(read)), PutBack::Back);
    assert_eq!(names(&queue.next(limits(8, 0))), ["t-1"]);
}

#[test]
fn only_the_answer_to_the_last_errand_counts() {
    let mut queue = queue(&[(1, 1, "a")]);
    let first = queue.begin(&"t-1".into()).expect("queued");
    let second = queue.send_for(&first.task).expect("in flight");
    assert!(!queue.is_on(&first) && queue.is_on(&second));
    let running = TaskCard { state: TaskState::Running, as_of: 9, ..card(1, 1, "a") };
    assert_eq!(queue.put_back(&first, Some(running.clone())), PutBack::Late);
    assert_eq!(queue.put_back(&second, Some(card(1, 1, "a"))), PutBack::Back);
    assert_eq!(queue.put_back(&second, Some(running.clone())), PutBack::Late, "once");
    let third = queue.begin(&first.task).expect("queued");
    assert_eq!(queue.put_back(&third, Some(running)), PutBack::Begun);
    let fourth = queue.send_for(&first.task).expect("there");
    assert_eq!(queue.put_back(&fourth, None), PutBack::Over);
    assert!(queue.get(&first.task).is_none());
}

#[test]
fn who_waits_for_a_place_tries_again_when_one_is_freed() {
    let mut queue = queue(&[(1, 1, "a"), (2, 1, "a")]);
    queue.get_mut(&"t-1".into()).expect("queued").stage = Stage::Parked(Wait::Slot);
    assert_eq!(names(&queue.next(limits(8, 0))), Vec::<&str>::new());
    queue.place_freed();
    assert_eq!(names(&queue.next(limits(8, 0))), ["t-1"]);
}

#[test]
fn each_waiting_task_says_what_it_waits_for() {
    let mut queue = queue(&[(1, 1, "a"), (2, 1, "a"), (3, 2, "a"), (4, 3, "a")]);
    queue.get_mut(&"t-1".into()).expect("queued").stage = Stage::InFlight;
    queue.get_mut(&"t-3".into()).expect("queued").stage = Stage::Parked(Wait::Slot);
    let words: Vec<_> = queue.waiting().into_values().map(|(_, why)| why).collect();
    assert_eq!(words, ["starting", "turn", "slot", "dispatch_limit"]);
}

#[test]
fn what_comes_before_the_word_that_it_is_waited_for_is_not_lost() {
    let mut queue = queue(&[(1, 1, "a"), (2, 2, "a")]);
    for (task, wait) in [("t-1", Wait::Backoff), ("t-2", Wait::Slot)] {
        let task = TaskId::from(task);
        queue.begin(&task);
        match wait {
            Wait::Backoff => queue.ready(&AgentKey::new("c-1", "a")),
            _ => queue.place_freed(),
        }
        assert!(queue.park(&task, wait));
        assert_eq!(queue.get(&task).map(|entry| entry.stage), Some(Stage::Waiting));
        queue.begin(&task);
        assert!(!queue.park(&task, wait), "told once");
        assert_eq!(queue.get(&task).map(|entry| entry.stage), Some(Stage::Parked(wait)));
    }
}

#[test]
fn only_what_it_waits_for_wakes_a_task() {
    let mut queue = queue(&[(1, 1, "a"), (2, 2, "a")]);
    for (task, wait) in [("t-1", Wait::Circuit), ("t-2", Wait::Memory)] {
        queue.begin(&task.into());
        queue.park(&task.into(), wait);
    }
    assert!(!queue.is_behind(&"t-2".into()) && names(&queue.next(limits(8, 0))).is_empty());
    queue.ready(&AgentKey::new("c-2", "a"));
    assert!(names(&queue.next(limits(8, 0))).is_empty());
    queue.place_freed();
    assert_eq!(names(&queue.next(limits(8, 0))), ["t-2"]);
    queue.ready(&AgentKey::new("c-1", "a"));
    assert_eq!(names(&queue.next(limits(8, 0))), ["t-1", "t-2"]);
}

#[test]
fn who_comes_later_is_behind_one_that_waits_for_a_place() {
    let mut queue = queue(&[(1, 1, "a"), (2, 2, "a"), (3, 3, "a")]);
    queue.begin(&"t-2".into());
    queue.park(&"t-2".into(), Wait::Slot);
    let behind = |task: &str| queue.is_behind(&task.into());
    assert_eq!((behind("t-1"), behind("t-2"), behind("t-3")), (false, false, true));
}

proptest! {
    #[test]
    fn one_per_agent_session_in_order_and_within_the_limits(
        tasks in prop::collection::vec((0u8..5, 0usize..3), 1..40),
        in_flight in prop::collection::vec(any::<bool>(), 40),
        max in 1usize..6,
        per_agent in 0usize..3,
    ) {
        let agents = ["a", "b", "c"];
        let mut queue = Queue::default();
        let mut flying = BTreeSet::new();
        for (n, (chat, agent)) in tasks.iter().enumerate() {
            let card = card(n as i64, *chat, agents[*agent]);
            let key = card.key.clone();
            let task = card.task.clone();
            queue.insert(card);
            if in_flight[n] && !queue.iter().any(|e| e.card.key == key && e.card.task != task && e.stage != Stage::InFlight) && flying.insert(key) {
                queue.get_mut(&task).expect("inserted").stage = Stage::InFlight;
            }
        }
        let next = queue.next(limits(max, per_agent));
        let chosen: Vec<_> = next.iter().map(|task| &queue.get(task).expect("queued").card).collect();
        prop_assert!(chosen.is_empty() || chosen.len() + flying.len() <= max);
        let mut keys = flying.clone();
        for card in &chosen {
            prop_assert!(keys.insert(card.key.clone()), "two at once for one agent session");
            let older = queue.iter().any(|e| e.card.key == card.key && e.card.order < card.order);
            prop_assert!(!older, "out of order");
        }
        prop_assert!(chosen.is_sorted_by_key(|card| card.order));
    }
}
