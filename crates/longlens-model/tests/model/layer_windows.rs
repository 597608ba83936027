//! Windows that layers of a checkpoint have, kept or left out as a run asks.

use std::fs;
use std::path::Path;

use burn_flex::{Flex, FlexDevice};
use longlens_core::lens::{Lens, Rows, Setup};
use longlens_core::methods::Method;
use longlens_core::plan::LayerWindows;
use longlens_kernel::linear::Storage;
use longlens_model::source::{CacheDirs, Source};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::tokens;

/// Tokens fed: far beyond the fixtures' windows of 24.
const N_TOKENS: usize = 60;

/// A model of the fixtures with some fields of its config changed.
fn model(name: &str, fields: &Value) -> Box<dyn Lens> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/golden/models").join(name);
    let folder: TempDir = tempfile::tempdir().unwrap();
    fs::copy(fixture.join("model.safetensors"), folder.path().join("model.safetensors")).unwrap();
    let mut config: Value = serde_json::from_slice(&fs::read(fixture.join("config.json")).unwrap()).unwrap();
    config.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let source = Source::resolve_in(folder.path().to_str().unwrap(), &CacheDirs::default()).unwrap();
    longlens_model::open::<Flex>(&source, Storage::F32, FlexDevice, "test").unwrap()
}

/// Logits under a method, and what their record says of windows.
fn logits(lens: &mut dyn Lens, method: &str, windows: LayerWindows) -> (Vec<f32>, Option<String>, Vec<String>) {
    let spec = lens.model().spec.clone();
    let plan = Method::parse(method).unwrap().plan_with(&spec, windows).unwrap();
    lens.begin(&Setup::of(plan, &spec, N_TOKENS - 4)).unwrap();
    let tokens = tokens(N_TOKENS);
    let mut logits = lens.feed(&tokens[..N_TOKENS - 4], Rows::All, &mut ()).unwrap();
    for token in &tokens[N_TOKENS - 4..] {
        logits.extend(lens.feed(&[*token], Rows::All, &mut ()).unwrap());
    }
    let run = lens.trace().run;
    (logits, run.layer_windows, run.warnings)
}

#[test]
fn a_model_without_its_windows_computes_what_one_that_has_none_does() {
    // a window longer than the prompt hides nothing; bases of windowed layers stay
    for (name, none) in [("mistral-swa", json!(null)), ("gemma2", json!(4096)), ("gemma3", json!(4096))] {
        let (mut own, mut without) = (model(name, &json!({})), model(name, &json!({ "sliding_window": none })));
        for method in ["full", "self_extend:group_size=4,neighbor_window=16", "by_layer:0=full/1-=streaming:window=20"]
        {
            let (got, said, warnings) = logits(own.as_mut(), method, LayerWindows::Off);
            let (expected, ..) = logits(without.as_mut(), method, LayerWindows::Off);
            assert_eq!(got, expected, "{name}, {method}");
            assert_eq!(said.as_deref(), Some("off"));
            let told =
                "have a window of 24 tokens, which layer_windows = off leaves out: they were trained to see no further";
            assert!(warnings.iter().any(|warning| warning.contains(told)), "{warnings:?}");
        }
        let (with, said, _) = logits(own.as_mut(), "full", LayerWindows::Auto);
        let (without, ..) = logits(own.as_mut(), "full", LayerWindows::Off);
        assert!(with != without && said.is_none(), "{name}: windows change logits, and the usual way is no news");
    }
}

#[test]
fn windows_are_kept_where_a_run_asks_for_it_and_a_method_without_a_layer_is_refused() {
    let mut mistral = model("mistral-swa", &json!({}));
    let method = Method::parse("self_extend:group_size=4,neighbor_window=16").unwrap();
    let error = method.plan_with(&mistral.model().spec, LayerWindows::Keep).unwrap_err();
    assert_eq!(
        error.to_string(),
        "every layer of the model has a window of its own and layer_windows = keep keeps them all, so that `self_extend` would \
         act on no layer"
    );
    assert!(error.help().unwrap().contains("set layer_windows to auto"));
    let (kept, said, _) = logits(mistral.as_mut(), "full", LayerWindows::Keep);
    let (usual, ..) = logits(mistral.as_mut(), "full", LayerWindows::Auto);
    assert_eq!((kept, said.as_deref()), (usual, Some("keep")));

    let mut gemma = model("gemma2", &json!({}));
    let (kept, ..) = logits(gemma.as_mut(), &method.to_string(), LayerWindows::Keep);
    assert_eq!(kept, logits(gemma.as_mut(), &method.to_string(), LayerWindows::Auto).0);
}
