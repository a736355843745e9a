//! The official SDK's client drives a real agent through the bridge.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_client_protocol::schema::ProtocolVersion;
use agent_client_protocol::v1::ConnectionTo;
use agent_client_protocol::v1::schema::{
    CancelNotification, ContentBlock, ContentChunk, InitializeRequest, LoadSessionRequest, NewSessionRequest,
    PermissionOptionKind, PromptRequest, RequestPermissionOutcome, RequestPermissionRequest,
    RequestPermissionResponse, SelectedPermissionOutcome, SessionId, SessionNotification, SessionUpdate,
    StopReason, TextContent,
};
use agent_client_protocol::{AcpAgent, Agent, Client, Error};

use super::NO_START;
use crate::support::agents::{Consent, RealAgent};
use crate::support::daemon::TestDaemon;
use crate::support::home::Setup;
use crate::support::repo::Repo;
use crate::support::wait::PATIENCE;
use crate::support::wait::until;

/// A turn that is still under way when it is cancelled.
const LONG: &str = "slow: 2000 25";

/// What the agent said, piece by piece.
type Heard = Arc<Mutex<Vec<String>>>;

/// What the client answers to a question.
#[derive(Clone, Copy)]
struct Consents(PermissionOptionKind);

/// The bridge, as the SDK starts an agent.
fn bridge(daemon: &TestDaemon) -> AcpAgent {
    let command = daemon.hob_command(&["acp", "-a", "goose", NO_START]);
    let env = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={}", name.to_str()?, value?.to_str()?)));
    let program = command.get_program().to_str().into_iter().map(str::to_owned);
    let arguments = command.get_args().filter_map(|argument| Some(argument.to_str()?.to_owned()));
    AcpAgent::from_args(env.chain(program).chain(arguments)).unwrap()
}

fn answer(request: &RequestPermissionRequest, consents: Consents) -> RequestPermissionResponse {
    let chosen = request.options.iter().find(|option| option.kind == consents.0);
    let outcome = chosen.map_or(RequestPermissionOutcome::Cancelled, |option| {
        RequestPermissionOutcome::Selected(SelectedPermissionOutcome::new(option.option_id.clone()))
    });
    RequestPermissionResponse::new(outcome)
}

/// Connects a client, which does `work`; what it heard is returned with what came of that.
async fn connected<T: Send>(
    daemon: &TestDaemon,
    consents: Consents,
    work: impl AsyncFnOnce(ConnectionTo<Agent>, Heard) -> Result<T, Error> + Send,
) -> T {
    let heard = Heard::default();
    let to = heard.clone();
    Client
        .v1()
        .on_receive_notification(
            async move |notification: SessionNotification, _| {
                if let SessionUpdate::AgentMessageChunk(ContentChunk {
                    content: ContentBlock::Text(text),
                    ..
                }) = notification.update
                {
                    to.lock().unwrap().push(text.text);
                }
                Ok(())
            },
            agent_client_protocol::on_receive_notification!(),
        )
        .on_receive_request(
            async move |request: RequestPermissionRequest, responder, _| {
                responder.respond(answer(&request, consents))
            },
            agent_client_protocol::on_receive_request!(),
        )
        .connect_with(bridge(daemon), async move |connection| {
            connection.send_request(InitializeRequest::new(ProtocolVersion::V1)).block_task().await?;
            work(connection, heard).await
        })
        .await
        .unwrap()
}

async fn prompt(
    connection: &ConnectionTo<Agent>,
    session: &SessionId,
    text: &str,
) -> Result<StopReason, Error> {
    let blocks = vec![ContentBlock::Text(TextContent::new(text))];
    let answer = connection.send_request(PromptRequest::new(session.clone(), blocks)).block_task().await?;
    Ok(answer.stop_reason)
}

fn said(heard: &Heard) -> String {
    std::mem::take(&mut *heard.lock().unwrap()).concat()
}

/// New session, a prompt, a permission, a cancel: all in one connection.
async fn first_life(daemon: &TestDaemon, repo: &Repo) -> SessionId {
    let consents = Consents(PermissionOptionKind::AllowOnce);
    connected(daemon, consents, async |connection, heard| {
        let opened = connection.send_request(NewSessionRequest::new(&repo.path)).block_task().await?;
        let session = opened.session_id;
        assert_eq!(prompt(&connection, &session, "say: hello there").await?, StopReason::EndTurn);
        assert_eq!(said(&heard).trim(), "hello there");
        assert_eq!(prompt(&connection, &session, "write: yes.txt: allowed").await?, StopReason::EndTurn);
        said(&heard);
        let running = prompt(&connection, &session, LONG);
        let cancelling = async {
            let begun = async {
                while heard.lock().unwrap().is_empty() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(PATIENCE, begun).await.expect("the agent says something");
            connection.send_notification(CancelNotification::new(session.clone()))
        };
        let (stopped, cancelled) = tokio::join!(running, cancelling);
        cancelled?;
        assert_eq!(stopped?, StopReason::Cancelled);
        Ok(session)
    })
    .await
}

/// The same session from another client of another daemon: the agent remembers.
async fn second_life(daemon: &TestDaemon, repo: &Repo, session: SessionId) -> String {
    let consents = Consents(PermissionOptionKind::RejectOnce);
    connected(daemon, consents, async |connection, heard| {
        let load = LoadSessionRequest::new(session.clone(), &repo.path);
        connection.send_request(load).block_task().await?;
        said(&heard);
        prompt(&connection, &session, "write: no.txt: refused").await?;
        said(&heard);
        prompt(&connection, &session, "count").await?;
        Ok(said(&heard))
    })
    .await
}

#[test]
fn the_official_client_drives_goose_through_the_bridge_over_the_death_of_the_daemon() {
    let mut daemon = Setup::new().real(RealAgent::Goose, Consent::Asks).start();
    let repo = daemon.repo("repo");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let session = runtime.block_on(first_life(&daemon, &repo));
    let chat = session.to_string();
    let of = daemon.rpc("chat/show", serde_json::json!({"chat": chat}))["session"].clone();
    let row = daemon.rpc("session/show", serde_json::json!({"session": of}));
    let worktree = std::path::PathBuf::from(row["worktree"]["path"].as_str().unwrap());
    until("the file to be there", || worktree.join("yes.txt").exists().then_some(()));
    daemon.sigkill();
    daemon.start_again();
    assert_eq!(runtime.block_on(second_life(&daemon, &repo, session)).trim(), "prompts=5");
    assert!(!worktree.join("no.txt").exists());
}
