//! The workbench on a real model, as a researcher begins with it: a short prompt, time left, the heads that fetch the needle, their words.
//!
//! `scripts/fetch-smollm2 FOLDER` fetches the model; `LONGLENS_SMOLLM2` names the file. Without it the test passes over, unless
//! `LONGLENS_REQUIRE_SMOLLM2` is set.

use std::time::{Duration, Instant};

use crate::pty::Pty;

#[test]
fn a_real_model_shows_its_needle_heads_within_seconds() {
    let Some(model) = std::env::var_os("LONGLENS_SMOLLM2") else {
        assert!(std::env::var_os("LONGLENS_REQUIRE_SMOLLM2").is_none(), "LONGLENS_SMOLLM2 names no file");
        return;
    };
    let model = std::path::absolute(model).unwrap();
    let folder = crate::folder();
    let started = Instant::now();
    let mut pty = Pty::start(folder.path(), &["--model", model.to_str().unwrap()]);
    // the first prompt is short
    let screen = pty
        .wait("the first result", |screen| screen.contains("by needle attention (t)") && screen.contains("key found"));
    assert!(screen.contains("of 270") && screen.contains("100%"), "the best heads come first:\n{screen}");
    assert!(screen.contains("q4_1") && screen.contains("cpu"), "format and device are told:\n{screen}");
    assert!(screen.contains("a first prompt of"), "how to make it longer is told:\n{screen}");

    pty.press("t");
    pty.wait("another order", |screen| screen.contains("by entropy (t)") && screen.contains("nats"));
    pty.press("ttt&6");
    pty.wait("layers with the best beside them", |screen| screen.contains("by needle") && screen.contains(" 1 L"));

    // the map of the best head, zoomed to single tokens: their words stand at both axes
    pty.press("2");
    pty.wait("a map", |screen| screen.contains("▲ needle"));
    pty.press("+++++");
    let screen = pty.wait("words", |screen| screen.contains("a token a cell") && screen.contains("key"));
    assert!(screen.contains("Remember") || screen.contains("pass"), "{screen}");

    pty.press("S");
    pty.wait("another method", |screen| screen.contains("  sliding_window") && screen.contains("tok/s"));

    // of a prompt that takes seconds on any machine, it is told how many are left
    pty.press("n");
    pty.wait_for("needle prompt");
    pty.press("\x7f\x7f\x7f\x7f4k\r");
    pty.wait("time left", |screen| screen.contains("prefill") && screen.contains(" left"));
    pty.quit();
    pty.is_given_back();
    assert!(started.elapsed() < Duration::from_secs(90), "it took {:?}", started.elapsed());
}
