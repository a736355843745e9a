//! The supervisor of the session actors: starts them, and passes on their deaths. Nothing else.
//!
//! It exists so that no coordinator is the parent of an actor that holds a process: ractor kills
//! every linked descendant of an actor that dies, and a bug in the pool must not end agents.

use std::collections::BTreeMap;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, ActorRuntime, RpcReplyPort, SupervisionEvent};

use crate::id::AgentKey;
use crate::links::tell;
use crate::pool::actor::PoolMsg;
use crate::session::actor::{SessionActor, SessionArgs, SessionMsg};

/// Starts session actors and passes on their deaths.
pub struct Sessions;

/// What the supervisor is told.
pub enum SessionsMsg {
    /// Start an actor; answered with the living one if there is one.
    Start(Box<SessionArgs>, RpcReplyPort<Result<ActorRef<SessionMsg>, String>>),
    /// Who lives?
    Live(RpcReplyPort<Vec<(AgentKey, ActorRef<SessionMsg>)>>),
}

/// Who lives, and whom to tell of deaths.
pub struct Alive {
    links: crate::links::Links,
    by_key: BTreeMap<AgentKey, ActorRef<SessionMsg>>,
    by_actor: BTreeMap<ActorId, AgentKey>,
}

impl Actor for Sessions {
    type Msg = SessionsMsg;
    type State = Alive;
    type Arguments = crate::links::Links;

    async fn pre_start(
        &self,
        _me: ActorRef<SessionsMsg>,
        links: crate::links::Links,
    ) -> Result<Alive, ActorProcessingErr> {
        Ok(Alive { links, by_key: BTreeMap::new(), by_actor: BTreeMap::new() })
    }

    async fn handle(
        &self,
        me: ActorRef<SessionsMsg>,
        message: SessionsMsg,
        alive: &mut Alive,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SessionsMsg::Start(args, reply) => {
                reply.send(alive.start(&me, *args)).ok();
            }
            SessionsMsg::Live(reply) => {
                let live = alive.by_key.iter().map(|(key, actor)| (key.clone(), actor.clone())).collect();
                reply.send(live).ok();
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _me: ActorRef<SessionsMsg>,
        event: SupervisionEvent,
        alive: &mut Alive,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(child, _, reason) => {
                let killed = reason.as_deref() == Some("killed");
                alive.passed(&child.get_id(), killed.then(|| "was killed".to_owned()));
            }
            SupervisionEvent::ActorFailed(child, cause) => {
                alive.passed(&child.get_id(), Some(cause.to_string()))
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}

impl Alive {
    fn start(
        &mut self,
        me: &ActorRef<SessionsMsg>,
        args: SessionArgs,
    ) -> Result<ActorRef<SessionMsg>, String> {
        if let Some(living) = self.by_key.get(&args.key) {
            return Ok(living.clone());
        }
        let key = args.key.clone();
        // Instant: a plain linked spawn would hold up everybody for the child's whole start.
        let (actor, _) = ActorRuntime::spawn_linked_instant(None, SessionActor, args, me.get_cell())
            .map_err(|error| error.to_string())?;
        self.by_actor.insert(actor.get_id(), key.clone());
        self.by_key.insert(key, actor.clone());
        Ok(actor)
    }

    fn passed(&mut self, child: &ActorId, failure: Option<String>) {
        let Some(key) = self.by_actor.remove(child) else { return };
        // A successor may stand there already.
        if self.by_key.get(&key).is_some_and(|actor| actor.get_id() == *child) {
            self.by_key.remove(&key);
        }
        if let Some(failure) = &failure {
            tracing::error!(key = %key, failure, "session actor died");
        }
        tell(&self.links.pool, PoolMsg::Passed { key, actor: *child, failure });
    }
}
