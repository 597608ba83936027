//! Keys and values in the host's memory change no number, whatever was fetched.

use burn_flex::{Flex, FlexDevice};
use longlens_core::lens::{Lens, Rows, Setup};
use longlens_core::methods::{METHODS, Method};
use longlens_core::trace::{Queries, RowPick, Watch};
use longlens_eval::verify::{Ask, verify};
use longlens_kernel::Kernels;
use longlens_kernel::linear::Storage;
use longlens_model::shapes::{self, Shape};

use crate::common::tokens;
use crate::verify::settings;

const N_PROMPT: usize = 100;
const N_TOKENS: usize = 160;
/// Places of chunks reach further than tokens do.
const MANY_PLACES: &str = "long_heads:chunk_len=24,attention_len=96";
const SHAPE: Shape = Shape {
    name: "grouped",
    config: r#"{"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 6,
        "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 96, "vocab_size": 256,
        "max_position_embeddings": 256, "rope_theta": 3000.0, "tie_word_embeddings": true, "rms_norm_eps": 1e-5}"#,
};

fn lens(offloads: bool) -> Box<dyn Lens> {
    lens_on::<Flex>(offloads, FlexDevice)
}

fn lens_on<B: Kernels>(offloads: bool, device: B::Device) -> Box<dyn Lens> {
    shapes::random_on::<B>(&SHAPE, None, 7, Storage::F32, offloads, device, "test").unwrap()
}

/// Logits of a device whose keys are with the host beside those of the processor, and how many methods were tried.
#[cfg(feature = "wgpu")]
pub fn check_on<B: Kernels>(device: &B::Device) -> usize {
    let (mut here, mut on_host) = (lens(false), lens_on::<B>(true, device.clone()));
    let choosing = "long_heads:chunk_len=8,attention_len=40";
    let methods =
        [choosing, "long_heads:chunk_len=4,attention_len=32,variant=released", "quest:page_size=8,token_budget=32"];
    let methods = methods.into_iter().chain([MANY_PLACES, "full", "self_extend:group_size=4,neighbor_window=16"]);
    let mut n_tried = 0;
    for method in methods {
        let setup = setup(here.as_ref(), method, N_PROMPT);
        let expected = run(here.as_mut(), &setup);
        let got = run(on_host.as_mut(), &setup);
        close(&got, &expected, method);
        n_tried += 1;
    }
    n_tried
}

fn setup(lens: &dyn Lens, method: &str, prefill_chunk: usize) -> Setup {
    let setup = Setup::new(&Method::parse(method).unwrap(), &lens.model().spec, N_PROMPT).unwrap();
    Setup { prefill_chunk, keep_queries: true, ..setup }
}

/// Logits of a prompt, then of tokens one by one, the last ones together.
fn run(lens: &mut dyn Lens, setup: &Setup) -> Vec<f32> {
    lens.begin(setup).unwrap();
    go_on(lens, 0)
}

fn go_on(lens: &mut dyn Lens, from: usize) -> Vec<f32> {
    let tokens = tokens(N_TOKENS);
    let mut logits = Vec::new();
    if from < N_PROMPT {
        logits.extend(lens.feed(&tokens[from..N_PROMPT], Rows::All, &mut ()).unwrap());
    }
    for at in from.max(N_PROMPT)..N_TOKENS - 9 {
        logits.extend(lens.feed(&tokens[at..=at], Rows::All, &mut ()).unwrap());
    }
    logits.extend(lens.feed(&tokens[N_TOKENS - 9..], Rows::All, &mut ()).unwrap());
    logits
}

fn close(got: &[f32], expected: &[f32], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let off = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).max_by(f32::total_cmp).unwrap_or_default();
    assert!(off < 1e-5, "{what}: off by {off}");
}

#[test]
fn logits_are_those_of_a_cache_on_the_device() {
    let (mut here, mut on_host) = (lens(false), lens(true));
    assert!(on_host.model().kernel_path.ends_with("keys and values in the host's memory"));
    let methods = METHODS.iter().flat_map(|method| settings(method.info.name));
    for method in methods.chain([MANY_PLACES.to_owned()]) {
        for prefill_chunk in [37, N_PROMPT] {
            let setup = setup(here.as_ref(), &method, prefill_chunk);
            let expected = run(here.as_mut(), &setup);
            close(&run(on_host.as_mut(), &setup), &expected, &format!("{method}, steps of {prefill_chunk}"));
        }
    }
}

#[test]
fn attention_of_fetched_chunks_agrees_with_its_definition() {
    let mut lens = lens(true);
    let tokens = tokens(N_TOKENS);
    for method in ["long_heads", "quest", "full"].into_iter().flat_map(settings) {
        let setup = setup(lens.as_ref(), &method, N_PROMPT);
        let ask = Ask { tokens: &tokens, layers: Vec::new(), n_queries: 9 };
        let report = verify(lens.as_mut(), &setup, &ask, &mut ()).unwrap();
        assert_eq!(report.wrong().count(), 0, "{method}: {:#?}", report.heads);
    }
}

#[test]
fn swaps_forks_and_looks_are_the_same() {
    let (mut here, mut on_host) = (lens(false), lens(true));
    let choosing = "long_heads:chunk_len=8,attention_len=40";
    let first = setup(here.as_ref(), "self_extend:group_size=4,neighbor_window=16", 37);
    let both = [run(here.as_mut(), &first), run(on_host.as_mut(), &first)];
    close(&both[1], &both[0], "begun");
    for method in [choosing, "full"] {
        let swapped = setup(here.as_ref(), method, 37);
        let logits = [&mut here, &mut on_host].map(|lens| {
            lens.reuse(&swapped, 60).unwrap();
            go_on(lens.as_mut(), 60)
        });
        close(&logits[1], &logits[0], &format!("swapped to {method}"));
    }
    let whole = setup(here.as_ref(), choosing, 37);
    let forked = [&mut here, &mut on_host].map(|lens| {
        run(lens.as_mut(), &whole);
        let fork = lens.fork(70).unwrap();
        run(lens.as_mut(), &first);
        lens.begin_from(&whole, &fork).unwrap();
        go_on(lens.as_mut(), 70)
    });
    close(&forked[1], &forked[0], "from a fork");
    let row = RowPick { layer: 1, head: 4, query: 130 };
    let watch = Watch { rows: vec![row], choices: Queries::Of(vec![130]), beyond: 60, ..Watch::default() };
    let rows = [&mut here, &mut on_host].map(|lens| {
        let setup = Setup { watch: watch.clone(), ..whole.clone() };
        run(lens.as_mut(), &setup);
        let (recorded, looked) = (lens.trace(), lens.inspect(&watch, &mut ()).unwrap());
        // as text: scores of chunks that are always chosen are not numbers
        assert_eq!(format!("{:?}", recorded.layers[1].choices), format!("{:?}", looked.layers[1].choices));
        [recorded.rows[0].1.clone(), looked.rows[0].1.clone()].concat()
    });
    close(&rows[1], &rows[0], "weights of a row");
}
