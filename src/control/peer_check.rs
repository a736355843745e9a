//! Who is at the other end: the owner of the daemon, root, one of our agents, or nobody we know.
//!
//! **Invariant:** what cannot be told is judged as the lesser standing.

use std::io;
use std::os::fd::AsFd as _;

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt};
use tokio::net::UnixStream;

use super::error::RpcFailure;
use crate::backend::process::{Kin, Kinship};
use crate::sys;

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
    /// The start that it belongs to, if it stands below a keeper of ours.
    pub attempt: Option<u32>,
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
    /// Whose it is; says nothing without a pid.
    kinship: Kinship,
}

/// Finds out what the peer of a connection may do.
pub(super) fn check(stream: &UnixStream, kin: &Kin) -> Result<Standing, RpcFailure> {
    let peer = stream.peer_cred().map_err(|error| unknown(&error))?;
    let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0);
    let kinship = pid.map_or(Kinship::Unclear, |pid| kin.of(pid));
    // Asked last: what was read of a number that was still the peer's was read of the peer.
    let kinship = if pid.is_some() && has_ended(stream) { worse(kinship) } else { kinship };
    let facts = Facts { uid: peer.uid(), own_uid: nix::unistd::geteuid().as_raw(), pid, kinship };
    judge(facts)
}

/// Whether the peer has ended and its number is free for others. Kernels before 6.5 do not tell.
fn has_ended(stream: &UnixStream) -> bool {
    match getsockopt(stream, sockopt::PeerPidfd) {
        Ok(process) => !sys::pidfd_has_its_number(process.as_fd()),
        Err(error) => matches!(error, Errno::ESRCH | Errno::EINVAL),
    }
}

/// What is left to believe of a peer whose number is another's by now.
fn worse(kinship: Kinship) -> Kinship {
    match kinship {
        Kinship::Stranger | Kinship::Unclear => Kinship::Unclear,
        Kinship::Agent { .. } => Kinship::Agent { attempt: None },
    }
}

fn judge(facts: Facts) -> Result<Standing, RpcFailure> {
    let Facts { uid, own_uid, pid, kinship } = facts;
    if uid != own_uid && uid != ROOT {
        let message = format!("user {uid} may not talk to the daemon of user {own_uid}");
        return Err(RpcFailure::forbidden(message));
    }
    Ok(match (pid, kinship) {
        (None, _) | (Some(_), Kinship::Stranger) => Standing::Full,
        (Some(_), Kinship::Agent { attempt }) => Standing::Agent(AgentPeer { attempt, pid }),
        // A process of another user cannot be read, and root has no need to be an agent. One of
        // our own that cannot be read has ended: it may have left its connection to an agent.
        (Some(_), Kinship::Unclear) if uid == own_uid => Standing::Agent(AgentPeer { attempt: None, pid }),
        (Some(_), Kinship::Unclear) => Standing::Full,
    })
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
        let (person, gone) = (Kinship::Stranger, Kinship::Unclear);
        let agent = Kinship::Agent { attempt: Some(3) };
        let stray = Kinship::Agent { attempt: None };
        let cases = [
            ("owner", owner, Some(7), person, Some(None)),
            ("an agent", owner, Some(7), agent, Some(Some(Some(3)))),
            ("an agent without a keeper", owner, Some(7), stray, Some(Some(None))),
            ("owner, ended meanwhile", owner, Some(7), gone, Some(Some(None))),
            ("owner, outside our namespace", owner, None, gone, Some(None)),
            ("root", 0, Some(7), gone, Some(None)),
            ("root, run by an agent", 0, Some(7), agent, Some(Some(Some(3)))),
            ("somebody else", 1001, Some(7), person, None),
            ("somebody else, outside our namespace", 1001, None, gone, None),
        ];
        for (name, uid, pid, kinship, expected) in cases {
            let judged = judge(Facts { uid, own_uid: owner, pid, kinship }).ok();
            let attempt = judged.map(|standing| match standing {
                Standing::Full => None,
                Standing::Agent(peer) => Some(peer.attempt),
            });
            assert_eq!(attempt, expected, "{name}");
        }
    }

    #[test]
    fn what_was_read_of_a_number_that_is_free_again_lets_nobody_in() {
        assert_eq!(worse(Kinship::Stranger), Kinship::Unclear);
        assert_eq!(worse(Kinship::Agent { attempt: Some(3) }), Kinship::Agent { attempt: None });
    }

    #[tokio::test]
    async fn this_very_process_has_full_standing() {
        let (ours, _theirs) = UnixStream::pair().expect("a pair");
        let kin = Kin::remember().expect("is readable");
        assert_eq!(check(&ours, &kin), Ok(Standing::Full));
    }
}
