//! What holds for every plot: one way out, the same bytes each time, errors that help.

use longlens_core::methods::Method;
use longlens_core::spec::ModelSpec;
use longlens_plot::color::{ColorScale, Rgb};
use longlens_plot::plots::attention_map::{AttentionMap, Pooling};
use longlens_plot::plots::chunk_map::{ChunkMap, ChunkRows, MassRow};
use longlens_plot::plots::head_grid::HeadGrid;
use longlens_plot::plots::heatmap::HeatMap;
use longlens_plot::plots::lines::{Axis, LinePlot, LinePoint, LineSeries};
use longlens_plot::plots::loss_curve::{LossCurve, LossSeries};
use longlens_plot::plots::needle_grid::{NeedleCell, NeedleGrid};
use longlens_plot::plots::perplexity::{Perplexity, PerplexityPoint, PerplexitySeries};
use longlens_plot::plots::position_map::PositionMap;
use longlens_plot::plots::run_comparison::{DifferenceMap, RunComparison};
use longlens_plot::plots::speed::{Speed, SpeedPoint, SpeedSeries};
use longlens_plot::{Canvas, Figure, Heading, PlotError, Screen, ScreenCell, save};

/// One small figure of each kind, and labels its SVG must hold.
fn figures() -> Vec<(Box<dyn Figure>, [&'static str; 3])> {
    let heading = || Heading { title: "self_extend:group_size=4".to_owned(), subtitle: "tiny · f32".to_owned() };
    let cell = Some(NeedleCell { accuracy: 0.95, n_trials: 20 });
    let point = |n_tokens| PerplexityPoint { n_tokens, perplexity: 7.0, n_scored: 5000 };
    let series = vec![PerplexitySeries { name: "full".to_owned(), points: vec![point(128), point(256)] }];
    let mass = MassRow { layer: 1, head: 2, mass: vec![0.4, 0.6] };
    let plan = Method::parse("full").unwrap().plan(&ModelSpec::tiny(16)).unwrap();
    vec![
        (
            Box::new(NeedleGrid::single(heading(), 256, vec![128, 512], vec![0.5], vec![cell, None])),
            ["95%", "length (tokens)", "trained context 256"],
        ),
        (
            Box::new(Perplexity { heading: heading(), trained_context: 200, series, cap: None }),
            ["perplexity", "log₂", "trained context 200"],
        ),
        (
            Box::new(ChunkMap {
                heading: heading(),
                n_chunks: 2,
                chunk_len: 64,
                query: 127,
                needle: Some(0..1),
                off: Vec::new(),
                rows: ChunkRows::Mass(vec![mass], ColorScale::Linear),
            }),
            ["L1 H2", "chunk of 64 tokens", "needle"],
        ),
        (
            Box::new(AttentionMap {
                heading: heading(),
                layer: 0,
                head: 0,
                is_off: false,
                n_tokens: 2,
                origin: (0, 0),
                stride: 1,
                side: 2,
                cells: vec![1.0, 0.0, 0.5, 0.5],
                pooling: Pooling::Mean,
                scale: ColorScale::Log { floor: 1e-3 },
                needle: Some(0..1),
                query: Some(1),
                words: [vec!["the".into(), "cat".into()], vec!["the".into(), "cat".into()]],
            }),
            ["key (tokens 0 to 1)", ">cat</text>", "needle, token 0"],
        ),
        (
            Box::new(PositionMap {
                heading: heading(),
                rule: plan.of(0, 0).clone(),
                n_tokens: 24,
                trained_context: 16,
            }),
            ["relative position", "never trained (≥ 16)", "not seen"],
        ),
        (
            Box::new(Speed {
                heading: heading(),
                series: vec![SpeedSeries {
                    name: "full".to_owned(),
                    is_decode: true,
                    points: vec![SpeedPoint { n_tokens: 128, tokens_per_s: 900.0 }],
                }],
            }),
            ["tokens per second", "log₂", "decode, one token at a time"],
        ),
        (Box::new(losses(heading())), ["loss (nats)", "moving mean of 2 tokens", "trained context 2"]),
        (Box::new(heads(heading())), ["Retrieval score of every head, from token 9", "H1", "on the needle"]),
        (Box::new(comparison(heading())), ["better predicted by full", "layer 0, head 1", "the same for 1 token"]),
        (Box::new(lines()), ["length (tokens)", "loss (nats)", "seed 1"]),
        (Box::new(heatmap()), ["window", "chunk size", "no value"]),
    ]
}

/// The plots of any numbers take their words from whoever makes them.
fn lines() -> LinePlot {
    let points = vec![LinePoint::new(128.0, 3.0), LinePoint::new(256.0, 2.5)];
    LinePlot {
        title: "self_extend:group_size=4".to_owned(),
        subtitle: "tiny · f32".to_owned(),
        x: Axis::new("length (tokens)"),
        y: Axis::new("loss (nats)"),
        series: vec![LineSeries { name: "seed 1".to_owned(), points }],
        ..LinePlot::default()
    }
}

fn heatmap() -> HeatMap {
    HeatMap {
        title: "self_extend:group_size=4".to_owned(),
        subtitle: "tiny · f32".to_owned(),
        x_name: "window".to_owned(),
        y_name: "chunk size".to_owned(),
        x_labels: vec!["64".to_owned(), "128".to_owned()],
        y_labels: vec!["16".to_owned()],
        values: vec![vec![0.5, f64::NAN]],
        value_name: "loss".to_owned(),
        ..HeatMap::default()
    }
}

fn losses(heading: Heading) -> LossCurve {
    let series = vec![LossSeries { name: "full".to_owned(), nll: vec![3.0, 2.0, 2.5] }];
    LossCurve { heading, trained_context: 2, series, smooth: 2 }
}

fn heads(heading: Heading) -> HeadGrid {
    HeadGrid {
        heading,
        n_layers: 2,
        n_heads: 2,
        query: 9,
        score_name: "retrieval score".to_owned(),
        scores: vec![0.0, 0.1, 0.9, 0.2],
        profiles: vec![vec![0.5, 0.2, 0.3]; 4],
        needle: Some(0.4..0.6),
        scale: ColorScale::Linear,
        off: vec![(1, 0)],
    }
}

fn comparison(heading: Heading) -> RunComparison {
    let map = DifferenceMap { layer: 0, head: 1, n_tokens: 2, side: 2, stride: 1, cells: vec![0.0, 0.0, 0.2, -0.2] };
    RunComparison {
        heading,
        names: ["full".to_owned(), "streaming".to_owned()],
        delta_log_prob: vec![0.5, -0.25],
        divergence: Some(1),
        outputs: ["one two".to_owned(), "one three".to_owned()],
        map: Some(map),
    }
}

fn screen(columns: usize, rows: usize) -> Screen {
    let cell = |at: usize| ScreenCell {
        symbol: char::from(b'a' + (at % 26) as u8).to_string(),
        ink: Rgb(200, 200, 200),
        ground: Rgb(0, 0, 0),
        bold: at.is_multiple_of(2),
        italic: at.is_multiple_of(3),
        underlined: at.is_multiple_of(5),
        dim: false,
    };
    let (cells, background) = ((0..columns * rows).map(cell).collect(), Rgb(0, 0, 0));
    Screen { columns, rows, cells, background, title: Some("longlens".to_owned()) }
}

/// The plots, and a terminal's frame.
fn pictures() -> Vec<Box<dyn Figure>> {
    let plots = figures().into_iter().map(|(figure, _)| figure);
    plots
        .chain([(80, 24), (3, 1)].map(|(columns, rows)| -> Box<dyn Figure> { Box::new(screen(columns, rows)) }))
        .collect()
}

#[test]
fn the_same_data_gives_the_same_bytes() {
    for (first, second) in pictures().into_iter().zip(pictures()) {
        let bytes = |figure: &dyn Figure| {
            let canvas = Canvas::scaled(0.7);
            (canvas.to_png_bytes(figure).unwrap(), canvas.to_svg_string(figure).unwrap())
        };
        assert_eq!(bytes(first.as_ref()), bytes(second.as_ref()));
    }
}

#[test]
fn svg_holds_every_label_and_the_run() {
    for (figure, labels) in figures() {
        let svg = Canvas::default().to_svg_string(figure.as_ref()).unwrap();
        for label in labels.iter().chain(&["self_extend:group_size=4", "tiny · f32", "sans-serif"]) {
            assert!(svg.contains(label), "{figure:?} does not say {label}");
        }
        assert!(svg.trim_end().ends_with("</svg>"));
    }
}

#[test]
fn pixels_hold_text_above_and_below_the_data() {
    for (figure, _) in figures() {
        let pixels = Canvas::default().to_rgb(figure.as_ref()).unwrap();
        let panel = figure.scene(figure.size()).unwrap().panels[0].area;
        let inked = |rows: std::ops::Range<u32>| {
            let dark = |y: u32| (0..pixels.width).filter(|x| pixels.at(*x, y).0 < 128).count();
            rows.map(dark).sum::<usize>()
        };
        assert!(inked(0..panel.y0 as u32 - 20) > 100, "no heading: {figure:?}");
        assert!(inked(panel.y1 as u32 + 8..pixels.height) > 50, "no axis: {figure:?}");
    }
}

#[test]
fn every_page_size_is_drawn_or_refused() {
    for figure in pictures() {
        for (size, scale) in [((320, 240), 1.0), ((320, 2000), 0.5), ((3000, 240), 2.0)] {
            let pixels = Canvas { size: Some(size), scale }.to_rgb(figure.as_ref()).unwrap();
            let side = |logical: u32| (f64::from(logical) * scale) as u32;
            assert_eq!((pixels.width, pixels.height), (side(size.0), side(size.1)));
            assert_eq!(pixels.rgb.len() as u32, pixels.width * pixels.height * 3);
        }
        for (size, scale) in [((10, 10), 1.0), ((1000, 650), 0.0), ((1000, 650), f64::NAN), ((1000, 650), 1e6)] {
            let error = Canvas { size: Some(size), scale }.to_rgb(figure.as_ref()).unwrap_err();
            assert!(matches!(error, PlotError::Page { .. }), "{error}");
        }
        let small = Canvas::fitting(figure.as_ref(), 200, 300).to_rgb(figure.as_ref()).unwrap();
        assert!(small.width <= 200 && small.height <= 300 && (small.width == 200 || small.height == 300));
    }
}

#[test]
fn the_extension_decides_and_nothing_is_left_beside_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (figure, _) = figures().swap_remove(1);
    let figure = figure.as_ref();
    for (name, start) in [("a.png", &b"\x89PNG"[..]), ("a.svg", b"<svg"), ("b.PNG", b"\x89PNG")] {
        save(figure, folder.path().join(name)).unwrap();
        assert!(std::fs::read(folder.path().join(name)).unwrap().starts_with(start), "{name}");
    }
    for name in ["a.gif", "plain"] {
        let error = save(figure, folder.path().join(name)).unwrap_err();
        assert!(matches!(error, PlotError::UnknownExtension { .. }));
        assert_eq!(error.help().unwrap(), "end the file name in `.png` or `.svg`");
    }
    let missing = save(figure, folder.path().join("missing/a.png")).unwrap_err();
    assert!(missing.to_string().starts_with("cannot write `"));
    assert_eq!(missing.help().unwrap(), "create the folder first");
    std::fs::create_dir(folder.path().join("folder.png")).unwrap();
    assert!(matches!(save(figure, folder.path().join("folder.png")), Err(PlotError::Unwritable { .. })));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
}

#[test]
fn empty_data_is_an_error_that_says_what_is_missing() {
    let none = RunComparison {
        delta_log_prob: vec![],
        outputs: [const { String::new() }; 2],
        map: None,
        ..comparison(Heading::default())
    };
    let nothing: [Box<dyn Figure>; 10] = [
        Box::new(NeedleGrid::single(Heading::default(), 256, vec![128], vec![0.5], vec![None])),
        Box::new(NeedleGrid::single(Heading::default(), 256, vec![], vec![], vec![])),
        Box::new(Perplexity { heading: Heading::default(), trained_context: 1, series: vec![], cap: None }),
        Box::new(ChunkMap::mass(&longlens_core::trace::Trace::default(), 0, ColorScale::Linear)),
        Box::new(LossCurve { series: vec![], ..losses(Heading::default()) }),
        Box::new(HeadGrid { n_layers: 0, ..heads(Heading::default()) }),
        Box::new(none),
        Box::new(LinePlot::default()),
        Box::new(HeatMap::default()),
        Box::new(screen(0, 4)),
    ];
    for figure in nothing {
        let error = Canvas::default().to_png_bytes(figure.as_ref()).unwrap_err();
        assert!(error.to_string().starts_with("nothing to draw: ") && error.help().is_some(), "{error}");
    }
}
