//! How far back every head looks: the mean distance from a query to its keys, weighted by attention.

use longlens_core::setting::Info;

use super::grid::HeadMeasure;
use crate::heads::Heads;

/// Layers by heads, coloured by distance.
pub static DISTANCE: HeadMeasure = HeadMeasure {
    info: &Info {
        name: "distance",
        title: "Attention distance",
        source: "Mean attention distance: Vig and Belinkov, 2019, arXiv:1906.04284",
        summary: "how many tokens back every head looks from one query: distances to keys, weighted by attention",
        params: &[super::QUERY, super::CHUNK_LEN],
    },
    unit: "tokens",
    title: "mean distance in tokens",
    number: distance,
    lowest_first: false,
    remark: |head, tokens| format!("farthest on average: {head}, {tokens:.1} tokens back"),
};

/// Tokens from the query back to its keys on average; a chunk's attention counts at its middle where keys were not recorded.
fn distance(heads: &Heads, (layer, head): (usize, usize)) -> f32 {
    let query = heads.query as f64;
    let weighted = |weights: &[f32], key: &dyn Fn(usize) -> f64| -> f64 {
        weights.iter().enumerate().map(|(at, weight)| f64::from(*weight) * (query - key(at))).sum()
    };
    let sum = match heads.row(layer, head) {
        Some(row) => weighted(row, &|key| key as f64),
        None => weighted(heads.mass(layer, head), &|chunk| {
            let (first, last) = (chunk * heads.chunk_len, ((chunk + 1) * heads.chunk_len - 1).min(heads.query));
            f64::midpoint(first as f64, last as f64)
        }),
    };
    sum as f32
}

#[cfg(test)]
mod tests {
    use longlens_core::lens::{Lens, Rows, Setup};
    use longlens_core::methods::Method;
    use longlens_core::scripted::ScriptedLens;
    use longlens_core::setting::Setting;
    use longlens_core::trace::Watch;

    use super::*;
    use crate::views::{Subject, TraceView};

    #[test]
    fn even_attention_is_half_the_text_away_by_key_and_by_chunk() {
        let mut lens = ScriptedLens::saying("ok").attending(|_, _, _, _| 1.0);
        let setup = Setup::new(&Method::full(), &lens.model().spec, 61).unwrap();
        let model = lens.model().clone();
        let subject = Subject { chunk_len: 16, ..Subject::new(&model, &setup, 61, None) };
        let watch = DISTANCE.watch(&subject, &Setting::new(DISTANCE.info)).unwrap();
        lens.begin(&Setup { keep_queries: true, ..setup.clone() }).unwrap();
        lens.feed(&[9; 61], Rows::None, &mut ()).unwrap();
        for watch in [Watch { rows: Vec::new(), ..watch.clone() }, watch] {
            let heads = Heads::new(lens.inspect(&watch, &mut ()).unwrap(), 60).unwrap();
            assert!((distance(&heads, (1, 2)) - 30.0).abs() < 1e-3, "{}", distance(&heads, (1, 2)));
        }
    }
}
