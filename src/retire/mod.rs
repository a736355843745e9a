//! The end of a worktree, and its way back. One function removes worktrees ([`Retire::remove`]), whoever
//! asks: the reaper, a deleted session, a person. Where store, worktrees, tree and hooks meet.
//!
//! ```text
//! preflight ▶ tombstone ▶ salvage ▶ agents stopped ▶ hooks ▶ preflight and salvage again ▶ trash ▶ archived
//!             │ commit point: a start finishes or undoes it, by what is on the disk
//!             ├── anything that fails before the move clears it, and the worktree is as it was
//!             └── after a failure of the move, the place of the worktree says what is written down
//! ```
//!
//! **Invariants:** nothing is moved that was not judged and salvaged as it is; what was begun is written
//! down first; unknown means no.

mod back;
mod check;
mod hooks;
mod port;
mod resume;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use hob_actors::event::{Event, Level, NewEvent, Scope};
use hob_actors::id::{AgentKey, ChatId};
use hob_actors::ports::{Permit, Store as _};
use hob_actors::tree::{Handle, TreeError};
use hob_actors::worktree::{Consents, Preflight, Reason, ReasonKind};

pub use check::{CheckAsk, CheckEnd, Checked, RunningCheck};
pub use hooks::{ARENA, HookEvent, Hooked, Hooks};

use crate::config::SharedConfig;
use crate::pending::{Pending, followed};
use crate::store::{SessionWorktree, Store, StoreError, TombstoneKind};
use crate::worktree::{Known, Place, PreflightAsk, Salvaged, WorktreeError, Worktrees};

/// Why a worktree was not removed, or did not come back.
#[derive(Debug, thiserror::Error)]
pub enum RetireError {
    /// It is kept, for these reasons.
    #[error("the worktree is kept: {}", words(.0))]
    Kept(Vec<Reason>),
    /// There is no such worktree.
    #[error("no worktree `{0}`")]
    NotFound(String),
    /// It does not stand where it would have to.
    #[error("{0}")]
    Conflict(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The worktree.
    #[error(transparent)]
    Worktree(#[from] WorktreeError),
    /// The tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

fn words(reasons: &[Reason]) -> String {
    reasons.iter().map(Reason::to_string).collect::<Vec<_>>().join("; ")
}

/// A worktree that was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// The ref that keeps what it held; `None` if there was nothing to keep.
    pub salvage_ref: Option<String>,
    /// What a person should know.
    pub notices: Vec<String>,
}

/// Removes worktrees, and brings them back. Cheap to clone.
#[derive(Clone)]
pub struct Retire(Arc<Inner>);

struct Inner {
    store: Store,
    worktrees: Worktrees,
    config: SharedConfig,
    hooks: Hooks,
    pending: Pending,
    tree: OnceLock<Handle>,
    /// What purges left and was told of.
    told: Mutex<BTreeSet<PathBuf>>,
    /// Whose trash was emptied since the daemon started.
    purged: Mutex<BTreeSet<String>>,
}

impl Retire {
    /// Over the parts of a daemon.
    pub fn new(
        store: Store,
        worktrees: Worktrees,
        config: SharedConfig,
        hooks: Hooks,
        pending: Pending,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            worktrees,
            config,
            hooks,
            pending,
            tree: OnceLock::new(),
            told: Mutex::default(),
            purged: Mutex::default(),
        }))
    }

    /// From now on the tree can be asked to let agents go.
    pub fn attach(&self, tree: Handle) {
        // A second tree would be a second daemon.
        self.0.tree.set(tree).ok();
    }

    /// The person's own commands.
    pub fn hooks(&self) -> &Hooks {
        &self.0.hooks
    }

    /// Judges a worktree.
    ///
    /// # Errors
    /// `NotFound`; the store.
    pub async fn preflight(&self, id: &str) -> Result<Preflight, RetireError> {
        let found = self.known(id).await?;
        let mut live = self.at_work(id).await?;
        if found.state == "active"
            && let Some((session, _)) = self.0.store.session_of_worktree(id).await?
        {
            live.push(format!("session {session} is open"));
        }
        Ok(self.judge(&found, live).await)
    }

    async fn judge(&self, found: &SessionWorktree, live: Vec<String>) -> Preflight {
        let config = self.0.config.current();
        let ask = PreflightAsk {
            known: found.known.clone(),
            disposable: config.worktrees.disposable.clone(),
            timeout: config.reaper.preflight_timeout,
            live,
        };
        self.0.worktrees.preflight(ask).await
    }

    /// Turns that are under way in it, in words.
    async fn at_work(&self, id: &str) -> Result<Vec<String>, RetireError> {
        let turns = self.0.store.turns_at_work(id).await?;
        Ok(turns.into_iter().map(|turn| format!("turn {turn} is under way")).collect())
    }

    async fn known(&self, id: &str) -> Result<SessionWorktree, RetireError> {
        let found = self.0.store.known_worktree(id).await?;
        let found = found.ok_or_else(|| RetireError::NotFound(id.to_owned()))?;
        Ok(followed(&self.0.store, &self.0.worktrees, found).await)
    }

    /// Removes a worktree: into the trash, with its salvage on a ref.
    ///
    /// # Errors
    /// `Kept` with the reasons; whatever failed. The worktree is then as it was, unless the words say
    /// otherwise.
    pub async fn remove(&self, id: &str, consents: Consents, by: &str) -> Result<Removed, RetireError> {
        let found = self.known(id).await?;
        match found.state.as_str() {
            "active" | "orphaned" => {}
            other => return Err(RetireError::Conflict(format!("worktree {id} is {other}"))),
        }
        if self.0.worktrees.place(&found.known).await? == Place::Gone {
            return self.gone(&found).await;
        }
        self.let_agents_rest(id).await?;
        self.check(&found, consents).await?;
        self.0.store.begin_with_worktree(id, TombstoneKind::Remove, by).await?;
        crash_point!("retire.begun");
        let (salvaged, mut notices) = match self.make_ready(&found, consents).await {
            Ok(ready) => ready,
            Err(error) => {
                self.nothing_came_of_it(id).await;
                return Err(error);
            }
        };
        if let Err(error) = self.move_out(&found.known, &salvaged).await {
            self.settle_failure(id, TombstoneKind::Remove).await;
            return Err(error);
        }
        notices.extend(salvaged.left_out.into_iter().map(|what| format!("not salvaged: {what}")));
        Ok(Removed { salvage_ref: Some(salvaged.reference), notices })
    }

    /// Nothing was moved.
    async fn nothing_came_of_it(&self, id: &str) {
        // Where that cannot be written down, the next start finds it where it was.
        if let Err(error) = self.0.store.nothing_begun(id).await {
            tracing::warn!(worktree = id, %error, "what failed stays written down");
        }
    }

    /// What stands against its removal.
    async fn check(&self, found: &SessionWorktree, consents: Consents) -> Result<(), RetireError> {
        let live = self.at_work(&found.known.id).await?;
        let preflight = self.judge(found, live).await;
        let objections: Vec<Reason> = preflight.objections(consents).into_iter().cloned().collect();
        if objections.is_empty() { Ok(()) } else { Err(RetireError::Kept(objections)) }
    }

    /// Everything that comes before the move, and moves nothing.
    async fn make_ready(
        &self,
        found: &SessionWorktree,
        consents: Consents,
    ) -> Result<(Salvaged, Vec<String>), RetireError> {
        let (known, worktrees) = (&found.known, &self.0.worktrees);
        let disposable = self.0.config.current().worktrees.disposable.clone();
        worktrees.salvage(known, &disposable).await?;
        crash_point!("retire.salvaged");
        self.end_agents(&known.id).await?;
        crash_point!("retire.alone");
        let (mut notices, mut consents) = (Vec::new(), consents);
        if self.0.hooks.has(HookEvent::BeforeArchive) {
            // Agents may have written. What the hook writes is its own, and goes into the salvage.
            self.check(found, consents).await?;
            consents = Consents { changes: true, unpushed: true };
        }
        let hooked = self.run_hook(HookEvent::BeforeArchive, known, self.session(found).await?).await;
        if let Some(hooked) = hooked {
            let level = if hooked.failed { Level::Warning } else { Level::Info };
            self.say(&known.id, level, hooked.text.clone()).await;
            if hooked.blocks {
                return Err(RetireError::Kept(vec![Reason::one(ReasonKind::Locked, hooked.text)]));
            }
            if hooked.failed {
                notices.push(hooked.text);
            }
        }
        crash_point!("retire.hooked");
        // Somebody may have come in.
        self.check(found, consents).await?;
        Ok((worktrees.salvage(known, &disposable).await?, notices))
    }

    /// Runs the person's hook, if there is one. What it changes in the worktree is written down as its own.
    pub async fn run_hook(&self, event: HookEvent, known: &Known, session: Option<String>) -> Option<Hooked> {
        if !self.0.hooks.has(event) {
            return None;
        }
        let hook = self.0.hooks.run(event, known, session);
        self.0.pending.around_hook(&known.id, hook).await
    }

    async fn move_out(&self, known: &Known, salvaged: &Salvaged) -> Result<(), RetireError> {
        self.0.worktrees.to_trash(known, salvaged).await?;
        crash_point!("retire.moved");
        self.0.store.worktree_archived(&known.id, Some(&salvaged.reference), None).await?;
        crash_point!("retire.archived");
        Ok(())
    }

    /// Its directory was removed by somebody else: there is nothing to salvage, and nothing to keep.
    async fn gone(&self, found: &SessionWorktree) -> Result<Removed, RetireError> {
        let id = &found.known.id;
        let why = "its directory was removed by somebody else".to_owned();
        let salvage_ref = self.0.store.worktree(id).await?.and_then(|row| row.salvage_ref);
        self.0.store.worktree_archived(id, salvage_ref.as_deref(), Some(why.clone())).await?;
        Ok(Removed { salvage_ref, notices: vec![why] })
    }

    async fn session(&self, found: &SessionWorktree) -> Result<Option<String>, RetireError> {
        let session = self.0.store.session_of_worktree(&found.known.id).await?;
        Ok(session.map(|(session, _)| session))
    }

    /// Idle agents of its session let go: they work in it, and come back when they are asked.
    async fn let_agents_rest(&self, id: &str) -> Result<(), RetireError> {
        for key in self.agents(id).await? {
            if let Some(tree) = self.0.tree.get() {
                // A busy one stays, and is found to be at work.
                tree.evict(key, false).await?.ok();
            }
        }
        Ok(())
    }

    /// Every agent of its session lets go, whatever it does: where it works is nothing. It comes back when
    /// it is asked.
    async fn end_lost(&self, id: &str) -> Result<(), RetireError> {
        for key in self.agents(id).await? {
            if let Some(tree) = self.0.tree.get() {
                tree.evict(key, true).await?.ok();
            }
        }
        Ok(())
    }

    /// Every agent of its session ends.
    async fn end_agents(&self, id: &str) -> Result<(), RetireError> {
        let mut chats: Vec<ChatId> = self.agents(id).await?.into_iter().map(|key| key.chat).collect();
        chats.dedup();
        for chat in chats {
            if let Some(tree) = self.0.tree.get() {
                tree.close_chat(chat).await?;
            }
        }
        Ok(())
    }

    async fn agents(&self, id: &str) -> Result<Vec<AgentKey>, RetireError> {
        let Some((session, _)) = self.0.store.session_of_worktree(id).await? else { return Ok(Vec::new()) };
        let rows = self.0.store.agent_sessions(false).await?;
        let of_it = rows.into_iter().filter(|row| row.session == session);
        Ok(of_it.map(|row| AgentKey::new(row.chat, row.agent)).collect())
    }

    /// Puts a notice about a worktree into the journal.
    async fn say(&self, id: &str, level: Level, text: String) {
        let session = self.0.store.session_of_worktree(id).await.ok().flatten();
        let scope = Scope { session: session.map(|(session, _)| session.into()), ..Scope::default() };
        let event = Event::Notice { level, text };
        self.0.store.append(NewEvent { scope: Arc::new(scope), event }, Permit::free());
    }
}
