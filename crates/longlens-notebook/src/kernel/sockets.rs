//! The thread of the sockets: takes requests in, sends everything out, and answers at once what cannot wait for a cell.

use std::future::pending;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use jupyter_protocol::{ConnectionInfo, InterruptReply, JupyterMessage, JupyterMessageContent, ShutdownReply, Status};
use jupyter_zmq_client::{
    KernelHeartbeatConnection, RouterRecvConnection, RuntimeError, create_kernel_control_connection,
    create_kernel_heartbeat_connection, create_kernel_iopub_connection, create_kernel_shell_connection,
    create_kernel_stdin_connection,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::interrupts::Interrupts;
use super::outbox::{Channel, Outbox, Outgoing, Senders, busy, deliver, idle, publish, queue, reply};
use super::session::Session;
use super::{KernelError, Make, info, log, wire};

/// How long a cell may take to notice that the kernel ends.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How long the last messages have to leave the sockets' own queues, which nobody can wait for.
const LINGER: Duration = Duration::from_millis(100);
/// After a message that could not be read, lest broken ones keep a core busy.
const PAUSE: Duration = Duration::from_millis(5);
/// Bytes of stack for the interpreter: scripts nest functions deeply.
const STACK: usize = 256 << 20;

/// Binds the sockets and serves until a shutdown is asked for.
pub(super) async fn run(connection: &ConnectionInfo, make: Make) -> Result<(), KernelError> {
    let name = Uuid::new_v4().to_string();
    let shell = create_kernel_shell_connection(connection, &name).await;
    let (shell, mut shell_requests) = bound("shell", connection.shell_url(), shell)?.split();
    let control = create_kernel_control_connection(connection, &name).await;
    let (control, mut control_requests) = bound("control", connection.control_url(), control)?.split();
    // a publishing socket drops what a client that hangs does not take; the kind that greets subscribers would wait for it
    let iopub = create_kernel_iopub_connection(connection, &name).await;
    let iopub = bound("iopub", connection.iopub_url(), iopub)?;
    // clients connect to it, but no cell ever asks for input
    let stdin = create_kernel_stdin_connection(connection, &name).await;
    let _stdin = bound("stdin", connection.stdin_url(), stdin)?;
    let heartbeat = create_kernel_heartbeat_connection(connection).await;
    tokio::spawn(beat(bound("heartbeat", connection.hb_url(), heartbeat)?));

    let (outgoing, queued) = queue();
    tokio::spawn(deliver(queued, Senders { shell, control, iopub }));
    let interrupts = Arc::new(Interrupts::default());
    tokio::spawn(watch_signals(Arc::clone(&interrupts)));
    let (requests, mut ended) = start_interpreter(make, Outbox::new(outgoing.clone()), Arc::clone(&interrupts))?;
    put(&outgoing, [publish(Status::starting(), None)]).await;

    let asked = tokio::select! {
        request = pass_on(&mut shell_requests, &requests) => Some((Channel::Shell, request)),
        request = attend(&mut control_requests, &outgoing, &interrupts) => Some((Channel::Control, request)),
        () = parent_gone() => None,
        _ = &mut ended => {
            flush(&outgoing).await;
            return Err(KernelError::Ended);
        }
    };
    interrupts.close();
    if let Some((channel, request)) = asked {
        say_goodbye(channel, &request, &outgoing).await;
    }
    // the interpreter's thread ends when no request can come any more; a cell that does not stop is left behind
    drop(requests);
    if timeout(PATIENCE, async { tokio::join!(interrupts.stop(), ended) }).await.is_err() {
        log("the running cell did not stop in time; ending without it");
    }
    flush(&outgoing).await;
    Ok(())
}

fn bound<T>(socket: &'static str, address: String, made: Result<T, RuntimeError>) -> Result<T, KernelError> {
    made.map_err(|cause| KernelError::Bind { socket, address, cause: cause.to_string() })
}

/// The second value comes, or fails to come, when the thread has ended.
fn start_interpreter(
    make: Make,
    outbox: Outbox,
    interrupts: Arc<Interrupts>,
) -> Result<(Sender<JupyterMessage>, oneshot::Receiver<()>), KernelError> {
    let (requests, queued) = channel();
    let (alive, ended) = oneshot::channel::<()>();
    let work = move || {
        // dropped with the thread, however it ends
        let _alive = alive;
        Session::new(make(), outbox, interrupts).run(&queued);
    };
    thread::Builder::new().name("cells".into()).stack_size(STACK).spawn(work).map_err(KernelError::Start)?;
    Ok((requests, ended))
}

/// Hands requests to the interpreter; returns a request to shut down.
async fn pass_on(connection: &mut RouterRecvConnection, requests: &Sender<JupyterMessage>) -> JupyterMessage {
    loop {
        let Some(request) = read("shell", connection).await else { continue };
        if matches!(request.content, JupyterMessageContent::ShutdownRequest(_)) {
            return request;
        }
        if requests.send(request).is_err() {
            // the interpreter is gone, which `run` hears of by itself
            return pending().await;
        }
    }
}

/// Answers what does not wait for a cell; returns a request to shut down.
async fn attend(
    connection: &mut RouterRecvConnection,
    outgoing: &mpsc::Sender<Outgoing>,
    interrupts: &Arc<Interrupts>,
) -> JupyterMessage {
    loop {
        let Some(request) = read("control", connection).await else { continue };
        let answer = match &request.content {
            JupyterMessageContent::ShutdownRequest(_) => return request,
            JupyterMessageContent::InterruptRequest(_) => {
                tokio::spawn(interrupts.stop());
                reply(Channel::Control, InterruptReply::new(), &request)
            }
            JupyterMessageContent::KernelInfoRequest(_) => reply(Channel::Control, info(), &request),
            other => {
                log(&format!("ignored `{}` on the control channel", other.message_type()));
                continue;
            }
        };
        put(outgoing, [busy(&request), answer, idle(&request)]).await;
    }
}

async fn read(channel: &str, connection: &mut RouterRecvConnection) -> Option<JupyterMessage> {
    match wire::read(connection).await {
        Ok(request) => Some(request),
        Err(why) => {
            log(&format!("dropped a message on the {channel} channel: {why}"));
            sleep(PAUSE).await;
            None
        }
    }
}

async fn say_goodbye(channel: Channel, request: &JupyterMessage, outgoing: &mpsc::Sender<Outgoing>) {
    let JupyterMessageContent::ShutdownRequest(ask) = &request.content else { return };
    let answer = ShutdownReply { restart: ask.restart, ..ShutdownReply::default() };
    // other clients of this kernel hear of it too
    let told = publish(answer.clone(), Some(request));
    put(outgoing, [busy(request), reply(channel, answer, request), told, idle(request)]).await;
}

async fn put<const N: usize>(outgoing: &mpsc::Sender<Outgoing>, messages: [Outgoing; N]) {
    for message in messages {
        // only fails when the runtime is going down
        let _ = outgoing.send(message).await;
    }
}

/// Returns when everything that was put in has been sent.
async fn flush(outgoing: &mpsc::Sender<Outgoing>) {
    let (done, sent) = oneshot::channel();
    let all = async {
        put(outgoing, [Outgoing::Flush(done)]).await;
        sent.await
    };
    // a cell that was left behind may go on printing
    let _ = timeout(PATIENCE, all).await;
    sleep(LINGER).await;
}

/// Answers heartbeats.
async fn beat(mut heartbeat: KernelHeartbeatConnection) {
    loop {
        // a client that went away between question and answer is no trouble
        if heartbeat.single_heartbeat().await.is_err() {
            sleep(PAUSE).await;
        }
    }
}

/// Ctrl-C and its signal stop the running cell, never the kernel.
async fn watch_signals(interrupts: Arc<Interrupts>) {
    while tokio::signal::ctrl_c().await.is_ok() {
        tokio::spawn(interrupts.stop());
    }
}

/// Returns when the Jupyter that started this kernel is no more; never when none says that it did.
async fn parent_gone() {
    #[cfg(unix)]
    {
        use std::os::unix::process::parent_id;
        let parent = parent_id();
        if std::env::var("JPY_PARENT_PID").is_ok_and(|pid| pid == parent.to_string()) {
            while parent_id() == parent {
                sleep(Duration::from_secs(1)).await;
            }
            return;
        }
    }
    pending::<()>().await;
}
