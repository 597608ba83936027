//! A command in a pseudo-terminal, and everything that its screen showed.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

/// Lines above the screen that are kept.
const SCROLLBACK: usize = 20_000;
/// A loaded machine is slow.
const PATIENCE: Duration = Duration::from_mins(2);

/// A running command.
pub struct Screen {
    pub child: Box<dyn Child + Send + Sync>,
    keys: Box<dyn Write + Send>,
    seen: Arc<Mutex<Seen>>,
    /// Held open for as long as the command runs.
    _master: Box<dyn MasterPty + Send>,
}

struct Seen {
    screen: vt100::Parser,
    bytes: Vec<u8>,
    is_over: bool,
}

/// What a command left on its screen.
pub struct Left {
    pub code: u32,
    /// Every line, those that scrolled away too.
    pub text: String,
    /// Everything that was written.
    pub bytes: String,
}

impl Screen {
    /// Starts the program in a folder, on a terminal of so many rows and columns.
    pub fn start(folder: &Path, args: &[&str], size: (u16, u16), env: &[(&str, &str)]) -> Self {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_longlens"));
        command.args(args);
        Self::started(folder, command, size, env)
    }

    /// Runs a line of a shell to its end.
    pub fn run_shell(folder: &Path, line: &str, size: (u16, u16), env: &[(&str, &str)]) -> Left {
        let mut command = CommandBuilder::new("sh");
        command.args(["-c", line]);
        Self::started(folder, command, size, env).end()
    }

    fn started(folder: &Path, mut command: CommandBuilder, (rows, cols): (u16, u16), env: &[(&str, &str)]) -> Self {
        let pty = native_pty_system().openpty(PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }).unwrap();
        command.cwd(folder);
        for name in ["NO_COLOR", "CLICOLOR_FORCE", "FORCE_COLOR", "COLORTERM", "CI", "HF_HUB_CACHE", "TMUX"] {
            command.env_remove(name);
        }
        command.env("XDG_STATE_HOME", folder.join("state"));
        command.env("HF_HOME", folder.join("hf"));
        command.env("TERM", "xterm-256color");
        for (name, value) in env {
            command.env(name, value);
        }
        let child = pty.slave.spawn_command(command).unwrap();
        // the reader meets the end when the command, and nobody else, has closed the terminal
        drop(pty.slave);
        let mut output = pty.master.try_clone_reader().unwrap();
        let screen = vt100::Parser::new(rows, cols, SCROLLBACK);
        let seen = Arc::new(Mutex::new(Seen { screen, bytes: Vec::new(), is_over: false }));
        let inside = seen.clone();
        std::thread::spawn(move || {
            let mut part = [0; 1 << 14];
            while let Ok(n @ 1..) = output.read(&mut part) {
                let mut seen = inside.lock().unwrap();
                seen.screen.process(&part[..n]);
                seen.bytes.extend(&part[..n]);
            }
            inside.lock().unwrap().is_over = true;
        });
        let keys = pty.master.take_writer().unwrap();
        Self { child, keys, seen, _master: pty.master }
    }

    /// Runs a command to its end.
    pub fn run(folder: &Path, args: &[&str], size: (u16, u16), env: &[(&str, &str)]) -> Left {
        Self::start(folder, args, size, env).end()
    }

    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits until something was written.
    pub fn wait_for(&self, text: &str) {
        self.wait_for_times(text, 1);
    }

    /// Waits until something was written so many times.
    pub fn wait_for_times(&self, text: &str, times: usize) {
        let since = Instant::now();
        while String::from_utf8_lossy(&self.seen.lock().unwrap().bytes).matches(text).count() < times {
            assert!(since.elapsed() < PATIENCE, "{text:?} never shows:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the end.
    pub fn end(mut self) -> Left {
        let since = Instant::now();
        let code = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status.exit_code();
            }
            assert!(since.elapsed() < PATIENCE, "the command does not end:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(5));
        };
        while !self.seen.lock().unwrap().is_over && since.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(2));
        }
        let bytes = String::from_utf8(self.seen.lock().unwrap().bytes.clone()).unwrap();
        Left { code, text: self.text(), bytes }
    }

    /// Every line so far, from the first.
    pub fn text(&self) -> String {
        let mut seen = self.seen.lock().unwrap();
        let screen = seen.screen.screen_mut();
        let (_, cols) = screen.size();
        screen.set_scrollback(usize::MAX);
        let n_above = screen.scrollback();
        let mut text = String::new();
        for above in (1..=n_above).rev() {
            screen.set_scrollback(above);
            text.extend(screen.rows(0, cols).next().map(|row| row + "\n"));
        }
        screen.set_scrollback(0);
        text.extend(screen.rows(0, cols).map(|row| row + "\n"));
        text
    }
}

/// A text without what wrapping and columns change.
pub fn dense(text: &str) -> String {
    text.split_whitespace().collect()
}
