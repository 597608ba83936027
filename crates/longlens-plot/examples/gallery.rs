//! Draws every plot from made-up data, as PNG and SVG: `cargo run -p longlens-plot --example gallery -- FOLDER`.

use longlens_core::methods::Method;
use longlens_core::spec::ModelSpec;
use longlens_plot::color::{ColorScale, Palette};
use longlens_plot::plots::attention_map::{AttentionMap, Pooling};
use longlens_plot::plots::chunk_map::{ChoiceColor, ChoiceRow, ChunkMap, ChunkPick, ChunkRows, MassRow};
use longlens_plot::plots::needle_grid::{NeedleCell, NeedleGrid, NeedlePanel};
use longlens_plot::plots::perplexity::{Perplexity, PerplexityPoint, PerplexitySeries};
use longlens_plot::plots::position_map::PositionMap;
use longlens_plot::plots::speed::{Speed, SpeedPoint, SpeedSeries};
use longlens_plot::{Canvas, Figure, Heading, PlotError};

const METHODS: [&str; 6] = [
    "full",
    "sliding_window:window=2048",
    "streaming:n_sink=4,window=2044",
    "self_extend:group_size=8,neighbor_window=512,log_scale=off,shift=floor",
    "dual_chunk:chunk_size=1536,local_window=256,temperature=off",
    "long_heads:chunk_len=128,attention_len=1024,begin_len=1024,variant=consistent",
];

fn main() -> Result<(), PlotError> {
    let folder = std::path::PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "gallery".to_owned()));
    std::fs::create_dir_all(&folder).map_err(|source| PlotError::Unwritable { path: folder.clone(), source })?;
    let mut figures: Vec<(String, Box<dyn Figure>)> = vec![
        ("needle_grid".into(), Box::new(needle_grid(1, Palette::Viridis))),
        ("needle_grid_2".into(), Box::new(needle_grid(2, Palette::RedYellowGreen))),
        ("needle_grid_6".into(), Box::new(needle_grid(6, Palette::Cividis))),
        ("perplexity_log".into(), Box::new(perplexity(6, 1.0))),
        ("perplexity_linear".into(), Box::new(perplexity(3, 0.02))),
        ("chunk_choices".into(), Box::new(chunk_choices(2, 4, 32, 3))),
        ("chunk_choices_large".into(), Box::new(chunk_choices(32, 32, 512, 16))),
        ("chunk_mass".into(), Box::new(chunk_mass(ColorScale::Linear))),
        ("chunk_mass_log".into(), Box::new(chunk_mass(ColorScale::Log { floor: 1e-4 }))),
        ("attention_linear".into(), Box::new(attention_map(64, 1, ColorScale::Linear))),
        ("speed".into(), Box::new(speed())),
        ("attention_log".into(), Box::new(attention_map(256, 16, ColorScale::Log { floor: 1e-5 }))),
    ];
    for text in METHODS {
        let method = Method::parse(text).expect("a method");
        let plan = method.plan(&ModelSpec::tiny(2048)).expect("a possible method");
        figures.push((
            format!("position_map_{}", method.name()),
            Box::new(PositionMap::new(plan, 4096, 2048, "trained on 2048 tokens".into())),
        ));
    }
    for (name, figure) in figures {
        Canvas::default().save(figure.as_ref(), folder.join(format!("{name}.png")))?;
        Canvas::default().save(figure.as_ref(), folder.join(format!("{name}.svg")))?;
    }
    Canvas::scaled(2.0).save(&perplexity(4, 1.0), folder.join("perplexity_twice.png"))
}

fn heading(title: &str) -> Heading {
    Heading { title: title.to_owned(), subtitle: "tiny-llama-2k · rope yarn:factor=4 · f32 · cpu (flex)".to_owned() }
}

fn needle_grid(n_panels: usize, palette: Palette) -> NeedleGrid {
    let lengths: Vec<usize> = (0..8).map(|k| 512 << k).collect();
    let depths: Vec<f64> = (0..=10).map(|k| f64::from(k) / 10.0).collect();
    let panel = |idx: usize| {
        let cell = |at: usize| {
            let (row, column) = (at / lengths.len(), at % lengths.len());
            let lost = (column as f64 - 3.0).max(0.0) * 0.3 * (1.0 - (row as f64 - 5.0 - idx as f64).abs() / 7.0);
            let n_trials = if n_panels == 1 && column == 7 { 5 } else { 20 };
            (column < 7 || row < 6).then(|| NeedleCell { accuracy: (1.0 - lost).clamp(0.0, 1.0), n_trials })
        };
        NeedlePanel { name: METHODS[idx % 6].to_owned(), cells: (0..lengths.len() * depths.len()).map(cell).collect() }
    };
    let title = if n_panels == 1 { METHODS[3] } else { "" };
    let panels = (0..n_panels).map(panel).collect();
    NeedleGrid { heading: heading(title), trained_context: 2048, lengths, depths, panels, palette }
}

fn speed() -> Speed {
    let line = |(idx, name): (usize, &&str), is_decode: bool| {
        let point = |k: i32| {
            let slope = if idx == 0 || idx > 3 { 0.8 } else { 0.05 };
            let tokens_per_s = 30_000.0 / (1.0 + 0.3 * idx as f64) / (1.0 + 0.1 * slope * 2f64.powi(k));
            SpeedPoint { n_tokens: 256 << k, tokens_per_s: if is_decode { tokens_per_s / 40.0 } else { tokens_per_s } }
        };
        SpeedSeries { name: (*name).to_owned(), is_decode, points: (0..8).map(point).collect() }
    };
    let lines = |is_decode| METHODS.iter().enumerate().map(move |method| line(method, is_decode));
    Speed { heading: heading("median of the measured runs"), series: lines(false).chain(lines(true)).collect() }
}

fn perplexity(n_series: usize, growth: f64) -> Perplexity {
    let series = (0..n_series).map(|idx| {
        let point = |k: u32| {
            let beyond = f64::from(k.saturating_sub(3)) * growth / (1.0 + idx as f64);
            let perplexity = (8.0 - 0.3 * f64::from(k) + idx as f64 * 0.2) * (beyond * 2.0).exp();
            PerplexityPoint { n_tokens: 256 << k, perplexity, n_scored: if k == 0 { 200 } else { 4096 } }
        };
        PerplexitySeries { name: METHODS[idx].to_owned(), points: (0..8).map(point).collect() }
    });
    Perplexity { heading: heading(""), trained_context: 2048, series: series.collect(), cap: None }
}

fn chunk_choices(n_layers: usize, n_heads: usize, n_chunks: usize, n_picks: usize) -> ChunkMap {
    let row = |layer: usize, head: usize| {
        let pick = |k: usize| ChunkPick {
            chunk: 1 + (k * 7919 + layer * 31 + head * 13) % (n_chunks - 3),
            score: Some(((k * 37 + head) % 11) as f32),
            forced: false,
        };
        let forced = [0, n_chunks - 2, n_chunks - 1].map(|chunk| ChunkPick { chunk, score: None, forced: true });
        ChoiceRow { layer, head, picks: (0..n_picks).map(pick).chain(forced).collect() }
    };
    let rows = (0..n_layers).flat_map(|layer| (0..n_heads).map(move |head| row(layer, head))).collect();
    ChunkMap {
        heading: heading(METHODS[5]),
        n_chunks,
        chunk_len: 128,
        query: n_chunks * 128 - 5,
        needle: Some(n_chunks / 3..n_chunks / 3 + 2),
        rows: ChunkRows::Choices(rows, ChoiceColor::Score),
    }
}

fn chunk_mass(scale: ColorScale) -> ChunkMap {
    let row = |layer: usize, head: usize| {
        let weight = |chunk: usize| (((chunk * 31 + layer * 7 + head * 3) % 17) as f32 * -0.6).exp();
        let mut mass: Vec<f32> = (0..32).map(weight).collect();
        mass[0] += 2.0;
        mass[31] += 3.0;
        let sum: f32 = mass.iter().sum();
        MassRow { layer, head, mass: mass.into_iter().map(|m| m / sum).collect() }
    };
    let rows = (0..4).flat_map(|layer| (0..8).map(move |head| row(layer, head))).collect();
    ChunkMap {
        heading: heading(METHODS[0]),
        n_chunks: 32,
        chunk_len: 128,
        query: 4095,
        needle: Some(10..11),
        rows: ChunkRows::Mass(rows, scale),
    }
}

fn attention_map(side: usize, stride: usize, scale: ColorScale) -> AttentionMap {
    let weight = |i: usize, j: usize| {
        let distance = i.saturating_sub(j) as f32;
        let sink = if j == 0 { 0.4 } else { 0.0 };
        sink + (-distance / 3.0).exp() * 0.3 + 0.02 / (1.0 + distance) + if j % 23 == 7 { 0.05 } else { 0.0 }
    };
    let cells = (0..side * side).map(|at| weight(at / side, at % side)).collect();
    AttentionMap {
        heading: heading(METHODS[0]),
        layer: 1,
        head: 3,
        n_tokens: side * stride - stride / 2,
        stride,
        side,
        cells,
        pooling: Pooling::Mean,
        scale,
    }
}
