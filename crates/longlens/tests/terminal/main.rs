//! Commands as their user has them: in a pseudo-terminal, whose last screen holds the whole result.

#![cfg(unix)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

mod chat;
#[path = "../common/mod.rs"]
mod common;
mod hostile;
mod pipes;
mod screen;

use screen::{Left, Screen, dense};

const WIDE: (u16, u16) = (50, 140);
const NARROW: (u16, u16) = (12, 40);

/// Something that a bar leaves when it is not cleared away.
fn has_bar(text: &str) -> bool {
    text.lines().any(|line| ["[=", "[>", "[  "].iter().any(|begin| line.contains(begin)))
}

/// What was written, without colours and movements.
fn plain(bytes: &str) -> String {
    let mut parts = bytes.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + part.trim_start_matches(|c: char| !c.is_ascii_alphabetic()).get(1..).unwrap_or_default()
    })
}

/// The same command through a pipe.
fn piped(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longlens"));
    command
        .args(args)
        .current_dir(folder)
        .env("XDG_STATE_HOME", folder.join("state"))
        .env("HF_HOME", folder.join("hf"));
    command.stdin(Stdio::null()).output().unwrap()
}

fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("cells").tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let tokens: Vec<String> = (0..3000).map(|n| (3 + n % 900).to_string()).collect();
    write("tokens.json", &format!("[{}]", tokens.join(",")));
    write(
        "cells.rhai",
        "// %%\nprint(\"first\");\n// %%\npasskey(#{ lengths: [2048], depths: [0.5], trials: 6 })\n// %%\n1 + no_such\n",
    );
    folder
}

/// Commands long enough for their bar to show, and whether what they say is the same in every run.
const COMMANDS: [(&str, bool); 9] = [
    ("generate --needle 4k --max-tokens 60 --prefill-chunk 16", true),
    ("passkey --lengths 128,256,2k --depths 0,0.25,0.5,0.75,1 --trials 4", true),
    ("perplexity --lengths 64,128,4k --methods full;self_extend;dual_chunk", true),
    ("chunks --needle 4k --prefill-chunk 16 --attention", true),
    ("attention --needle 4k --prefill-chunk 16 --query 4000", true),
    ("logits --tokens tokens.json --output logits.safetensors --prefill-chunk 16", true),
    ("bench --methods full;long_heads --lengths 2k,4k --repeat 2 --new-tokens 4", false),
    ("demo --up-to 2 --out demo", false),
    ("notebook run cells.rhai", false),
];

/// What a command says on stdout, line by line, stands on the screen in this order; nothing stands in it that was no result.
fn holds_all(line: &str, left: &Left, stdout: &str) {
    let shown = dense(&left.text);
    let mut at = 0;
    for said in stdout.lines().map(dense).filter(|said| !said.is_empty()) {
        let found = shown[at..].find(&said);
        at += found.unwrap_or_else(|| panic!("longlens {line}: {said:?} is not on the screen:\n{}", left.text))
            + said.len();
    }
    assert!(!has_bar(&left.text), "longlens {line}: a bar is left:\n{}", left.text);
}

#[test]
fn the_last_screen_holds_the_whole_result() {
    let folder = folder();
    let mut n_bars = 0;
    for (line, repeats) in COMMANDS {
        let args = common::words(line);
        let through_pipe = piped(folder.path(), &args);
        let stdout = String::from_utf8(through_pipe.stdout).unwrap();
        for size in [WIDE, NARROW] {
            let left = Screen::run(folder.path(), &args, size, &[]);
            assert_eq!(Some(left.code as i32), through_pipe.status.code(), "longlens {line}\n{}", left.text);
            n_bars += usize::from(has_bar(&plain(&left.bytes)));
            if repeats {
                holds_all(line, &left, &stdout);
            } else {
                // numbers differ from run to run, words do not
                let words =
                    |text: &str| text.split_whitespace().filter(|word| word.chars().all(char::is_alphabetic)).count();
                assert!(words(&left.text) >= words(&stdout), "longlens {line}\n{}", left.text);
                assert!(!has_bar(&left.text), "longlens {line}: a bar is left:\n{}", left.text);
            }
        }
    }
    assert!(n_bars >= COMMANDS.len(), "bars hardly show: {n_bars}");
}

#[test]
fn each_line_of_a_notebook_stands_once() {
    let folder = folder();
    for size in [WIDE, NARROW] {
        let left = Screen::run(folder.path(), &["notebook", "run", "cells.rhai"], size, &[]);
        assert_eq!(left.code, 1, "{}", left.text);
        for line in ["1/3 done", "2/3 done", "3/3 error", "no_such", "3 of 3 cells run", "a cell failed"] {
            assert!(dense(&left.text).contains(&dense(line)), "{line:?} is not on the screen:\n{}", left.text);
        }
        assert_eq!(dense(&left.text).matches("1/3done").count(), 1, "{}", left.text);
        assert!(!has_bar(&left.text), "{}", left.text);
    }
}

#[test]
fn a_terminal_that_cannot_move_its_cursor_gets_plain_lines() {
    let folder = folder();
    for (line, repeats) in COMMANDS {
        let args = common::words(line);
        let left = Screen::run(folder.path(), &args, (24, 80), &[("TERM", "dumb")]);
        let odd = left.bytes.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'));
        assert_eq!(odd, None, "longlens {line}: {:?}", left.bytes);
        assert!(!has_bar(&left.bytes), "longlens {line}");
        if repeats {
            holds_all(line, &left, &String::from_utf8(piped(folder.path(), &args).stdout).unwrap());
        }
    }
    for line in ["positions --method ful", "model --nonsense", "notebook run nowhere.ipynb", "--help"] {
        // with CI set, libraries colour their output for any terminal
        let left = Screen::run(folder.path(), &common::words(line), (24, 80), &[("TERM", "dumb"), ("CI", "true")]);
        assert!(!left.bytes.contains('\x1b'), "longlens {line}: {:?}", left.bytes);
    }
    let left = Screen::run(folder.path(), &[], (24, 80), &[("TERM", "dumb")]);
    assert!(left.code == 2 && !left.bytes.contains('\x1b') && left.text.contains("TERM=dumb"), "{}", left.text);
}

#[test]
fn without_colours_a_bar_has_none() {
    let folder = folder();
    let args = common::words("generate --needle 4k --max-tokens 8 --prefill-chunk 16");
    let left = Screen::run(folder.path(), &args, WIDE, &[("NO_COLOR", "1")]);
    assert!(has_bar(&left.bytes), "{:?}", left.bytes);
    assert!(!left.bytes.contains("\x1b[3") && !left.bytes.contains("\x1b[0m"), "{:?}", left.bytes);
}

#[test]
fn ctrl_c_leaves_a_clean_screen() {
    let folder = folder();
    // while a bar stands, and while text is streamed
    for (line, shows) in [
        ("generate --needle 200k --prefill-chunk 64", "prefill"),
        ("generate --prompt Once --max-tokens 100000", " "),
        ("passkey --lengths 64k --trials 4", "passkey"),
    ] {
        for size in [WIDE, NARROW] {
            let mut screen = Screen::start(folder.path(), &common::words(line), size, &[]);
            screen.wait_for(shows);
            std::thread::sleep(std::time::Duration::from_millis(300));
            screen.press("\x03");
            let left = screen.end();
            assert_eq!(left.code, 1, "longlens {line}\n{}", left.text);
            assert!(dense(&left.text).contains(&dense("stopping; what is finished is kept")), "{}", left.text);
            assert!(left.text.contains("interrupted"), "{}", left.text);
            assert!(!has_bar(&left.text), "longlens {line}: a bar is left:\n{}", left.text);
            let begins = left.text.lines().any(|line| line.starts_with("stopping;"));
            assert!(begins, "it begins a line of its own:\n{}", left.text);
        }
    }
}

#[test]
fn a_plain_prompt_keeps_its_session_through_ctrl_c() {
    let folder = folder();
    let args = ["repl"];
    let mut screen = Screen::start(folder.path(), &args, (24, 80), &[("TERM", "dumb")]);
    let say = |screen: &mut Screen, keys: &str, expected: &str| {
        screen.press(keys);
        screen.wait_for(expected);
    };
    screen.wait_for("[1]: ");
    say(&mut screen, "let kept = 40;\n", "[2]: ");
    say(&mut screen, "half a li\x03", "Ctrl-C again or Ctrl-D quits");
    say(&mut screen, "kept + 2\n", "= 42");
    say(&mut screen, "if true {\n", "... ");
    screen.press("\x03");
    screen.wait_for_times("[3]: ", 2);
    say(&mut screen, "kept +\n3\n", "= 43");
    say(&mut screen, "print(20 + 1); loop {}\n", "21");
    say(&mut screen, "\x03", "Interrupted");
    say(&mut screen, "kept + 4\n", "= 44");
    screen.press("\x03");
    std::thread::sleep(std::time::Duration::from_millis(200));
    screen.press("\x03");
    let left = screen.end();
    assert_eq!(left.code, 0, "{}", left.text);
    assert!(!left.bytes.contains('\x1b'), "{:?}", left.bytes);

    let mut screen = Screen::start(folder.path(), &args, (24, 80), &[("TERM", "dumb")]);
    say(&mut screen, "1\n", "= 1");
    screen.press("\x04");
    assert_eq!(screen.end().code, 0);
}

#[test]
fn an_answer_in_sql_fits_its_terminal() {
    let folder = folder();
    let line = "evaluate passkey:depths=3 --samples 20 --lengths 256 --out r";
    assert!(piped(folder.path(), &line.split(' ').collect::<Vec<_>>()).status.success());
    for size in [WIDE, NARROW] {
        let args = ["results", "r", "SELECT id, char(27) || '[2J' || output AS told, key FROM samples"];
        let left = Screen::start(folder.path(), &args, size, &[]).end();
        assert_eq!(left.code, 0, "{}", left.text);
        assert!(left.text.contains("40 of 60 rows (--rows N shows more)"), "{}", left.text);
        assert!(left.text.contains("␛[2J") && !left.bytes.contains("\x1b[2J"), "it is shown and not obeyed");
        let n_lines = left.text.lines().filter(|line| line.contains('␛')).count();
        assert_eq!(n_lines, 40, "a line for each row:\n{}", left.text);
        assert!(!has_bar(&left.text), "{}", left.text);
    }
    let listed = Screen::start(folder.path(), &["results", "r"], WIDE, &[]).end();
    holds_all("results r", &listed, &String::from_utf8(piped(folder.path(), &["results", "r"]).stdout).unwrap());
}
