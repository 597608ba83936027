//! Attention of every method beside its definition in f64, and a run that is not what it says.

use burn_flex::{Flex, FlexDevice};
use longlens_core::lens::{Cached, Control, Lens, LensError, ModelInfo, Rows, Sequence, Setup, TextCodec};
use longlens_core::methods::{METHODS, Method};
use longlens_core::rope::{RopeScaling, SCALINGS};
use longlens_core::trace::{Trace, Watch};
use longlens_eval::verify::{Ask, Report, verify};
use longlens_kernel::linear::Storage;
use longlens_model::shapes::{self, Shape};

use crate::common::{grouped, tokens};

fn setup(lens: &dyn Lens, method: &str, rope: &str, n_prompt: usize) -> Setup {
    let setup = Setup::new(&Method::parse(method).unwrap(), &lens.model().spec, n_prompt).unwrap();
    Setup { rope: RopeScaling::parse(rope).unwrap(), prefill_chunk: 37, ..setup }
}

fn report(lens: &mut dyn Lens, setup: &Setup) -> Report {
    let tokens = tokens(setup.n_prompt + 40);
    verify(lens, setup, &Ask { tokens: &tokens, layers: Vec::new(), n_queries: 50 }, &mut ()).unwrap()
}

/// Settings that reach beyond the first chunks of a prompt of 100 tokens.
pub fn settings(name: &str) -> Vec<String> {
    let given = match name {
        "self_extend" => vec!["group_size=4,neighbor_window=16", "group_size=3,neighbor_window=11,log_scale=20"],
        "dual_chunk" => vec!["chunk_size=24,local_window=8", "chunk_size=24,local_window=8,temperature=yarn"],
        "long_heads" => vec![
            "chunk_len=8,attention_len=40",
            "chunk_len=8,attention_len=40,variant=released",
            "chunk_len=8,attention_len=40,begin_len=60",
            "chunk_len=8,attention_len=40,begin_len=43,query_block=4",
        ],
        "quest" => vec![
            "page_size=8,token_budget=32,dense_layers=1",
            "page_size=8,token_budget=32,prefill=chosen,dense_layers=0",
        ],
        "sliding_window" | "rerope" => vec!["window=20"],
        "streaming" => vec!["n_sink=3,window=20"],
        "by_layer" => {
            vec![
                "0-=full/1h0-2=long_heads:chunk_len=8,attention_len=40/1h3=self_extend:group_size=4,neighbor_window=16",
            ]
        }
        "string" => vec!["shift=40,local_window=16"],
        _ => vec![""],
    };
    given.into_iter().map(|given| if given.is_empty() { name.to_owned() } else { format!("{name}:{given}") }).collect()
}

#[test]
fn every_method_agrees_with_its_definition() {
    let mut lens = grouped(2);
    for method in METHODS.iter().flat_map(|method| settings(method.info.name)) {
        let setup = setup(lens.as_ref(), &method, "none", 100);
        let report = report(lens.as_mut(), &setup);
        let wrong: Vec<_> = report.wrong().collect();
        assert!(wrong.is_empty(), "{method}: {wrong:#?}");
        assert!(!report.has_sixteen_bits);
        assert_eq!((report.heads.len(), report.queries.len()), (12, 90), "{method}");
        let largest = report.heads.iter().map(|head| head.off).fold(0.0, f64::max);
        assert!(largest < 1e-5, "{method}: {largest}");
        let chooses = report.heads.iter().any(|head| head.choice_off.is_some());
        assert_eq!(
            chooses,
            ["long_heads", "quest", "by_layer"].contains(&method.split(':').next().unwrap()),
            "{method}"
        );
    }
}

#[test]
fn interventions_on_heads_agree_with_their_definition() {
    let mut lens = grouped(2);
    for (method, n_rules) in [
        ("full/0h1=off/1h0-2=hide:10-30,60", 3),
        ("self_extend:group_size=4,neighbor_window=16/0=hide:0-5,90-120/1h5=off", 3),
        ("dual_chunk:chunk_size=24,local_window=8/0h3-4=hide:20-50", 2),
        ("streaming:n_sink=3,window=20/1h2=hide:0/1h3=full", 3),
        ("long_heads:chunk_len=8,attention_len=40/0h0-3=force:3,4/1h1=force:12/1h4=off", 4),
        (
            "quest:page_size=8,token_budget=32,prefill=chosen,dense_layers=0/0h5=force:2,7/1h0-1=sliding_window:window=9",
            3,
        ),
        ("by_layer:0-=full/1=long_heads:chunk_len=8,attention_len=40/1h2=force:5/0h2=off", 4),
    ] {
        let setup = setup(lens.as_ref(), method, "none", 100);
        assert_eq!(setup.plan.rules().len(), n_rules, "{method}");
        let report = report(lens.as_mut(), &setup);
        let wrong: Vec<_> = report.wrong().collect();
        assert!(wrong.is_empty(), "{method}: {wrong:#?}");
        // other heads, or forced chunks that nobody forced, are found out
        let plain = method.split('/').next().unwrap();
        if !plain.starts_with("by_layer") {
            let plain =
                Setup { plan: Method::parse(plain).unwrap().plan(&lens.model().spec).unwrap(), ..setup.clone() };
            let mut other = Other { lens: lens.as_mut(), setup: plain, has_nan: false, has_nan_key: false };
            assert!(self::report(&mut other, &setup).wrong().count() > 0, "{method}");
        }
    }
}

#[test]
fn a_head_that_is_off_gives_zeros_and_leaves_its_layer_as_it_is() {
    let mut lens = grouped(2);
    let mut outputs = |method: &str| {
        let watch = Watch { attn_out: vec![0, 1], ..Watch::default() };
        let setup = Setup { watch, ..setup(lens.as_ref(), method, "none", 60) };
        lens.begin(&setup).unwrap();
        let logits = lens.feed(&tokens(60), Rows::Last, &mut ()).unwrap();
        (lens.trace().layers.into_iter().map(|layer| layer.attn_out).collect::<Vec<_>>(), logits)
    };
    let ((before, logits), (after, other_logits)) = (outputs("full"), outputs("full/0h2=off"));
    for (before, after) in before[0].chunks(6 * 16).zip(after[0].chunks(6 * 16)) {
        assert!(after[2 * 16..3 * 16].iter().all(|x| *x == 0.0));
        assert!(before[2 * 16..3 * 16].iter().any(|x| *x != 0.0));
        let others = |row: &[f32]| [&row[..2 * 16], &row[3 * 16..]].concat();
        let close = others(before).iter().zip(others(after)).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(close, "heads beside it");
    }
    assert_ne!(before[1], after[1], "the next layer reads what is left");
    assert_ne!(logits, other_logits);
}

#[test]
fn every_scaling_agrees_with_its_definition() {
    let mut lens = grouped(1);
    let ropes = SCALINGS.iter().map(|rope| rope.name).filter(|name| *name != "longrope").map(|name| match name {
        "none" => name.to_owned(),
        "dynamic" => "dynamic:factor=4,original=64,rerotate=true".to_owned(),
        name => format!("{name}:factor=4"),
    });
    let ropes: Vec<String> = ropes.chain(["dynamic:factor=4,original=64".to_owned()]).collect();
    for rope in &ropes {
        for method in ["full", "self_extend:group_size=4,neighbor_window=16", "long_heads:chunk_len=8,attention_len=40"]
        {
            let setup = setup(lens.as_ref(), method, rope, 100);
            let report = report(lens.as_mut(), &setup);
            let wrong: Vec<_> = report.wrong().collect();
            assert!(wrong.is_empty(), "{method}, {rope}: {wrong:#?}");
        }
    }
}

#[test]
fn scores_of_other_families_agree_with_their_definition() {
    for (shape, method) in [
        ("gemma2-2b", "full"),
        ("gemma2-2b", "self_extend:group_size=4,neighbor_window=16"),
        ("phi-2", "long_heads:chunk_len=8,attention_len=40"),
        ("smollm3-3b", "dual_chunk:chunk_size=24,local_window=8"),
    ] {
        let shape = Shape::find(shape).unwrap();
        let mut lens = shapes::random::<Flex>(shape, Some(1), 5, Storage::Q4, FlexDevice, "test").unwrap();
        let setup = setup(lens.as_ref(), method, "none", 60);
        let report = report(lens.as_mut(), &setup);
        let wrong: Vec<_> = report.wrong().collect();
        assert!(wrong.is_empty(), "{}, {method}: {wrong:#?}", shape.name);
    }
}

/// A lens that computes another setup than it is asked for.
struct Other<'a> {
    lens: &'a mut dyn Lens,
    setup: Setup,
    /// An output that is no number.
    has_nan: bool,
    /// A key that is none: its chunk has no score.
    has_nan_key: bool,
}

impl Lens for Other<'_> {
    fn model(&self) -> &ModelInfo {
        self.lens.model()
    }

    fn text(&self) -> Result<&dyn TextCodec, LensError> {
        self.lens.text()
    }

    fn begin(&mut self, setup: &Setup) -> Result<(), LensError> {
        self.lens.begin(&Setup { watch: setup.watch.clone(), keep_queries: true, ..self.setup.clone() })
    }

    fn feed(&mut self, tokens: &[u32], want: Rows, control: &mut dyn Control) -> Result<Vec<f32>, LensError> {
        self.lens.feed(tokens, want, control)
    }

    fn trace(&mut self) -> Trace {
        let mut trace = self.lens.trace();
        if self.has_nan {
            trace.layers[0].attn_out[99 * 6 * 16 + 2 * 16 + 5] = f32::NAN;
        }
        trace
    }

    fn cached(&mut self, layer: usize) -> Result<Cached, LensError> {
        let mut cached = self.lens.cached(layer)?;
        if self.has_nan_key {
            cached.key[50 * 16] = f32::NAN;
        }
        Ok(cached)
    }

    fn reuse(&mut self, _: &Setup, _: usize) -> Result<(), LensError> {
        Err(LensError::NotBegun)
    }

    fn fork(&mut self, _: usize) -> Result<Sequence, LensError> {
        Err(LensError::NotBegun)
    }

    fn begin_from(&mut self, _: &Setup, _: &Sequence) -> Result<(), LensError> {
        Err(LensError::NotBegun)
    }

    fn inspect(&mut self, _: &Watch, _: &mut dyn Control) -> Result<Trace, LensError> {
        Err(LensError::NotBegun)
    }
}

#[test]
fn a_run_under_another_rule_is_noticed() {
    let mut lens = grouped(1);
    for (asked, computed, rope) in [
        ("self_extend:group_size=4,neighbor_window=16", "self_extend:group_size=4,neighbor_window=17", "none"),
        ("sliding_window:window=20", "sliding_window:window=19", "none"),
        ("long_heads:chunk_len=8,attention_len=40", "long_heads:chunk_len=8,attention_len=40,variant=released", "none"),
        ("full", "full", "linear:factor=1.01"),
    ] {
        let other = setup(lens.as_ref(), computed, rope, 100);
        let asked_setup = setup(lens.as_ref(), asked, "none", 100);
        let mut other = Other { lens: lens.as_mut(), setup: other, has_nan: false, has_nan_key: false };
        let report = report(&mut other, &asked_setup);
        assert!(report.wrong().count() > 0, "{computed} under {rope} passed for {asked}");
    }
}

#[test]
fn what_is_no_number_is_noticed() {
    let mut lens = grouped(1);
    for method in ["full", "long_heads:chunk_len=8,attention_len=40"] {
        let asked = setup(lens.as_ref(), method, "none", 100);
        for (has_nan, has_nan_key) in [(true, false), (false, true)] {
            let mut other = Other { lens: lens.as_mut(), setup: asked.clone(), has_nan, has_nan_key };
            let report = report(&mut other, &asked);
            let wrong: Vec<usize> = report.wrong().map(|head| head.head).collect();
            // one head's output, or all query heads of the key head
            assert_eq!(wrong, if has_nan { vec![2] } else { vec![0, 1, 2] }, "{method}");
            assert!(report.wrong().all(|head| head.worst() == f64::INFINITY));
        }
    }
}

#[test]
fn what_is_not_there_is_refused() {
    let mut lens = grouped(1);
    assert!(matches!(lens.cached(0), Err(LensError::NotBegun)));
    let setup = setup(lens.as_ref(), "full", "none", 10);
    lens.begin(&setup).unwrap();
    lens.feed(&tokens(10), Rows::None, &mut ()).unwrap();
    assert!(matches!(lens.cached(0), Err(LensError::NothingKept { .. })));
    assert!(matches!(lens.cached(1), Err(LensError::OutOfRange { what: "layer", index: 1, count: 1 })));
}
