//! A panic on the thread that draws gives the terminal back before it is told.

#![cfg(unix)]

use std::io::Read;

use portable_pty::{CommandBuilder, PtySize, native_pty_system};

#[test]
fn a_panic_gives_the_terminal_back() {
    let pty = native_pty_system().openpty(PtySize { rows: 40, cols: 120, ..PtySize::default() }).unwrap();
    // a plain `cargo test` builds examples before it runs tests; `--test panic` alone would run an older one
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples").join("broken");
    let mut child = pty.slave.spawn_command(CommandBuilder::new(&program)).unwrap();
    drop(pty.slave);
    let mut output = pty.master.try_clone_reader().unwrap();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // the other end of a pseudo-terminal is lost with an error
        let _ = output.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let status = child.wait().unwrap();
    let text = reader.join().unwrap();
    assert_eq!(status.exit_code(), 101, "it panics: {text}");
    let left = text.rfind("\x1b[?1049l").expect("the alternate screen is left");
    let told = text.rfind("panicked at").expect("the panic is told");
    assert!(left < told, "it is told on the main screen");
    for on_again in ["\x1b[?25h", "\x1b[?2004l", "\x1b[?1000l"] {
        assert!(text[..told].contains(on_again), "{on_again:?} comes before");
    }
    let termios = format!("{:?}", pty.master.get_termios().expect("a pseudo-terminal has settings").local_flags);
    assert!(termios.contains("ICANON") && termios.contains("ECHO"), "raw mode is left: {termios}");
}
