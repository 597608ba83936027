//! A document with a question, and what a model counts as trained on, given while the workbench runs.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::common::without_second_page;
use crate::folder;
use crate::pty::Pty;

/// Two pages of text.
const BIRDS: &[u8] = include_bytes!("../../../../fixtures/documents/birds.pdf");

/// What a command says that succeeds, and what it notes.
pub fn said(folder: &Path, args: &[&str]) -> [String; 2] {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longlens"));
    let output = command.args(args).current_dir(folder).output().unwrap();
    let texts = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{args:?}: {texts:?}");
    texts
}

#[test]
fn a_pdf_is_asked_about_and_its_settings_are_those_of_a_command() {
    let folder = folder();
    std::fs::write(folder.path().join("birds.pdf"), without_second_page(BIRDS)).unwrap();
    let mut pty = Pty::start(folder.path(), &["--needle", "300"]);
    pty.wait_for("tok/s");
    pty.press("d");
    pty.wait_for("a document and a question about it");
    pty.press("bird.pdf\tWho lives there?\r");
    // a wrong name is told, and what was typed is there to be mended
    let screen = pty.wait_for("cannot read bird.pdf");
    assert!(screen.contains("document   bird.pdf") && screen.contains("question   Who lives there?"), "{screen}");
    pty.press("\x7f\x7f\x7f\x7fs.pdf\r");
    let screen = pty.wait_for("these pages have no text: 2");
    assert!(!screen.contains("a document and a question"), "{screen}");
    pty.wait("the answer", |screen| screen.contains("Who lives there?") && screen.contains("max_tokens · re-prefill"));
    pty.press(":passages\r");
    pty.wait("passages of the answer", |screen| screen.contains("page 1") && screen.contains("from an answer of"));
    // another question about the same document
    pty.press("d");
    pty.wait_for("question   Who lives there?");
    pty.press("Where does the heron stand?\r");
    // the view that is open looks from the new answer as soon as that is there
    pty.wait("the other answer", |screen| {
        screen.contains("Where does the heron stand?")
            && screen.contains("max_tokens · re-prefill")
            && screen.contains("from an answer of")
    });
    pty.press("s");
    pty.wait_for("save the settings as");
    pty.press("\r");
    pty.wait_for("wrote longlens.toml");
    pty.quit();
    let flags = ["--file", "birds.pdf", "--question", "Where does the heron stand?", "--max-tokens", "16"];
    let by_flags = said(folder.path(), &[&["generate"], &flags[..]].concat());
    let by_config = said(folder.path(), &["generate", "--config", "longlens.toml"]);
    assert_eq!(by_config[0], by_flags[0]);
    // a resumed session has the document and the question
    let mut resumed = Pty::start(folder.path(), &["--resume"]);
    resumed.wait_for("Where does the heron stand?");
    resumed.quit();
    resumed.is_given_back();
}

#[test]
fn a_trained_context_is_given_in_the_controls() {
    let folder = folder();
    let mut pty =
        Pty::start(folder.path(), &["--needle", "300", "--trained-context", "512", "--rope", "linear:factor=2"]);
    pty.wait_for("capacity 1,024 tokens");
    pty.wait_for("tok/s");
    // below the method, the scaling with its parameters, and the swap mode
    while !pty.screen().contains("▸trained_context") {
        assert!(!pty.screen().contains("▸chat"), "the last field is reached");
        pty.press("\x1b[B");
        std::thread::sleep(Duration::from_millis(100));
    }
    pty.press("1k");
    pty.wait_for("capacity 2,048 tokens");
    pty.press("\r");
    pty.wait("a run under it", |screen| {
        screen.contains("linear:factor=2 trained_context=1024") && screen.contains("max_tokens · re-prefill")
    });
    pty.press("s");
    pty.wait_for("save the settings as");
    pty.press("\r");
    pty.wait_for("wrote longlens.toml");
    pty.quit();
    let [result, _] = said(folder.path(), &["generate", "--config", "longlens.toml", "--json"]);
    assert!(result.contains("\"trained_context\": 1024"), "{result}");
    let mut resumed = Pty::start(folder.path(), &["--resume"]);
    resumed.wait_for("trained_context=1024");
    resumed.quit();
    // a flag goes before what the session says
    let mut changed = Pty::start(folder.path(), &["--resume", "--trained-context", "2k"]);
    changed.wait_for("trained_context=2048");
    changed.quit();
}
