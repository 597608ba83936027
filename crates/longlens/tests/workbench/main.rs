//! The workbench as its user has it: the real program in a pseudo-terminal, driven by keys, read from its screen.

#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

mod asking;
#[path = "../common/mod.rs"]
mod common;
mod handed;
mod pty;
mod real;
mod steps;

use pty::Pty;

fn signal(pid: u32, name: &str) {
    let sent = std::process::Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Files of sessions and what they hold.
fn sessions(folder: &Path) -> Vec<(PathBuf, String)> {
    let files = std::fs::read_dir(folder.join("state/longlens")).into_iter().flatten().flatten();
    let is_whole = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    files
        .map(|file| file.path())
        .filter(is_whole)
        .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap_or_default()))
        .collect()
}

/// Waits until a session with these words is kept, which happens twice a second.
fn keeps(folder: &Path, words: &[&str]) {
    let since = Instant::now();
    while !sessions(folder).iter().any(|(_, text)| words.iter().all(|word| text.contains(word))) {
        assert!(since.elapsed() < Duration::from_secs(10), "no session with {words:?} is kept");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("workbench").tempdir().unwrap()
}

#[test]
fn a_needle_is_found_by_swapping_the_method() {
    let folder = folder();
    let mut pty = Pty::start(folder.path(), &[]);
    pty.wait_for("key 52059 missed");
    {
        let shown = pty.shown.lock().unwrap();
        let first = shown.first.unwrap() - pty.started;
        // 100 ms are asked for; a loaded machine gets some more
        assert!(first < Duration::from_secs(1), "the first frame took {first:?}");
    }

    // a needle prompt: 900 tokens, a quarter in, of our own key
    pty.press("n");
    pty.wait_for("needle prompt");
    pty.press(&"\x7f".repeat(4));
    pty.press("900\t\x7f\x7f\x7f0.25\t31337\r");
    let screen = pty.wait("the new prompt's run", |screen| {
        screen.contains("needle=900:0.25") && screen.contains("key 31337 missed")
    });
    assert!(screen.contains("longlens-tiny  full"), "it begins with plain attention:\n{screen}");
    assert!(screen.contains("beyond the capacity"), "900 tokens are beyond the trained 256:\n{screen}");

    // LongHeads, with chunks half as long: the field below the method
    pty.press("L");
    pty.wait("its default chunks", |screen| {
        screen.contains("longlens-tiny  long_heads ") && screen.contains("chunks of 16")
    });
    pty.press("\x1b[B");
    pty.press("8\r");
    let screen = pty.wait("heads with chunks of 8", |screen| {
        screen.contains("long_heads:chunk_len=8")
            && screen.contains("chunks of 8")
            && screen.contains("needle: chunk")
            && screen.contains("chosen by")
            && screen.contains("key found")
    });
    let line = screen.lines().find(|line| line.contains("needle: chunk")).unwrap();
    let chosen = line.split("chosen by ").nth(1).and_then(|rest| rest.split_once(" of 16 heads"));
    let n_heads: usize = chosen.expect("the line tells by how many heads").0.parse().unwrap();
    assert!(n_heads >= 1, "no head chose the needle's chunk: {line}");

    pty.press("e");
    pty.wait_for("export the view as");
    pty.press("\r");
    pty.wait_for("wrote longlens-chunks-1.");
    for (extension, begin) in
        [("png", &b"\x89PNG"[..]), ("svg", b"<svg"), ("csv", b""), ("npz", b"PK"), ("html", b"<!doctype")]
    {
        let path = folder.path().join(format!("longlens-chunks-1.{extension}"));
        let asked = Instant::now();
        while !path.exists() && asked.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let bytes = std::fs::read(path).unwrap();
        assert!(bytes.len() > 200 && bytes.starts_with(begin), "{extension}: {} bytes", bytes.len());
    }

    pty.quit();
    pty.is_given_back();
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let folder = folder();
    let mut pty = Pty::start(folder.path(), &["--needle", "300"]);
    pty.wait_for("controls");
    pty.wait_for("tok/s");
    signal(pty.pid(), "TERM");
    assert_eq!(pty.end(), 128 + 15);
    pty.is_given_back();
}

#[test]
fn what_was_done_survives_a_kill() {
    let folder = folder();
    let mut pty = Pty::start(folder.path(), &["--needle", "300:0.5:777"]);
    pty.wait_for("needle=300:0.5:777");
    pty.wait_for("tok/s");
    pty.press("D");
    pty.wait_for("longlens-tiny  dual_chunk");
    pty.wait_for("key found");
    pty.press("P");
    pty.wait_for("pinned ");
    keeps(folder.path(), &["\"pinned\":true", "dual_chunk", "777"]);
    pty.kill();

    // a resumed session is there again at once, whether it was kept anew or not
    for pause in [0, 1500] {
        let mut resumed = Pty::start(folder.path(), &["--resume"]);
        resumed.wait_for("longlens-tiny  dual_chunk");
        std::thread::sleep(Duration::from_millis(pause));
        resumed.kill();
    }

    let mut hinted = Pty::start(folder.path(), &["--needle", "280"]);
    hinted.wait_for("longlens --resume");
    hinted.wait_for("tok/s");
    hinted.quit();

    let mut resumed = Pty::start(folder.path(), &["--resume"]);
    let screen = resumed.wait("the session", |screen| {
        screen.contains("longlens-tiny  dual_chunk") && screen.contains("pass key is 777.") && screen.contains("tok/s")
    });
    assert!(screen.contains('★'), "the pinned run is there:\n{screen}");
    resumed.quit();
    resumed.is_given_back();

    // flags go before what the session says
    let mut changed = Pty::start(folder.path(), &["--resume", "--method", "self_extend"]);
    changed.wait("the session under another method", |screen| {
        let is_prompt = screen.contains("pass key is 777.") || screen.contains("key 777 missed");
        screen.contains("longlens-tiny  self_extend") && is_prompt
    });
    changed.quit();
}

#[test]
fn a_closed_terminal_keeps_the_session() {
    let folder = folder();
    let mut pty = Pty::start(folder.path(), &["--needle", "300:0.5:888"]);
    pty.wait_for("tok/s");
    signal(pty.pid(), "HUP");
    assert_eq!(pty.end(), 128 + 1);
    pty.is_given_back();
    let [(path, text)] = &sessions(folder.path())[..] else { panic!("one session is kept") };
    assert!(text.starts_with("{\"clean\":true,"), "{}: {text}", path.display());

    // now in earnest: a last key wakes the reader, and nobody is at the other end
    let mut resumed = Pty::start(folder.path(), &["--resume"]);
    resumed.wait_for("needle=300:0.5:888");
    resumed.shown.lock().unwrap().closed = true;
    resumed.press("2");
    let Pty { mut child, keys, master, .. } = resumed;
    drop((keys, master));
    let since = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(since.elapsed() < Duration::from_secs(20), "the program does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
    let kept = sessions(folder.path());
    assert!(kept.iter().all(|(_, text)| text.starts_with("{\"clean\":true,") && text.contains("888")), "{kept:?}");
}

#[test]
fn two_at_once_keep_their_own_sessions() {
    let folder = folder();
    let mut first = Pty::start(folder.path(), &["--needle", "300:0.5:111"]);
    first.wait_for("tok/s");
    first.press("P");
    keeps(folder.path(), &["111", "\"pinned\":true"]);
    let mut second = Pty::start(folder.path(), &["--needle", "300:0.5:222"]);
    let screen = second.wait_for("tok/s");
    assert!(!screen.contains("--resume"), "one that runs has not crashed:\n{screen}");
    second.press("P");
    keeps(folder.path(), &["222", "\"pinned\":true"]);
    keeps(folder.path(), &["111", "\"pinned\":true"]);
    second.quit();

    // what ended well comes back while the first still runs
    let mut resumed = Pty::start(folder.path(), &["--resume"]);
    resumed.wait_for("needle=300:0.5:222");
    resumed.quit();
    first.kill();
    let mut resumed = Pty::start(folder.path(), &["--resume"]);
    resumed.wait_for("needle=300:0.5:111");
    resumed.quit();
}

#[test]
fn sessions_that_cannot_be_kept_are_told_and_nothing_else_changes() {
    let folder = folder();
    std::fs::write(folder.path().join("state"), "a file, not a folder").unwrap();
    let mut pty = Pty::start(folder.path(), &["--needle", "300:0.5:333"]);
    pty.wait_for("tok/s");
    pty.press("D");
    pty.wait_for("longlens-tiny  dual_chunk");
    pty.wait_for("key found");
    pty.wait("the problem in the log", |screen| screen.contains("cannot keep the session"));
    pty.press("s");
    pty.wait_for("save the settings as");
    pty.press("\r");
    pty.wait("the written file", |_| folder.path().join("longlens.toml").exists());
    pty.quit();
    pty.is_given_back();
    let screen = pty.wait_for("cannot keep the session");
    assert!(!screen.contains("controls"), "it is said again on the main screen:\n{screen}");
}

#[test]
fn a_screenshot_of_a_model_that_cannot_be_opened_fails() {
    let folder = folder();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny-model");
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(model.join(name), folder.path().join(name)).unwrap();
    }
    // a tensor by another name: the config still describes the model
    let mut weights = std::fs::read(model.join("model.safetensors")).unwrap();
    let name = b"\"model.norm.weight\"";
    let at = weights.windows(name.len()).position(|part| part == name).unwrap();
    weights[at + 1] = b'n';
    std::fs::write(folder.path().join("model.safetensors"), weights).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_longlens"))
        .args(["screenshot", "--out", "view.png", "--model", "."])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && text.contains("`model.norm.weight` is missing"), "{text}");
    assert!(!folder.path().join("view.png").exists());
}

/// A terminal that answers what it can do: cells of 9 by 18 pixels, and these graphics.
fn graphics(kitty: bool) -> Pty {
    let folder = folder();
    let mut pty = Pty::start(folder.path(), &["--needle", "300", "--images", "on"]);
    let since = Instant::now();
    while !pty.shown.lock().unwrap().bytes.windows(4).any(|part| part == b"\x1b[5n") {
        assert!(since.elapsed() < Duration::from_secs(10), "the terminal is not asked");
        std::thread::sleep(Duration::from_millis(1));
    }
    let ok = if kitty { "\x1b_Gi=31;OK\x1b\\" } else { "" };
    pty.press(&format!("{ok}\x1b[?64;4c\x1b[6;18;9t\x1b[0n"));
    pty.wait_for("tok/s");
    pty
}

#[test]
fn terminals_with_graphics_get_real_images() {
    for (kitty, begin) in [(true, &b"\x1b_G"[..]), (false, b"\x1bP")] {
        let mut pty = graphics(kitty);
        let before = pty.shown.lock().unwrap().bytes.len();
        pty.press("2");
        pty.wait_for("keys with the most weight");
        let since = Instant::now();
        // an image takes at least a kilobyte
        let is_drawn = |pty: &Pty| {
            let shown = pty.shown.lock().unwrap();
            let rest = &shown.bytes[before..];
            rest.windows(begin.len()).position(|part| part == begin).is_some_and(|at| rest.len() - at > 1000)
        };
        while !is_drawn(&pty) {
            assert!(since.elapsed() < Duration::from_secs(10), "no image comes, kitty: {kitty}\n{}", pty.screen());
            std::thread::sleep(Duration::from_millis(5));
        }
        pty.quit();
        pty.is_given_back();
    }
}

/// Times are shown with `cargo test --release -p longlens --test workbench -- --nocapture in_time`; the bounds are several
/// times what an idle machine needs, so that a loaded one passes.
#[test]
#[expect(clippy::print_stdout, reason = "the times are what the test is run for")]
fn keys_and_changes_are_on_the_screen_in_time() {
    let folder = folder();
    let mut pty = Pty::start(folder.path(), &["--needle", "1k"]);
    pty.wait_for("tok/s");
    let first = pty.shown.lock().unwrap().first.unwrap() - pty.started;
    let took = |pty: &mut Pty, keys: &str, is_there: &dyn Fn(&str) -> bool| {
        let since = Instant::now();
        pty.press(keys);
        while !is_there(&pty.screen()) {
            assert!(since.elapsed() < Duration::from_secs(30), "{keys:?} shows nothing:\n{}", pty.screen());
            std::thread::sleep(Duration::from_micros(300));
        }
        since.elapsed()
    };
    // a change is shown when the heads belong to the new run and its text is there
    let refreshed = |method: &'static str| {
        move |screen: &str| {
            screen.contains(&format!("longlens-tiny  {method}")) && !screen.contains("the run before") && {
                let output = screen.split("output").nth(1).unwrap_or_default();
                output.contains("max_tokens")
            }
        }
    };
    let at_1k = took(&mut pty, "D", &refreshed("dual_chunk"));
    pty.press("n");
    pty.wait_for("needle prompt");
    pty.press("\x7f\x7f\x7f\x7f4k\r");
    pty.wait("4k tokens", |screen| screen.contains("needle=4096") && screen.contains("max_tokens"));
    let at_4k = took(&mut pty, "E", &refreshed("self_extend"));

    // a grid that takes minutes runs while keys are pressed
    pty.press("\x1b[F\x1b[A\x1b[A\x1b[A");
    pty.press("256\rg");
    pty.wait("a running grid", |screen| screen.contains("cells") && screen.contains("grid"));
    let mut waits: Vec<Duration> = (0..40)
        .map(|at| {
            let text = if at % 2 == 0 { "tokens by attention" } else { "tokens by loss" };
            took(&mut pty, "a", &|screen| screen.contains(text))
        })
        .collect();
    waits.sort();
    let (median, slowest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    println!(
        "first frame {first:.1?}; a change at 1k {at_1k:.1?}, at 4k {at_4k:.1?}; key to screen {median:.1?}, slowest {slowest:.1?}"
    );
    assert!(at_1k < Duration::from_secs(2) && at_4k < Duration::from_secs(6), "changes take {at_1k:?}, {at_4k:?}");
    assert!(median < Duration::from_millis(100), "a key takes {median:?} while a grid runs");
    pty.quit();
}

#[test]
fn quitting_waits_for_files() {
    let folder = folder();
    let mut pty = Pty::start(folder.path(), &["--needle", "300"]);
    pty.wait_for("max_tokens");
    pty.wait("an idle program", |screen| screen.contains("16 tok"));
    pty.press("e");
    pty.wait_for("export the view as");
    // it asks where the worker has not said yet that it is done
    pty.press("\rqy");
    assert_eq!(pty.end(), 0);
    // a page that the model is still asked for is not waited for
    for extension in ["png", "svg", "csv", "npz"] {
        assert!(folder.path().join(format!("longlens-chunks-1.{extension}")).exists(), "{extension}");
    }
    pty.is_given_back();
}
