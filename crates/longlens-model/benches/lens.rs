//! What a person waits for: a changed parameter to a refreshed trace, and what recording adds, on the embedded model.
//!
//! `cargo bench -p longlens-model --bench lens`

#![allow(clippy::print_stderr)] // a benchmark prints

use burn_flex::{Flex, FlexDevice};
use divan::{Bencher, black_box};
use longlens_core::lens::{CancelToken, Lens, Rows, Setup};
use longlens_core::methods::Method;
use longlens_core::trace::{Chunks, MapPick, Queries, Watch, WatchMass};
use longlens_kernel::linear::Storage;
use longlens_model::source::Source;

fn main() {
    divan::main();
}

fn embedded() -> Box<dyn Lens> {
    let source = Source::resolve("embedded").unwrap();
    longlens_model::open::<Flex>(&source, Storage::F32, FlexDevice, "cpu").unwrap()
}

fn prompt(n_tokens: usize) -> Vec<u32> {
    (0..n_tokens as u32).map(|token| 3 + token.wrapping_mul(2_654_435_761) % 1000).collect()
}

/// Runs a prompt and takes its trace.
fn trace(lens: &mut dyn Lens, method: &str, prompt: &[u32], watch: Watch) {
    let method = Method::parse(method).unwrap();
    let setup = Setup { watch, ..Setup::new(&method, &lens.model().spec, prompt.len()).unwrap() };
    lens.begin(&setup).unwrap();
    lens.feed(prompt, Rows::Last, &mut CancelToken::default()).unwrap();
    black_box(lens.trace());
}

/// What the views show of one query: its choices, its mass per chunk in every head, and every token's loss.
fn views(query: usize) -> Watch {
    Watch {
        nll: true,
        choices: Queries::Of(vec![query]),
        mass: Some(WatchMass { chunks: Chunks::Every(16), queries: Queries::Of(vec![query]) }),
        ..Watch::default()
    }
}

const METHODS: [&str; 5] = [
    "full",
    "self_extend:group_size=64,neighbor_window=64",
    "dual_chunk:chunk_size=192,local_window=32",
    "streaming:n_sink=4,window=252",
    "long_heads:chunk_len=16,attention_len=256",
];

#[divan::bench(args = METHODS, consts = [1024, 4096], sample_count = 10, sample_size = 1)]
fn refresh<const N: usize>(bencher: Bencher<'_, '_>, method: &str) {
    let (mut lens, prompt) = (embedded(), prompt(N));
    bencher.bench_local(|| trace(&mut *lens, method, &prompt, views(N - 1)));
}

/// Without recording (0) and with pooled maps of every head of one layer (4), at 16k tokens or as many as `MAP_TOKENS` says;
/// prints the highest memory of the process so far.
#[divan::bench(args = [0, 4], consts = [0, 4], sample_count = 1, sample_size = 1)]
fn maps<const METHOD: usize>(bencher: Bencher<'_, '_>, heads: usize) {
    let n_tokens = std::env::var("MAP_TOKENS").map_or(16384, |n| n.parse().expect("a number of tokens"));
    let (mut lens, prompt) = (embedded(), prompt(n_tokens));
    let maps = (0..heads).map(|head| MapPick::whole(1, head, 512));
    let watch = Watch { maps: maps.collect(), ..Watch::default() };
    bencher.bench_local(|| trace(&mut *lens, METHODS[METHOD], &prompt, watch.clone()));
    let peak = lens.trace().peak_memory.unwrap_or(0) >> 20;
    eprintln!("peak memory so far: {peak} MiB");
}
