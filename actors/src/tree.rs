//! The door to the tree: what the daemon and the control socket may ask of it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ractor::{ActorRef, ActorRuntime, SpawnErr};
use tokio::sync::watch;

use crate::dispatch::actor::DispatchMsg;
use crate::dispatch::loans::{Loan, LoanId};
use crate::dispatch::queue::Word;
use crate::health::messages::HealthMsg;
use crate::id::{AgentKey, ChatId, TaskId};
use crate::links::{CALL_TIMEOUT, Links, ask, ask_actor, tell};
use crate::pool::actor::PoolMsg;
use crate::pool::policy::Claim;
use crate::ports::{PortError, Ports, TaskCard};
use crate::reaper::messages::ReaperMsg;
use crate::root::{Root, RootArgs, RootMsg};
use crate::session::actor::{EvictRequest, SessionMsg, Wish};
use crate::session::choice::CHOOSE_TIME_MAX;

pub use crate::health::messages::{EndCause, HealthView, LastEnd, LastFailure};
pub use crate::links::TreeError;
pub use crate::pool::actor::LiveView;
pub use crate::pool::policy::Refusal;
pub use crate::reaper::messages::{Action, ByHand, Reaped};
pub use crate::session::actor::{Answered, PermissionReply, Remember, Unwilling};
pub use crate::session::choice::{Chosen, Unchanged};

/// How long every agent session together may take to be let go.
const LET_GO_TIMEOUT: Duration = Duration::from_secs(90);

/// Why a backend was not started again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRestarted {
    /// The pool has no place for it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It is busy, or did not come up.
    #[error(transparent)]
    Unwilling(#[from] Unwilling),
}

/// A running tree.
pub struct Tree {
    root: ActorRef<RootMsg>,
    handle: Handle,
    ended: watch::Receiver<bool>,
}

/// Starts the tree over `ports`.
pub async fn start(ports: Ports) -> Result<Tree, SpawnErr> {
    let (args, links) = RootArgs::new(ports);
    let (root, joined) = ActorRuntime::spawn(None, Root, args).await?;
    let (tell_ended, ended) = watch::channel(false);
    tokio::spawn(async move {
        // Its own failure is what `failed` reports.
        joined.await.ok();
        tell_ended.send_replace(true);
    });
    Ok(Tree { root, handle: Handle { links, n_loans: Arc::default() }, ended })
}

impl Tree {
    /// The door.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Resolves when the tree has ended, in order or by failing too often.
    pub async fn ended(&self) {
        // The sender lives as long as the tree; its loss says the same.
        self.ended.clone().wait_for(|ended| *ended).await.ok();
    }

    /// Starts no task any more; resolves when nothing is in flight, or at the limit.
    pub async fn drain(&self, limit: Duration) {
        const LOOK_AGAIN: Duration = Duration::from_millis(50);
        ask("dispatcher", &self.handle.links.dispatcher, DispatchMsg::Quiesce).await.ok();
        let drained = async {
            while ask("dispatcher", &self.handle.links.dispatcher, DispatchMsg::InFlight)
                .await
                .is_ok_and(|n| n > 0)
            {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(limit, drained).await.ok();
    }

    /// Lets every agent go and ends the tree, in reverse order of its start.
    pub async fn stop(&self, now: bool) {
        ask("dispatcher", &self.handle.links.dispatcher, DispatchMsg::Quiesce).await.ok();
        let pool = self.handle.links.pool.borrow().clone();
        if let Some(pool) = pool {
            ask_actor("pool", &pool, |reply| PoolMsg::StopAll(now, reply), LET_GO_TIMEOUT).await.ok();
        }
        ask_actor("root", &self.root, RootMsg::Stop, LET_GO_TIMEOUT).await.ok();
        self.ended().await;
    }
}

/// The door to a running tree. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    links: Links,
    n_loans: Arc<AtomicU64>,
}

/// A dispatch slot that the turn of one task lends to another; dropped, it is given back.
pub struct LentSlot {
    dispatcher: watch::Receiver<Option<ActorRef<DispatchMsg>>>,
    id: LoanId,
    loan: Loan,
}

impl LentSlot {
    /// Lends the slot, and again to every dispatcher that comes after this one. Never resolves.
    pub async fn keep(&mut self) -> Infallible {
        loop {
            self.dispatcher.mark_unchanged();
            tell(&self.dispatcher, DispatchMsg::Lend(self.id, self.loan.clone()));
            if self.dispatcher.changed().await.is_err() {
                return pending().await;
            }
        }
    }
}

impl Drop for LentSlot {
    fn drop(&mut self) {
        tell(&self.dispatcher, DispatchMsg::GiveBack(self.id));
    }
}

impl Handle {
    /// Where the static actors are, for tests that end one.
    #[cfg(feature = "fake")]
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// Whether a task for `key` may be accepted; with `no_wait`, only if it need not wait.
    pub async fn admit(&self, key: AgentKey, no_wait: bool) -> Result<Result<(), Refusal>, TreeError> {
        ask("pool", &self.links.pool, |reply| PoolMsg::Admit { key, no_wait, reply }).await
    }

    /// Lets a backend go, also a busy one with `force`; resolves when it is gone. Where there is
    /// none, nothing happens.
    pub async fn evict(&self, key: AgentKey, force: bool) -> Result<Result<(), Unwilling>, TreeError> {
        let Some(actor) = self.find(key).await? else { return Ok(Ok(())) };
        let (gone, is_gone) = ractor::concurrency::oneshot();
        let evict = |judged| {
            let why = "evicted by hand".to_owned();
            SessionMsg::Wish(Wish::Evict(EvictRequest { force, why, judged, gone: Some(gone.into()) }))
        };
        let judged = ask_actor("session", &actor, evict, CALL_TIMEOUT).await?;
        if judged.is_ok() {
            // An error means that its actor has ended, and its backend with it.
            tokio::time::timeout(LET_GO_TIMEOUT, is_gone).await.ok();
        }
        Ok(judged)
    }

    /// Starts a backend again, or for the first time; a busy one only with `force`. Closes an open
    /// circuit. Resolves when it is up, or is not.
    pub async fn restart(
        &self,
        key: AgentKey,
        force: bool,
        limit: Duration,
    ) -> Result<Result<(), NotRestarted>, TreeError> {
        let acquire = |reply| PoolMsg::Acquire { key, claim: Claim::default(), reply };
        let handed = match ask("pool", &self.links.pool, acquire).await? {
            Ok(handed) => handed,
            Err(refusal) => return Ok(Err(NotRestarted::Refused(refusal))),
        };
        let restart = |reply| SessionMsg::Wish(Wish::Restart(force, reply));
        let restarted = ask_actor("session", handed.actor(), restart, limit).await?;
        Ok(restarted.map_err(NotRestarted::Unwilling))
    }

    /// Another mode or model for an agent session: in place where it runs and can. `None` if nobody
    /// drives it, so that it need only be remembered.
    pub async fn choose(
        &self,
        key: AgentKey,
        choice: Chosen,
    ) -> Result<Option<Result<(), Unchanged>>, TreeError> {
        let Some(actor) = self.find(key).await? else { return Ok(None) };
        let choose = |reply| SessionMsg::Choose(choice, reply);
        ask_actor("session", &actor, choose, CHOOSE_TIME_MAX + CALL_TIMEOUT).await.map(Some)
    }

    /// The configuration has changed: what waited under the old one is tried again.
    pub fn configured(&self) {
        tell(&self.links.dispatcher, DispatchMsg::Configured);
        tell(&self.links.pool, PoolMsg::Configured);
    }

    /// A person uses an agent session: it goes last now.
    pub fn touch(&self, key: AgentKey) {
        tell(&self.links.pool, PoolMsg::Touch(key));
    }

    async fn find(&self, key: AgentKey) -> Result<Option<ActorRef<SessionMsg>>, TreeError> {
        ask("pool", &self.links.pool, |reply| PoolMsg::Find(key, reply)).await
    }

    /// A durable task has come. Lost if the dispatcher is being restarted: it reads the store then.
    pub fn submitted(&self, card: TaskCard) {
        tell(&self.links.dispatcher, DispatchMsg::Submitted(card));
    }

    /// Cancels a task in whatever state it is. Resolves when that has begun.
    pub async fn cancel(&self, task: TaskId) -> Result<(), TreeError> {
        ask("dispatcher", &self.links.dispatcher, |reply| DispatchMsg::Cancel(task, reply)).await
    }

    /// The slot of the turn of `waiter`, which waits for `child`: nothing is lent until
    /// [`LentSlot::keep`] is awaited.
    pub fn lend(&self, waiter: TaskId, child: TaskId) -> LentSlot {
        let id = LoanId(self.n_loans.fetch_add(1, Ordering::Relaxed));
        LentSlot { dispatcher: self.links.dispatcher.clone(), id, loan: Loan { waiter, child } }
    }

    /// The chat was held, or released, in the store.
    pub fn held(&self, chat: ChatId, word: Word) {
        tell(&self.links.dispatcher, DispatchMsg::Held(chat, word));
    }

    /// Lets every agent session of a chat go; resolves when their backends are gone.
    pub async fn close_chat(&self, chat: ChatId) -> Result<(), TreeError> {
        let pool = self.links.pool.borrow().clone().ok_or(TreeError::Absent("pool"))?;
        let closed = chat.clone();
        ask_actor("pool", &pool, |reply| PoolMsg::CloseChat(closed, reply), LET_GO_TIMEOUT).await?;
        tell(&self.links.health, HealthMsg::Forget(chat));
        Ok(())
    }

    /// Answers a question of an agent. The first answer wins.
    pub async fn answer_permission(
        &self,
        key: AgentKey,
        answer: PermissionReply,
    ) -> Result<Answered, TreeError> {
        self.touch(key.clone());
        match self.find(key).await? {
            Some(actor) => {
                ask_actor("session", &actor, |reply| SessionMsg::Answer(answer, reply), CALL_TIMEOUT).await
            }
            None => Ok(Answered::Late),
        }
    }

    /// The last connection that answers permissions has left the chat.
    pub fn audience_left(&self, chat: ChatId) {
        tell(&self.links.pool, PoolMsg::AudienceLeft(chat));
    }

    /// Every agent session with an actor, the least recently used first.
    pub async fn live(&self) -> Result<Vec<LiveView>, TreeError> {
        ask("pool", &self.links.pool, PoolMsg::Live).await
    }

    /// How every server process is, and what went wrong with those before it.
    pub async fn health(&self) -> Result<Vec<HealthView>, TreeError> {
        ask("health actor", &self.links.health, HealthMsg::List).await
    }

    /// Makes a pass of the reaper now; `limit` bounds the wait for it, not the pass.
    /// The inner error says why there could be none.
    pub async fn reap(
        &self,
        wish: ByHand,
        limit: Duration,
    ) -> Result<Result<Vec<Reaped>, PortError>, TreeError> {
        let reaper = self.links.reaper.borrow().clone().ok_or(TreeError::Absent("reaper"))?;
        ask_actor("reaper", &reaper, |reply| ReaperMsg::Reap(wish, reply), limit).await
    }

    /// What each queued task waits for.
    pub async fn waiting(&self) -> Result<BTreeMap<TaskId, (AgentKey, &'static str)>, TreeError> {
        ask("dispatcher", &self.links.dispatcher, DispatchMsg::Waiting).await
    }
}
