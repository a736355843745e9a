//! The door to the tree: what the daemon and the control socket may ask of it.

use std::collections::BTreeMap;
use std::time::Duration;

use ractor::{ActorRef, ActorRuntime, SpawnErr};
use tokio::sync::watch;

use crate::dispatch::actor::DispatchMsg;
use crate::health::messages::HealthMsg;
use crate::id::{AgentKey, ChatId, TaskId};
use crate::links::{Links, ask, ask_actor, tell};
use crate::pool::actor::PoolMsg;
use crate::ports::{Ports, TaskCard};
use crate::root::{Root, RootArgs, RootMsg};
use crate::session::actor::SessionMsg;

pub use crate::health::messages::{EndCause, HealthView, LastEnd, LastFailure};
pub use crate::links::TreeError;
pub use crate::pool::actor::LiveView;
pub use crate::pool::policy::Refusal;
pub use crate::session::actor::{Answered, PermissionReply, Remember};

/// How long every agent session together may take to be let go.
const LET_GO_TIMEOUT: Duration = Duration::from_secs(90);

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
    Ok(Tree { root, handle: Handle { links }, ended })
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
}

impl Handle {
    /// Whether a backend for `key` could be started. If so, a place is promised to it.
    pub async fn admit(&self, key: AgentKey) -> Result<Result<(), Refusal>, TreeError> {
        ask("pool", &self.links.pool, |reply| PoolMsg::Admit(key, reply)).await
    }

    /// A durable task has come. Lost if the dispatcher is being restarted: it reads the store then.
    pub fn submitted(&self, card: TaskCard) {
        tell(&self.links.dispatcher, DispatchMsg::Submitted(card));
    }

    /// Cancels a task in whatever state it is. Resolves when that has begun.
    pub async fn cancel(&self, task: TaskId) -> Result<(), TreeError> {
        ask("dispatcher", &self.links.dispatcher, |reply| DispatchMsg::Cancel(task, reply)).await
    }

    /// The chat was held, or released, in the store.
    pub fn held(&self, chat: ChatId, held: bool) {
        tell(&self.links.dispatcher, DispatchMsg::Held(chat, held));
    }

    /// Lets every agent session of a chat go; resolves when their backends are gone.
    pub async fn close_chat(&self, chat: ChatId) -> Result<(), TreeError> {
        let pool = self.links.pool.borrow().clone().ok_or(TreeError::Absent("pool"))?;
        ask_actor("pool", &pool, |reply| PoolMsg::CloseChat(chat, reply), LET_GO_TIMEOUT).await
    }

    /// Answers a question of an agent. The first answer wins.
    pub async fn answer_permission(
        &self,
        key: AgentKey,
        answer: PermissionReply,
    ) -> Result<Answered, TreeError> {
        let actor = ask("pool", &self.links.pool, |reply| PoolMsg::Find(key, reply)).await?;
        match actor {
            Some(actor) => {
                ask_actor(
                    "session",
                    &actor,
                    |reply| SessionMsg::Answer(answer, reply),
                    crate::links::CALL_TIMEOUT,
                )
                .await
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

    /// What each queued task waits for.
    pub async fn waiting(&self) -> Result<BTreeMap<TaskId, (AgentKey, &'static str)>, TreeError> {
        ask("dispatcher", &self.links.dispatcher, DispatchMsg::Waiting).await
    }
}
