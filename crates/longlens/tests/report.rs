//! `longlens report`: a page of what is finished.

use std::fs;

use serde_json::Value;

mod common;

use common::Sandbox;

#[test]
fn a_page_and_its_tables_say_what_evaluate_says() {
    let sandbox = Sandbox::new();
    let evaluate =
        "evaluate passkey niah_single_1 --methods full;dual_chunk --lengths 512 --samples 1 --out kept --json";
    let summary: Value = serde_json::from_str(&sandbox.done(evaluate).stdout).unwrap();
    let ran = sandbox.done("report kept --json --theme dark");
    let tables: Value = serde_json::from_str(&ran.stdout).unwrap();
    let rows = summary["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    for row in rows {
        let table = tables["tasks"].as_array().unwrap().iter().find(|table| table["name"] == row["setting"]).unwrap();
        let subjects = tables["subjects"].as_array().unwrap();
        let subject = subjects.iter().position(|subject| subject["method"] == row["method"]).unwrap();
        let cell = &table["scores"]["run"]["cells"][subject][0];
        for name in ["score", "interval", "n", "n_at_limit", "mean_prompt", "seconds"] {
            assert_eq!(cell[name], row[name], "{name} of {row}");
        }
    }
    let html = fs::read_to_string(sandbox.path("kept/report.html")).unwrap();
    assert!(html.contains("default-src 'none'") && html.contains("\"theme\":\"dark\"") && !html.contains("<img"));
    // the page lies beside the samples, and nothing is run again for it
    let again = sandbox.done("report kept --out page.html");
    assert!(again.stderr.contains("wrote page.html: 12 samples"), "{}", again.stderr);
    assert!(sandbox.done("report kept").stderr.contains("replaced"));
}

#[test]
fn what_makes_no_page_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.refused("report nowhere", 2, &["nowhere is no folder", "longlens evaluate --out DIR"]);
    fs::create_dir(sandbox.path("empty")).unwrap();
    sandbox.refused("report empty", 1, &["empty holds no finished samples"]);
    sandbox.refused("report empty --out page.png", 2, &["page.png would hold a page", ".html"]);
    sandbox.refused("report empty --theme blue", 2, &["auto", "light", "dark"]);
    fs::create_dir(sandbox.path("broken")).unwrap();
    sandbox.write("broken/samples.jsonl", "{\"key\": \"1\"}\n");
    sandbox.refused("report broken", 1, &["samples.jsonl, line 1", "is no finished sample"]);
}
