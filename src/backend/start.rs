//! Starts the backend that a launch wants: the kept one, a one-shot run, or one beside the other.
//!
//! ```text
//! wants one-shot, or has nothing else ──────────────────────────▶ one-shot
//! wants the kept one ─ up ────────────▶ kept (with one-shot runs beside it, where there are any)
//!                    └ never will be ─▶ one-shot if the person wrote one, else the failure
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hob_actors::backoff::Cause;
use hob_actors::event::{Event, Exit, Level};
use hob_actors::id::{AgentKey, HostId};
use hob_actors::ports::{Launch, Launched, News, NewsSink, Permit, Route, StartFailed};

use super::acp::{self, NotStarted};
use super::fingerprint;
use super::known;
use super::mcp_server::OwnServer;
use super::oneshot::{self, Beside, Gate, OneshotAgent};
use super::opencode;
use super::process::SpawnRequest;
use super::{Agents, DEMO_COMMAND, FoundWay, over};
use crate::config::{AgentConfig, BackendKind, Share};
use crate::sync::lock;

/// The longest that the instance of a directory in which nothing is done is kept.
const INSTANCE_IDLE_MAX: Duration = Duration::from_secs(300);
/// A program may be replaced by a newer one without anything telling us.
const UNFIT_PERIOD: Duration = Duration::from_secs(600);

/// Which command lines turned out to speak nothing that hob does. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Unfit(Arc<Mutex<BTreeMap<Vec<String>, Found>>>);

/// What was found when an agent was started.
#[derive(Debug)]
struct Found {
    /// The fingerprint of what was started.
    hash: String,
    why: String,
    since: Instant,
}

impl Unfit {
    /// Whether a command line of an agent of that fingerprint may be fit, or why it is known not to be.
    pub(super) fn check(&self, command: &[String], hash: &str) -> Result<(), String> {
        match lock(&self.0).get(command) {
            Some(found) if found.hash == hash && found.since.elapsed() < UNFIT_PERIOD => {
                Err(found.why.clone())
            }
            _ => Ok(()),
        }
    }

    fn note(&self, command: &[String], hash: &str, why: &str) {
        let found = Found { hash: hash.to_owned(), why: why.to_owned(), since: Instant::now() };
        lock(&self.0).insert(command.to_vec(), found);
    }

    fn forget(&self, command: &[String]) {
        lock(&self.0).remove(command);
    }
}

/// A backend that is kept between turns.
enum Kept {
    Acp(acp::Spec),
    Opencode(opencode::Spec),
}

/// A way to start it, and how that is called.
struct KeptWay {
    kept: Kept,
    command: Vec<String>,
}

/// A way that was tried in vain.
struct Refused {
    command: Vec<String>,
    failed: StartFailed,
}

/// What can be started for an agent.
struct Plan {
    /// The ways to a kept backend, the best first; `None` if it has none.
    kept: Option<Result<Vec<KeptWay>, StartFailed>>,
    /// The one-shot run; `None` if it has none.
    oneshot: Option<Result<oneshot::Spec, StartFailed>>,
    /// The person wrote the command line of the one-shot run.
    falls_back: bool,
    /// The fingerprint of the agent wherever it works.
    hash: String,
}

fn permanent(message: String) -> StartFailed {
    StartFailed { cause: Cause::Configuration, message, exit: None }
}

impl Agents {
    /// Starts what `launch` wants.
    pub(super) async fn start(self, launch: Launch, sink: NewsSink) -> Result<Launched, StartFailed> {
        let agents = self.clone();
        let looked = tokio::task::spawn_blocking(move || (agents.plan(&launch), launch)).await;
        let (plan, launch) = looked.map_err(|error| StartFailed {
            cause: Cause::StartFailure,
            message: format!("the agent could not be looked up: {error}"),
            exit: None,
        })?;
        let Plan { kept, oneshot, falls_back, hash } = plan?;
        let name = launch.key.agent.clone();
        let kept = match kept {
            Some(kept) if launch.route == Route::Warm => kept,
            _ => return self.alone(oneshot, name.as_str(), sink),
        };
        let started = match kept {
            Ok(ways) => {
                self.first_that_works(ways, (oneshot.clone(), hash, falls_back), launch, sink.clone()).await
            }
            // Whether its program is there is seen anew each time.
            Err(failed) => Err(NotStarted::Unfit(failed)),
        };
        let failed = match started {
            Ok(launched) => return Ok(launched),
            Err(NotStarted::Unfit(failed)) if falls_back => failed,
            Err(NotStarted::Unfit(failed) | NotStarted::Failed(failed)) => return Err(failed),
        };
        let launched = self.alone(oneshot, name.as_str(), sink.clone())?;
        let text = format!("{name} cannot be kept warm and is run for each prompt: {}", failed.message);
        sink(News::Said(Event::Notice { level: Level::Warning, text }), Permit::free());
        Ok(launched)
    }

    /// Starts it in the first way that it turns out to know.
    async fn first_that_works(
        &self,
        mut ways: Vec<KeptWay>,
        (oneshot, hash, falls_back): (Option<Result<oneshot::Spec, StartFailed>>, String, bool),
        launch: Launch,
        sink: NewsSink,
    ) -> Result<Launched, NotStarted> {
        ways.sort_by_key(|way| self.unfit.check(&way.command, &hash).is_err());
        let mut refused: Vec<Refused> = Vec::new();
        let n_ways = ways.len();
        for (n, KeptWay { kept, command }) in ways.into_iter().enumerate() {
            let is_last = n + 1 == n_ways;
            let failed = match self.kept(kept, oneshot.clone(), launch.clone(), sink.clone()).await {
                Ok(launched) => {
                    self.unfit.forget(&command);
                    self.leave_alone(&refused, &hash);
                    tell_other_way(&refused, &command, &sink);
                    return Ok(launched);
                }
                Err(NotStarted::Unfit(failed)) => failed,
                Err(NotStarted::Failed(failed)) if !is_last && knows_no_flag(&failed) => failed,
                Err(NotStarted::Failed(failed)) => {
                    return Err(NotStarted::Failed(joined(refused, failed, &launch.key)));
                }
            };
            refused.push(Refused { command, failed });
        }
        if falls_back {
            self.leave_alone(&refused, &hash);
        }
        let last = refused.pop().map(|last| last.failed);
        let last = last.unwrap_or_else(|| permanent("there is no way to start it".to_owned()));
        Err(NotStarted::Unfit(joined(refused, last, &launch.key)))
    }

    /// What is not fit is not tried again for a while, now that there is something else.
    fn leave_alone(&self, refused: &[Refused], hash: &str) {
        for Refused { command, failed } in refused {
            self.unfit.note(command, hash, &failed.message);
        }
    }

    /// Nothing but one-shot runs.
    fn alone(
        &self,
        spec: Option<Result<oneshot::Spec, StartFailed>>,
        name: &str,
        sink: NewsSink,
    ) -> Result<Launched, StartFailed> {
        let none = || Err(permanent(format!("{name}: it has no command line for a one-shot run")));
        Ok(oneshot::launched(spec.unwrap_or_else(none)?, self.spawner.clone(), sink))
    }

    /// The kept backend, with one-shot runs beside it where there can be any.
    async fn kept(
        &self,
        kept: Kept,
        oneshot: Option<Result<oneshot::Spec, StartFailed>>,
        launch: Launch,
        sink: NewsSink,
    ) -> Result<Launched, NotStarted> {
        let Some(Ok(oneshot)) = oneshot else { return self.start_kept(kept, launch, sink).await };
        let gate = Gate::new(sink);
        let launched = self.start_kept(kept, launch, gate.kept()).await?;
        let oneshot = OneshotAgent::new(oneshot, self.spawner.clone(), gate.alone());
        let agent = Arc::new(Beside::new(&launched, oneshot, gate));
        Ok(Launched { agent, ..launched })
    }

    async fn start_kept(&self, kept: Kept, launch: Launch, sink: NewsSink) -> Result<Launched, NotStarted> {
        match kept {
            Kept::Acp(spec) => acp::start(&self.spawner, spec, launch, sink).await,
            Kept::Opencode(spec) => opencode::start(&self.servers, &self.spawner, spec, launch, sink).await,
        }
    }

    /// Everything that a start needs, or why there can be none. Looks at the file system.
    fn plan(&self, launch: &Launch) -> Result<Plan, StartFailed> {
        let name = launch.key.agent.as_str();
        let config = self.config.current();
        let agent = config.agent(name).ok_or_else(|| permanent(format!("there is no agent `{name}`")))?;
        let has_kept = agent.backend != BackendKind::Oneshot;
        Ok(Plan {
            kept: has_kept.then(|| self.kept_spec(agent, launch, config.pool.idle_ttl)),
            oneshot: (!agent.oneshot.is_empty()).then(|| self.oneshot_spec(agent, launch)),
            falls_back: agent.oneshot_configured,
            hash: self.hash_anywhere(agent),
        })
    }

    fn kept_spec(
        &self,
        agent: &AgentConfig,
        launch: &Launch,
        idle_ttl: Duration,
    ) -> Result<Vec<KeptWay>, StartFailed> {
        let found = self.ways(agent).map_err(|why| permanent(format!("{}: {why}", agent.name)))?;
        let ways = found.into_iter().map(|found| {
            let kept = match found.way.backend {
                BackendKind::Opencode => Kept::Opencode(self.opencode_spec(agent, launch, &found, idle_ttl)),
                BackendKind::Acp | BackendKind::Oneshot => Kept::Acp(self.acp_spec(agent, launch, &found)),
            };
            KeptWay { kept, command: found.way.command }
        });
        Ok(ways.collect())
    }

    fn acp_spec(&self, agent: &AgentConfig, launch: &Launch, found: &FoundWay) -> acp::Spec {
        let (program, command) = (found.program.clone(), &found.way.command);
        let (arg0, args) = match command.split_first() {
            Some((_, args)) => (None, args.to_vec()),
            None => (Some(format!("hob-{DEMO_COMMAND}")), vec![DEMO_COMMAND.to_owned()]),
        };
        let command = if agent.is_demo() { DEMO_COMMAND.to_owned() } else { command.join(" ") };
        acp::Spec {
            request: SpawnRequest { program, arg0, args, ..self.request(agent, launch) },
            command,
            choice: over(&launch.choice, agent),
            mcp_servers: self.mcp_server(agent).map(OwnServer::for_acp).into_iter().collect(),
            start_timeout: agent.process.start_timeout,
            max_frame: bytes(agent.process.max_frame),
            stderr_tail: bytes(agent.process.stderr_tail),
            config_hash: self.hash(agent, &launch.cwd, &launch.choice),
        }
    }

    fn opencode_spec(
        &self,
        agent: &AgentConfig,
        launch: &Launch,
        found: &FoundWay,
        idle_ttl: Duration,
    ) -> opencode::Spec {
        let program = found.program.clone();
        let idle_ttl = agent.idle_ttl.unwrap_or(idle_ttl);
        let host = match agent.share {
            Share::All => Some(agent.name.clone()),
            Share::Workspace => Some(format!("{} {}", agent.name, launch.cwd.display())),
            Share::None => None,
        };
        let args = agent.command.iter().skip(1).cloned().collect();
        let mut request = SpawnRequest { program, args, ..self.request(agent, launch) };
        // A directory of ours: where many live, no one's worktree is the place of the process.
        request.cwd.clone_from(&self.state);
        if let Some(host) = &host {
            (request.label, request.chat) = (host.clone(), None);
        }
        if let Some(server) = self.mcp_server(agent) {
            let configured = request.env.get(opencode::CONFIG).map(String::as_str);
            request.env.insert(opencode::CONFIG.to_owned(), server.for_opencode(configured));
        }
        let nowhere = Path::new("");
        let of_process =
            fingerprint::config_hash(&agent.command, &request.env, nowhere, [&None, &None], None);
        let own = || format!("{} {}", launch.key, launch.generation);
        opencode::Spec {
            request,
            command: agent.command.join(" "),
            choice: over(&launch.choice, agent),
            start_timeout: agent.process.start_timeout,
            max_frame: bytes(agent.process.max_frame),
            stderr_tail: bytes(agent.process.stderr_tail),
            config_hash: self.hash(agent, &launch.cwd, &launch.choice),
            key: opencode::ServerKey { host: host.clone().unwrap_or_else(own), launch_hash: of_process },
            host: host.map(HostId::from),
            instance_idle: instance_idle(idle_ttl),
        }
    }

    fn oneshot_spec(&self, agent: &AgentConfig, launch: &Launch) -> Result<oneshot::Spec, StartFailed> {
        let program =
            self.oneshot_program(agent).map_err(|why| permanent(format!("{}: {why}", agent.name)))?;
        let request = SpawnRequest { program, ..self.request(agent, launch) };
        Ok(oneshot::Spec {
            request,
            words: agent.oneshot.iter().skip(1).cloned().collect(),
            command: agent.oneshot.first().cloned().unwrap_or_default(),
            model: over(&launch.choice, agent).model,
            max_frame: bytes(agent.process.max_frame),
            stderr_tail: bytes(agent.process.stderr_tail),
            config_hash: self.hash(agent, &launch.cwd, &launch.choice),
        })
    }

    /// What every process of an agent is started with; program and arguments are still to be set.
    fn request(&self, agent: &AgentConfig, launch: &Launch) -> SpawnRequest {
        SpawnRequest {
            label: launch.key.to_string(),
            agent: Some(agent.name.clone()),
            chat: Some(launch.key.chat.as_str().to_owned()),
            env: self.environment(agent),
            cwd: launch.cwd.clone(),
            stop_grace: agent.process.stop_grace,
            ..SpawnRequest::default()
        }
    }
}

/// Whether an agent ended before it said anything because it does not know a word of its command line.
fn knows_no_flag(failed: &StartFailed) -> bool {
    let complaint = |exit: &Exit| {
        let said = exit.stderr_tail.to_ascii_lowercase();
        ["unknown argument", "unknown option", "unrecognized option", "unexpected argument"]
            .iter()
            .any(|words| said.contains(words))
    };
    failed.exit.as_ref().is_some_and(complaint)
}

/// Says which way was taken, where it is not the best one.
fn tell_other_way(refused: &[Refused], command: &[String], sink: &NewsSink) {
    if let Some(Refused { failed, .. }) = refused.first() {
        let text = format!("{}; `{}` is used", failed.message, command.join(" "));
        sink(News::Said(Event::Notice { level: Level::Warning, text }), Permit::free());
    }
}

/// The last failure, with those of the ways before it, and what can be driven.
fn joined(refused: Vec<Refused>, last: StartFailed, key: &AgentKey) -> StartFailed {
    let known = known::find(key.agent.as_str()).filter(|_| !refused.is_empty());
    let messages = refused.into_iter().map(|refused| refused.failed.message).chain([last.message]);
    let helps = known.map(|known| format!("`{}` installs one that hob can drive", known.install));
    StartFailed { message: messages.chain(helps).collect::<Vec<_>>().join("; "), ..last }
}

fn bytes(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// When the instance that an opencode server keeps of a directory goes: well before the agent
/// sessions in it do.
fn instance_idle(idle_ttl: Duration) -> Duration {
    if idle_ttl.is_zero() { INSTANCE_IDLE_MAX } else { (idle_ttl / 4).min(INSTANCE_IDLE_MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unfit_is_so_with_the_same_configuration_alone() {
        let unfit = Unfit::default();
        let command = ["goose".to_owned(), "acp".to_owned()];
        assert_eq!(unfit.check(&command, "a"), Ok(()));
        unfit.note(&command, "a", "speaks version 9");
        assert_eq!(unfit.check(&command, "a"), Err("speaks version 9".into()));
        assert_eq!(unfit.check(&command, "b"), Ok(()));
        assert_eq!(unfit.check(&command[..1], "a"), Ok(()));
        unfit.forget(&command);
        assert_eq!(unfit.check(&command, "a"), Ok(()));
    }
}
