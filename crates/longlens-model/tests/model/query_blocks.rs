//! Queries of a prompt that choose chunks together: what a block is, whatever steps the prompt goes in and however it is looked at.

use longlens_core::lens::{Lens, Rows, Setup};
use longlens_core::methods::Method;
use longlens_core::trace::{Choices, Queries, RowPick, Trace, Watch};

use crate::common::{all_choices, tokens, two_layers};

const ALONE: &str = "long_heads:chunk_len=8,attention_len=32,begin_len=43";
const TOGETHER: &str = "long_heads:chunk_len=8,attention_len=32,begin_len=43,query_block=4";
const N_PROMPT: usize = 102;
const N_TOKENS: usize = 120;

fn setup(lens: &dyn Lens, method: &str, prefill_chunk: usize) -> Setup {
    let setup = Setup::new(&Method::parse(method).unwrap(), &lens.model().spec, N_PROMPT).unwrap();
    Setup { prefill_chunk, keep_queries: true, watch: all_choices(), ..setup }
}

fn feed(lens: &mut dyn Lens, cuts: &[usize]) -> Vec<f32> {
    let tokens = tokens(N_TOKENS);
    let feed = |at: &[usize]| lens.feed(&tokens[at[0]..at[1]], Rows::All, &mut ()).unwrap();
    cuts.windows(2).flat_map(feed).collect()
}

/// Logits of the whole sequence, and what was chosen.
fn run(lens: &mut dyn Lens, setup: &Setup, cuts: &[usize]) -> (Vec<f32>, Trace) {
    lens.begin(setup).unwrap();
    (feed(lens, cuts), lens.trace())
}

fn choices(trace: &Trace) -> Vec<&Choices> {
    trace.layers.iter().filter_map(|layer| layer.choices.as_ref()).collect()
}

/// The chunks that a head chose for a query.
fn chosen(choices: &Choices, head: usize, query: usize) -> &[i32] {
    let row = choices.queries.iter().position(|watched| *watched == query).unwrap();
    &choices.chunks[(row * choices.n_heads + head) * choices.n_slots..][..choices.n_slots]
}

fn off(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).max_by(f32::total_cmp).unwrap_or_default()
}

#[test]
fn a_block_of_the_prompt_chooses_once_and_a_generated_token_for_itself() {
    let mut lens = two_layers();
    let alike = |method: &str, lens: &mut dyn Lens| {
        let setup = setup(lens, method, 37);
        let (_, trace) = run(lens, &setup, &[0, N_PROMPT, N_TOKENS]);
        let all = choices(&trace);
        assert_eq!(all.len(), 2);
        let of_block = |block: &[usize]| {
            all.iter().all(|one| {
                (0..6).all(|head| block.iter().all(|query| chosen(one, head, *query) == chosen(one, head, block[0])))
            })
        };
        // the first block begins with the first choice, the last one ends with the prompt
        let blocks =
            [&[43][..]].into_iter().map(<[usize]>::to_vec).chain((44..100).step_by(4).map(|at| (at..at + 4).collect()));
        let in_prompt = blocks.chain([vec![100, 101]]).filter(|block| of_block(block)).count();
        let generated = (104..N_TOKENS).step_by(4).filter(|at| of_block(&[*at, at + 1, at + 2, at + 3])).count();
        (in_prompt, generated)
    };
    assert_eq!(alike(TOGETHER, lens.as_mut()).0, 16, "every block");
    let (in_prompt, _) = alike(ALONE, lens.as_mut());
    assert!(in_prompt < 8, "by themselves they choose otherwise: {in_prompt}");
    assert!(alike(TOGETHER, lens.as_mut()).1 < 4, "so do generated tokens");
}

#[test]
fn steps_do_not_cut_blocks() {
    let mut lens = two_layers();
    let cuts = [0, N_PROMPT, 110, N_TOKENS];
    let whole = setup(lens.as_ref(), TOGETHER, 1000);
    let (expected, trace) = run(lens.as_mut(), &whole, &cuts);
    for steps in [1, 3, 4, 37, 50] {
        let setup = Setup { prefill_chunk: steps, ..whole.clone() };
        let (logits, other) = run(lens.as_mut(), &setup, &cuts);
        assert!(off(&logits, &expected) < 1e-4, "steps of {steps}: {}", off(&logits, &expected));
        for (one, other) in choices(&trace).iter().zip(choices(&other)) {
            assert_eq!(one.chunks, other.chunks, "steps of {steps}");
        }
    }
}

#[test]
fn a_look_afterwards_finds_what_was_chosen() {
    let mut lens = two_layers();
    let rows = [(0, 2, 57), (1, 4, 98), (1, 0, 101), (0, 5, 110)];
    let rows: Vec<_> = rows.into_iter().map(|(layer, head, query)| RowPick { layer, head, query }).collect();
    let choices_of = Queries::Of(vec![43, 58, 101, 117]);
    let watch = Watch { rows, choices: choices_of, beyond: N_TOKENS - N_PROMPT, ..Watch::default() };
    let watched = Setup { watch: watch.clone(), ..setup(lens.as_ref(), TOGETHER, 37) };
    let (_, recorded) = run(lens.as_mut(), &watched, &[0, N_PROMPT, N_TOKENS]);
    let looked = lens.inspect(&watch, &mut ()).unwrap();
    for (recorded, looked) in choices(&recorded).iter().zip(choices(&looked)) {
        assert_eq!(recorded.chunks, looked.chunks);
    }
    for ((_, recorded), (_, looked)) in recorded.rows.iter().zip(&looked.rows) {
        assert!(off(recorded, looked) < 1e-5);
    }
    assert_eq!(looked.rows.len(), 4);
}

/// Whether what a fork at so many tokens goes on to counts as computed whole, of prompts of two lengths.
fn fork_serves(lens: &mut dyn Lens, setup: &Setup, n_tokens: usize) -> bool {
    lens.begin(setup).unwrap();
    feed(lens, &[0, n_tokens]);
    let fork = lens.fork(n_tokens).unwrap();
    let longer = Setup { n_prompt: N_PROMPT + 7, ..setup.clone() };
    assert_eq!(fork.serves(setup), fork.serves(&longer));
    fork.serves(setup)
}

#[test]
fn a_sequence_goes_on_inside_a_block() {
    let mut lens = two_layers();
    let whole = setup(lens.as_ref(), TOGETHER, 50);
    let (expected, _) = run(lens.as_mut(), &whole, &[0, N_PROMPT, N_TOKENS]);
    let vocab = lens.model().spec.vocab_size;
    assert!(fork_serves(lens.as_mut(), &whole, 60) && !fork_serves(lens.as_mut(), &whole, 62));
    // cut where a block ends nothing changes, however the sequence goes on
    lens.begin(&whole).unwrap();
    feed(lens.as_mut(), &[0, 60]);
    let fork = lens.fork(60).unwrap();
    let straight = feed(lens.as_mut(), &[60, N_PROMPT, N_TOKENS]);
    assert!(off(&straight, &expected[60 * vocab..]) < 1e-4);
    lens.begin_from(&whole, &fork).unwrap();
    assert!(off(&feed(lens.as_mut(), &[60, N_PROMPT, N_TOKENS]), &expected[60 * vocab..]) < 1e-4);
    lens.reuse(&whole, 60).unwrap();
    assert!(off(&feed(lens.as_mut(), &[60, N_PROMPT, N_TOKENS]), &expected[60 * vocab..]) < 1e-4);
    // inside one, those that come later choose with all of it, and those before did with what there was
    let (cut, trace) = run(lens.as_mut(), &whole, &[0, 62, N_PROMPT, N_TOKENS]);
    let (_, expected) = run(lens.as_mut(), &whole, &[0, N_PROMPT, N_TOKENS]);
    let (first, uncut) = (choices(&trace)[0], choices(&expected)[0]);
    for head in 0..6 {
        assert_eq!(chosen(first, head, 60), chosen(first, head, 61));
        assert_eq!(chosen(first, head, 62), chosen(uncut, head, 62), "layer 0 has the same queries");
    }
    assert_eq!(cut.len(), N_TOKENS * vocab);
}
