//! A process of its own for formats of other people: what a hostile file does there ends with it.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use longlens_core::lens::Control;

use super::extract::{Extracted, Foreign, Refused};

/// How often somebody who waits is asked whether to stop.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// Bytes of an answer.
const MAX_ANSWER: u64 = 64 << 20;
/// Bytes of the stack that reads: structures lie in each other as deep as a file wants.
const STACK: usize = 256 << 20;

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Has files read by `program extract-text html|pdf` from now on, which is to call [`serve`]. Without it they are read in this process,
/// where a stack that overflows ends everything.
pub fn extract_with(program: PathBuf) {
    let _ = PROGRAM.set(program);
}

/// Reads a file on stdin and answers on stdout, as [`extract_with`]'s program has to.
pub fn serve(foreign: Foreign) -> io::Result<()> {
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    let answer = in_thread(foreign, bytes, &());
    let mut out = io::stdout().lock();
    // libraries may have said something on a line of theirs
    out.write_all(b"\n")?;
    serde_json::to_writer(&mut out, &answer)?;
    out.flush()
}

/// The text of a file.
pub(super) fn extract(foreign: Foreign, bytes: &[u8], control: &dyn Control) -> Result<Extracted, Refused> {
    match PROGRAM.get() {
        Some(program) => in_process(program, foreign, bytes, control),
        None => in_thread(foreign, bytes.to_vec(), control),
    }
}

fn in_thread(foreign: Foreign, bytes: Vec<u8>, control: &dyn Control) -> Result<Extracted, Refused> {
    let (send, answer) = channel();
    let work = move || drop(send.send(foreign.read(&bytes)));
    let started = thread::Builder::new().name("extract".into()).stack_size(STACK).spawn(work);
    started.map_err(|error| no_start(&error))?;
    // a thread that panics drops its end of the channel
    awaited(&answer, foreign, control)?
}

fn in_process(program: &Path, foreign: Foreign, bytes: &[u8], control: &dyn Control) -> Result<Extracted, Refused> {
    let mut command = Command::new(program);
    command.args(["extract-text", foreign.name()]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| no_start(&error))?;
    let mut is_interrupted = false;
    let answer = thread::scope(|scope| {
        let (mut stdin, stdout) = (child.stdin.take()?, child.stdout.take()?);
        // a reader that has seen enough closes its end
        scope.spawn(move || drop(stdin.write_all(bytes)));
        let (send, answer) = channel();
        scope.spawn(move || {
            let mut said = Vec::new();
            let read = stdout.take(MAX_ANSWER).read_to_end(&mut said);
            drop(send.send(read.map(|_| said)));
        });
        let said = awaited(&answer, foreign, control);
        is_interrupted = stop(&mut child);
        Some(said)
    });
    if is_interrupted {
        return Err(interrupted());
    }
    let said = answer.ok_or_else(|| crashed(foreign))??.map_err(|error| no_start(&error))?;
    let line = said.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    serde_json::from_slice(line).unwrap_or_else(|_| Err(crashed(foreign)))
}

/// Ends a reader that has said all, or takes too long; true where somebody's Ctrl-C, which reaches all processes of a terminal, did so before.
fn stop(child: &mut Child) -> bool {
    let ended = child.try_wait().ok().flatten();
    let _ = child.kill();
    let ended = ended.or_else(|| child.wait().ok());
    #[cfg(unix)]
    let is_interrupted = ended.is_some_and(|status| std::os::unix::process::ExitStatusExt::signal(&status) == Some(2));
    #[cfg(not(unix))]
    let is_interrupted = ended.is_none();
    is_interrupted
}

fn awaited<T>(answer: &Receiver<T>, foreign: Foreign, control: &dyn Control) -> Result<T, Refused> {
    let started = Instant::now();
    loop {
        match answer.recv_timeout(ASK_EVERY) {
            Ok(answer) => return Ok(answer),
            Err(RecvTimeoutError::Disconnected) => return Err(crashed(foreign)),
            Err(RecvTimeoutError::Timeout) if control.cancelled() => return Err(interrupted()),
            Err(RecvTimeoutError::Timeout) if started.elapsed() > limit(foreign) => {
                let problem = format!("its text was not found within {} seconds", limit(foreign).as_secs());
                return Err((problem, other_program(foreign)));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// What a file may take: a manual of 1,200 pages in PDF takes 20 seconds, a page of 10 MB in HTML nine.
const fn limit(foreign: Foreign) -> Duration {
    match foreign {
        Foreign::Html => Duration::from_mins(1),
        Foreign::Pdf => Duration::from_mins(3),
    }
}

fn interrupted() -> Refused {
    ("reading it was interrupted".to_owned(), "try again".to_owned())
}

fn crashed(foreign: Foreign) -> Refused {
    let problem = "it makes the program that reads it crash, or take more than 2 GiB of memory".to_owned();
    (problem, other_program(foreign))
}

fn no_start(error: &io::Error) -> Refused {
    (format!("no process could be started to read it: {error}"), "give a text file instead".to_owned())
}

fn other_program(foreign: Foreign) -> String {
    let program = match foreign {
        Foreign::Html => "w3m",
        Foreign::Pdf => "pdftotext",
    };
    format!("take its text out with another program, for example {program}")
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Wants a reader to stop when asked for the third time.
    struct Impatient(AtomicUsize);

    impl Control for Impatient {
        fn cancelled(&self) -> bool {
            self.0.fetch_add(1, Ordering::Relaxed) == 2
        }
    }

    #[test]
    fn a_reader_that_nobody_waits_for_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("reader");
        std::fs::write(&program, "#!/bin/sh\nexec sleep 60\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let started = Instant::now();
        let refused = in_process(&program, Foreign::Pdf, b"%PDF-", &Impatient(AtomicUsize::new(0))).unwrap_err();
        assert_eq!(refused, interrupted());
        assert!(started.elapsed() < Duration::from_secs(30));
    }
}
