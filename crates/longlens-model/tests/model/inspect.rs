//! Inspecting attention that nobody watched, and windows of it.

use longlens_core::lens::{Lens, LensError};
use longlens_core::trace::{Chunks, MapPick, MapWindow, Queries, RowPick, Watch, WatchMass};
use proptest::prelude::*;

use crate::common::{
    TOLERANCE, WEIGHT_TOLERANCE, Way, agree, all_choices, close_call, feed, same_attention, two_layers, way,
};

/// Places as shares of what there is.
type Share = f64;

fn at(share: Share, n: usize) -> usize {
    ((share * n as f64) as usize).min(n - 1)
}

#[derive(Debug, Clone)]
struct Picks {
    rows: Vec<(usize, usize, Share)>,
    whole: Vec<(usize, usize, usize)>,
    windows: Vec<(usize, usize, usize, [Share; 3])>,
    mass: Option<(usize, Asked)>,
    choices: Asked,
}

/// Some queries.
#[derive(Debug, Clone)]
enum Asked {
    All,
    Of(Vec<Share>),
}

fn picks() -> impl Strategy<Value = Picks> {
    let share = || 0.0..1.0f64;
    let queries = move || {
        let some = prop::collection::vec(share(), 0..4).prop_map(Asked::Of);
        prop_oneof![1 => Just(Asked::All), 2 => some]
    };
    (
        prop::collection::vec((0..2usize, 0..6usize, share()), 0..5),
        prop::collection::vec((0..2usize, 0..6usize, 1..70usize), 0..3),
        prop::collection::vec((0..2usize, 0..6usize, 1..40usize, [share(), share(), share()]), 0..4),
        prop::option::of((1..30usize, queries())),
        queries(),
    )
        .prop_map(|(rows, whole, windows, mass, choices)| Picks { rows, whole, windows, mass, choices })
}

impl Picks {
    /// A watch of queries among the first `n`.
    fn watch(&self, n: usize) -> Watch {
        let queries = |asked: &Asked| match asked {
            Asked::All => Queries::All,
            Asked::Of(list) => {
                let mut list: Vec<usize> = list.iter().map(|share| at(*share, n)).collect();
                list.sort_unstable();
                list.dedup();
                Queries::Of(list)
            }
        };
        let mut rows: Vec<_> = self.rows.iter().map(|(layer, head, query)| (*layer, *head, at(*query, n))).collect();
        rows.sort_unstable();
        rows.dedup();
        let whole = self.whole.iter().map(|(layer, head, side)| MapPick::whole(*layer, *head, *side));
        let windows = self.windows.iter().map(|(layer, head, side, [query, key, len])| {
            let window = MapWindow { query: at(*query, n), key: at(*key, n), len: 1 + at(*len, n + 20) };
            MapPick { window: Some(window), ..MapPick::whole(*layer, *head, *side) }
        });
        Watch {
            rows: rows.into_iter().map(|(layer, head, query)| RowPick { layer, head, query }).collect(),
            maps: whole.chain(windows).collect(),
            mass: self
                .mass
                .as_ref()
                .map(|(chunk_len, list)| WatchMass { chunks: Chunks::Every(*chunk_len), queries: queries(list) }),
            choices: queries(&self.choices),
            ..Watch::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn an_inspection_sees_what_a_run_records(
        way in way(), before in way(), n_prompt in 1..100usize, more in 0..20usize, picks in picks(), cut in 0.0..1.0f64,
        keep in prop::option::of(0.0..1.0f64),
    ) {
        let mut lens = two_layers();
        let (n, lens) = (n_prompt + more, lens.as_mut());
        let watch = picks.watch(n_prompt);
        let first = keep.map_or(0, |keep| (keep * n as f64) as usize);
        let cut = first + (cut * (n - first) as f64) as usize;
        let start = |lens: &mut dyn Lens, watch: Watch| {
            let setup = way.setup(lens, n_prompt, watch);
            if keep.is_some() {
                lens.begin(&before.setup(lens, n_prompt, Watch::default())).unwrap();
                feed(lens, 0, n);
                lens.reuse(&setup, first).unwrap();
            } else {
                lens.begin(&setup).unwrap();
            }
        };
        start(lens, all_choices());
        feed(lens, first, n);
        prop_assume!(!close_call(&lens.trace()));
        start(lens, watch.clone());
        feed(lens, first, n);
        let expected = lens.trace();
        start(lens, Watch::default());
        feed(lens, first, cut);
        feed(lens, cut, n);
        let got = lens.inspect(&watch, &mut ()).unwrap();
        same_attention(&got, &expected)?;
        prop_assert_eq!(&got.run, &expected.run);
        prop_assert!(got.seconds.is_empty() && got.nll.is_empty());
    }

    #[test]
    fn rows_of_generated_tokens_can_be_inspected(way in way(), n_prompt in 1..60usize, more in 1..20usize) {
        let mut lens = two_layers();
        let (n, lens) = (n_prompt + more, lens.as_mut());
        // chunks of one token are weights
        let mass = Some(WatchMass { chunks: Chunks::Every(1), queries: Queries::All });
        lens.begin(&way.setup(lens, n_prompt, Watch { mass, ..Watch::default() })).unwrap();
        feed(lens, 0, n);
        let expected = lens.trace();
        let pick = |at: usize| RowPick { layer: at % 2, head: at % 6, query: n_prompt + at % more };
        let rows = Watch { rows: (0..more + 5).map(pick).collect(), ..Watch::default() };
        for (pick, weights) in lens.inspect(&rows, &mut ()).unwrap().rows {
            let mass = expected.layers[pick.layer].mass.as_ref().unwrap();
            agree(&weights, mass.row(pick.query, pick.head), WEIGHT_TOLERANCE, "row")?;
        }
        // passages of any length are sums of weights, of listed queries and of all
        let chunks = Chunks::At([0, 1, 4, 9, 10, 25].into());
        for queries in [Queries::Of((0..n).step_by(3).collect()), Queries::All] {
            let mass = Some(WatchMass { chunks: chunks.clone(), queries });
            for (layer, got) in lens.inspect(&Watch { mass, ..Watch::default() }, &mut ()).unwrap().layers.iter().enumerate() {
                let (got, weights) = (got.mass.as_ref().unwrap(), expected.layers[layer].mass.as_ref().unwrap());
                for (row, head) in (0..got.queries.len()).flat_map(|row| (0..6).map(move |head| (row, head))) {
                    let sums: Vec<f32> = chunks.sums(weights.row(got.queries[row], head)).collect();
                    agree(got.row(row, head), &sums, WEIGHT_TOLERANCE, "passages")?;
                }
            }
        }
    }

    #[test]
    fn a_window_is_a_part_of_the_map(way in way(), n in 1..130usize, picks in picks()) {
        let mut lens = two_layers();
        let lens = lens.as_mut();
        lens.begin(&way.setup(lens, n, Watch::default())).unwrap();
        feed(lens, 0, n);
        for (layer, head, side, [query, key, len]) in picks.windows {
            let window = MapWindow { query: at(query, n), key: at(key, n), len: 1 + at(len, n + 30) };
            let whole = MapPick::whole(layer, head, n);
            let maps = vec![whole, MapPick { side, window: Some(window), ..whole }];
            let trace = lens.inspect(&Watch { maps, ..Watch::default() }, &mut ()).unwrap();
            let [exact, got] = &trace.maps[..] else { panic!("two maps") };
            prop_assert_eq!((got.n_tokens, got.stride), (window.len, window.len.div_ceil(side)));
            prop_assert_eq!(got.side, window.len.div_ceil(got.stride));
            prop_assert_eq!(exact.stride, 1);
            let cells = |first: usize, cell: usize| {
                let start = cell * got.stride;
                (first + start).min(n)..(first + (start + got.stride).min(window.len)).min(n)
            };
            for row in 0..got.side {
                for column in 0..got.side {
                    let queries = cells(window.query, row);
                    let keys = cells(window.key, column);
                    let weights = queries.clone().flat_map(|i| keys.clone().map(move |j| exact.mean[i * n + j]));
                    let weights: Vec<f32> = weights.collect();
                    let mean = weights.iter().sum::<f32>() / queries.len().max(1) as f32;
                    let max = weights.iter().copied().fold(0.0, f32::max);
                    let cell = row * got.side + column;
                    agree(&[got.mean[cell], got.max[cell]], &[mean, max], 2e-5, "cell")?;
                }
            }
        }
    }
}

#[test]
fn what_is_not_there_is_refused_and_nothing_is_lost() {
    let mut lens = two_layers();
    let lens = lens.as_mut();
    let way = Way::new("full", "none");
    let setup = way.setup(lens, 30, Watch::default());
    let out_of_range = |result: Result<(), LensError>| match result {
        Err(LensError::OutOfRange { what, index, count }) => (what, index, count),
        other => panic!("{other:?}"),
    };
    let windowed = |query: usize, key: usize, side: usize, len: usize| Watch {
        maps: vec![MapPick { window: Some(MapWindow { query, key, len }), ..MapPick::whole(1, 5, side) }],
        ..Watch::default()
    };
    lens.begin(&setup).unwrap();
    let expected = feed(lens, 0, 33);
    assert_eq!(out_of_range(lens.reuse(&setup, 34)), ("token", 33, 33));
    assert_eq!(out_of_range(lens.reuse(&way.setup(lens, 30, windowed(30, 0, 4, 4)), 29)), ("query", 30, 30));
    assert_eq!(out_of_range(lens.inspect(&windowed(33, 0, 4, 4), &mut ()).map(drop)), ("query", 33, 33));
    assert_eq!(out_of_range(lens.inspect(&windowed(0, 33, 4, 4), &mut ()).map(drop)), ("key", 33, 33));
    let row = Watch { rows: vec![RowPick { layer: 0, head: 6, query: 0 }], ..Watch::default() };
    assert_eq!(out_of_range(lens.inspect(&row, &mut ()).map(drop)), ("head", 6, 6));
    let choices = Watch { choices: Queries::Of(vec![32, 33]), ..Watch::default() };
    assert_eq!(out_of_range(lens.inspect(&choices, &mut ()).map(drop)), ("query", 33, 33));
    let large = lens.inspect(&windowed(3, 0, 1 << 30, usize::MAX), &mut ());
    assert!(matches!(large, Err(LensError::TraceTooLarge { .. })));
    // a window without end has few cells, and one of no tokens none
    let endless = lens.inspect(&windowed(3, 2, 5, usize::MAX), &mut ()).unwrap();
    assert!(endless.maps[0].max[0] > 0.0 && endless.maps[0].side <= 5);
    assert!(lens.inspect(&windowed(3, 2, 5, 0), &mut ()).unwrap().maps[0].mean.is_empty());
    lens.reuse(&setup, 33).unwrap();
    lens.reuse(&setup, 20).unwrap();
    agree(&feed(lens, 20, 33), &expected[20 * 256..], TOLERANCE, "logits").unwrap();
}
