//! Several models in one session: whose tokens a prompt is made of, which one runs, when it is read again.

use std::cell::RefCell;
use std::rc::Rc;

use longlens_app::Problem;
use longlens_core::lens::{Control, Lens, LensError, ModelInfo, Rows, Sequence, Setup, TextCodec};
use longlens_core::scripted::{ByteCodec, ScriptedLens, induction};
use longlens_core::trace::{Trace, Watch};
use longlens_notebook::host::{Files, Models};
use longlens_notebook::interpreter::Out;
use longlens_notebook::session::{Limits, Options, Session};

use crate::common::{Heard, Rig};

/// Opens `embedded`, and `other`, whose text has two tokens a byte.
struct Two {
    opened: Rc<RefCell<Vec<String>>>,
}

impl Models for Two {
    fn open(&self, model: &str) -> Result<Box<dyn Lens>, Problem> {
        self.opened.borrow_mut().push(model.to_owned());
        let scripted = ScriptedLens::new(induction).with_model(|info| model.clone_into(&mut info.name));
        if model == "other" { Ok(Box::new(Wide(scripted))) } else { Ok(Box::new(scripted)) }
    }
}

/// Writes every byte twice.
struct Wide(ScriptedLens);
struct WideCodec;

impl TextCodec for WideCodec {
    fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, LensError> {
        let first = if special { ByteCodec.encode("", true)? } else { Vec::new() };
        let rest = ByteCodec.encode(text, false)?;
        Ok(first.into_iter().chain(rest.into_iter().flat_map(|token| [token, token])).collect())
    }

    fn decode(&self, tokens: &[u32]) -> Result<String, LensError> {
        let skipped = tokens.len() % 2;
        ByteCodec.decode(&tokens.iter().copied().skip(skipped).step_by(2).collect::<Vec<_>>())
    }
}

impl Lens for Wide {
    fn model(&self) -> &ModelInfo {
        self.0.model()
    }
    fn text(&self) -> Result<&dyn TextCodec, LensError> {
        Ok(&WideCodec)
    }
    fn begin(&mut self, setup: &Setup) -> Result<(), LensError> {
        self.0.begin(setup)
    }
    fn feed(&mut self, tokens: &[u32], want: Rows, control: &mut dyn Control) -> Result<Vec<f32>, LensError> {
        self.0.feed(tokens, want, control)
    }
    fn trace(&mut self) -> Trace {
        self.0.trace()
    }
    fn reuse(&mut self, setup: &Setup, keep: usize) -> Result<(), LensError> {
        self.0.reuse(setup, keep)
    }
    fn fork(&mut self, n_tokens: usize) -> Result<Sequence, LensError> {
        self.0.fork(n_tokens)
    }
    fn begin_from(&mut self, setup: &Setup, prefix: &Sequence) -> Result<(), LensError> {
        self.0.begin_from(setup, prefix)
    }
    fn inspect(&mut self, watch: &Watch, control: &mut dyn Control) -> Result<Trace, LensError> {
        self.0.inspect(watch, control)
    }
}

fn rig() -> (Rig, Rc<RefCell<Vec<String>>>) {
    let folder = tempfile::Builder::new().prefix("cells").tempdir().unwrap();
    let heard = Rc::new(RefCell::new(Heard::default()));
    let out: Out = heard.clone();
    let opened = Rc::new(RefCell::new(Vec::new()));
    let options = Options {
        model: "embedded".into(),
        files: Files::below(folder.path()),
        limits: Limits::default(),
        draws: false,
    };
    let session = Session::new(Box::new(Two { opened: opened.clone() }), options, &out);
    (Rig { session, heard, out, folder }, opened)
}

#[test]
fn results_hold_the_prompt_of_the_model_that_ran() {
    let (mut rig, _) = rig();
    rig.run("let p = needle(400, 0.5); open(\"other\"); let q = prompt(\"abc\");").unwrap();
    assert_eq!(rig.say("q.n_tokens"), "7");
    // the key's digits are looked for where the second model has them
    rig.run("let here = needle(400, 0.5); let t = trace(p, full()); let u = trace(here, full());").unwrap();
    for cell in [
        "here.needle != p.needle",
        "t.query == u.query",
        "`${t}` == `${u}`",
        "retrieval_heads(t).column(\"attention\") == retrieval_heads(u).column(\"attention\")",
        "`${run(p, full())}` == `${run(here, full())}`",
    ] {
        assert_eq!(rig.say(cell), "true", "{cell}");
    }
}

#[test]
fn a_model_named_in_a_call_runs_that_call_alone_and_is_read_once() {
    let (mut rig, opened) = rig();
    rig.run("open(); let ran = [];").unwrap();
    rig.run("for i in 0..3 { ran.push(generate(\"abab\", full(), #{ model: \"other\", max_tokens: 1 })) }").unwrap();
    let models =
        "let s = run(\"ab\", full(), #{ model: \"other\" }); [s.record.model, run(\"ab\", full()).record.model]";
    assert_eq!(rig.say(models), "[\"other\", \"embedded\"]");
    assert_eq!(rig.say("trace(\"abc\", full(), #{ model: open() }).record.model"), "embedded");
    assert_eq!(rig.say("passkey(#{ lengths: [200], depths: [0.5], model: \"embedded\" }).len()"), "1");
    assert_eq!(*opened.borrow(), ["embedded", "other"]);
    assert!(rig.run("run(\"a\", full(), #{ model: 3 })").is_err());
}

#[test]
fn reading_text_leaves_the_sequence_in_the_model() {
    let (mut rig, _) = rig();
    rig.run("let t = trace(needle(300, 0.5), full());").unwrap();
    let mut steps = |cell: &str| {
        rig.heard.borrow_mut().progress.clear();
        rig.run(cell).unwrap();
        let heard = rig.heard.borrow();
        let mut labels: Vec<String> = heard.progress.iter().flatten().map(|progress| progress.label.clone()).collect();
        labels.dedup();
        labels
    };
    assert_eq!(steps("prompt(\"other words\"); needle(300, 0.1); attention(t, 0, 0);"), ["inspecting"]);
    assert_eq!(steps("run(\"other words\", full(), #{ max_tokens: 0 }); attention(t, 0, 0);"), ["full", "inspecting"]);
}

#[test]
fn no_other_model_runs_in_the_place_of_one_that_could_not_be_opened() {
    let mut rig = crate::common::rig();
    rig.run("let m = open(); let p = prompt(\"abc\"); run(p, full());").unwrap();
    rig.run("open(\"nowhere\")").unwrap_err();
    for cell in ["run(p, full())", "prompt(\"abc\")", "needle(300, 0.5)"] {
        let error = rig.run(cell).unwrap_err();
        assert!(error.message.contains("the model `nowhere` could not be opened"), "{cell}: {}", error.message);
    }
    let error = rig.run("run(p, full())").unwrap_err();
    let help = error.help.unwrap();
    assert!(help.contains("go on with ") && help.contains("as in m.select()"), "{help}");
    rig.run("m.select(); run(p, full());").unwrap();
    rig.run("open(\"nowhere\")").unwrap_err();
    rig.run("open(\"embedded\"); run(p, full());").unwrap();
}
