//! The thread of the sockets: takes requests in, sends everything out, and answers at once what cannot wait for a cell.

use std::future::pending;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use jupyter_protocol::{ConnectionInfo, InterruptReply, JupyterMessage, JupyterMessageContent, ShutdownReply, Status};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::channels::{Heartbeat, Publisher, Requests, Stdin};
use super::interrupts::Interrupts;
use super::outbox::{Channel, Outbox, Outgoing, Senders, busy, deliver, idle, publish, queue, reply};
use super::shell::Shell;
use super::signatures::Signatures;
use super::zmtp::Listener;
use super::{KernelError, Make, info, log, wire};

/// How long a cell may take to notice that the kernel ends.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How long clients have to take the last messages from the system before the connections are closed.
const LINGER: Duration = Duration::from_millis(100);
/// Bytes of stack for the interpreter: scripts nest functions deeply.
const STACK: usize = 256 << 20;

/// Binds the sockets and serves until a shutdown is asked for.
pub(super) async fn run(connection: &ConnectionInfo, make: Make) -> Result<(), KernelError> {
    let listen = async |socket, port, address| {
        let made = Listener::bind(connection, port).await;
        made.map_err(|cause| KernelError::Bind { socket, address, cause })
    };
    let shell = listen("shell", connection.shell_port, connection.shell_url()).await?;
    let iopub = listen("iopub", connection.iopub_port, connection.iopub_url()).await?;
    let stdin = listen("stdin", connection.stdin_port, connection.stdin_url()).await?;
    let control = listen("control", connection.control_port, connection.control_url()).await?;
    let heartbeat = listen("heartbeat", connection.hb_port, connection.hb_url()).await?;

    let signatures = Arc::new(Signatures::new(&connection.key));
    let (shell_requests, mut shell_queue) = Requests::new("shell", &signatures);
    let (control_requests, mut control_queue) = Requests::new("control", &signatures);
    let (shell, control) = (shell.serve("shell", shell_requests), control.serve("control", control_requests));
    let iopub = iopub.serve("iopub", Publisher);
    stdin.serve("stdin", Stdin);
    heartbeat.serve("heartbeat", Heartbeat);

    let (outgoing, queued) = queue();
    tokio::spawn(deliver(queued, Senders { signatures, shell, control, iopub }));
    let interrupts = Arc::new(Interrupts::default());
    tokio::spawn(watch_signals(Arc::clone(&interrupts)));
    let (requests, mut ended) = start_interpreter(make, Outbox::new(outgoing.clone()), Arc::clone(&interrupts))?;
    put(&outgoing, [publish(Status::starting(), None)]).await;

    let asked = tokio::select! {
        request = pass_on(&mut shell_queue, &requests) => Some((Channel::Shell, request)),
        request = attend(&mut control_queue, &outgoing, &interrupts) => Some((Channel::Control, request)),
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
        Shell::new(make(), outbox, interrupts).run(&queued);
    };
    thread::Builder::new().name("cells".into()).stack_size(STACK).spawn(work).map_err(KernelError::Start)?;
    Ok((requests, ended))
}

/// Hands requests to the interpreter; returns a request to shut down.
async fn pass_on(
    queue: &mut mpsc::UnboundedReceiver<JupyterMessage>,
    requests: &Sender<JupyterMessage>,
) -> JupyterMessage {
    loop {
        // the socket that puts requests in is served as long as the program runs
        let Some(request) = queue.recv().await else { return pending().await };
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
    queue: &mut mpsc::UnboundedReceiver<JupyterMessage>,
    outgoing: &mpsc::Sender<Outgoing>,
    interrupts: &Arc<Interrupts>,
) -> JupyterMessage {
    loop {
        let Some(request) = queue.recv().await else { return pending().await };
        let answer = match &request.content {
            JupyterMessageContent::ShutdownRequest(_) => return request,
            JupyterMessageContent::InterruptRequest(_) => {
                tokio::spawn(interrupts.stop());
                reply(Channel::Control, InterruptReply::new(), &request)
            }
            JupyterMessageContent::KernelInfoRequest(_) => reply(Channel::Control, info(), &request),
            other => {
                let Some(refusal) = wire::refusal(&request, 0) else {
                    log(&format!("ignored `{}` on the control channel", other.message_type()));
                    continue;
                };
                reply(Channel::Control, refusal, &request)
            }
        };
        put(outgoing, [busy(&request), answer, idle(&request)]).await;
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
