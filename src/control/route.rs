//! Decides where a prompt goes; looks nothing up and makes nothing.
//!
//! A task belongs to a chat. A client names the chat, or a session, or a directory of a
//! repository; for the latter two a chat is taken that is there, or a new one is to be made.

use std::path::{Path, PathBuf};

use super::error::RpcFailure;
use super::params::TaskSubmit;
use super::wire::{AgentRow, ChatRow, IdOr, SessionRow, WorktreeRow};
use crate::backend::known::{DEMO, KNOWN};

/// What the client named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// This very chat.
    Chat(String),
    /// A session; `fresh` wants a new chat in it.
    Session {
        /// The session.
        session: String,
        /// Not the newest chat but a new one.
        fresh: bool,
    },
    /// A directory in a repository; `fresh` wants a new session.
    Repo {
        /// The directory.
        directory: String,
        /// Not the newest session but a new one.
        fresh: bool,
    },
}

/// Where the task is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A chat that is there.
    Chat {
        /// The chat.
        chat: String,
        /// Its session.
        session: String,
    },
    /// A new chat in this session.
    NewChat {
        /// The session.
        session: String,
    },
    /// A new session with a new chat.
    NewSession,
}

/// Reads the target of a submit: exactly one of `chat`, `session` and `repo`.
pub(super) fn target(params: &TaskSubmit) -> Result<Target, RpcFailure> {
    match (&params.chat, &params.session, &params.repo) {
        (Some(_), None, None) if params.new => {
            Err(RpcFailure::invalid_params("new", "`new` makes a chat, and `chat` names one"))
        }
        (Some(chat), None, None) => Ok(Target::Chat(chat.clone())),
        (None, Some(session), None) => Ok(Target::Session { session: session.clone(), fresh: params.new }),
        (None, None, Some(repo)) => Ok(Target::Repo { directory: repo.clone(), fresh: params.new }),
        (None, None, None) => {
            Err(RpcFailure::invalid_params("chat", "one of `chat`, `session` and `repo` is needed"))
        }
        _ => Err(RpcFailure::invalid_params("chat", "only one of `chat`, `session` and `repo` can be given")),
    }
}

/// The place in a session that the client named.
pub(super) fn in_session(session: &SessionRow, fresh: bool) -> Result<Place, RpcFailure> {
    if session.state != "open" {
        let message = format!("session `{}` is closed", session.id);
        return Err(RpcFailure::conflict(message).hint(format!("hob session reopen {}", session.id)));
    }
    Ok(newest_chat(session, fresh))
}

/// The worktree that holds a directory, and the directory in it. Neither has symbolic links.
pub(super) fn inside<'a>(here: &Path, worktrees: &'a [WorktreeRow]) -> Option<(&'a WorktreeRow, PathBuf)> {
    let stands = |row: &&WorktreeRow| matches!(row.state.as_str(), "active" | "orphaned");
    let within = |row: &'a WorktreeRow| Some((row, here.strip_prefix(&row.path).ok()?.to_owned()));
    // Of one in another, the inner.
    worktrees.iter().filter(stands).filter_map(within).max_by_key(|(row, _)| row.path.len())
}

/// The place in a repository; `last` is its open session that was used last.
pub(super) fn in_repo(last: Option<&SessionRow>, fresh: bool) -> Place {
    match last {
        Some(session) if !fresh => newest_chat(session, false),
        _ => Place::NewSession,
    }
}

fn newest_chat(session: &SessionRow, fresh: bool) -> Place {
    // They are listed in the order in which they were made; their times are what a clock said.
    match session.chats.iter().filter_map(whole).rfind(|chat| chat.state == "open") {
        Some(chat) if !fresh => Place::Chat { chat: chat.id.clone(), session: session.id.clone() },
        _ => Place::NewChat { session: session.id.clone() },
    }
}

fn whole(chat: &IdOr<ChatRow>) -> Option<&ChatRow> {
    match chat {
        IdOr::Whole(chat) => Some(chat),
        IdOr::Id(_) => None,
    }
}

/// The agent of a task that names none: the configured default, else the first available. The built-in
/// one only plays an agent, so it answers where somebody wrote of it alone.
pub(super) fn default_agent(
    configured: Option<&str>,
    agents: &[AgentRow],
    has_built_in: bool,
) -> Option<String> {
    if let Some(name) = configured {
        return Some(name.to_owned());
    }
    let available = |name: &str| agents.iter().any(|agent| agent.available && agent.name == name);
    let mut names = KNOWN.iter().map(|agent| agent.name).filter(|name| *name != DEMO);
    let known = names.find(|name| available(name)).map(str::to_owned);
    let other = || agents.iter().find(|agent| agent.available && agent.name != DEMO);
    let built_in = || has_built_in.then(|| DEMO.to_owned());
    known.or_else(|| other().map(|agent| agent.name.clone())).or_else(built_in)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::wire::{Moment, UsageRow};

    fn chat(id: &str, state: &str, created_at: i64) -> IdOr<ChatRow> {
        IdOr::Whole(Box::new(ChatRow {
            id: id.into(),
            session: "s-1".into(),
            title: None,
            state: state.into(),
            created_at: Moment(created_at),
            held: false,
            agents: Vec::new(),
        }))
    }

    fn session(state: &str, chats: Vec<IdOr<ChatRow>>) -> SessionRow {
        SessionRow {
            id: "s-1".into(),
            repo: "/r".into(),
            title: None,
            base: None,
            state: state.into(),
            created_at: Moment(0),
            closed_at: None,
            worktree: None,
            chats,
            usage: UsageRow::default(),
        }
    }

    fn agent(name: &str, available: bool) -> AgentRow {
        AgentRow {
            name: name.into(),
            backend: "acp".into(),
            command: Vec::new(),
            available,
            version: None,
            detail: None,
        }
    }

    fn used(id: &str) -> Place {
        Place::Chat { chat: id.into(), session: "s-1".into() }
    }

    #[test]
    fn exactly_one_target_is_taken() {
        let submit = |chat: bool, session: bool, repo: bool, new: bool| {
            let some = |yes: bool| yes.then(|| "x".to_owned());
            target(&TaskSubmit {
                chat: some(chat),
                session: some(session),
                repo: some(repo),
                new,
                ..TaskSubmit::default()
            })
        };
        let x = || "x".to_owned();
        assert_eq!(submit(true, false, false, false), Ok(Target::Chat(x())));
        assert_eq!(submit(false, true, false, true), Ok(Target::Session { session: x(), fresh: true }));
        assert_eq!(submit(false, false, true, false), Ok(Target::Repo { directory: x(), fresh: false }));
        for (chat, session, repo, new) in [
            (false, false, false, false),
            (true, true, false, false),
            (false, true, true, false),
            (true, true, true, false),
            (true, false, false, true),
        ] {
            let failure = submit(chat, session, repo, new).expect_err("must be refused");
            assert!(failure.data.path.is_some());
        }
    }

    #[test]
    fn a_named_session_gives_its_newest_open_chat_or_a_new_one() {
        let new = Place::NewChat { session: "s-1".into() };
        let three = vec![chat("c-1", "open", 1), chat("c-3", "closed", 3), chat("c-2", "open", 2)];
        let cases = [
            ("newest open", three.clone(), false, used("c-2")),
            ("fresh", three, true, new.clone()),
            ("none", vec![], false, new.clone()),
            ("all closed", vec![chat("c-1", "closed", 1)], false, new),
            (
                "a clock that was set back",
                vec![chat("c-1", "open", 9), chat("c-2", "open", 1)],
                false,
                used("c-2"),
            ),
            ("same moment", vec![chat("c-1", "open", 1), chat("c-2", "open", 1)], false, used("c-2")),
        ];
        for (name, chats, fresh, place) in cases {
            assert_eq!(in_session(&session("open", chats), fresh), Ok(place), "{name}");
        }
        let failure = in_session(&session("closed", vec![]), false).expect_err("closed");
        assert_eq!(failure.data.hint.as_deref(), Some("hob session reopen s-1"));
    }

    #[test]
    fn a_repository_gives_its_newest_session_and_chat_or_new_ones() {
        let with = session("open", vec![chat("c-1", "open", 1)]);
        let without = session("open", vec![]);
        assert_eq!(in_repo(None, false), Place::NewSession);
        assert_eq!(in_repo(Some(&with), false), used("c-1"));
        assert_eq!(in_repo(Some(&with), true), Place::NewSession);
        assert_eq!(in_repo(Some(&without), false), Place::NewChat { session: "s-1".into() });
    }

    fn tree(id: &str, path: &str, state: &str) -> WorktreeRow {
        WorktreeRow {
            id: id.into(),
            session: Some("s-1".into()),
            repo: "/src".into(),
            path: path.into(),
            branch: String::new(),
            base_commit: String::new(),
            state: state.into(),
            created_at: Moment(0),
            last_write: None,
            size_bytes: None,
            salvage_ref: None,
            kept_because: Vec::new(),
        }
    }

    #[test]
    fn a_directory_is_in_the_innermost_worktree_that_stands_around_it() {
        let trees = [
            tree("w-1", "/state/w-1", "active"),
            tree("w-2", "/state/w-1/in/w-2", "orphaned"),
            tree("w-3", "/state/w-1/gone", "archived"),
        ];
        let of = |here: &str| inside(Path::new(here), &trees).map(|(row, dir)| (row.id.as_str(), dir));
        let at = |id, dir: &str| Some((id, PathBuf::from(dir)));
        assert_eq!(of("/state/w-1"), at("w-1", ""));
        assert_eq!(of("/state/w-1/deep/er"), at("w-1", "deep/er"));
        assert_eq!(of("/state/w-1/in/w-2/x"), at("w-2", "x"));
        assert_eq!(of("/state/w-1/gone/x"), at("w-1", "gone/x"));
        assert_eq!((of("/state/w-10"), of("/state"), of("/src")), (None, None, None));
    }

    #[test]
    fn without_a_name_the_configured_agent_is_taken_else_the_first_available() {
        let all = |goose, qwen, mine| {
            [agent("demo", true), agent("goose", goose), agent("mine", mine), agent("qwen", qwen)]
        };
        let cases = [
            (Some("nowhere"), all(true, true, true), false, Some("nowhere")),
            (None, all(true, true, true), true, Some("goose")),
            (None, all(false, true, true), false, Some("qwen")),
            (None, all(false, false, true), true, Some("mine")),
            (None, all(false, false, false), true, Some("demo")),
            (None, all(false, false, false), false, None),
            (Some("demo"), all(true, false, false), false, Some("demo")),
        ];
        for (configured, agents, has_built_in, chosen) in cases {
            assert_eq!(default_agent(configured, &agents, has_built_in).as_deref(), chosen);
        }
    }
}
