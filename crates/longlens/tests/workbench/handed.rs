//! Sessions that cells hand to the workbench, and get back.

use std::fs;

use serde_json::Value;

use crate::asking::said;
use crate::pty::Pty;

#[test]
fn a_session_of_cells_opens_with_their_model_and_comes_back() {
    let folder = tempfile::Builder::new().prefix("handed").tempdir().unwrap();
    let hand = "open(\"embedded\", #{ weights: \"q8\", trained_context: 512 });\n\
                print(workbench(needle(300, 0.5), streaming(#{ window: 64 })));\n";
    fs::write(folder.path().join("hand.rhai"), hand).unwrap();
    let ran = |name: &str| {
        let (script, notebook) = (format!("{name}.rhai"), format!("{name}.ipynb"));
        said(folder.path(), &["notebook", "run", &script, "-o", &notebook]);
        fs::read_to_string(folder.path().join(notebook)).unwrap()
    };
    let words = ran("hand");
    assert!(words.contains("longlens workbench --session "), "{words}");
    let session =
        || -> Value { serde_json::from_slice(&fs::read(folder.path().join("workbench.json")).unwrap()).unwrap() };
    assert_eq!((&session()["weights"], &session()["selected"]), (&Value::from("q8"), &Value::Null));

    let mut pty = Pty::start(folder.path(), &["workbench", "--session", "workbench.json"]);
    let screen = pty.wait("the run", |screen| screen.contains("tok/s"));
    assert!(screen.contains("streaming") && screen.contains("q8") && screen.contains("512"), "{screen}");
    pty.press("m");
    pty.quit();
    let after = session();
    assert_eq!(after["weights"], "q8");
    assert!(after["selected"].is_array(), "{after}");

    let back = "let s = workbench(\"workbench.json\");\nprint(`${s.method} of ${s.opening.trained_context} ${s.opening.weights}`);\n";
    fs::write(folder.path().join("back.rhai"), back).unwrap();
    let words = ran("back");
    assert!(words.contains("streaming:") && words.contains("of 512 q8"), "{words}");

    // flags go before what the session says
    let mut other = Pty::start(folder.path(), &["workbench", "--session", "workbench.json", "--weights", "q4"]);
    other.wait("the run in q4", |screen| screen.contains("tok/s") && screen.contains("q4"));
    other.quit();
    assert_eq!(session()["weights"], "q4");
}
