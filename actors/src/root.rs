//! The static tree, in start order; it stops in reverse.
//!
//! ```text
//! Root ─┬─ Sessions ── Session (chat, agent) …
//!       ├─ Pool
//!       ├─ Health
//!       ├─ Reaper
//!       └─ Dispatcher
//! ```
//!
//! A static child that dies is started again within a budget; past it Root fails, and with it the
//! daemon: a half-dead supervisor is worse than a restart.

use std::time::Duration;

use ractor::{
    Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, ActorRuntime, RpcReplyPort, SupervisionEvent,
};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::dispatch::actor::{DispatchMsg, Dispatcher};
use crate::health::actor::HealthActor;
use crate::health::messages::HealthMsg;
use crate::links::{Links, tell};
use crate::pool::actor::{Pool, PoolMsg};
use crate::ports::Ports;
use crate::reaper::actor::Reaper;
use crate::reaper::messages::ReaperMsg;
use crate::restart::RestartBudget;
use crate::sessions::{Sessions, SessionsMsg};

/// Restarts of one static child within [`PERIOD`].
const RESTARTS_MAX: usize = 5;
/// The sliding period of [`RESTARTS_MAX`].
const PERIOD: Duration = Duration::from_secs(60);

/// Supervises the static tree.
pub struct Root;

/// What Root is told.
pub enum RootMsg {
    /// End the tree; answered when it has ended.
    Stop(RpcReplyPort<()>),
}

/// One static child: how it is published, and how often it may be started again.
struct Child<M> {
    link: watch::Sender<Option<ActorRef<M>>>,
    budget: RestartBudget,
}

/// The memory of Root.
pub struct Tree {
    ports: Ports,
    links: Links,
    sessions: Child<SessionsMsg>,
    pool: Child<PoolMsg>,
    health: Child<HealthMsg>,
    reaper: Child<ReaperMsg>,
    dispatcher: Child<DispatchMsg>,
    stopping: bool,
}

/// What Root is started with.
pub struct RootArgs {
    ports: Ports,
    links: Links,
    sessions: watch::Sender<Option<ActorRef<SessionsMsg>>>,
    pool: watch::Sender<Option<ActorRef<PoolMsg>>>,
    health: watch::Sender<Option<ActorRef<HealthMsg>>>,
    reaper: watch::Sender<Option<ActorRef<ReaperMsg>>>,
    dispatcher: watch::Sender<Option<ActorRef<DispatchMsg>>>,
}

impl RootArgs {
    /// A tree over `ports`, and the links to its actors.
    pub fn new(ports: Ports) -> (Self, Links) {
        let (sessions, sessions_link) = watch::channel(None);
        let (pool, pool_link) = watch::channel(None);
        let (health, health_link) = watch::channel(None);
        let (reaper, reaper_link) = watch::channel(None);
        let (dispatcher, dispatcher_link) = watch::channel(None);
        let links = Links {
            sessions: sessions_link,
            pool: pool_link,
            health: health_link,
            reaper: reaper_link,
            dispatcher: dispatcher_link,
        };
        (Self { ports, links: links.clone(), sessions, pool, health, reaper, dispatcher }, links)
    }
}

impl<M: ractor::Message> Child<M> {
    fn new(link: watch::Sender<Option<ActorRef<M>>>) -> Self {
        Self { link, budget: RestartBudget::new(RESTARTS_MAX, PERIOD) }
    }

    fn is(&self, id: ActorId) -> bool {
        self.link.borrow().as_ref().is_some_and(|actor| actor.get_id() == id)
    }

    async fn stop(&self) {
        let child = self.link.send_replace(None);
        if let Some(child) = child {
            // Nothing is left to do for a static child: what matters was let go before.
            if child.stop_and_wait(Some("the daemon is stopping".into()), Some(STOP_GRACE)).await.is_err() {
                child.kill();
            }
        }
    }
}

/// How long a static child may take for the message that it is handling when it is stopped.
const STOP_GRACE: Duration = Duration::from_secs(5);

impl Actor for Root {
    type Msg = RootMsg;
    type State = Tree;
    type Arguments = RootArgs;

    async fn pre_start(&self, me: ActorRef<RootMsg>, args: RootArgs) -> Result<Tree, ActorProcessingErr> {
        let tree = Tree {
            ports: args.ports,
            links: args.links,
            sessions: Child::new(args.sessions),
            pool: Child::new(args.pool),
            health: Child::new(args.health),
            reaper: Child::new(args.reaper),
            dispatcher: Child::new(args.dispatcher),
            stopping: false,
        };
        tree.start_sessions(me.get_cell())?;
        tree.start_pool(me.get_cell())?;
        tree.start_health(me.get_cell())?;
        tree.start_reaper(me.get_cell())?;
        tree.start_dispatcher(me.get_cell())?;
        Ok(tree)
    }

    async fn handle(
        &self,
        me: ActorRef<RootMsg>,
        message: RootMsg,
        tree: &mut Tree,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RootMsg::Stop(reply) => {
                tree.stopping = true;
                tree.dispatcher.stop().await;
                tree.reaper.stop().await;
                tree.health.stop().await;
                tree.pool.stop().await;
                tree.sessions.stop().await;
                reply.send(()).ok();
                me.stop(None);
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<RootMsg>,
        event: SupervisionEvent,
        tree: &mut Tree,
    ) -> Result<(), ActorProcessingErr> {
        let (child, cause) = match event {
            SupervisionEvent::ActorTerminated(child, _, reason) => {
                (child, reason.unwrap_or_else(|| "ended".into()))
            }
            SupervisionEvent::ActorFailed(child, cause) => (child, cause.to_string()),
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => return Ok(()),
        };
        if tree.stopping {
            return Ok(());
        }
        tree.replace(&me, child.get_id(), &cause)
    }
}

impl Tree {
    fn start_sessions(&self, root: ActorCell) -> Result<(), ActorProcessingErr> {
        let (actor, _) = ActorRuntime::spawn_linked_instant(None, Sessions, self.links.clone(), root)?;
        self.sessions.link.send_replace(Some(actor));
        Ok(())
    }

    fn start_pool(&self, root: ActorCell) -> Result<(), ActorProcessingErr> {
        let args = (self.ports.clone(), self.links.clone());
        let (actor, _) = ActorRuntime::spawn_linked_instant(None, Pool, args, root)?;
        self.pool.link.send_replace(Some(actor));
        Ok(())
    }

    fn start_health(&self, root: ActorCell) -> Result<(), ActorProcessingErr> {
        let args = (self.ports.clone(), self.links.clone());
        let (actor, _) = ActorRuntime::spawn_linked_instant(None, HealthActor, args, root)?;
        self.health.link.send_replace(Some(actor));
        Ok(())
    }

    fn start_reaper(&self, root: ActorCell) -> Result<(), ActorProcessingErr> {
        let (actor, _) = ActorRuntime::spawn_linked_instant(None, Reaper, self.ports.clone(), root)?;
        self.reaper.link.send_replace(Some(actor));
        Ok(())
    }

    fn start_dispatcher(&self, root: ActorCell) -> Result<(), ActorProcessingErr> {
        let args = (self.ports.clone(), self.links.clone());
        let (actor, _) = ActorRuntime::spawn_linked_instant(None, Dispatcher, args, root)?;
        self.dispatcher.link.send_replace(Some(actor));
        Ok(())
    }

    fn replace(
        &mut self,
        me: &ActorRef<RootMsg>,
        child: ActorId,
        cause: &str,
    ) -> Result<(), ActorProcessingErr> {
        let now = Instant::now();
        if self.sessions.is(child) {
            tracing::error!(cause, "the session supervisor died and is started again");
            self.sessions.budget.spend(now)?;
            self.start_sessions(me.get_cell())?;
            tell(&self.links.pool, PoolMsg::Readopt);
        } else if self.pool.is(child) {
            tracing::error!(cause, "the pool died and is started again");
            self.pool.budget.spend(now)?;
            self.start_pool(me.get_cell())?;
        } else if self.health.is(child) {
            tracing::error!(cause, "the health actor died and is started again");
            self.health.budget.spend(now)?;
            self.start_health(me.get_cell())?;
        } else if self.reaper.is(child) {
            tracing::error!(cause, "the reaper died and is started again");
            self.reaper.budget.spend(now)?;
            self.start_reaper(me.get_cell())?;
        } else if self.dispatcher.is(child) {
            tracing::error!(cause, "the dispatcher died and is started again");
            self.dispatcher.budget.spend(now)?;
            self.start_dispatcher(me.get_cell())?;
        }
        Ok(())
    }
}
