//! The kernel behind its sockets, with a language of four words: what must hold while a cell runs.

use std::net::TcpListener;
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jupyter_protocol::{
    ConnectionInfo, ExecuteRequest, InterruptRequest, JupyterMessage, JupyterMessageContent as Content,
    KernelInfoRequest, ReplyStatus, ShutdownRequest, Transport, UnknownMessage,
};
use jupyter_zmq_client::{
    ClientControlConnection, ClientHeartbeatConnection, ClientIoPubConnection, ClientShellConnection,
    create_client_control_connection, create_client_heartbeat_connection, create_client_iopub_connection,
    create_client_shell_connection_with_identity, peer_identity_for_session,
};
use longlens_notebook::kernel::{self, KernelError};
use serde_json::json;
use tokio::time::{sleep, timeout};

#[path = "common/counter.rs"]
mod counter;

use counter::Counter;

/// Longer than anything here takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(30);

/// A kernel on a thread, and a client's ends of its sockets.
struct Client {
    connection: ConnectionInfo,
    shell: ClientShellConnection,
    control: ClientControlConnection,
    iopub: ClientIoPubConnection,
    heartbeat: ClientHeartbeatConnection,
    served: JoinHandle<Result<(), KernelError>>,
}

impl Client {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("connection.json");
        let connection = connection();
        std::fs::write(&path, serde_json::to_string(&connection).unwrap()).unwrap();
        let served = thread::spawn(move || {
            let _folder = folder;
            kernel::serve(&path, Box::new(|| Box::new(Counter::default())))
        });
        let begun = Instant::now();
        while !open(&connection) {
            assert!(begun.elapsed() < PATIENCE && !served.is_finished(), "the kernel does not listen");
            sleep(Duration::from_millis(10)).await;
        }
        let iopub = create_client_iopub_connection(&connection, "", "session").await.unwrap();
        let mut client = Self {
            shell: shell(&connection, "session").await,
            control: create_client_control_connection(&connection, "session").await.unwrap(),
            heartbeat: create_client_heartbeat_connection(&connection).await.unwrap(),
            iopub,
            connection,
            served,
        };
        // subscribed once something is heard
        while timeout(Duration::from_millis(100), client.iopub.read()).await.is_err() {
            client.shell.send(KernelInfoRequest {}.into()).await.unwrap();
            client.shell.read().await.unwrap();
        }
        client
    }

    /// Starts a cell; returns when it runs.
    async fn start(&mut self, code: &str) {
        let request: JupyterMessage = ExecuteRequest::new(code.into()).into();
        let id = request.header.msg_id.clone();
        self.shell.send(request).await.unwrap();
        loop {
            let heard = timeout(PATIENCE, self.iopub.read()).await.unwrap().unwrap();
            let parent = heard.parent_header.is_some_and(|parent| parent.msg_id == id);
            if parent && matches!(heard.content, Content::ExecuteInput(_)) {
                return;
            }
        }
    }

    async fn shell_reply(&mut self) -> Content {
        timeout(PATIENCE, self.shell.read()).await.unwrap().unwrap().content
    }

    async fn control(&mut self, request: impl Into<JupyterMessage>) -> Content {
        self.control.send(request.into()).await.unwrap();
        timeout(PATIENCE, self.control.read()).await.unwrap().unwrap().content
    }

    /// What the next cell's value is: how many were counted, with it.
    async fn count(&mut self) -> ReplyStatus {
        self.shell.send(ExecuteRequest::new("count".into()).into()).await.unwrap();
        let Content::ExecuteReply(reply) = self.shell_reply().await else { panic!("no reply to a cell") };
        reply.status
    }

    async fn ended(self) -> Result<(), KernelError> {
        let begun = Instant::now();
        while !self.served.is_finished() {
            assert!(begun.elapsed() < PATIENCE / 2, "the kernel does not end");
            sleep(Duration::from_millis(10)).await;
        }
        self.served.join().unwrap()
    }
}

async fn shell(connection: &ConnectionInfo, session: &str) -> ClientShellConnection {
    let identity = peer_identity_for_session(session).unwrap();
    create_client_shell_connection_with_identity(connection, session, identity).await.unwrap()
}

/// Five free ports of this machine.
fn connection() -> ConnectionInfo {
    let listeners: Vec<TcpListener> = (0..5).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let port = |channel: usize| listeners[channel].local_addr().unwrap().port();
    ConnectionInfo {
        ip: "127.0.0.1".into(),
        transport: Transport::TCP,
        shell_port: port(0),
        iopub_port: port(1),
        stdin_port: port(2),
        control_port: port(3),
        hb_port: port(4),
        key: "a key".into(),
        signature_scheme: "hmac-sha256".into(),
        kernel_name: None,
    }
}

/// Whether the kernel has bound the socket that it binds last.
fn open(connection: &ConnectionInfo) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", connection.hb_port)).is_ok()
}

#[tokio::test]
async fn a_running_cell_delays_nothing_that_is_urgent() {
    let mut client = Client::new().await;
    client.start("wait").await;
    timeout(PATIENCE, client.heartbeat.single_heartbeat()).await.unwrap().unwrap();
    let info = client.control(KernelInfoRequest {}).await;
    assert!(matches!(info, Content::KernelInfoReply(info) if info.language_info.name == "rhai"));

    let answer = client.control(InterruptRequest {}).await;
    assert!(matches!(answer, Content::InterruptReply(reply) if reply.status == ReplyStatus::Ok));
    let Content::ExecuteReply(reply) = client.shell_reply().await else { panic!("no reply to the cell") };
    assert_eq!(reply.error.unwrap().ename, "Interrupted");

    // with nothing to stop, an interrupt must not wait for the next cell
    client.control(InterruptRequest {}).await;
    assert_eq!(client.count().await, ReplyStatus::Ok);
    client.control(ShutdownRequest { restart: false }).await;
    client.ended().await.unwrap();
}

#[tokio::test]
async fn a_shutdown_ends_a_running_cell_and_the_kernel() {
    for (cell, restart) in [("wait", true), ("deaf", false)] {
        let mut client = Client::new().await;
        client.start(cell).await;
        let answer = client.control(ShutdownRequest { restart }).await;
        assert!(matches!(answer, Content::ShutdownReply(reply) if reply.restart == restart), "{cell}");
        client.ended().await.unwrap();
    }
}

#[tokio::test]
async fn messages_of_strangers_are_not_obeyed() {
    let mut client = Client::new().await;
    let mut stranger = client.connection.clone();
    stranger.key = "another key".into();
    let mut stranger = shell(&stranger, "stranger").await;
    // the first ends the connection, so the others may not get away
    for request in [ExecuteRequest::new("crash".into()).into(), ShutdownRequest { restart: false }.into()] {
        let _: Result<(), _> = stranger.send(request).await;
    }
    assert!(!matches!(timeout(Duration::from_millis(300), stranger.read()).await, Ok(Ok(_))));
    assert_eq!(client.count().await, ReplyStatus::Ok);
    client.control(ShutdownRequest { restart: false }).await;
    client.ended().await.unwrap();
}

#[tokio::test]
async fn nobody_waits_for_the_answer_to_a_wrong_request() {
    let mut client = Client::new().await;
    let content = json!({ "code": "a", "cursor_pos": "end" });
    client.shell.send(UnknownMessage { msg_type: "complete_request".into(), content }.into()).await.unwrap();
    let Content::CompleteReply(reply) = client.shell_reply().await else { panic!("another reply") };
    assert_eq!(reply.status, ReplyStatus::Error);
    assert!(reply.error.is_some_and(|error| error.evalue.contains("expected usize")));
    client
        .shell
        .send(UnknownMessage { msg_type: "execute_request".into(), content: json!({ "code": 7 }) }.into())
        .await
        .unwrap();
    let Content::ExecuteReply(reply) = client.shell_reply().await else { panic!("another reply") };
    assert_eq!(reply.status, ReplyStatus::Error);
    let content = json!({ "restart": 7 });
    let reply = client.control(UnknownMessage { msg_type: "shutdown_request".into(), content }).await;
    assert!(serde_json::to_value(&reply).is_ok_and(|reply| reply["status"] == "error"), "{reply:?}");
    assert_eq!(client.count().await, ReplyStatus::Ok, "the kernel goes on");
}

#[tokio::test]
async fn a_crash_of_the_interpreter_ends_the_kernel() {
    let mut client = Client::new().await;
    client.shell.send(ExecuteRequest::new("crash".into()).into()).await.unwrap();
    let error = client.ended().await.unwrap_err();
    assert!(matches!(error, KernelError::Ended), "{error}");
}

#[test]
fn ports_that_are_taken_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("connection.json");
    let connection = connection();
    let _taken = TcpListener::bind(("127.0.0.1", connection.control_port)).unwrap();
    std::fs::write(&path, serde_json::to_string(&connection).unwrap()).unwrap();
    let error = serve(&path).unwrap_err();
    let expected = format!("cannot listen on {} for the control channel: ", connection.control_url());
    assert!(error.to_string().starts_with(&expected), "{error}");
}

fn serve(path: &Path) -> Result<(), KernelError> {
    kernel::serve(path, Box::new(|| Box::new(Counter::default())))
}
