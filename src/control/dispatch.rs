//! The table of methods, and what a request goes through before its handler is called.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::admission::{Service, all_taken};
use super::error::{Kind, RpcFailure, shorten};
use super::handlers::{
    Call, agents, arena, changes, chats, daemon, events, health, meant, offers, permissions, pool, sessions,
    submit, tasks, worktrees,
};
use super::params::read;
use super::peer_check::Standing;

/// What an agent may ask for; its handlers narrow it further, to what is the agent's own.
const AGENT_METHODS: [&str; 12] = [
    "daemon/hello",
    "agent/list",
    "task/submit",
    "task/show",
    "task/wait",
    "task/cancel",
    "events/subscribe",
    "session/list",
    "arena/start",
    "arena/show",
    "arena/list",
    "arena/adopt",
];
/// What the owner may still ask for when all places are taken: to look, and to stop the daemon.
const STOP_METHODS: [&str; 3] = ["daemon/hello", "daemon/status", "daemon/shutdown"];
/// An unknown method is taken for a mistyped one when at least this much of it is right.
const LIKENESS_MIN: f64 = 0.7;

/// Declares every method with its handler.
macro_rules! methods {
    ($($name:literal => $handler:path,)*) => {
        /// Every method.
        pub(super) const METHODS: &[&str] = &[$($name),*];

        async fn run(call: &Call, method: &str, params: Option<&RawValue>) -> Result<Box<RawValue>, RpcFailure> {
            match method {
                $($name => answer(&$handler(call, read(params)?).await?),)*
                _ => Err(unknown(method)),
            }
        }
    };
}

methods! {
    "daemon/hello" => daemon::hello,
    "daemon/status" => daemon::status,
    "daemon/reload" => daemon::reload,
    "daemon/shutdown" => daemon::shutdown,
    "id/find" => daemon::find_id,
    "agent/list" => agents::list,
    "agent/check" => agents::check,
    "session/create" => sessions::create,
    "session/list" => sessions::list,
    "session/show" => sessions::show,
    "session/resolve" => meant::resolve,
    "session/close" => sessions::close,
    "session/reopen" => sessions::reopen,
    "session/delete" => sessions::delete,
    "chat/create" => chats::create,
    "chat/list" => chats::list,
    "chat/show" => chats::show,
    "chat/close" => chats::close,
    "chat/offers" => offers::offers,
    "chat/choose" => offers::choose,
    "task/submit" => submit::submit,
    "task/list" => tasks::list,
    "task/show" => tasks::show,
    "task/wait" => tasks::wait,
    "task/cancel" => tasks::cancel,
    "task/retry" => submit::retry,
    "task/hold" => tasks::hold,
    "task/release" => tasks::release,
    "pool/list" => pool::list,
    "health/list" => health::list,
    "pool/evict" => pool::evict,
    "pool/restart" => pool::restart,
    "pool/pin" => pool::pin,
    "pool/unpin" => pool::unpin,
    "events/subscribe" => events::subscribe,
    "events/unsubscribe" => events::unsubscribe,
    "events/list" => events::list,
    "change/list" => changes::list,
    "change/diff" => changes::diff,
    "change/apply" => changes::apply,
    "change/discard" => changes::discard,
    "change/undo" => changes::undo,
    "worktree/list" => worktrees::list,
    "worktree/risk" => worktrees::risk,
    "worktree/reap" => worktrees::reap,
    "worktree/restore" => worktrees::restore,
    "worktree/stash" => changes::stash,
    "worktree/unstash" => changes::unstash,
    "permission/list" => permissions::list,
    "permission/answer" => permissions::answer,
    "permission/remembered" => permissions::remembered,
    "permission/forget" => permissions::forget,
    "arena/start" => arena::start::start,
    "arena/show" => arena::show,
    "arena/list" => arena::list,
    "arena/adopt" => arena::adopt,
}

/// Whether a method may take as long as somebody's work does.
pub(super) fn is_wait(method: &str) -> bool {
    matches!(method, "task/wait" | "worktree/reap")
}

/// Does what a request asks for.
pub(super) async fn dispatch(
    call: &Call,
    method: &str,
    params: Option<&RawValue>,
) -> Result<Box<RawValue>, RpcFailure> {
    if !METHODS.contains(&method) {
        return Err(unknown(method));
    }
    if call.standing() != Standing::Full && !AGENT_METHODS.contains(&method) {
        return Err(RpcFailure::forbidden(format!("an agent may not call {method}")));
    }
    if call.connection.service == Service::StopOnly && !STOP_METHODS.contains(&method) {
        return Err(all_taken(call.services().config.current().control.max_clients));
    }
    run(call, method, params).await
}

fn answer(result: &impl Serialize) -> Result<Box<RawValue>, RpcFailure> {
    to_raw_value(result)
        .map_err(|error| RpcFailure::internal(format!("the answer cannot be written: {error}")))
}

fn unknown(method: &str) -> RpcFailure {
    let failure = RpcFailure::new(Kind::UnknownMethod, format!("unknown method `{}`", shorten(method)));
    failure.maybe_hint(nearest(method).map(|known| format!("did you mean {known}?")))
}

/// The method that was probably meant.
fn nearest(method: &str) -> Option<&'static str> {
    let method = shorten(method);
    let likeness = |known: &str| strsim::normalized_damerau_levenshtein(&method, known);
    let best = METHODS.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) >= LIKENESS_MIN).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_method_is_answered_with_the_nearest_and_nonsense_is_not() {
        let cases = [
            ("task/sumbit", Some("task/submit")),
            ("tasks/submit", Some("task/submit")),
            ("session.create", Some("session/create")),
            ("hello", None),
            ("", None),
            ("xyzzy/plugh", None),
        ];
        for (typed, meant) in cases {
            assert_eq!(nearest(typed), meant, "{typed}");
        }
        assert_eq!(nearest(&"a".repeat(1 << 20)), None);
    }

    #[test]
    fn every_method_that_an_agent_or_a_late_owner_may_call_exists() {
        for method in AGENT_METHODS.into_iter().chain(STOP_METHODS) {
            assert!(METHODS.contains(&method), "{method}");
        }
    }
}
