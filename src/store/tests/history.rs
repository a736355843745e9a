//! Histories of one chat's tasks: whatever is asked in whatever order, with restarts in between,
//! each task is accounted for exactly once.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Something that somebody asks of the store.
#[derive(Debug, Clone, Copy)]
enum Ask {
    Submit,
    Dispatch(usize),
    Start(usize),
    EndTurn(usize, Outcome),
    EndTask(usize, Outcome),
    Held(bool),
    Restart,
}

fn ask() -> impl Strategy<Value = Ask> {
    let outcome = prop_oneof![
        Just(Outcome::Completed),
        Just(Outcome::Failed),
        Just(Outcome::Cancelled),
        Just(Outcome::Interrupted)
    ];
    prop_oneof![
        3 => Just(Ask::Submit),
        3 => (0..4_usize).prop_map(Ask::Dispatch),
        3 => (0..4_usize).prop_map(Ask::Start),
        2 => (0..4_usize, outcome.clone()).prop_map(|(n, outcome)| Ask::EndTurn(n, outcome)),
        1 => (0..4_usize, outcome).prop_map(|(n, outcome)| Ask::EndTask(n, outcome)),
        1 => any::<bool>().prop_map(Ask::Held),
        1 => Just(Ask::Restart),
    ]
}

#[derive(Default)]
struct Tasks {
    all: Vec<TaskId>,
    turns: BTreeMap<TaskId, TurnId>,
}

impl Tasks {
    fn nth(&self, n: usize) -> Option<TaskId> {
        // The newest ones are where something happens.
        self.all.iter().rev().nth(n).cloned()
    }
}

async fn perform(stage: &mut Stage, tasks: &mut Tasks, ask: Ask) {
    match ask {
        Ask::Submit => tasks.all.push(stage.submit("x").await),
        Ask::Dispatch(n) => {
            if let Some(task) = tasks.nth(n) {
                stage.store.dispatch_task(task, Generation(1)).await.unwrap();
            }
        }
        Ask::Start(n) => {
            if let Some(task) = tasks.nth(n)
                && let Ok(Some(turn)) =
                    stage.store.start_turn(task.clone(), Generation(1), Context::Fresh, Route::Warm).await
            {
                assert!(tasks.turns.insert(task, turn).is_none(), "a task was started twice");
            }
        }
        Ask::EndTurn(n, outcome) => {
            if let Some(task) = tasks.nth(n)
                && let Some(turn) = tasks.turns.get(&task)
            {
                stage.store.end_turn(ending(&task, turn, outcome)).await.unwrap();
            }
        }
        Ask::EndTask(n, outcome) => {
            if let Some(task) = tasks.nth(n) {
                stage.store.end_task(task, outcome, "asked".to_owned()).await.unwrap();
            }
        }
        Ask::Held(held) => {
            stage.store.set_held("c".into(), held).await.unwrap();
        }
        Ask::Restart => {
            stage.reopen().await;
            stage.store.settle("restart").await.unwrap();
        }
    }
}

fn is_terminal(state: &str) -> bool {
    words::parse_task_state(state).unwrap().is_terminal()
}

/// The events of each task, told in order, lead from acceptance to the state of its row.
async fn check(stage: &Stage, tasks: &Tasks) {
    let open = stage.store.open_tasks().await.unwrap();
    for task in &tasks.all {
        let filter = EventFilter { task: Some(task.as_str().to_owned()), ..EventFilter::default() };
        let events = stage.events(filter).await;
        let row = stage.task(task).await;
        let mut state = serde_json::Value::Null;
        let (mut terminal, mut ended, mut started) = (0, 0, 0);
        for event in &events {
            match event["type"].as_str().unwrap() {
                "task_state" => {
                    assert_eq!(event["from"], state, "{task} jumped");
                    state = event["to"].clone();
                    terminal += u32::from(is_terminal(state.as_str().unwrap()));
                }
                "turn_started" => started += 1,
                "turn_ended" => ended += 1,
                other => panic!("{other}"),
            }
        }
        assert_eq!(state, row.state.as_str());
        assert_eq!(terminal, u32::from(is_terminal(&row.state)), "{task} has {terminal} ends");
        assert_eq!(ended, if is_terminal(&row.state) { started } else { 0 }, "{task}: turns and their ends");
        assert_eq!(open.iter().any(|card| card.task == *task), !is_terminal(&row.state));
    }
    let everything = stage.journal().await;
    assert!(
        everything.is_sorted_by(
            |a, b| a["seq"].as_i64() < b["seq"].as_i64() && a["at"].as_str() <= b["at"].as_str()
        )
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_history_loses_a_task_or_ends_one_twice(asks in prop::collection::vec(ask(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut stage = Stage::set().await;
            let mut tasks = Tasks::default();
            for ask in asks {
                perform(&mut stage, &mut tasks, ask).await;
            }
            check(&stage, &tasks).await;
        });
    }
}
