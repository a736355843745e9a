//! What an agent may do with arenas: start one over its own session within the limits of a family,
//! and look at its own. The arena's own handlers need not know that an agent asks.

use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use tokio::sync::OwnedMutexGuard;

use super::{Caller, caller, check_limits};
use crate::control::error::RpcFailure;
use crate::control::handlers::{Call, Done, tasks};

/// Starts an arena.
pub(in crate::control) const START: &str = "arena/start";
/// Shows one.
pub(in crate::control) const SHOW: &str = "arena/show";

/// What an agent asked to be started, held to what it may, and what keeps its family from growing
/// until that is done.
pub(in crate::control) async fn narrow(
    call: &Call,
    params: Option<&RawValue>,
) -> Done<(Box<RawValue>, OwnedMutexGuard<()>)> {
    let unknown = || RpcFailure::forbidden("an agent starts arenas from a running turn only");
    let caller = caller(call).await?.ok_or_else(unknown)?;
    let asked: Map<String, Value> = params
        .map_or_else(|| Ok(Map::new()), |params| serde_json::from_str(params.get()))
        .map_err(|error| RpcFailure::invalid_params("", error.to_string()))?;
    let n_agents = asked.get("agents").and_then(Value::as_array).map_or(0, Vec::len);
    let narrowed = own_only(&caller, asked)?;
    let family = check_limits(call, &caller, n_agents).await?;
    let raw = to_raw_value(&narrowed).map_err(|error| RpcFailure::internal(error.to_string()))?;
    Ok((raw, family))
}

/// Of its own session, in its own name, and without a command that would run beside the agent's
/// own permissions.
fn own_only(caller: &Caller, mut asked: Map<String, Value>) -> Done<Map<String, Value>> {
    let own = &caller.task;
    let names = |key: &str, value: &str| asked.get(key).is_some_and(|named| named != value);
    if asked.get("repo").is_some_and(|repo| !repo.is_null()) || names("session", &own.session) {
        let failure = RpcFailure::forbidden("an agent starts arenas over its own session only");
        return Err(failure.hint(format!("session = \"{}\"", own.session)));
    }
    if names("parent", &own.id) {
        return Err(RpcFailure::forbidden("an agent starts arenas for its own task only"));
    }
    if asked.get("check").is_some_and(|check| !check.is_null()) {
        return Err(RpcFailure::forbidden("an agent may not have a check run"));
    }
    asked.remove("repo");
    asked.insert("session".to_owned(), Value::from(own.session.as_str()));
    asked.insert("parent".to_owned(), Value::from(own.id.as_str()));
    Ok(asked)
}

/// Refuses an arena whose tasks are not of the calling agent's own making.
pub(in crate::control) async fn check_own(call: &Call, arena: &RawValue) -> Done<()> {
    for task in entries(arena)? {
        let row = tasks::find(call, &task).await?;
        super::check_own(call, &row).await?;
    }
    Ok(())
}

/// The tasks of an arena as it is shown; one without tasks is nobody's.
fn entries(arena: &RawValue) -> Done<Vec<String>> {
    #[derive(Deserialize)]
    struct Arena {
        entries: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        task: String,
    }
    let not_own = || RpcFailure::forbidden("this arena is not of your making");
    let shown: Arena = serde_json::from_str(arena.get()).map_err(|_| not_own())?;
    if shown.entries.is_empty() {
        return Err(not_own());
    }
    Ok(shown.entries.into_iter().map(|entry| entry.task).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::control::delegation::tests::caller;
    use crate::control::error::Kind;

    fn narrowed(asked: Value) -> Done<Value> {
        let Value::Object(asked) = asked else { unreachable!("an object") };
        own_only(&caller(), asked).map(Value::Object)
    }

    #[test]
    fn an_agent_starts_arenas_over_its_own_session_and_nothing_else() {
        let expected = json!({"prompt": "x", "session": "s-1", "parent": "t-1"});
        for asked in [json!({"prompt": "x"}), json!({"prompt": "x", "session": "s-1", "repo": null})] {
            assert_eq!(narrowed(asked), Ok(expected.clone()));
        }
        for asked in [
            json!({"session": "s-2"}),
            json!({"session": 1}),
            json!({"repo": "/r"}),
            json!({"parent": "t-9"}),
            json!({"check": "rm -rf ."}),
        ] {
            let failure = narrowed(asked.clone()).expect_err("must be refused");
            assert_eq!(failure.kind(), Kind::Forbidden, "{asked}");
        }
    }

    #[test]
    fn an_arena_without_tasks_is_nobodys() {
        let read = |text: &str| entries(&RawValue::from_string(text.to_owned()).expect("JSON")).ok();
        assert_eq!(
            read(r#"{"entries": [{"task": "t-1"}, {"task": "t-2"}]}"#),
            Some(vec!["t-1".into(), "t-2".into()])
        );
        for text in ["{}", r#"{"entries": []}"#, r#"{"entries": [{"task": null}]}"#, "[]"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
