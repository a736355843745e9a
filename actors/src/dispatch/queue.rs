//! The queue of tasks, and who is next: plain data, no clock, no effects.
//!
//! First in, first out within an agent session; agent sessions side by side within the limits;
//! between chats the oldest head goes first.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::TaskState;
use crate::id::{AgentKey, AgentName, ChatId, TaskId};
use crate::ports::{Limits, TaskCard};

/// How far the dispatcher has come with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It waits for its turn.
    Waiting,
    /// The pool had no place for its agent session.
    WaitingForSlot,
    /// Its session actor is being got, or has it.
    InFlight,
}

/// A task in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The task.
    pub card: TaskCard,
    /// How far it has come.
    pub stage: Stage,
    /// Somebody cancelled it while it was on its way to its actor.
    pub cancelled: bool,
}

/// Every task that is not terminal, in order of acceptance.
#[derive(Debug, Clone, Default)]
pub struct Queue {
    entries: BTreeMap<i64, Entry>,
    orders: BTreeMap<TaskId, i64>,
}

impl Queue {
    /// Takes a task in, or takes its new state over. What is in flight stays as it is.
    pub fn insert(&mut self, card: TaskCard) {
        let order = card.order;
        if self.entries.get(&order).is_some_and(|entry| entry.stage == Stage::InFlight) {
            return;
        }
        self.orders.insert(card.task.clone(), order);
        self.entries.insert(order, Entry { card, stage: Stage::Waiting, cancelled: false });
    }

    /// Lets a task go.
    pub fn remove(&mut self, task: &TaskId) -> Option<Entry> {
        let order = self.orders.remove(task)?;
        self.entries.remove(&order)
    }

    /// A task.
    pub fn get(&self, task: &TaskId) -> Option<&Entry> {
        self.entries.get(self.orders.get(task)?)
    }

    /// A task, to change it.
    pub fn get_mut(&mut self, task: &TaskId) -> Option<&mut Entry> {
        self.entries.get_mut(self.orders.get(task)?)
    }

    /// All of them, in order of acceptance.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Puts the waiting tasks of a chat aside, or brings them back.
    pub fn set_held(&mut self, chat: &ChatId, held: bool) {
        let (from, to) =
            if held { (TaskState::Queued, TaskState::Held) } else { (TaskState::Held, TaskState::Queued) };
        for entry in self.entries.values_mut() {
            if entry.card.key.chat == *chat && entry.stage != Stage::InFlight && entry.card.state == from {
                entry.card.state = to;
            }
        }
    }

    /// A place was freed: whoever waits for one may try again.
    pub fn place_freed(&mut self) {
        for entry in self.entries.values_mut() {
            if entry.stage == Stage::WaitingForSlot {
                entry.stage = Stage::Waiting;
            }
        }
    }

    /// The tasks to start now, in order.
    pub fn next(&self, limits: Limits) -> Vec<TaskId> {
        let mut running = self.iter().filter(|entry| entry.stage == Stage::InFlight).count();
        let mut per_agent: BTreeMap<&AgentName, usize> = BTreeMap::new();
        let mut taken: BTreeSet<&AgentKey> = BTreeSet::new();
        for entry in self.iter().filter(|entry| entry.stage == Stage::InFlight) {
            *per_agent.entry(&entry.card.key.agent).or_default() += 1;
            taken.insert(&entry.card.key);
        }
        let mut next = Vec::new();
        for entry in self.iter().filter(|entry| entry.stage != Stage::InFlight) {
            let card = &entry.card;
            // A held task, or one that waits for a place, keeps its place before those behind it.
            if !taken.insert(&card.key) || card.state != TaskState::Queued || entry.stage != Stage::Waiting {
                continue;
            }
            let of_agent = per_agent.entry(&card.key.agent).or_default();
            let agent_full = limits.max_running_per_agent > 0 && *of_agent >= limits.max_running_per_agent;
            if running >= limits.max_running || agent_full {
                continue;
            }
            running += 1;
            *of_agent += 1;
            next.push(card.task.clone());
        }
        next
    }

    /// What each queued task waits for, by the contract's words.
    pub fn waiting(&self) -> BTreeMap<TaskId, (AgentKey, &'static str)> {
        let mut heads: BTreeSet<&AgentKey> = BTreeSet::new();
        let mut waiting = BTreeMap::new();
        for entry in self.iter() {
            let head = heads.insert(&entry.card.key);
            if entry.card.state != TaskState::Queued {
                continue;
            }
            let why = match (head, entry.stage) {
                (false, _) => "turn",
                (true, Stage::WaitingForSlot) => "slot",
                (true, Stage::InFlight) => "starting",
                (true, Stage::Waiting) => "dispatch_limit",
            };
            waiting.insert(entry.card.task.clone(), (entry.card.key.clone(), why));
        }
        waiting
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn card(order: i64, chat: u8, agent: &str) -> TaskCard {
        TaskCard {
            task: format!("t-{order}").into(),
            key: AgentKey::new(format!("c-{chat}").as_str(), agent),
            session: "s-1".into(),
            order,
            state: TaskState::Queued,
            prompt: "say: hello".into(),
            permissions: None,
            no_wait: false,
            cwd: "/nowhere".into(),
        }
    }

    fn limits(max_running: usize, max_running_per_agent: usize) -> Limits {
        Limits { max_live: 100, min_available: 0, max_running, max_running_per_agent }
    }

    fn queue(cards: &[(i64, u8, &str)]) -> Queue {
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
        queue.set_held(&"c-1".into(), true);
        assert_eq!(names(&queue.next(limits(8, 0))), ["t-2"]);
        queue.set_held(&"c-1".into(), false);
        assert_eq!(names(&queue.next(limits(8, 0))), ["t-1", "t-2"]);
    }

    #[test]
    fn who_waits_for_a_place_tries_again_when_one_is_freed() {
        let mut queue = queue(&[(1, 1, "a"), (2, 1, "a")]);
        queue.get_mut(&"t-1".into()).expect("queued").stage = Stage::WaitingForSlot;
        assert_eq!(names(&queue.next(limits(8, 0))), Vec::<&str>::new());
        queue.place_freed();
        assert_eq!(names(&queue.next(limits(8, 0))), ["t-1"]);
    }

    #[test]
    fn each_waiting_task_says_what_it_waits_for() {
        let mut queue = queue(&[(1, 1, "a"), (2, 1, "a"), (3, 2, "a"), (4, 3, "a")]);
        queue.get_mut(&"t-1".into()).expect("queued").stage = Stage::InFlight;
        queue.get_mut(&"t-3".into()).expect("queued").stage = Stage::WaitingForSlot;
        let words: Vec<_> = queue.waiting().into_values().map(|(_, why)| why).collect();
        assert_eq!(words, ["starting", "turn", "slot", "dispatch_limit"]);
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
}
