//! Memory that a run takes, counted from the model's numbers and the plan alone.

use serde::Serialize;

use crate::lens::ModelInfo;
use crate::plan::{ChunkChoice, ChunkScore, HeadGroup, Plan, Prefill, SlotPositions};
use crate::spec::ModelSpec;

/// Bytes that a run takes on the processor, beside what the program itself does, when most is in memory at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct RunSize {
    /// Weights as they are kept.
    pub weights: usize,
    /// Keys and values of every token, and the room for more.
    pub cache: usize,
    /// What represents chunks, in heads that choose them.
    pub chunks: usize,
    /// Keys of those heads packed once more, from the first query on that chooses.
    pub chunk_keys: usize,
    /// The widest moment of a prefill step: what a layer makes of its tokens, keys turned for the positions of spans, their angles,
    /// one token's logits, and what lies idle between blocks of memory.
    pub activations: usize,
}

/// Tokens beyond a prompt that a cache has room for before it is copied the first time.
pub const SPARE_TOKENS: usize = 256;
/// Larger blocks of memory are given back as soon as they are free; smaller ones share a heap. What lies idle between them was measured
/// as a quarter of what a step takes, up to one such block.
const BLOCK: usize = 32 << 20;
/// Bytes of a number of the cache and of activations.
const NUMBER: usize = size_of::<f32>();

/// How a device keeps what a run makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnDevice {
    /// Bytes of a number of the cache and of what attention meets.
    pub number: usize,
    /// Whether keys and values stay in the host's memory.
    pub offloads: bool,
    /// Whether queries are kept too.
    pub keeps_queries: bool,
}

/// Chunks of a key head that lie on a device while the others are in the host's memory, where its queries may choose `n_chosen` of
/// `n_chunks` for a token: twice as many, since tokens that follow one another choose alike, and no more than there are, with room for
/// some that come.
pub fn n_places(n_chosen: usize, n_chunks: usize) -> usize {
    (2 * n_chosen).min(n_chunks + n_chunks / 8 + SPARE_PLACES)
}

const SPARE_PLACES: usize = 8;

/// Rows of a step that an MLP meets at once: its numbers are the widest, and rows do not know of one another.
pub const MLP_ROWS: usize = 4096;

impl RunSize {
    /// Of a prompt that is processed `prefill_chunk` tokens at a time, up to `n_tokens` with what is generated after it.
    pub fn of(model: &ModelInfo, plan: &Plan, prompt: Prefill, n_tokens: usize, prefill_chunk: usize) -> Self {
        let spec = &model.spec;
        let cache = CacheSize::of(spec, plan, prompt, n_tokens);
        let step = prefill_chunk.min(prompt.n_tokens).max(1);
        // every span turns keys of its own, in one layer at a time
        let n_spans = plan.rules().iter().map(|rule| rule.spans.len()).max().unwrap_or(0);
        let turned = n_spans * spec.n_kv_heads * spec.head_dim * n_tokens;
        let n_maps: usize = plan.rules().iter().map(|rule| 2 * rule.spans.len()).sum();
        let angles = n_maps * spec.rotary_dim * n_tokens;
        let activations = (spec.step_numbers * step + turned + angles + spec.vocab_size) * NUMBER;
        let spare = spec.cache_numbers(SPARE_TOKENS);
        Self {
            weights: model.weight_bytes,
            cache: (cache.keys_and_values + spare) * NUMBER,
            chunks: cache.chunks * NUMBER,
            chunk_keys: cache.packed_keys * NUMBER,
            activations: activations + (activations / 4).min(BLOCK),
        }
    }

    /// The same of a device with memory of its own.
    pub fn on_device(
        model: &ModelInfo,
        plan: &Plan,
        prompt: Prefill,
        n_tokens: usize,
        prefill_chunk: usize,
        device: OnDevice,
    ) -> Self {
        let spec = &model.spec;
        let cache = CacheSize::of(spec, plan, prompt, n_tokens);
        let step = prefill_chunk.min(prompt.n_tokens).max(1);
        let queries_kept = if device.keeps_queries { cache.queries } else { 0 };
        let all = (cache.keys_and_values + spec.cache_numbers(SPARE_TOKENS) + queries_kept) * device.number;
        let n_spans = plan.rules().iter().map(|rule| rule.spans.len()).max().unwrap_or(0);
        let (queries, keys) = (spec.n_heads * spec.head_dim, spec.n_kv_heads * spec.head_dim);
        // the stream, its normed copy, queries, keys and values, what they got, and the same token by token
        let attention = step * (2 * spec.d_model * NUMBER + (3 * queries + 2 * keys) * device.number);
        // the stream and its normed copy, and a block of rows in the MLP
        let mlp = (2 * spec.d_model * step + 3 * spec.d_mlp * step.min(MLP_ROWS)) * NUMBER;
        let turned = n_spans * (keys * n_tokens + queries * step) * device.number;
        let n_maps: usize = plan.rules().iter().map(|rule| 2 * rule.spans.len()).sum();
        let angles = (n_maps * spec.rotary_dim * n_tokens + spec.vocab_size) * NUMBER;
        let activations = (attention + turned).max(mlp) + angles;
        Self {
            weights: model.weight_bytes,
            // of keys and values in the host's memory one layer is on the device, and chunks that were chosen
            cache: if device.offloads {
                all / spec.n_layers.max(1) + places(spec, plan, n_tokens) * device.number
            } else {
                all
            },
            chunks: cache.chunks * device.number,
            chunk_keys: 0, // turned as they are read
            activations: activations + activations / 8,
        }
    }

    /// All of it.
    pub fn total(&self) -> usize {
        self.weights + self.cache + self.chunks + self.chunk_keys + self.activations
    }
}

/// Numbers of the keys and values in the places of chosen chunks, in all layers.
fn places(spec: &ModelSpec, plan: &Plan, n_tokens: usize) -> usize {
    let of_group = |group: HeadGroup| {
        let choice = plan.rules()[group.rule].choice.filter(|choice| choice.slots == SlotPositions::Packed);
        choice.map_or(0, |ChunkChoice { chunk_len, n_slots, .. }| {
            let n_kv_heads = spec.kv_heads_of(&group.heads).len();
            let n_chosen = group.heads.len().div_ceil(n_kv_heads) * (n_slots - 1);
            2 * n_kv_heads * (n_places(n_chosen, n_tokens / chunk_len) + 1) * chunk_len * spec.head_dim
        })
    };
    (0..spec.n_layers).flat_map(|layer| plan.groups(layer, spec.n_heads)).map(of_group).sum()
}

/// Numbers that a sequence keeps from step to step, in all layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheSize {
    /// Keys and values of every token.
    pub keys_and_values: usize,
    /// Queries of every token; a sequence holds them only where they are kept
    /// ([`Setup::keep_queries`](crate::lens::Setup::keep_queries)).
    pub queries: usize,
    /// Summaries or bounds of complete chunks in heads that choose, and for summaries the queries of the partial chunk.
    pub chunks: usize,
    /// Keys of heads that choose, where prompt tokens do: the processor's kernels keep them packed once more, and read them as
    /// they lie for a few queries at a time. Counted without the padding of chunks that fill no whole vectors.
    pub packed_keys: usize,
}

impl CacheSize {
    /// Of the first `n_tokens` tokens of a sequence.
    pub fn of(model: &ModelSpec, plan: &Plan, prompt: Prefill, n_tokens: usize) -> Self {
        let per_head = model.head_dim * n_tokens;
        let mut size = Self {
            keys_and_values: model.cache_numbers(n_tokens),
            queries: model.n_layers * model.n_heads * per_head,
            ..Self::default()
        };
        for group in (0..model.n_layers).flat_map(|layer| plan.groups(layer, model.n_heads)) {
            let rule = &plan.rules()[group.rule];
            let Some(choice) = rule.choice else { continue };
            let (n_kv_heads, n_chunks) = (model.kv_heads_of(&group.heads).len(), n_tokens / choice.chunk_len);
            size.chunks += match choice.score {
                ChunkScore::Summary => group.heads.len() * model.head_dim * (n_chunks + n_tokens % choice.chunk_len),
                ChunkScore::Bounds => n_kv_heads * 2 * model.head_dim * n_chunks,
            };
            if rule.first_choice(prompt) < prompt.n_tokens.min(n_tokens) {
                size.packed_keys += n_kv_heads * per_head;
            }
        }
        size
    }

    /// Numbers of what a fork copies: all but packed keys, and queries only where they are kept.
    pub fn forked(&self, keep_queries: bool) -> usize {
        self.keys_and_values + self.chunks + if keep_queries { self.queries } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::Method;

    #[test]
    fn a_run_takes_weights_cache_and_the_widest_moment_of_a_step() {
        let lens = crate::scripted::ScriptedLens::new(crate::scripted::induction);
        let model = crate::lens::Lens::model(&lens);
        let size = |method: &str, n_prompt: usize, step: usize| {
            let plan = Method::parse(method).unwrap().plan(&model.spec).unwrap();
            RunSize::of(model, &plan, Prefill { n_tokens: n_prompt }, n_prompt, step)
        };
        let spec = &model.spec;
        let full = size("full", 1000, 500);
        assert_eq!(full.cache, 4 * spec.cache_numbers(1000 + SPARE_TOKENS));
        assert_eq!((full.weights, full.chunks, full.chunk_keys), (model.weight_bytes, 0, 0));
        assert_eq!(full.total(), full.weights + full.cache + full.activations);
        // twice as many tokens a step, with a quarter that lies idle; keys for the positions of two spans
        let of_tokens = 4 * 500 * spec.step_numbers;
        assert_eq!(size("full", 1000, 1000).activations - full.activations, of_tokens + of_tokens / 4);
        assert!(size("self_extend:group_size=8", 1000, 500).activations > full.activations);
        assert!(size("long_heads:chunk_len=4,attention_len=32", 1000, 500).chunk_keys > 0);
    }

    #[test]
    fn a_device_holds_what_stays_on_it() {
        let lens = crate::scripted::ScriptedLens::new(crate::scripted::induction);
        let model = crate::lens::Lens::model(&lens);
        let spec = &model.spec;
        let size = |method: &str, device: OnDevice| {
            let plan = Method::parse(method).unwrap().plan(spec).unwrap();
            RunSize::on_device(model, &plan, Prefill { n_tokens: 1000 }, 1000, 500, device)
        };
        let all = OnDevice { number: 2, offloads: false, keeps_queries: false };
        let cache = 2 * spec.cache_numbers(1000 + SPARE_TOKENS);
        assert_eq!(size("full", all).cache, cache);
        let kept = 2 * spec.n_layers * spec.n_heads * spec.head_dim * 1000;
        assert_eq!(size("full", OnDevice { keeps_queries: true, ..all }).cache, cache + kept);
        let on_host = OnDevice { offloads: true, ..all };
        assert_eq!(size("full", on_host).cache, cache / spec.n_layers);
        // eight slots of 4 tokens, the newest chunk apart: places for twice as many of every query head, and for the newest
        let n_rep = spec.n_heads / spec.n_kv_heads;
        let places = 2 * (spec.cache_numbers(4) * (2 * 7 * n_rep + 1));
        assert_eq!(size("long_heads:chunk_len=4,attention_len=32", on_host).cache, cache / spec.n_layers + places);
        // no more than there are chunks: 15 of 64 tokens
        let few = 2 * (spec.cache_numbers(64) * ((2 * 15 * n_rep).min(15 + 1 + SPARE_PLACES) + 1));
        assert_eq!(size("long_heads:chunk_len=64,attention_len=1024", on_host).cache, cache / spec.n_layers + few);
    }

    #[test]
    fn heads_count_that_choose_and_no_others() {
        let model = ModelSpec { n_layers: 3, n_kv_heads: 2, ..ModelSpec::tiny(64) };
        let size = |method: &str, n_prompt: usize, n_tokens: usize| {
            let plan = Method::parse(method).unwrap().plan(&model).unwrap();
            CacheSize::of(&model, &plan, Prefill { n_tokens: n_prompt }, n_tokens)
        };
        let plain =
            CacheSize { keys_and_values: 3 * 2 * 2 * 16 * 50, queries: 3 * 4 * 16 * 50, ..CacheSize::default() };
        assert_eq!(size("full", 50, 50), plain);
        // 12 summaries of 4 tokens each and the 2 queries behind them, in 4 heads of 3 layers
        let chosen = "long_heads:chunk_len=4,attention_len=32";
        let whole = CacheSize { chunks: 3 * 4 * 16 * (12 + 2), packed_keys: 3 * 2 * 16 * 50, ..plain };
        assert_eq!(size(chosen, 50, 50), whole);
        assert_eq!(size("long_heads:chunk_len=4,attention_len=64", 50, 50), CacheSize { packed_keys: 0, ..whole });
        // one head of one layer chooses, from a key head that it shares
        let one = CacheSize { chunks: 16 * (12 + 2), packed_keys: 16 * 50, ..plain };
        assert_eq!(size(&format!("by_layer:0-=full/1h3={chosen}"), 50, 50), one);
        // two dense layers, and generated tokens alone choose
        let pages = CacheSize { chunks: 2 * 2 * 16 * 3, ..plain };
        assert_eq!(size("quest", 50, 50), pages);
        assert_eq!(size("quest", 49, 50), pages);
        let packed = CacheSize { packed_keys: 2 * 16 * 50, ..pages };
        assert_eq!(size("quest:prefill=chosen", 50, 50), packed);
    }
}
