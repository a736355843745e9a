//! Agent sessions and the table of processes.

use super::*;
use hob_actors::event::{AgentStatus, Exit, Json};
use hob_actors::ports::{AgentMove, BackendOpened, Choice, Ended};

fn step(generation: u64, to: AgentStatus) -> AgentMove {
    AgentMove { key: key(), generation: Generation(generation), to, reason: None, pid: None, exit: None }
}

fn opened(generation: u64, conversation: &str, context: Context) -> BackendOpened {
    BackendOpened {
        backend: "acp",
        key: key(),
        generation: Generation(generation),
        backend_session: Some(conversation.into()),
        context,
        reset: (context == Context::Reset).then(|| "it was not found".to_owned()),
        pid: Some(42),
        config_hash: "hash".to_owned(),
    }
}

impl Stage {
    async fn states(&self) -> Vec<String> {
        let journal = self.journal().await;
        journal.iter().filter(|event| event["agent"] == "demo").map(sketch).collect()
    }
}

#[tokio::test]
async fn what_an_agent_offers_is_known_in_its_chat_and_what_it_begins_with_everywhere() {
    let stage = Stage::set().await;
    let elsewhere = async || stage.store.offered("c-elsewhere", "demo").await.unwrap().mode;
    let here = async || stage.store.offered(key().chat.as_str(), "demo").await.unwrap();
    let say = async |generation: u64, current: &str, available: Option<&str>| {
        let scope = Scope {
            chat: Some(key().chat),
            agent: Some(key().agent),
            generation: Some(Generation(generation)),
            ..Scope::default()
        };
        let available = available.map(Json::from_valid);
        let event = Event::Mode { current: Some(current.to_owned()), available };
        stage.store.append(NewEvent { scope: Arc::new(scope), event }, Permit::free());
        stage.store.agent_record(key()).await.unwrap();
    };
    assert_eq!(elsewhere().await, Offer::default());
    stage.store.begin_generation(key()).await.unwrap();
    say(1, "ask", Some("[1]")).await;
    say(1, "auto", Some("[2]")).await;
    say(1, "plan", None).await;
    assert_eq!(here().await.mode.current.as_deref(), Some("plan"));
    let known = |initial: &str, available: &str| Offer {
        current: None,
        initial: Some(initial.to_owned()),
        available: Some(available.to_owned()),
    };
    assert_eq!(elsewhere().await, known("ask", "[2]"), "the first word of the first backend");
    // A later backend may begin with what was chosen.
    say(2, "auto", Some("[3]")).await;
    assert_eq!(elsewhere().await, known("ask", "[3]"));
    assert_eq!(here().await.mode.available.as_deref(), Some("[3]"));
}

#[tokio::test]
async fn a_choice_is_remembered_and_told_unless_the_agent_told_it() {
    let stage = Stage::set().await;
    let choice = |mode: Option<&str>| Choice { mode: mode.map(str::to_owned), model: Some("m".to_owned()) };
    let told = async || {
        let journal = stage.journal().await;
        let told = journal.iter().filter(|event| matches!(event["type"].as_str(), Some("mode" | "models")));
        told.map(|event| event["current"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for mode in [Some("auto"), Some("auto"), None] {
        stage.store.choose(key(), choice(mode)).await.unwrap();
        assert_eq!(stage.store.agent_record(key()).await.unwrap().choice, choice(mode));
        assert_eq!(told().await, ["auto", "m"], "{mode:?}");
    }
    // "auto" is what was told last.
    stage.store.choose(key(), choice(Some("auto"))).await.unwrap();
    assert_eq!(told().await, ["auto", "m"]);
    stage.store.choose(key(), choice(Some("ask"))).await.unwrap();
    assert_eq!(told().await, ["auto", "m", "ask"]);
}

#[tokio::test]
async fn a_run_of_its_own_leaves_the_conversation_of_the_kept_backend_alone() {
    let stage = Stage::set().await;
    stage.store.begin_generation(key()).await.unwrap();
    stage.store.backend_opened(opened(1, "b-1", Context::Fresh)).await.unwrap();
    stage.store.begin_generation(key()).await.unwrap();
    let alone = BackendOpened {
        backend: "oneshot",
        backend_session: None,
        pid: None,
        ..opened(2, "", Context::Fresh)
    };
    stage.store.backend_opened(alone).await.unwrap();
    let task = stage.submit("once").await;
    assert!(stage.store.dispatch_task(task.clone(), Generation(2)).await.unwrap());
    let turn =
        stage.store.start_turn(task.clone(), Generation(2), Context::Fresh, Route::Oneshot).await.unwrap();
    let turn = turn.expect("the task is open");
    assert_eq!(stage.task(&task).await.backend.as_deref(), Some("oneshot"));
    assert_eq!(stage.store.agent_sessions(true).await.unwrap()[0].backend, "oneshot");
    let end = TurnEnd { generation: Generation(2), ..ending(&task, &turn, Outcome::Completed) };
    assert_eq!(stage.store.end_turn(end).await.unwrap(), Ended::Now);
    let record = stage.store.agent_record(key()).await.unwrap();
    assert_eq!((record.backend_session, record.has_history), (Some("b-1".into()), false));

    stage.store.begin_generation(key()).await.unwrap();
    stage.store.backend_opened(opened(3, "b-1", Context::Loaded)).await.unwrap();
    assert_eq!(stage.store.agent_sessions(true).await.unwrap()[0].backend, "acp");
}

#[tokio::test]
async fn an_agent_session_is_made_when_it_is_first_asked_for_and_shown_once_it_started() {
    let stage = Stage::set().await;
    stage.store.set_cwd("c", "deep/er").await.unwrap();
    let record = stage.store.agent_record(key()).await.unwrap();
    assert_eq!((record.generation, record.status, record.backend_session), (Generation(0), None, None));
    assert_eq!(record.cwd, Path::new("/worktrees/w-s/deep/er"));
    assert!(stage.store.agent_sessions(true).await.unwrap().is_empty());

    assert_eq!(stage.store.begin_generation(key()).await.unwrap(), Generation(1));
    stage.store.backend_opened(opened(1, "b-1", Context::Fresh)).await.unwrap();
    let row = stage.store.agent_session("c", "demo").await.unwrap().unwrap();
    assert_eq!((row.status.as_str(), row.pid, row.generation), ("idle", Some(42), 1));
    assert_eq!((row.worktree.as_deref(), row.session.as_str()), (Some("w-s"), "s"));
    assert_eq!(stage.states().await, ["agent_state starting", "agent_state idle"]);
    let nowhere = stage.store.agent_record(AgentKey::new("nowhere", "demo")).await;
    assert!(nowhere.unwrap_err().source.to_string().contains("nowhere"));
}

#[tokio::test]
async fn news_of_an_older_backend_is_dropped() {
    let stage = Stage::set().await;
    stage.store.begin_generation(key()).await.unwrap();
    stage.store.move_agent(step(1, AgentStatus::Crashed)).await.unwrap();
    stage.store.begin_generation(key()).await.unwrap();
    stage.store.move_agent(step(1, AgentStatus::Evicted)).await.unwrap();
    stage.store.backend_opened(opened(1, "b-old", Context::Fresh)).await.unwrap();
    let row = stage.store.agent_session("c", "demo").await.unwrap().unwrap();
    assert_eq!((row.status.as_str(), row.generation, row.backend_session), ("starting", 2, None));
    assert_eq!(stage.states().await, ["agent_state starting", "agent_state crashed", "agent_state starting"]);
}

#[tokio::test]
async fn a_start_after_a_crash_is_a_restart_and_one_after_an_eviction_is_none() {
    let stage = Stage::set().await;
    let restarts = async || stage.store.agent_session("c", "demo").await.unwrap().unwrap().restarts;
    for (generation, end, expected) in
        [(1, AgentStatus::Evicted, 0), (2, AgentStatus::Crashed, 0), (3, AgentStatus::Backoff, 1)]
    {
        stage.store.begin_generation(key()).await.unwrap();
        assert_eq!(restarts().await, expected);
        stage.store.move_agent(step(generation, end)).await.unwrap();
    }
    stage.store.begin_generation(key()).await.unwrap();
    assert_eq!(restarts().await, 2);
}

#[tokio::test]
async fn the_exit_of_a_process_stays_readable_after_a_good_start() {
    let stage = Stage::set().await;
    stage.store.begin_generation(key()).await.unwrap();
    let exit = Exit { code: None, signal: Some(9), stderr_tail: "boom".to_owned() };
    let crash = AgentMove { exit: Some(exit), ..step(1, AgentStatus::Crashed) };
    stage.store.move_agent(crash).await.unwrap();
    stage.store.begin_generation(key()).await.unwrap();
    stage.store.backend_opened(opened(2, "b-1", Context::Fresh)).await.unwrap();
    let exit = stage.store.agent_session("c", "demo").await.unwrap().unwrap().last_exit.unwrap();
    assert_eq!((exit.detail.as_str(), exit.stderr_tail.as_str()), ("killed by SIGKILL", "boom"));
}

#[tokio::test]
async fn a_conversation_has_a_history_after_its_first_completed_turn_and_none_when_it_is_lost() {
    let stage = Stage::set().await;
    let history = async || stage.store.agent_record(key()).await.unwrap().has_history;
    stage.store.begin_generation(key()).await.unwrap();
    stage.store.backend_opened(opened(1, "b-1", Context::Fresh)).await.unwrap();
    assert!(!history().await);
    let (task, turn) = stage.running("x").await;
    stage.store.end_turn(ending(&task, &turn, Outcome::Completed)).await.unwrap();
    assert!(history().await);
    stage.store.begin_generation(key()).await.unwrap();
    stage.store.backend_opened(opened(2, "b-1", Context::Loaded)).await.unwrap();
    assert!(history().await);
    stage.store.begin_generation(key()).await.unwrap();
    stage.store.backend_opened(opened(3, "b-2", Context::Reset)).await.unwrap();
    assert!(!history().await);
    assert!(stage.states().await.ends_with(&["agent_state idle".to_owned(), "context_reset".to_owned()]));
    stage.store.forget_backend_session(key()).await.unwrap();
    assert_eq!(stage.store.agent_record(key()).await.unwrap().backend_session, None);
}

#[tokio::test]
async fn a_closed_agent_session_stays_closed() {
    let stage = Stage::set().await;
    let never_started = AgentKey::new("c", "other");
    stage.store.agent_record(never_started.clone()).await.unwrap();
    stage.store.begin_generation(key()).await.unwrap();
    stage.store.close_chat("c").await.unwrap();
    stage.store.move_agent(step(1, AgentStatus::Evicted)).await.unwrap();
    assert!(stage.store.begin_generation(key()).await.is_err());
    assert!(stage.store.begin_generation(never_started).await.is_err());
    assert_eq!(stage.store.agent_session("c", "demo").await.unwrap().unwrap().status, "closed");
    assert!(stage.store.agent_sessions(false).await.unwrap().is_empty());
    assert_eq!(stage.states().await, ["agent_state starting", "agent_state closed"]);
}

#[tokio::test]
async fn a_process_is_known_before_it_starts_and_until_it_is_proven_gone() {
    let mut stage = Stage::set().await;
    let installation = stage.store.installation().await.unwrap();
    assert!(installation > 0 && installation < 1 << 20);
    let new =
        NewAttempt { label: "demo".to_owned(), agent: Some("demo".to_owned()), chat: Some("c".to_owned()) };
    let first = stage.store.process_attempt(new.clone()).await.unwrap();
    let second =
        stage.store.process_attempt(NewAttempt { chat: Some("nowhere".to_owned()), ..new }).await.unwrap();
    assert!(first > 0 && second > first);
    stage.store.process_spawned(first, 100, 5555, "boot").await.unwrap();
    stage.store.process_agent(first, 101, 5556).await.unwrap();
    stage.reopen().await;
    assert_eq!(stage.store.installation().await.unwrap(), installation);
    let open = stage.store.open_processes().await.unwrap();
    let known = &open[0];
    assert_eq!(
        (known.pid, known.start_time, known.boot_id.as_deref()),
        (Some(100), Some(5555), Some("boot"))
    );
    assert_eq!((known.agent_pid, known.agent_start_time, open[1].pid), (Some(101), Some(5556), None));
    stage.store.process_ended(first, "swept").await.unwrap();
    stage.store.process_ended(first, "swept again").await.unwrap();
    assert_eq!(stage.store.open_processes().await.unwrap().len(), 1);
    assert!(stage.store.process_ended(999, "x").await.is_err());
}

#[tokio::test]
async fn attempts_come_round_and_pass_over_what_still_lives() {
    let stage = Stage::set().await;
    let attempt = async || stage.store.process_attempt(NewAttempt::default()).await.unwrap();
    assert_eq!((attempt().await, attempt().await), (1, 2));
    stage.store.process_ended(1, "gone").await.unwrap();
    peek(&stage.path()).execute("UPDATE meta SET value = (1 << 24) - 2 WHERE key = 'attempt'", []).unwrap();
    assert_eq!((attempt().await, attempt().await, attempt().await), ((1 << 24) - 1, 1, 3));
}
