//! How the actors of the tree find one another while any of them may be restarted.
//!
//! Root publishes the present reference of each static actor; whoever sends looks it up at that
//! moment. A message to an actor that is just being restarted is lost on purpose: the new one
//! asks for everything it needs (ARCHITECTURE: "Pool, Dispatcher and Health hold references").

use std::time::Duration;

use ractor::rpc::CallResult;
use ractor::{ActorRef, Message, RpcReplyPort};
use tokio::sync::watch;

use crate::dispatch::actor::DispatchMsg;
use crate::health::messages::HealthMsg;
use crate::pool::actor::PoolMsg;
use crate::reaper::messages::ReaperMsg;
use crate::sessions::SessionsMsg;

/// How long one actor waits for the answer of another that has nothing slow to do.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the static actors are now.
#[derive(Clone)]
pub struct Links {
    /// The supervisor of the session actors.
    pub sessions: watch::Receiver<Option<ActorRef<SessionsMsg>>>,
    /// The pool.
    pub pool: watch::Receiver<Option<ActorRef<PoolMsg>>>,
    /// The health actor.
    pub health: watch::Receiver<Option<ActorRef<HealthMsg>>>,
    /// The reaper.
    pub reaper: watch::Receiver<Option<ActorRef<ReaperMsg>>>,
    /// The dispatcher.
    pub dispatcher: watch::Receiver<Option<ActorRef<DispatchMsg>>>,
}

#[cfg(test)]
impl Links {
    /// Nobody is there.
    pub(crate) fn to_nobody() -> Self {
        fn nobody<M>() -> watch::Receiver<Option<ActorRef<M>>> {
            watch::channel(None).1
        }
        Self { sessions: nobody(), pool: nobody(), health: nobody(), reaper: nobody(), dispatcher: nobody() }
    }
}

/// The tree could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The actor is being restarted, or the daemon is stopping.
    #[error("the {0} is not there just now")]
    Absent(&'static str),
    /// It did not answer in time.
    #[error("the {0} did not answer in time")]
    Silent(&'static str),
}

/// Tells an actor something; lost if it is being restarted.
pub fn tell<M: Message>(link: &watch::Receiver<Option<ActorRef<M>>>, message: M) {
    if let Some(actor) = link.borrow().as_ref() {
        // A stopped actor has nobody to tell; its successor asks.
        actor.cast(message).ok();
    }
}

/// Asks a linked actor.
pub async fn ask<M: Message, T: Send + 'static>(
    who: &'static str,
    link: &watch::Receiver<Option<ActorRef<M>>>,
    message: impl FnOnce(RpcReplyPort<T>) -> M,
) -> Result<T, TreeError> {
    let actor = link.borrow().clone().ok_or(TreeError::Absent(who))?;
    ask_actor(who, &actor, message, CALL_TIMEOUT).await
}

/// Asks an actor.
pub async fn ask_actor<M: Message, T: Send + 'static>(
    who: &'static str,
    actor: &ActorRef<M>,
    message: impl FnOnce(RpcReplyPort<T>) -> M,
    limit: Duration,
) -> Result<T, TreeError> {
    match actor.call(message, Some(limit)).await {
        Ok(CallResult::Success(answer)) => Ok(answer),
        Ok(CallResult::Timeout) => Err(TreeError::Silent(who)),
        Ok(CallResult::SenderError) | Err(_) => Err(TreeError::Absent(who)),
    }
}

/// Asks a linked actor, and takes a place in its line now, not when the answer is first awaited.
pub fn request<M: Message, T: Send + 'static>(
    who: &'static str,
    link: &watch::Receiver<Option<ActorRef<M>>>,
    message: impl FnOnce(RpcReplyPort<T>) -> M,
) -> impl Future<Output = Result<T, TreeError>> + Send + 'static {
    let (reply, answer) = ractor::concurrency::oneshot();
    let actor = link.borrow().clone();
    let sent = actor.is_some_and(|actor| actor.cast(message(RpcReplyPort::from(reply))).is_ok());
    async move {
        if !sent {
            return Err(TreeError::Absent(who));
        }
        match tokio::time::timeout(CALL_TIMEOUT, answer).await {
            Ok(answer) => answer.map_err(|_| TreeError::Absent(who)),
            Err(_) => Err(TreeError::Silent(who)),
        }
    }
}
