//! The queue of tasks, and who is next: plain data, no clock, no effects.
//!
//! First in, first out within an agent session; agent sessions side by side within the limits;
//! between chats the oldest head goes first.
//!
//! What is here is a copy, read some time before it is taken in, and news may overtake it on the way.
//! So each copy and each word bears the number of the journal's newest event: the later one holds.
//! **Invariant:** when nothing is on its way any more, every task stands here as it does in the store.

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

/// What somebody was sent for about a task. An answer to any errand but the last is out of date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errand {
    /// The task.
    pub task: TaskId,
    /// Counts up, over all tasks.
    pub number: u64,
}

/// That a chat was held or released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// Held, or released.
    pub held: bool,
    /// Since which event of the journal.
    pub as_of: i64,
}

impl Word {
    /// Whether it is news to a copy of the store that was read then.
    fn is_later_than(&self, as_of: i64) -> bool {
        self.as_of > as_of
    }

    /// Brings a copy up to date. What was begun, or is over, is not held.
    fn apply(self, card: &mut TaskCard) {
        if !self.is_later_than(card.as_of) {
            return;
        }
        card.as_of = self.as_of;
        match (card.state, self.held) {
            (TaskState::Queued, true) => card.state = TaskState::Held,
            (TaskState::Held, false) => card.state = TaskState::Queued,
            _ => {}
        }
    }
}

/// What became of a task that was read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutBack {
    /// It has gone on meanwhile: the answer says nothing.
    Late,
    /// It is over, and let go.
    Over,
    /// It was begun, and nobody holds it any more.
    Begun,
    /// It was cancelled on its way.
    Cancelled,
    /// It waits again, as the store says.
    Back,
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
    /// The last errand, while it is in flight.
    errand: u64,
}

/// Every task that is not terminal, in order of acceptance.
#[derive(Debug, Clone, Default)]
pub struct Queue {
    entries: BTreeMap<i64, Entry>,
    orders: BTreeMap<TaskId, i64>,
    /// The last word on each chat that was ever held or released.
    words: BTreeMap<ChatId, Word>,
    n_errands: u64,
    loans: Loans,
    /// Tasks whose turn waits for an answer of a person.
    asking: BTreeSet<TaskId>,
}

impl Queue {
    /// Takes a task in, or takes its new state over. What is in flight stays as it is, and so does what
    /// was read later than this.
    pub fn insert(&mut self, mut card: TaskCard) {
        let order = card.order;
        let stays = |entry: &Entry| entry.stage == Stage::InFlight || entry.card.as_of > card.as_of;
        if self.entries.get(&order).is_some_and(stays) {
            return;
        }
        if let Some(word) = self.words.get(&card.key.chat) {
            word.apply(&mut card);
        }
        self.orders.insert(card.task.clone(), order);
        let entry = Entry {
            card,
            stage: Stage::Waiting,
            cancelled: false,
            told: None,
            came: BTreeSet::new(),
            errand: 0,
        };
        self.entries.insert(order, entry);
    }

    /// Lets a task go.
    pub fn remove(&mut self, task: &TaskId) -> Option<Entry> {
        self.asking.remove(task);
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

    /// Puts the waiting tasks of a chat aside, or brings them back; also those on their way, which may
    /// come back. A word that an earlier one has overtaken changes nothing.
    pub fn set_held(&mut self, chat: &ChatId, word: Word) {
        if self.words.get(chat).is_some_and(|last| !word.is_later_than(last.as_of)) {
            return;
        }
        self.words.insert(chat.clone(), word);
        for entry in self.entries.values_mut().filter(|entry| entry.card.key.chat == *chat) {
            word.apply(&mut entry.card);
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

    /// A turn waits for an answer of a person, or goes on: what it does not use meanwhile is free. It has
    /// its slot back at once; where another is in that, nothing else begins until there is one again.
    pub fn set_asking(&mut self, task: &TaskId, waits: bool) {
        if waits {
            self.asking.insert(task.clone());
        } else {
            self.asking.remove(task);
        }
    }

    /// What the slots are taken by now.
    pub fn slots(&self) -> Slots<'_> {
        let in_flight = self.iter().filter(|entry| entry.stage == Stage::InFlight);
        self.loans.slots(in_flight.map(|entry| &entry.card.task), &self.asking)
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
    pub fn begin(&mut self, task: &TaskId) -> Option<Errand> {
        let errand = self.send_for(task)?;
        self.get_mut(task)?.came.clear();
        Some(errand)
    }

    /// Somebody is sent for something about a task: what they were sent for before is out of date.
    pub fn send_for(&mut self, task: &TaskId) -> Option<Errand> {
        let number = self.n_errands + 1;
        let entry = self.get_mut(task)?;
        (entry.stage, entry.errand) = (Stage::InFlight, number);
        self.n_errands = number;
        Some(Errand { task: task.clone(), number })
    }

    /// Whether this errand is the last one of its task, which is still in flight.
    pub fn is_on(&self, errand: &Errand) -> bool {
        let entry = self.get(&errand.task);
        entry.is_some_and(|entry| entry.stage == Stage::InFlight && entry.errand == errand.number)
    }

    /// The store's word on a task that nobody holds any more.
    pub fn put_back(&mut self, errand: &Errand, card: Option<TaskCard>) -> PutBack {
        if !self.is_on(errand) {
            return PutBack::Late;
        }
        let Some(before) = self.remove(&errand.task) else { return PutBack::Late };
        let Some(card) = card.filter(|card| !card.state.is_terminal()) else { return PutBack::Over };
        let is_begun = matches!(card.state, TaskState::Dispatched | TaskState::Running);
        self.insert(card);
        if let Some(entry) = self.get_mut(&errand.task) {
            (entry.told, entry.came) = (before.told, before.came);
        }
        match (is_begun, before.cancelled) {
            (true, _) => PutBack::Begun,
            (false, true) => PutBack::Cancelled,
            (false, false) => PutBack::Back,
        }
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
mod interleavings;
#[cfg(test)]
mod tests;
