//! The prompt as its user has it, in a pseudo-terminal driven by keys; and scripts that come from a pipe.

#![cfg(unix)]

mod common;

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::Scripted;
use longlens_notebook::host::Files;
use longlens_notebook::interpreter::Nobody;
use longlens_notebook::repl::{self, ReplError, ReplOptions};
use longlens_notebook::session::{Limits, Options, Session};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

/// Names the folder in which the prompt runs.
const FOLDER: &str = "LONGLENS_TEST_PROMPT";

fn session(folder: &Path) -> Session {
    let options =
        Options { model: "embedded".into(), files: Files::below(folder), limits: Limits::default(), draws: false };
    Session::new(Box::new(Scripted), options, &Nobody::out())
}

/// Not a test when it is started by the others: then it is the prompt itself.
#[test]
fn the_prompt_itself() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let signals = |interrupts: repl::Interrupts| {
        ctrlc::set_handler(move || assert!(interrupts.press(), "at the prompt Ctrl-C is a key")).unwrap();
    };
    let options = ReplOptions {
        history: Some(folder.join("history")),
        signals: Some(Box::new(signals)),
        ..ReplOptions::default()
    };
    let ended = repl::run(session(folder), options);
    // the harness has nothing to add
    std::process::exit(i32::from(ended.is_err()));
}

struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    keys: Box<dyn Write + Send>,
    screen: Arc<Mutex<vt100::Parser>>,
    master: Box<dyn MasterPty + Send>,
    started: Instant,
}

const SIZE: PtySize = PtySize { rows: 40, cols: 90, pixel_width: 0, pixel_height: 0 };

impl Terminal {
    fn start(folder: &Path) -> Self {
        let pty = native_pty_system().openpty(SIZE).unwrap();
        let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
        command.args(["the_prompt_itself", "--exact", "--nocapture", "--test-threads=1"]);
        command.env(FOLDER, folder);
        command.env("TERM", "xterm-256color");
        command.env("COLORTERM", "truecolor");
        for name in ["NO_COLOR", "TMUX", "KITTY_WINDOW_ID", "TERM_PROGRAM", "LC_TERMINAL"] {
            command.env_remove(name);
        }
        let started = Instant::now();
        let child = pty.slave.spawn_command(command).unwrap();
        let mut output = pty.master.try_clone_reader().unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(SIZE.rows, SIZE.cols, 200)));
        let inside = screen.clone();
        std::thread::spawn(move || {
            let mut part = [0; 1 << 14];
            while let Ok(n @ 1..) = output.read(&mut part) {
                inside.lock().unwrap().process(&part[..n]);
            }
        });
        let keys = pty.master.take_writer().unwrap();
        Self { child, keys, screen, master: pty.master, started }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    fn screen(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    fn wait(&self, what: &str, is_there: impl Fn(&str) -> bool) -> String {
        let since = Instant::now();
        loop {
            let screen = self.screen();
            if is_there(&screen) {
                return screen;
            }
            assert!(since.elapsed() < Duration::from_secs(30), "{what} never shows:\n{screen}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn wait_for(&self, text: &str) -> String {
        self.wait(text, |screen| screen.contains(text))
    }

    /// Waits for an empty prompt with this number.
    fn wait_for_prompt(&self, number: usize) -> String {
        let prompt = format!("[{number}]:");
        self.wait(&prompt, |screen| screen.trim_end().lines().last().is_some_and(|line| line.trim_end() == prompt))
    }

    /// Runs one line; returns the screen at the next prompt.
    fn run(&mut self, number: usize, line: &str) -> String {
        self.press(line);
        self.wait_for(line);
        self.press("\r");
        self.wait_for_prompt(number + 1)
    }

    fn leave(mut self, keys: &str) {
        self.press(keys);
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert_eq!(status.exit_code(), 0);
                break;
            }
            assert!(since.elapsed() < Duration::from_secs(20), "it does not leave:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(5));
        }
        // the last bytes may still be on their way
        while self.screen.lock().unwrap().screen().bracketed_paste() {
            assert!(since.elapsed() < Duration::from_secs(20), "pasting is not plain again");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn the_prompt_is_there_at_once_and_cells_run() {
    let folder = tempfile::Builder::new().prefix("cells").tempdir().unwrap();
    let mut terminal = Terminal::start(folder.path());
    let screen = terminal.wait_for_prompt(1);
    let started = terminal.started.elapsed();
    // 150 ms are asked for; a loaded machine gets more
    assert!(started < Duration::from_secs(2), "the first prompt took {started:?}");
    let greeting = screen.lines().find(|line| line.contains("longlens")).unwrap();
    assert!(greeting.contains("embedded") && greeting.contains("? for help"), "{greeting}");

    assert!(terminal.run(1, "let x = 20 + 1; x * 2").contains("[1] = 42"));
    let screen = terminal.run(2, "x + y");
    assert!(screen.contains("NameError") && screen.contains("1 | x + y\n  |     ^"), "{screen}");
    terminal.press("?\r");
    terminal.wait_for("Ctrl-R");
    terminal.wait_for_prompt(3);
    // Ctrl-C clears the line, and the number stays
    terminal.press("half a li");
    terminal.wait_for("half a li");
    terminal.press("\x03");
    terminal.wait_for_prompt(3);

    // each cell costs next to nothing beside its own work
    let since = Instant::now();
    for number in 3..13 {
        terminal.run(number, &format!("x * {number}00"));
    }
    let each = since.elapsed() / 10;
    assert!(each < Duration::from_millis(500), "{each:?} a cell");
    terminal.leave("\x04");
}

#[test]
fn lines_stay_open_until_the_cell_is_whole() {
    let folder = tempfile::Builder::new().prefix("cells").tempdir().unwrap();
    let mut terminal = Terminal::start(folder.path());
    terminal.wait_for_prompt(1);
    terminal.press("fn twice(n) {\rif n > 0 {\r2 * n\r}\r");
    // the bracket fell back by one step
    terminal.wait_for("    if n > 0 {\n        2 * n\n    }");
    terminal.press("}\r");
    terminal.wait_for_prompt(2);
    assert!(terminal.run(2, "twice(4)").contains("[2] = 8"));
    // pasted text is one entry, whatever it holds
    terminal.press("\x1b[200~let a = 1;\nlet b = 2;\na + b\x1b[201~");
    terminal.wait_for("a + b");
    terminal.press("\r");
    terminal.wait_for("[3] = 3");
    terminal.wait_for_prompt(4);
    // an empty line runs what is open
    terminal.press("twice(\r\r");
    terminal.wait_for("SyntaxError");
    terminal.wait_for_prompt(5);
    terminal.leave("exit\r");
}

#[test]
fn tab_completes_and_hints_name_parameters() {
    let folder = tempfile::Builder::new().prefix("cells").tempdir().unwrap();
    let mut terminal = Terminal::start(folder.path());
    terminal.wait_for_prompt(1);
    terminal.press("self_ex\t");
    terminal.wait_for("[1]: self_extend");
    terminal.press("\x15passkey(#{ \t");
    terminal.wait_for("parameter");
    terminal.press("\x03");
    terminal.wait_for_prompt(1);
    terminal.press("passkey(");
    terminal.wait("the signature", |screen| screen.lines().any(|line| line.contains("]: passkey(   passkey(")));
    terminal.press("\x03");
    terminal.wait_for_prompt(1);
    terminal.leave("\x04");
}

#[test]
fn ctrl_c_stops_a_cell_and_what_it_set_is_kept() {
    let folder = tempfile::Builder::new().prefix("cells").tempdir().unwrap();
    let mut terminal = Terminal::start(folder.path());
    terminal.wait_for_prompt(1);
    terminal.press("let kept = 7; print(\"begun\"); loop { }\r");
    terminal.wait("the cell", |screen| screen.lines().any(|line| line.trim_end() == "begun"));
    terminal.press("\x03");
    terminal.wait_for("Interrupted");
    terminal.wait_for_prompt(2);
    assert!(terminal.run(2, "kept").contains("[2] = 7"));
    terminal.leave("quit()\r");
}

#[test]
fn history_survives_with_its_lines() {
    let folder = tempfile::Builder::new().prefix("cells").tempdir().unwrap();
    let mut terminal = Terminal::start(folder.path());
    terminal.wait_for_prompt(1);
    terminal.press("let list = [\r1\r]\r");
    terminal.wait_for_prompt(2);
    terminal.run(2, "list.len");
    terminal.leave("\x04");

    let mut terminal = Terminal::start(folder.path());
    terminal.wait_for_prompt(1);
    terminal.press("\x1b[A");
    terminal.wait_for("[1]: list.len");
    terminal.press("\x1b[A");
    terminal.wait_for("[1]: let list = [\n    1\n]");
    terminal.press("\r");
    terminal.wait_for_prompt(2);
    // a search finds it
    terminal.press("\x12.len");
    terminal.wait_for("list.len");
    terminal.press("\r");
    terminal.wait_for("[2] = 1");
    // keys that come before the prompt stands may be lost
    terminal.wait_for_prompt(3);
    terminal.leave("\x04");
}

#[test]
fn figures_are_drawn_as_wide_as_the_terminal() {
    let folder = tempfile::Builder::new().prefix("cells").tempdir().unwrap();
    let mut terminal = Terminal::start(folder.path());
    terminal.wait_for_prompt(1);
    let figure = "positions(self_extend(#{ neighbor_window: 4, group_size: 2 }), 32)";
    terminal.press(&format!("{figure}\r"));
    let widest = |screen: &str| screen.lines().filter(|line| line.contains('▀')).map(|line| line.chars().count()).max();
    let screen = terminal.wait("half blocks", |screen| widest(screen).is_some() && screen.trim_end().ends_with("[2]:"));
    assert!(widest(&screen).unwrap() > 60, "{screen}");
    // narrower: the next one fits
    terminal.master.resize(PtySize { cols: 50, ..SIZE }).unwrap();
    terminal.screen.lock().unwrap().screen_mut().set_size(SIZE.rows, 50);
    terminal.press("\x0c_\r");
    let screen = terminal.wait("half blocks", |screen| widest(screen).is_some() && screen.trim_end().ends_with("[3]:"));
    assert!((30..=50).contains(&widest(&screen).unwrap()), "{screen}");
    terminal.leave("\x04");
}

/// Takes a number of bytes, then its reader is gone.
struct Reader {
    text: Rc<RefCell<Vec<u8>>>,
    left: usize,
}

impl Write for Reader {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left < bytes.len() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.left -= bytes.len();
        self.text.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn scripted(text: &str, left: usize) -> (Result<(), ReplError>, String) {
    let folder = tempfile::Builder::new().prefix("cells").tempdir().unwrap();
    let said = Rc::new(RefCell::new(Vec::new()));
    let ended = repl::script(session(folder.path()), text, Box::new(Reader { text: said.clone(), left }));
    (ended, String::from_utf8(said.take()).unwrap())
}

#[test]
fn scripts_run_to_their_first_error() {
    let (ended, said) = scripted("let a = 2;\nprint(\"two\");\na + 1\n%who\na * 10;\nb", 1000);
    assert!(matches!(&ended, Err(ReplError::Cell(error)) if error.name == "NameError"), "{ended:?}");
    assert!(said.starts_with("two\n3\na ") && !said.contains("20"), "{said}");
    let (ended, said) = scripted("// %%\n1\n// %%\nquit()\n// %%\nb", 1000);
    assert!(ended.is_ok() && said == "1\n", "{said}");
    let (ended, _) = scripted("let a = 1;\na +* 2", 1000);
    let Err(error @ ReplError::Cell(_)) = ended else { panic!("{ended:?}") };
    assert!(error.to_string().contains("2 | a +* 2"), "{error}");
}

#[test]
fn a_reader_that_goes_away_ends_a_script_quietly() {
    let (ended, said) = scripted("loop { print(\"abc\"); }", 10);
    assert!(ended.is_ok());
    assert_eq!(said, "abc\nabc\n");
    // what says little may still have work to do
    let (ended, said) = scripted("for n in 0..100 { print(n); }\n%who\nno_such", 10);
    assert!(matches!(&ended, Err(ReplError::Cell(error)) if error.name == "NameError"), "{ended:?}");
    assert!(said.len() <= 10, "{said}");
}
