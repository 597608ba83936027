//! The prompt as its user has it: the real program in a pseudo-terminal, driven by keys, read from its screen.

#![cfg(unix)]

use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

/// A running prompt and what its terminal shows.
struct Prompt {
    child: Box<dyn Child + Send + Sync>,
    keys: Box<dyn Write + Send>,
    screen: Arc<Mutex<vt100::Parser>>,
    master: Box<dyn MasterPty + Send>,
}

const SIZE: PtySize = PtySize { rows: 60, cols: 100, pixel_width: 0, pixel_height: 0 };

impl Prompt {
    /// Starts the program in a folder, which holds its history too.
    fn start(folder: &Path) -> Self {
        let pty = native_pty_system().openpty(SIZE).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_longlens"));
        command.args(["repl", "--images", "blocks"]);
        command.cwd(folder);
        command.env("XDG_STATE_HOME", folder.join("state"));
        command.env("TERM", "xterm-256color");
        command.env("COLORTERM", "truecolor");
        for name in ["NO_COLOR", "TMUX", "KITTY_WINDOW_ID", "TERM_PROGRAM", "LC_TERMINAL"] {
            command.env_remove(name);
        }
        let child = pty.slave.spawn_command(command).unwrap();
        let mut output = pty.master.try_clone_reader().unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(SIZE.rows, SIZE.cols, 0)));
        let inside = screen.clone();
        std::thread::spawn(move || {
            let mut part = [0; 1 << 14];
            while let Ok(n @ 1..) = output.read(&mut part) {
                inside.lock().unwrap().process(&part[..n]);
            }
        });
        let keys = pty.master.take_writer().unwrap();
        let prompt = Self { child, keys, screen, master: pty.master };
        prompt.wait_for_number(1);
        prompt
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
            assert!(since.elapsed() < Duration::from_mins(1), "{what} never shows:\n{screen}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for an empty prompt with this number.
    fn wait_for_number(&self, number: usize) -> String {
        let prompt = format!("[{number}]:");
        self.wait(&prompt, |screen| screen.trim_end().lines().last().is_some_and(|line| line.trim_end() == prompt))
    }

    /// Runs the cell of this number; returns the screen at the next prompt.
    fn run(&mut self, number: usize, cell: &str) -> String {
        self.press(&format!("{cell}\r"));
        self.wait_for_number(number + 1)
    }

    fn exit_code(&mut self) -> u32 {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.exit_code();
            }
            assert!(since.elapsed() < Duration::from_secs(30), "the program does not end:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Lines are read and echoed by the terminal itself, and pasted text is plain.
    fn is_given_back(&self) {
        let modes = format!("{:?}", self.master.get_termios().expect("a pseudo-terminal has settings").local_flags);
        assert!(modes.contains("ICANON") && modes.contains("ECHO"), "raw mode was left: {modes}");
        let since = Instant::now();
        // the last bytes may still be on their way
        while self.screen.lock().unwrap().screen().bracketed_paste() {
            assert!(since.elapsed() < Duration::from_secs(20), "pasted text is not plain again");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn an_hour_at_the_prompt() {
    let folder = tempfile::Builder::new().prefix("cells").tempdir().unwrap();
    let mut prompt = Prompt::start(folder.path());
    assert!(prompt.run(1, "1 + 2").contains("[1] = 3"));
    let screen = prompt.run(2, "positions(self_extend(#{ neighbor_window: 4, group_size: 2 }), 32)");
    assert!(screen.contains('▀'), "the figure is drawn in half blocks:\n{screen}");
    prompt.press("let kept = 7; print(\"begun\"); loop {}\r");
    prompt.wait("the cell", |screen| screen.lines().any(|line| line.trim_end() == "begun"));
    prompt.press("\x03");
    let screen = prompt.wait_for_number(4);
    assert!(screen.contains("Interrupted"), "{screen}");
    assert!(prompt.run(4, "kept").contains("[4] = 7"));
    prompt.press("\x04");
    assert_eq!(prompt.exit_code(), 0);
    prompt.is_given_back();
    let history = std::fs::read_to_string(folder.path().join("state/longlens/repl-history.txt")).unwrap();
    assert!(history.starts_with("1 + 2\n") && history.ends_with("\nkept\n"), "{history}");
}

/// The program keeps the terminal's settings where glibc is.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn a_signal_at_the_prompt_gives_the_terminal_back() {
    for signal in ["TERM", "HUP"] {
        let folder = tempfile::Builder::new().prefix("cells").tempdir().unwrap();
        let mut prompt = Prompt::start(folder.path());
        assert!(prompt.screen.lock().unwrap().screen().bracketed_paste(), "the line editor holds the terminal");
        let pid = prompt.child.process_id().unwrap().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
        assert_eq!(prompt.exit_code(), 130, "{signal}");
        prompt.is_given_back();
    }
}
