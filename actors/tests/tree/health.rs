//! The health actor over dolls and a paused clock: who is probed when, and who is told what.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hob_actors::event::{Event, Exit, HealthState};
use hob_actors::fake::{Script, World};
use hob_actors::health::actor::HealthActor;
use hob_actors::health::messages::{EndCause, HealthMsg, HealthView, Patient, Pulse};
use hob_actors::id::{AgentKey, ChatId, Generation, HostId};
use hob_actors::ports::{Agent, FailureClass, ProbeFailed};
use hob_actors::root::RootArgs;
use hob_actors::session::actor::SessionMsg;
use ractor::rpc::CallResult;
use ractor::{Actor, ActorProcessingErr, ActorRef, ActorRuntime};
use tokio::time::Instant;

use crate::stage::until;

pub(crate) type Pings = Arc<Mutex<Option<Result<(), ProbeFailed>>>>;

/// An agent that does nothing but answer probes, or not.
struct Doll {
    answer: Pings,
    pinged: Arc<Mutex<Vec<Instant>>>,
    hanging: Arc<AtomicUsize>,
}

impl Agent for Doll {
    fn prompt(&self, _: u64, _: &str) {}
    fn cancel(&self) {}
    fn answer(&self, _: u64, _: Option<String>) {}
    fn ping(&self) -> Pin<Box<dyn Future<Output = Result<(), ProbeFailed>> + Send>> {
        self.pinged.lock().expect("no test panics with it").push(Instant::now());
        let (answer, hanging) =
            (self.answer.lock().expect("no test panics with it").clone(), self.hanging.clone());
        Box::pin(async move {
            tokio::task::yield_now().await;
            match answer {
                Some(answer) => answer,
                None => {
                    hanging.fetch_add(1, Ordering::Relaxed);
                    std::future::pending().await
                }
            }
        })
    }
    fn stderr_tail(&self) -> String {
        String::new()
    }
    fn stop(&self, _: bool) -> Pin<Box<dyn Future<Output = Exit> + Send>> {
        Box::pin(async { Exit::default() })
    }
}

/// Stands where a session actor would, and remembers what it is asked.
struct Owner;

pub(crate) type Orders = Arc<Mutex<Vec<(Generation, bool, Duration)>>>;

impl Actor for Owner {
    type Msg = SessionMsg;
    type State = (Instant, Orders);
    type Arguments = (Instant, Orders);

    async fn pre_start(
        &self,
        _: ActorRef<SessionMsg>,
        orders: (Instant, Orders),
    ) -> Result<(Instant, Orders), ActorProcessingErr> {
        Ok(orders)
    }

    async fn handle(
        &self,
        _: ActorRef<SessionMsg>,
        message: SessionMsg,
        (start, orders): &mut (Instant, Orders),
    ) -> Result<(), ActorProcessingErr> {
        if let SessionMsg::Ill { generation, interrupt, .. } = message {
            orders.lock().expect("no test panics with it").push((generation, interrupt, start.elapsed()));
        }
        Ok(())
    }
}

pub(crate) struct Rig {
    world: World,
    health: ActorRef<HealthMsg>,
    owner: ActorRef<SessionMsg>,
    orders: Orders,
    answer: Pings,
    pub(crate) pinged: Arc<Mutex<Vec<Instant>>>,
    hanging: Arc<AtomicUsize>,
    start: Instant,
    _links: RootArgs,
}

pub(crate) async fn rig() -> Rig {
    let world = World::new(Script::default());
    let (args, links) = RootArgs::new(world.ports());
    let (health, _) =
        ActorRuntime::spawn(None, HealthActor, (world.ports(), links)).await.expect("the health actor");
    let (start, orders) = (Instant::now(), Orders::default());
    let (owner, _) = ActorRuntime::spawn(None, Owner, (start, orders.clone())).await.expect("an owner");
    let answer = Arc::new(Mutex::new(Some(Ok(()))));
    let (pinged, hanging) = (Arc::default(), Arc::default());
    Rig { world, health, owner, orders, answer, pinged, hanging, start, _links: args }
}

fn key() -> AgentKey {
    AgentKey::new("c-1", "demo")
}

fn refused() -> ProbeFailed {
    ProbeFailed { class: FailureClass::Refused, message: "the agent closed a pipe and lives on".into() }
}

impl Rig {
    pub(crate) fn doll(&self) -> Arc<dyn Agent> {
        let (answer, pinged) = (self.answer.clone(), self.pinged.clone());
        Arc::new(Doll { answer, pinged, hanging: self.hanging.clone() })
    }

    fn began(&self, key: AgentKey, generation: u64, doll: &Arc<dyn Agent>, busy: bool) -> Arc<Pulse> {
        self.lives(key, (generation, None), doll, busy)
    }

    /// The same in a process that others may live in, too.
    pub(crate) fn moved_in(&self, chat: &str, doll: &Arc<dyn Agent>, busy: bool) -> Arc<Pulse> {
        self.lives(AgentKey::new(chat, "demo"), (1, Some(HostId::from("demo"))), doll, busy)
    }

    fn lives(
        &self,
        key: AgentKey,
        (generation, host): (u64, Option<HostId>),
        doll: &Arc<dyn Agent>,
        busy: bool,
    ) -> Arc<Pulse> {
        let pulse = Arc::<Pulse>::default();
        let patient = Patient {
            key,
            generation: Generation(generation),
            pid: Some(42),
            host,
            agent: Arc::downgrade(doll),
            pulse: pulse.clone(),
            busy,
            session: self.owner.clone(),
        };
        self.tell(HealthMsg::Began(patient));
        pulse
    }

    pub(crate) fn tell(&self, message: HealthMsg) {
        self.health.cast(message).expect("the health actor lives");
    }

    fn ended(&self, generation: u64, cause: EndCause) {
        let exit = Exit { signal: Some(9), stderr_tail: "its last words".into(), ..Exit::default() };
        let generation = Generation(generation);
        self.tell(HealthMsg::Ended { key: key(), generation, exit, cause, why: "it did not answer".into() });
    }

    pub(crate) fn answers(&self, answer: Option<Result<(), ProbeFailed>>) {
        *self.answer.lock().expect("no test panics with it") = answer;
    }

    pub(crate) fn orders(&self) -> Vec<(Generation, bool, Duration)> {
        self.orders.lock().expect("no test panics with it").clone()
    }

    /// Waits for so many orders, in paused time.
    pub(crate) async fn ordered(&self, n: usize) {
        for _ in 0..3600 {
            if self.orders().len() >= n {
                return;
            }
            tokio::time::sleep(SECOND).await;
        }
        panic!("never: {n} orders");
    }

    pub(crate) async fn rows(&self) -> Vec<HealthView> {
        match self.health.call(HealthMsg::List, None).await.expect("the health actor lives") {
            CallResult::Success(rows) => rows,
            other => panic!("{other:?}"),
        }
    }

    /// The states that the journal was told of.
    fn told(&self) -> Vec<(HealthState, HealthState, Option<String>)> {
        let of = |event: &Event| match event {
            Event::Health { from, to, failure } => Some((*from, *to, failure.clone())),
            _ => None,
        };
        self.world.memory().events.iter().filter_map(|new| of(&new.event)).collect()
    }
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_live_agent_is_probed_once_per_interval_and_nothing_is_told_of_it() {
    let rig = rig().await;
    let doll = rig.doll();
    rig.began(key(), 1, &doll, false);
    tokio::time::sleep(3600 * SECOND).await;
    let pinged = rig.pinged.lock().expect("no test panics with it").clone();
    assert!((239..=241).contains(&pinged.len()), "{} probes in an hour", pinged.len());
    assert!(pinged.windows(2).all(|two| two[1] - two[0] >= 15 * SECOND));
    let row = rig.rows().await.remove(0);
    assert_eq!((row.state, row.failures, row.pid), (Some(HealthState::Healthy), 0, Some(42)));
    assert_eq!((rig.told(), rig.orders()), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn an_idle_agent_that_does_not_answer_is_to_be_restarted_and_its_story_stays_readable() {
    let rig = rig().await;
    let doll = rig.doll();
    rig.answers(None);
    rig.began(key(), 1, &doll, false);
    rig.ordered(1).await;
    let (generation, interrupt, after) = rig.orders()[0];
    assert_eq!((generation, interrupt), (Generation(1), false));
    // Eight intervals and the last time-out, the first one shortened by the spread.
    assert!(after >= 7 * 15 * SECOND && after <= 8 * 15 * SECOND + 6 * SECOND, "{after:?}");
    rig.ended(1, EndCause::Ill);
    let next = rig.doll();
    rig.answers(Some(Ok(())));
    rig.began(key(), 2, &next, false);
    tokio::time::sleep(60 * SECOND).await;
    let row = rig.rows().await.remove(0);
    assert_eq!((row.state, row.failures, row.restarts), (Some(HealthState::Healthy), 0, 1));
    let failure = row.last_failure.expect("the last failure is kept");
    assert_eq!((failure.class, failure.message.as_str()), (FailureClass::TimedOut, "no answer within 5s"));
    let end = row.last_end.expect("the last end is kept");
    assert_eq!((end.cause, end.why.as_str()), (EndCause::Ill, "it did not answer"));
    assert_eq!(row.stderr_tail, "its last words");
    use HealthState::{Healthy, Restarting, Suspect};
    let words = |words: &str| Some(words.to_owned());
    assert_eq!(
        rig.told(),
        [
            (Healthy, Suspect, words("no answer within 5s")),
            (Suspect, Restarting, words("8 probes in a row were not answered")),
            (Restarting, Healthy, None),
        ]
    );
    assert_eq!(rig.orders().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_pipes_that_close_while_it_is_being_ended_do_not_hide_why_it_is() {
    let rig = rig().await;
    let doll = rig.doll();
    rig.answers(None);
    rig.began(key(), 1, &doll, false);
    rig.ordered(1).await;
    rig.answers(Some(Err(refused())));
    rig.ordered(3).await;
    let failure = rig.rows().await.remove(0).last_failure.expect("it failed");
    assert_eq!(failure.class, FailureClass::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn a_closed_pipe_has_a_limit_of_its_own() {
    let rig = rig().await;
    let doll = rig.doll();
    rig.answers(Some(Err(refused())));
    rig.began(key(), 1, &doll, false);
    rig.ordered(1).await;
    assert!(rig.start.elapsed() <= 3 * 15 * SECOND, "{:?}", rig.start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_busy_agent_is_interrupted_only_after_the_grace_of_silence() {
    let rig = rig().await;
    let doll = rig.doll();
    let pulse = rig.began(key(), 1, &doll, true);
    rig.answers(None);
    tokio::time::sleep(150 * SECOND).await;
    assert_eq!(rig.rows().await[0].state, Some(HealthState::StaleBusy));
    pulse.beat();
    rig.ordered(1).await;
    let (_, interrupt, after) = rig.orders()[0];
    assert!(interrupt);
    // The beat was seen with the probe after it; the grace ends with a probe too.
    assert!(after >= 270 * SECOND && after <= 310 * SECOND, "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_streams_and_is_deaf_to_probes_is_left_alone() {
    let rig = rig().await;
    let doll = rig.doll();
    rig.answers(None);
    let pulse = rig.began(key(), 1, &doll, true);
    for _ in 0..3600 {
        pulse.beat();
        tokio::time::sleep(SECOND).await;
    }
    rig.tell(HealthMsg::Busy { key: key(), generation: Generation(1), busy: false });
    assert_eq!(rig.rows().await[0].state, Some(HealthState::Healthy));
    assert_eq!(rig.orders(), []);
    // Idle and deaf is another thing.
    rig.ordered(1).await;
    assert!(!rig.orders()[0].1);
}

#[tokio::test(start_paused = true)]
async fn an_order_that_was_refused_because_of_a_new_turn_is_judged_again() {
    let rig = rig().await;
    let doll = rig.doll();
    rig.answers(Some(Err(refused())));
    rig.began(key(), 1, &doll, false);
    rig.ordered(1).await;
    rig.tell(HealthMsg::Busy { key: key(), generation: Generation(1), busy: true });
    assert_eq!(rig.rows().await[0].state, Some(HealthState::StaleBusy));
    rig.tell(HealthMsg::Busy { key: key(), generation: Generation(1), busy: false });
    rig.ordered(2).await;
    assert!(rig.orders().iter().all(|(_, interrupt, _)| !interrupt));
}

#[tokio::test(start_paused = true)]
async fn a_probe_keeps_nobody_alive_and_who_is_gone_is_shown_so() {
    let rig = rig().await;
    let doll = rig.doll();
    rig.answers(None);
    rig.began(key(), 1, &doll, false);
    until("a probe hangs", || rig.hanging.load(Ordering::Relaxed) == 1).await;
    assert_eq!(Arc::strong_count(&doll), 1);
    drop(doll);
    tokio::time::sleep(60 * SECOND).await;
    let row = rig.rows().await.remove(0);
    assert_eq!((row.state, row.pid), (None, None));
    assert_eq!(rig.pinged.lock().expect("no test panics with it").len(), 1);
    assert_eq!(rig.orders(), []);
}

#[tokio::test(start_paused = true)]
async fn news_of_an_older_process_is_none_of_the_present_one() {
    let rig = rig().await;
    let (old, new) = (rig.doll(), rig.doll());
    rig.began(key(), 1, &old, false);
    rig.began(key(), 2, &new, false);
    rig.ended(1, EndCause::Crashed);
    rig.began(key(), 1, &old, false);
    let row = rig.rows().await.remove(0);
    assert_eq!((row.generation, row.state, row.last_end), (Generation(2), Some(HealthState::Healthy), None));
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(rig.pinged.lock().expect("no test panics with it").len(), 4, "one of them is probed");
}

#[tokio::test(start_paused = true)]
async fn a_start_that_failed_and_a_crash_are_remembered_until_the_chat_is_closed() {
    let rig = rig().await;
    let message = "it exits with code 1".to_owned();
    rig.tell(HealthMsg::StartFailed { key: key(), message, exit: None });
    let row = rig.rows().await.remove(0);
    assert_eq!((row.state, row.last_end.map(|end| end.why).as_deref()), (None, Some("it exits with code 1")));
    let doll = rig.doll();
    rig.began(key(), 1, &doll, false);
    rig.ended(1, EndCause::Crashed);
    let doll = rig.doll();
    rig.began(key(), 2, &doll, false);
    rig.ended(2, EndCause::Ordered);
    let row = rig.rows().await.remove(0);
    assert_eq!(row.last_end.map(|end| end.cause), Some(EndCause::Crashed), "an eviction hides no crash");
    assert_eq!((row.restarts, row.stderr_tail.as_str()), (0, "its last words"));
    rig.tell(HealthMsg::Forget(ChatId::from("c-1")));
    assert_eq!(rig.rows().await, []);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_processes_are_probed_each_in_its_own_moment() {
    let rig = rig().await;
    let dolls: Vec<_> = (0..1000).map(|_| rig.doll()).collect();
    for (n, doll) in dolls.iter().enumerate() {
        rig.began(AgentKey::new(format!("c-{n}").as_str(), "demo"), 1, doll, false);
    }
    tokio::time::sleep(60 * SECOND).await;
    let pinged = rig.pinged.lock().expect("no test panics with it").clone();
    assert!((3000..=4100).contains(&pinged.len()), "{} probes in a minute", pinged.len());
    for moment in pinged.chunk_by(|a, b| *b - *a < Duration::from_millis(1)) {
        assert!(moment.len() <= 3, "{} at once", moment.len());
    }
}
