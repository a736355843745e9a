//! Every order in which copies of the store and news about them can arrive: when nothing is on its way
//! any more, the queue says what the store says.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::tests::{card, limits};
use super::*;

/// What happens next, in the store or on the way.
#[derive(Debug, Clone)]
enum Step {
    Submit(u8),
    Hold(u8, bool),
    /// The dispatcher begins whatever it can.
    Begin,
    /// The n-th message arrives.
    Arrive(usize),
    /// The n-th thing that somebody was sent for is done.
    Do(usize),
    /// The actor of a chat is lost.
    Lose(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0u8..2).prop_map(Step::Submit),
        3 => (0u8..2, any::<bool>()).prop_map(|(chat, held)| Step::Hold(chat, held)),
        4 => Just(Step::Begin),
        8 => (0usize..6).prop_map(Step::Arrive),
        6 => (0usize..6).prop_map(Step::Do),
        1 => (0u8..2).prop_map(Step::Lose),
    ]
}

/// A message to the dispatcher, which may take any time.
#[derive(Debug)]
enum Mail {
    Submitted(TaskCard),
    Held(ChatId, Word),
    Back(TaskId),
    Ended(TaskId),
    Reread(Errand, Option<TaskCard>),
}

/// What others do in their own time.
#[derive(Debug)]
enum Work {
    /// A session actor has the task.
    Run(TaskId),
    /// The store is asked.
    Read(Errand),
    /// The end of a task that is nobody's is recorded.
    End(TaskId),
}

#[derive(Default)]
struct World {
    tasks: BTreeMap<TaskId, TaskCard>,
    held: BTreeMap<u8, bool>,
    newest: i64,
    queue: Queue,
    mail: Vec<Mail>,
    work: Vec<Work>,
}

impl World {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Submit(chat) => {
                self.newest += 1;
                let order = i64::try_from(self.tasks.len()).expect("few");
                let held = self.held.get(chat).copied().unwrap_or_default();
                let state = if held { TaskState::Held } else { TaskState::Queued };
                let new = TaskCard { state, as_of: self.newest, ..card(order, *chat, "a") };
                self.tasks.insert(new.task.clone(), new.clone());
                self.mail.push(Mail::Submitted(new));
            }
            Step::Hold(chat, held) => self.hold(*chat, *held),
            Step::Begin => {
                for task in self.queue.next(limits(8, 0)) {
                    self.queue.begin(&task).expect("queued");
                    self.work.push(Work::Run(task));
                }
            }
            Step::Arrive(n) if !self.mail.is_empty() => {
                let mail = self.mail.remove(n % self.mail.len());
                self.read_mail(mail);
            }
            Step::Do(n) if !self.work.is_empty() => {
                let work = self.work.remove(n % self.work.len());
                self.do_work(work);
            }
            Step::Lose(chat) => self.lose(*chat),
            Step::Arrive(_) | Step::Do(_) => {}
        }
    }

    /// As the store does it: with an event for each task that it moves, and with none for the chat.
    fn hold(&mut self, chat: u8, held: bool) {
        self.held.insert(chat, held);
        let (from, to) =
            if held { (TaskState::Queued, TaskState::Held) } else { (TaskState::Held, TaskState::Queued) };
        let chat = ChatId::from(format!("c-{chat}").as_str());
        for card in self.tasks.values_mut().filter(|card| card.key.chat == chat && card.state == from) {
            self.newest += 1;
            card.state = to;
        }
        self.mail.push(Mail::Held(chat, Word { held, as_of: self.newest }));
    }

    /// Whoever held a task of that chat is gone, and says nothing any more.
    fn lose(&mut self, chat: u8) {
        let chat = ChatId::from(format!("c-{chat}").as_str());
        let of_chat = |task: &TaskId| self.tasks.get(task).is_some_and(|card| card.key.chat == chat);
        self.work.retain(|work| !matches!(work, Work::Run(task) if of_chat(task)));
        let lost: Vec<_> = self.queue.iter().filter(|entry| entry.stage == Stage::InFlight).collect();
        let lost: Vec<_> = lost.iter().map(|entry| entry.card.task.clone()).filter(of_chat).collect();
        for task in lost {
            self.reread(&task);
        }
    }

    fn reread(&mut self, task: &TaskId) {
        if let Some(errand) = self.queue.send_for(task) {
            self.work.push(Work::Read(errand));
        }
    }

    fn set(&mut self, task: &TaskId, to: TaskState) {
        self.newest += 1;
        self.tasks.get_mut(task).expect("known").state = to;
    }

    fn do_work(&mut self, work: Work) {
        match work {
            Work::Run(task) => match self.tasks[&task].state {
                TaskState::Queued => {
                    self.set(&task, TaskState::Completed);
                    self.mail.push(Mail::Ended(task));
                }
                // Refused by the store, as what is held is.
                _ => self.mail.push(Mail::Back(task)),
            },
            Work::Read(errand) => {
                let read = self.tasks.get(&errand.task);
                let read = read.map(|card| TaskCard { as_of: self.newest, ..card.clone() });
                self.mail.push(Mail::Reread(errand, read));
            }
            Work::End(task) => {
                if !self.tasks[&task].state.is_terminal() {
                    self.set(&task, TaskState::Interrupted);
                }
                self.mail.push(Mail::Ended(task));
            }
        }
    }

    fn read_mail(&mut self, mail: Mail) {
        match mail {
            Mail::Submitted(card) => self.queue.insert(card),
            Mail::Held(chat, word) => self.queue.set_held(&chat, word),
            Mail::Back(task) => self.reread(&task),
            Mail::Ended(task) => drop(self.queue.remove(&task)),
            Mail::Reread(errand, card) => match self.queue.put_back(&errand, card) {
                PutBack::Begun | PutBack::Cancelled => {
                    self.queue.send_for(&errand.task);
                    self.work.push(Work::End(errand.task));
                }
                PutBack::Late | PutBack::Over | PutBack::Back => {}
            },
        }
    }

    /// Lets everything arrive and be done, in the order of the numbers, and begins nothing new.
    fn rest(&mut self, order: &[usize]) {
        let mut order = order.iter().copied().cycle();
        while !self.mail.is_empty() || !self.work.is_empty() {
            let n = order.next().unwrap_or_default();
            self.take(&if n.is_multiple_of(2) { Step::Arrive(n / 2) } else { Step::Do(n / 2) });
        }
    }

    fn open(&self) -> BTreeMap<&TaskId, TaskState> {
        let open = self.tasks.values().filter(|card| !card.state.is_terminal());
        open.map(|card| (&card.task, card.state)).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_queue_at_rest_says_what_the_store_says(
        steps in prop::collection::vec(step(), 1..60),
        order in prop::collection::vec(0usize..12, 12),
    ) {
        let mut world = World::default();
        for step in &steps {
            world.take(step);
        }
        // Even and odd: both kinds go on.
        let order: Vec<_> = order.into_iter().chain([0, 1]).collect();
        world.rest(&order);
        let queued: BTreeMap<_, _> =
            world.queue.iter().map(|entry| (&entry.card.task, entry.card.state)).collect();
        prop_assert_eq!(queued, world.open());
        let waits = world.queue.iter().all(|entry| entry.stage == Stage::Waiting);
        prop_assert!(waits, "what nobody works on is in flight for ever");
        // And what is released runs to its end.
        for chat in 0..2 {
            world.hold(chat, false);
        }
        world.rest(&order);
        for _ in 0..steps.len() {
            world.take(&Step::Begin);
            world.rest(&order);
        }
        prop_assert!(world.open().is_empty(), "never run: {:?}", world.open());
    }
}
