//! Who is at the other end: the owner of the daemon, root, one of our agents, or nobody we know.
//!
//! **Invariant:** what cannot be told is judged as the lesser standing.

use std::io;

use tokio::net::UnixStream;

use super::error::RpcFailure;
use crate::backend::process::mark::{self, Mark};

/// Root may talk to every daemon: it could do worse without asking.
const ROOT: u32 = 0;

/// What a peer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Everything.
    Full,
    /// It is a process of an agent.
    Agent(AgentPeer),
}

/// A process of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AgentPeer {
    /// Says whose, if it is whole.
    pub mark: Option<Mark>,
    /// The process itself.
    pub pid: Option<u32>,
}

/// What the system says of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Facts {
    uid: u32,
    own_uid: u32,
    /// `None`: it is outside our pid namespace, where no agent of ours can be.
    pid: Option<u32>,
    /// Whether it is a process of an agent; `None` if that could not be read.
    is_agent: Option<bool>,
}

/// Finds out what the peer of a connection may do.
pub(super) fn check(stream: &UnixStream) -> Result<Standing, RpcFailure> {
    let peer = stream.peer_cred().map_err(|error| unknown(&error))?;
    let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0);
    let facts = Facts {
        uid: peer.uid(),
        own_uid: nix::unistd::geteuid().as_raw(),
        pid,
        is_agent: pid.and_then(|pid| mark::is_agent_peer(pid).ok()),
    };
    if !judge(facts)? {
        return Ok(Standing::Full);
    }
    Ok(Standing::Agent(AgentPeer { mark: pid.and_then(mark::read), pid }))
}

/// Whether the peer has the standing of an agent.
fn judge(facts: Facts) -> Result<bool, RpcFailure> {
    if facts.uid != facts.own_uid && facts.uid != ROOT {
        let message = format!("user {} may not talk to the daemon of user {}", facts.uid, facts.own_uid);
        return Err(RpcFailure::forbidden(message));
    }
    match (facts.pid, facts.is_agent) {
        (None, _) => Ok(false),
        (Some(_), Some(is_agent)) => Ok(is_agent),
        // A process of another user cannot be read, and root has no need to be an agent. One of
        // our own that cannot be read has ended: it may have left its connection to an agent.
        (Some(_), None) => Ok(facts.uid == facts.own_uid),
    }
}

fn unknown(error: &io::Error) -> RpcFailure {
    RpcFailure::forbidden(format!("the peer is unknown: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_and_root_are_heard_and_agents_are_told_apart() {
        let owner = 1000;
        let cases = [
            ("owner", owner, Some(7), Some(false), Some(false)),
            ("an agent", owner, Some(7), Some(true), Some(true)),
            ("owner, ended meanwhile", owner, Some(7), None, Some(true)),
            ("owner, outside our namespace", owner, None, None, Some(false)),
            ("root", 0, Some(7), None, Some(false)),
            ("root, run by an agent", 0, Some(7), Some(true), Some(true)),
            ("somebody else", 1001, Some(7), Some(false), None),
            ("somebody else, outside our namespace", 1001, None, None, None),
        ];
        for (name, uid, pid, is_agent, expected) in cases {
            let judged = judge(Facts { uid, own_uid: owner, pid, is_agent });
            assert_eq!(judged.ok(), expected, "{name}");
        }
    }

    #[tokio::test]
    async fn this_very_process_has_full_standing() {
        let (ours, _theirs) = UnixStream::pair().expect("a pair");
        assert_eq!(check(&ours), Ok(Standing::Full));
    }
}
