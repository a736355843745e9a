//! The queue of tasks, and who is next: plain data, no clock, no effects.
//!
//! First in, first out within an agent session; agent sessions side by side within the limits;
//! between chats the oldest head goes first.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{TaskState, Wait};
use crate::id::{AgentKey, AgentName, ChatId, TaskId};
use crate::ports::{Limits, TaskCard};

use super::loans::{Loan, LoanId, Loans, Slots};

/// How far the dispatcher has come with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It waits for its turn.
    Waiting,
    /// It waits for something else than its turn, and is tried again when that has come.
    Parked(Wait),
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
    /// What it waited for last: it is told once, not at each try.
    pub told: Option<Wait>,
    /// What came while it was being asked whether it has to wait for it.
    pub came: BTreeSet<Wait>,
}

/// Every task that is not terminal, in order of acceptance.
#[derive(Debug, Clone, Default)]
pub struct Queue {
    entries: BTreeMap<i64, Entry>,
    orders: BTreeMap<TaskId, i64>,
    loans: Loans,
}

impl Queue {
    /// Takes a task in, or takes its new state over. What is in flight stays as it is.
    pub fn insert(&mut self, card: TaskCard) {
        let order = card.order;
        if self.entries.get(&order).is_some_and(|entry| entry.stage == Stage::InFlight) {
            return;
        }
        self.orders.insert(card.task.clone(), order);
        self.entries.insert(
            order,
            Entry { card, stage: Stage::Waiting, cancelled: false, told: None, came: BTreeSet::new() },
        );
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

    /// A turn waits for a task of its own making, which may have its slot meanwhile.
    pub fn lend(&mut self, id: LoanId, loan: Loan) {
        let child = loan.child.clone();
        self.loans.lend(id, loan);
        // There may be a place for it now that there was not before.
        self.wake(|card| card.task == child, &[Wait::Slot]);
    }

    /// How many turns wait for others, if one of them waits for this task.
    pub fn n_lent_to(&self, task: &TaskId) -> usize {
        let slots = self.slots();
        if slots.is_waited_for(task) { slots.n_blocked() } else { 0 }
    }

    /// That wait is over.
    pub fn give_back(&mut self, id: LoanId) {
        self.loans.give_back(id);
    }

    /// What the slots are taken by now.
    pub fn slots(&self) -> Slots<'_> {
        let in_flight = self.iter().filter(|entry| entry.stage == Stage::InFlight);
        self.loans.slots(in_flight.map(|entry| &entry.card.task))
    }

    /// A place was freed, or memory: whoever waits for one may try again.
    pub fn place_freed(&mut self) {
        self.wake(|_| true, &[Wait::Slot, Wait::Memory]);
    }

    /// An agent session may be started again.
    pub fn ready(&mut self, key: &AgentKey) {
        self.wake(|card| card.key == *key, &[Wait::Backoff, Wait::Circuit]);
    }

    /// Limits and commands have changed: whoever waits for anything may try again.
    pub fn configured(&mut self) {
        self.wake(|_| true, &[Wait::Slot, Wait::Memory, Wait::Backoff, Wait::Circuit]);
    }

    /// Who is only being told to wait is woken beforehand: the answer is still on its way.
    fn wake(&mut self, whose: impl Fn(&TaskCard) -> bool, waits: &[Wait]) {
        for entry in self.entries.values_mut().filter(|entry| whose(&entry.card)) {
            match entry.stage {
                Stage::Parked(wait) if waits.contains(&wait) => entry.stage = Stage::Waiting,
                Stage::InFlight => entry.came.extend(waits),
                Stage::Parked(_) | Stage::Waiting => {}
            }
        }
    }

    /// A task is on its way to its session actor.
    pub fn begin(&mut self, task: &TaskId) -> Option<&Entry> {
        let entry = self.get_mut(task)?;
        entry.stage = Stage::InFlight;
        entry.came.clear();
        Some(entry)
    }

    /// Parks a task, unless what it waits for has come; whether that is news.
    pub fn park(&mut self, task: &TaskId, wait: Wait) -> bool {
        let Some(entry) = self.get_mut(task) else { return false };
        entry.stage = if entry.came.contains(&wait) { Stage::Waiting } else { Stage::Parked(wait) };
        entry.told.replace(wait) != Some(wait)
    }

    /// Whether somebody older waits for a place: then this one may take none before it.
    pub fn is_behind(&self, task: &TaskId) -> bool {
        let Some(order) = self.orders.get(task) else { return false };
        self.entries
            .range(..order)
            .any(|(_, entry)| matches!(entry.stage, Stage::Parked(Wait::Slot | Wait::Memory)))
    }

    /// The agent sessions that have a task to run, now or later; what is held does not count.
    pub fn wanted(&self) -> BTreeSet<AgentKey> {
        let queued = self.iter().filter(|entry| entry.card.state != TaskState::Held);
        queued.map(|entry| entry.card.key.clone()).collect()
    }

    /// The tasks to start now, in order.
    pub fn next(&self, limits: Limits) -> Vec<TaskId> {
        let mut slots = self.slots();
        let mut per_agent: BTreeMap<&AgentName, usize> = BTreeMap::new();
        let mut taken: BTreeSet<&AgentKey> = BTreeSet::new();
        for entry in self.iter().filter(|entry| entry.stage == Stage::InFlight) {
            taken.insert(&entry.card.key);
            // Who only waits is not in the way of its agent's others, or two could wait for each other.
            if !slots.is_blocked(&entry.card.task) {
                *per_agent.entry(&entry.card.key.agent).or_default() += 1;
            }
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
            if agent_full || !slots.take(&card.task, limits.max_running) {
                continue;
            }
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
                (true, Stage::Parked(wait)) => wait.word(),
                (true, Stage::InFlight) => "starting",
                (true, Stage::Waiting) => "dispatch_limit",
            };
            waiting.insert(entry.card.task.clone(), (entry.card.key.clone(), why));
        }
        waiting
    }
}

#[cfg(test)]
mod fairness;
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
            route: crate::ports::Route::Warm,
        }
    }

    pub(super) fn limits(max_running: usize, max_running_per_agent: usize) -> Limits {
        Limits { max_live: 100, min_available: 0, max_running, max_running_per_agent }
    }

    pub(super) fn queue(cards: &[(i64, u8, &str)]) -> Queue {
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
}
