//! Span attention on NVIDIA's tensor cores, for queries, keys and values of 16 bits: `cuda/decode.cu` for a few queries, `cuda/wgmma.cu`
//! for many on `sm_90a`, `cuda/mma.cu` for many on all other cards from `sm_80` on.
//!
//! [`VARIABLE`] keeps `wgmma` from being chosen. Launch, memory and agreement stand at the top of each text. Where queries are many, queries and keys are rotated before, once per span
//! and once per key position rule, and rounded to their type once; a few rotate keys as they read them.

use std::sync::OnceLock;

use burn_cubecl::element::BoolElement;
use burn_cubecl::tensor::CubeTensor;
use burn_tensor::DType;

use super::SpanAttention;
use super::cube::FEW;
use crate::Attended;
use crate::cube::{Choice, Gpu, GpuRuntime, Rows, empty, tensor};
use crate::cuda::{pack_of, refused_heads};

mod few;
mod many;
mod masks;

pub(crate) use few::text as decode_text;
pub(crate) use many::{groups_text, warps_text};
use masks::Masks;

/// Spans of a launch, at most.
const MOST_SPANS: usize = 8;
/// Rows from which a block of `cuda/wgmma.cu` pays.
const FULL_BLOCK: usize = 64;

/// A text of span attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// `cuda/decode.cu`: a few queries, for every card from `sm_80` on.
    Decode,
    /// `cuda/mma.cu`: for every card from `sm_80` on.
    Mma,
    /// `cuda/wgmma.cu`: for `sm_90a`.
    Wgmma,
}

impl Kernel {
    /// The name of its file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Mma => "mma",
            Self::Wgmma => "wgmma",
        }
    }
}

/// The variable that asks for a lesser text than the best, to compare: with `mma` no problem is computed by `wgmma`.
pub const VARIABLE: &str = "LONGLENS_CUDA_TEXT";

/// What [`VARIABLE`] says, read once.
fn asked() -> Option<&'static str> {
    static ASKED: OnceLock<Option<String>> = OnceLock::new();
    ASKED.get_or_init(|| std::env::var_os(VARIABLE).map(|value| value.to_string_lossy().into_owned())).as_deref()
}

/// Whether `wgmma` may be chosen on a card that has it.
fn may_choose_wgmma(asked: Option<&str>) -> bool {
    asked != Some(Kernel::Mma.name())
}

/// What [`VARIABLE`] changes on a device of this capability, in words; nothing where it is not set.
pub(crate) fn told(capability: u32) -> Option<String> {
    let asked = asked()?;
    let what = match (may_choose_wgmma(Some(asked)), capability) {
        (true, _) => "is not known, and changes nothing: mma is",
        (false, 90) => "keeps wgmma from being chosen",
        (false, _) => "changes nothing: wgmma is for sm_90a alone",
    };
    Some(format!("{VARIABLE}={asked} {what}"))
}

/// The text that computes the problem on its device.
pub fn takes<R: GpuRuntime, BT: BoolElement>(problem: &SpanAttention<'_, Gpu<R, BT>>) -> Choice<Kernel> {
    let capability = R::cuda_capability(&problem.key.device())?;
    let [n_heads, seq_q, head_dim] = problem.query.dims();
    let dtypes = [problem.query.dtype(), problem.key.dtype(), problem.value.dtype()];
    let halves =
        || problem.rotary.iter().flat_map(|rotary| [&rotary.query, &rotary.key]).map(|table| table.cos.dims()[1]);
    let refused = refused_heads(capability, dtypes, head_dim)
        .or_else(|| (!(1..=MOST_SPANS).contains(&problem.spans.len())).then_some("more than 8 spans"))
        .or_else(|| halves().any(|half| !half.is_multiple_of(8)).then_some("rotated dimensions are no multiple of 16"));
    if let Some(why) = refused {
        return Some(Err(why));
    }
    let n_rep = n_heads / problem.key.dims()[0];
    Some(Ok(if seq_q * pack_of(n_rep) <= FEW {
        Kernel::Decode
    } else if capability == 90 && seq_q * n_rep >= FULL_BLOCK && may_choose_wgmma(asked()) {
        // the whole group of a key head is packed there, and a block of 128 rows is not filled by less
        Kernel::Wgmma
    } else {
        Kernel::Mma
    }))
}

/// `out`, of the type of keys, and `lse` of every query; [`takes`] says by which text.
pub fn attend<R: GpuRuntime, BT: BoolElement>(
    kernel: Kernel,
    problem: &SpanAttention<'_, Gpu<R, BT>>,
) -> Attended<Gpu<R, BT>> {
    let problem = Problem::of(problem);
    match kernel {
        Kernel::Decode => problem.few(),
        Kernel::Mma => problem.rotated().on_warps(),
        Kernel::Wgmma => problem.rotated().on_warpgroups(),
    }
    Attended { out: tensor::<R, BT, 3>(problem.out).swap_dims(0, 1), lse: tensor(problem.lse) }
}

/// What all texts take.
struct Problem<'a, R: GpuRuntime, BT: BoolElement> {
    of: &'a SpanAttention<'a, Gpu<R, BT>>,
    masks: Masks,
    /// Query heads of a key head.
    n_rep: usize,
    query: Rows<R>,
    key: Rows<R>,
    value: Rows<R>,
    /// Of every span, its key position rule.
    rule_of: Vec<usize>,
    /// The first span of every rule.
    rules: Vec<usize>,
    /// `[seq_q, n_heads, head_dim]`.
    out: CubeTensor<R>,
    /// `[n_heads, seq_q]`.
    lse: CubeTensor<R>,
}

impl<'a, R: GpuRuntime, BT: BoolElement> Problem<'a, R, BT> {
    fn of(of: &'a SpanAttention<'a, Gpu<R, BT>>) -> Self {
        let [n_heads, seq_q, head_dim] = of.query.dims();
        let [query, key, value] = [&of.query, &of.key, &of.value].map(|rows| Rows::of(rows.clone(), 8));
        let mut rules: Vec<usize> = Vec::new();
        let rule_of = of.spans.iter().enumerate().map(|(at, span)| {
            let known = rules.iter().position(|first| of.spans[*first].key_pos == span.key_pos);
            known.unwrap_or_else(|| {
                rules.push(at);
                rules.len() - 1
            })
        });
        let rule_of = rule_of.collect();
        let queries = of.first_query..of.first_query + seq_q;
        Self {
            of,
            masks: Masks::of(of.spans, &queries, of.score),
            n_rep: n_heads / key.heads,
            out: empty(&value.tensor, [seq_q, n_heads, head_dim], value.tensor.dtype),
            lse: empty(&value.tensor, [n_heads, seq_q], DType::F32),
            query,
            key,
            value,
            rule_of,
            rules,
        }
    }

    /// Numbers of the problem: query heads, queries, dimensions of a head, spans.
    fn sizes(&self) -> [usize; 4] {
        let [n_heads, seq_q, head_dim] = self.of.query.dims();
        [n_heads, seq_q, head_dim, self.of.spans.len()]
    }

    /// The rule of every span, for so many as a launch may have.
    fn rules_of_spans(&self) -> impl Iterator<Item = usize> {
        (0..MOST_SPANS).map(|span| self.rule_of.get(span).copied().unwrap_or(0))
    }
}

/// Functions that the texts of span attention share.
const SPANS: &str = include_str!("cuda/spans.cu");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mma_alone_keeps_wgmma_out() {
        assert!(!may_choose_wgmma(Some("mma")));
        assert!([None, Some(""), Some("wgmma"), Some("MMA")].into_iter().all(may_choose_wgmma));
    }
}
