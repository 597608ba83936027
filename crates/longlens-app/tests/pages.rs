//! Pages of a long text on a large model, made of numbers that nobody computed: how large they are, and that they say what they hold.

use std::sync::Arc;

use longlens_app::Problem;
use longlens_app::views::interactive::Record;
use longlens_app::views::{Subject, TRACE_VIEWS, TraceView, attention, chunks, layers, parse};
use longlens_core::lens::{Lens, ModelInfo, Setup};
use longlens_core::methods::Method;
use longlens_core::scripted::ScriptedLens;
use longlens_core::setting::Setting;
use longlens_core::spec::ModelSpec;
use longlens_core::trace::{ChunkMass, LayerTrace, MapPick, PooledMap, Queries, RunRecord, Trace, Watch};
use serde_json::Value;

/// Bytes of a page at most.
const MOST: usize = 2_000_000;
const N_TOKENS: usize = 128 << 10;

/// Numbers that repeat, as far from each other as weights of attention are.
struct Weights(u64);

impl Weights {
    /// The next number from 0 to 1.
    fn uniform(&mut self) -> f64 {
        // the constants of Knuth's MMIX
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// So many weights, most of them small.
    fn some(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| 10f64.powf(-6.5 * self.uniform()) as f32).collect()
    }
}

/// What a run would have recorded.
fn recorded(watch: &Watch, spec: &ModelSpec, weights: &mut Weights) -> Trace {
    let mut trace = Trace { run: RunRecord { method: "full".into(), ..RunRecord::default() }, ..Trace::default() };
    trace.layers = vec![LayerTrace::default(); spec.n_layers];
    if let Some(mass) = &watch.mass {
        let Queries::Of(queries) = &mass.queries else { panic!("pages name their queries") };
        for layer in &mut trace.layers {
            let of = |query: &usize, weights: &mut Weights| weights.some(spec.n_heads * mass.chunks.count(query + 1));
            let all = queries.iter().map(|query| of(query, weights)).collect();
            layer.mass = Some(ChunkMass {
                chunks: mass.chunks.clone(),
                queries: queries.clone(),
                n_heads: spec.n_heads,
                mass: all,
            });
        }
    }
    trace.rows = watch.rows.iter().map(|pick| (*pick, weights.some(pick.query + 1))).collect();
    let map = |pick: &MapPick, weights: &mut Weights| {
        let n_tokens = pick.window.map_or(N_TOKENS, |window| window.len);
        let stride = n_tokens.div_ceil(pick.side);
        let side = n_tokens.div_ceil(stride);
        let mut cells = weights.some(side * side);
        // later keys are not seen
        (0..side).for_each(|row| cells[row * side + row + 1..(row + 1) * side].fill(0.0));
        PooledMap { pick: *pick, stride, n_tokens, side, mean: cells.clone(), max: cells }
    };
    trace.maps = watch.maps.iter().map(|pick| map(pick, weights)).collect();
    trace
}

/// Words of a vocabulary, no two after each other known beforehand.
fn words(n: usize, weights: &mut Weights) -> Vec<String> {
    let letter = |weights: &mut Weights| char::from(b'a' + (weights.uniform() * 26.0) as u8);
    let vocabulary: Vec<String> =
        (0..8000).map(|at| " ".chars().chain((0..=at % 8).map(|_| letter(weights))).collect()).collect();
    (0..n).map(|_| vocabulary[(weights.uniform().powi(2) * 8000.0) as usize].clone()).collect()
}

fn large() -> ModelInfo {
    let mut model = ScriptedLens::saying("").model().clone();
    model.spec = ModelSpec { n_layers: 32, n_heads: 32, n_kv_heads: 8, ..ModelSpec::tiny(8192) };
    model
}

#[test]
fn pages_of_128k_tokens_and_1024_heads_stay_small() {
    let (model, mut weights) = (large(), Weights(1));
    let pieces = words(N_TOKENS, &mut weights);
    let setup = Setup::new(&Method::full(), &model.spec, N_TOKENS - 6).unwrap();
    let subject = Subject { pieces: &pieces, ..Subject::new(&model, &setup, N_TOKENS, Some(60_000..60_030)) };
    let views: [&dyn TraceView; 3] = [&chunks::Chunks, &layers::Layers, &attention::Attention];
    for view in views {
        let options = Setting::new(view.info());
        let trace = recorded(&view.watch(&subject, &options).unwrap(), &model.spec, &mut weights);
        let page = subject.page(view, &options, &mut |watch| Ok(recorded(watch, &model.spec, &mut weights))).unwrap();
        let stored = page.as_ref().unwrap()["stored"].to_string();
        assert!(stored.contains("The text of all 131072 tokens is stored"), "{stored}");
        let plot = view.view(&subject, &options, &Arc::new(trace)).unwrap().with_page(page);
        let size = plot.bytes("html").unwrap().len();
        assert!(size < MOST, "{} takes {size} bytes", view.info().name);
    }
}

#[test]
fn a_page_says_which_maps_it_holds() {
    let (model, mut weights) = (large(), Weights(2));
    let setup = Setup::new(&Method::full(), &model.spec, N_TOKENS - 6).unwrap();
    let subject = Subject::new(&model, &setup, N_TOKENS, Some(60_000..60_030));
    let (view, options) = parse("attention:layer=3,head=5").unwrap();
    let mut record = |watch: &Watch| -> Result<Trace, Problem> { Ok(recorded(watch, &model.spec, &mut weights)) };
    let record: &mut Record = &mut record;
    let page = subject.page(view, &options, record).unwrap().unwrap();
    let levels = page["levels"].as_array().unwrap();
    let of_first: Vec<_> = levels.iter().filter(|level| level["layer"] == 3 && level["head"] == 5).collect();
    let strides: Vec<_> = of_first.iter().map(|level| level["stride"].as_u64().unwrap()).collect();
    assert!(strides[0] == 512 && strides.contains(&1), "{strides:?}");
    let single = of_first.iter().filter(|level| level["stride"] == 1);
    let holds_needle =
        |level: &&&Value| level["key"].as_u64().unwrap() < 60_000 && level["key"].as_u64().unwrap() > 59_000;
    assert_eq!(single.filter(holds_needle).count(), 2, "from the query and from its own place");
    assert!(page["stored"].to_string().contains("the model came without a tokenizer"), "{}", page["stored"]);
    assert_eq!(page["heads"].as_array().unwrap().len(), 4);
}

#[test]
fn every_view_of_a_short_text_becomes_the_same_page_twice() {
    let (model, pieces) = (ScriptedLens::saying("").model().clone(), words(60, &mut Weights(3)));
    let setup = Setup::new(&Method::full(), &model.spec, 60).unwrap();
    let subject = Subject { pieces: &pieces, chunk_len: 4, ..Subject::new(&model, &setup, 60, None) };
    for view in TRACE_VIEWS.iter().filter(|view| view.info().name != "passages") {
        let options = Setting::new(view.info());
        let made = || {
            let mut weights = Weights(4);
            let trace = recorded(&view.watch(&subject, &options).unwrap(), &model.spec, &mut weights);
            let mut record = |watch: &Watch| Ok(recorded(watch, &model.spec, &mut weights));
            let page = subject.page(*view, &options, &mut record).unwrap();
            assert!(page.is_some(), "{} has a page of its own", view.info().name);
            view.view(&subject, &options, &Arc::new(trace)).unwrap().with_page(page).bytes("html").unwrap()
        };
        assert!(made() == made(), "{}", view.info().name);
    }
}
