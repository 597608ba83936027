//! A running program in a pseudo-terminal, and what its screen shows.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use crate::signal;

/// A running program and what its terminal shows.
pub struct Pty {
    pub child: Box<dyn Child + Send + Sync>,
    pub keys: Box<dyn Write + Send>,
    pub shown: Arc<Mutex<Shown>>,
    pub master: Box<dyn MasterPty + Send>,
    pub started: Instant,
}

pub struct Shown {
    pub screen: vt100::Parser,
    /// Everything that was written.
    pub bytes: Vec<u8>,
    /// When the first frame was there.
    pub first: Option<Instant>,
    /// Whether nobody is to read any more.
    pub closed: bool,
}

/// Cells of the terminal.
pub const SIZE: PtySize = PtySize { rows: 44, cols: 140, pixel_width: 0, pixel_height: 0 };

impl Pty {
    /// Starts the program in a folder; sessions are kept there too.
    pub fn start(folder: &Path, args: &[&str]) -> Self {
        let pair = native_pty_system().openpty(SIZE).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_longlens"));
        command.args(args);
        command.cwd(folder);
        command.env("XDG_STATE_HOME", folder.join("state"));
        command.env("TERM", "xterm-256color");
        command.env("COLORTERM", "truecolor");
        for name in ["NO_COLOR", "KITTY_WINDOW_ID", "TERM_PROGRAM", "WEZTERM_EXECUTABLE", "KONSOLE_VERSION"] {
            command.env_remove(name);
        }
        let started = Instant::now();
        let child = pair.slave.spawn_command(command).unwrap();
        let mut output = pair.master.try_clone_reader().unwrap();
        let shown = Arc::new(Mutex::new(Shown {
            screen: vt100::Parser::new(SIZE.rows, SIZE.cols, 0),
            bytes: Vec::new(),
            first: None,
            closed: false,
        }));
        let inside = shown.clone();
        std::thread::spawn(move || {
            let mut part = [0; 1 << 14];
            while let Ok(n) = output.read(&mut part) {
                if n == 0 {
                    break;
                }
                let mut shown = inside.lock().unwrap();
                if shown.closed {
                    break;
                }
                shown.screen.process(&part[..n]);
                shown.bytes.extend(&part[..n]);
                if shown.first.is_none() && shown.screen.screen().contents().contains("controls") {
                    shown.first = Some(Instant::now());
                }
            }
        });
        let keys = pair.master.take_writer().unwrap();
        Self { child, keys, shown, master: pair.master, started }
    }

    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    pub fn screen(&self) -> String {
        self.shown.lock().unwrap().screen.screen().contents()
    }

    /// Waits until the screen is as asked for; returns it.
    pub fn wait(&self, what: &str, is_there: impl Fn(&str) -> bool) -> String {
        let since = Instant::now();
        loop {
            let screen = self.screen();
            if is_there(&screen) {
                return screen;
            }
            assert!(since.elapsed() < Duration::from_secs(30), "{what} never shows:\n{screen}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn wait_for(&self, text: &str) -> String {
        self.wait(text, |screen| screen.contains(text))
    }

    /// Quits, whether or not it asks back.
    pub fn quit(&mut self) {
        self.press("q");
        let since = Instant::now();
        while self.child.try_wait().unwrap().is_none() && since.elapsed() < Duration::from_secs(2) {
            if self.screen().contains("quit?") {
                self.press("y");
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(self.end(), 0);
    }

    /// Waits for the end; returns the exit code.
    pub fn end(&mut self) -> u32 {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // the reader takes the last bytes
                std::thread::sleep(Duration::from_millis(100));
                return status.exit_code();
            }
            assert!(since.elapsed() < Duration::from_secs(20), "the program does not end:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The terminal is as it was: main screen, cursor shown, no mouse, no bracketed paste, and lines are echoed again.
    pub fn is_given_back(&self) {
        let shown = self.shown.lock().unwrap();
        let screen = shown.screen.screen();
        assert!(!screen.alternate_screen(), "the alternate screen was left");
        assert!(!screen.hide_cursor(), "the cursor is shown");
        assert!(!screen.bracketed_paste(), "pasting is plain");
        assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
        drop(shown);
        let termios = self.master.get_termios().expect("a pseudo-terminal has settings");
        let text = format!("{:?}", termios.local_flags);
        assert!(text.contains("ICANON") && text.contains("ECHO"), "raw mode was left: {text}");
    }

    /// Ends the program as a crash does.
    pub fn kill(&mut self) {
        signal(self.pid(), "KILL");
        self.end();
    }

    pub fn pid(&self) -> u32 {
        self.child.process_id().unwrap()
    }
}
