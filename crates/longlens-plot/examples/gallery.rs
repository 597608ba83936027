//! Draws every plot from made-up data, as PNG and SVG: `cargo run -p longlens-plot --example gallery -- FOLDER`.

use std::sync::Arc;

use longlens_core::methods::Method;
use longlens_core::spec::ModelSpec;
use longlens_plot::color::{self, ColorScale, Palette, Rgb};
use longlens_plot::plots::attention_map::{AttentionMap, Pooling};
use longlens_plot::plots::chunk_map::{ChoiceColor, ChoiceRow, ChunkMap, ChunkPick, ChunkRows, MassRow};
use longlens_plot::plots::head_grid::HeadGrid;
use longlens_plot::plots::heatmap::{HeatMap, HeatScale};
use longlens_plot::plots::lines::{Axis, Kind, LinePlot, LinePoint, LineSeries, Reference, Scale};
use longlens_plot::plots::loss_curve::{LossCurve, LossSeries};
use longlens_plot::plots::needle_grid::{NeedleCell, NeedleGrid, NeedleMeasure, NeedlePanel};
use longlens_plot::plots::perplexity::{Perplexity, PerplexityPoint, PerplexitySeries};
use longlens_plot::plots::position_map::PositionMap;
use longlens_plot::plots::run_comparison::{DifferenceMap, RunComparison};
use longlens_plot::plots::speed::{Speed, SpeedPoint, SpeedSeries};
use longlens_plot::{Canvas, Figure, Ground, Heading, PlotError, Screen, ScreenCell};

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
    let mut figures: Vec<(String, Arc<dyn Figure>)> = vec![
        ("needle_grid".into(), Arc::new(needle_grid(1, Palette::Viridis))),
        ("needle_grid_2".into(), Arc::new(needle_grid(2, Palette::RedYellowGreen))),
        ("needle_grid_6".into(), Arc::new(needle_grid(6, Palette::Cividis))),
        ("perplexity_log".into(), Arc::new(perplexity(6, 1.0))),
        ("perplexity_linear".into(), Arc::new(perplexity(3, 0.02))),
        ("chunk_choices".into(), Arc::new(chunk_choices(2, 4, 32, 3))),
        ("chunk_choices_large".into(), Arc::new(chunk_choices(32, 32, 512, 16))),
        ("chunk_mass".into(), Arc::new(chunk_mass(ColorScale::Linear))),
        ("chunk_mass_log".into(), Arc::new(chunk_mass(ColorScale::Log { floor: 1e-4 }))),
        ("attention_linear".into(), Arc::new(attention_map(64, 1, ColorScale::Linear))),
        ("speed".into(), Arc::new(speed())),
        ("loss_curve".into(), Arc::new(loss_curve(3, 4096, 64))),
        ("loss_curve_long".into(), Arc::new(loss_curve(6, 65_536, 512))),
        ("loss_curve_short".into(), Arc::new(loss_curve(2, 40, 1))),
        ("head_grid".into(), Arc::new(head_grid(4, 6, 32))),
        ("head_grid_large".into(), Arc::new(head_grid(32, 32, 64))),
        ("head_grid_plain".into(), Arc::new(HeadGrid { needle: None, ..head_grid(12, 12, 0) })),
        ("run_comparison".into(), Arc::new(run_comparison(300, true))),
        ("run_comparison_long".into(), Arc::new(run_comparison(16_384, false))),
        ("heatmap".into(), Arc::new(heatmap(5, 4, HeatScale::default()))),
        ("heatmap_diverging".into(), Arc::new(heatmap(16, 12, HeatScale::Diverging))),
        ("lines".into(), Arc::new(lines(4, Kind::Line))),
        ("lines_many".into(), Arc::new(lines(12, Kind::Line))),
        ("scatter".into(), Arc::new(lines(3, Kind::Scatter))),
        ("bars".into(), Arc::new(LinePlot { categories: METHODS.map(str::to_owned).to_vec(), ..lines(2, Kind::Bar) })),
        ("screen".into(), Arc::new(screen())),
        ("attention_words".into(), Arc::new(attention_map(24, 1, ColorScale::Log { floor: 1e-4 }))),
        ("attention_log".into(), Arc::new(attention_map(256, 16, ColorScale::Log { floor: 1e-5 }))),
    ];
    for text in METHODS {
        let method = Method::parse(text).expect("a method");
        let plan = &method.plan(&ModelSpec::tiny(2048)).expect("a possible method");
        figures.push((
            format!("position_map_{}", method.name()),
            Arc::new(PositionMap::new(plan, (0, 0), 4096, 2048, "trained on 2048 tokens".into())),
        ));
    }
    for (name, figure) in figures {
        Canvas::default().save(figure.as_ref(), folder.join(format!("{name}.png")))?;
        Canvas::default().save(figure.as_ref(), folder.join(format!("{name}.svg")))?;
        let dark = Ground::Dark.under(figure.clone());
        Canvas::default().save(dark.as_ref(), folder.join(format!("{name}_dark.png")))?;
        for width in [400, 700] {
            let canvas = Canvas { size: Some((width, figure.size().1)), scale: 1.0 };
            canvas.save(figure.as_ref(), folder.join(format!("{name}_{width}.png")))?;
        }
    }
    Canvas::scaled(2.0).save(&screen(), folder.join("screen_twice.png"))?;
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
    let measure = NeedleMeasure::Found;
    NeedleGrid { heading: heading(title), trained_context: 2048, lengths, depths, panels, palette, measure }
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
        off: vec![(0, 1)],
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
        off: Vec::new(),
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
        is_off: false,
        n_tokens: side * stride - stride / 2,
        origin: (0, 0),
        stride,
        side,
        cells,
        pooling: Pooling::Mean,
        scale,
        needle: Some(side * stride / 2..side * stride / 2 + 9 * stride / 8),
        query: Some(side * stride - stride),
        words: words(side * usize::from(side <= 32)),
    }
}

/// Words of as many tokens, of several scripts.
fn words(n: usize) -> [Vec<String>; 2] {
    let some = ["The", "cat", "sat", "on", "the", "windowsill", ",", "长文本", "ภาษาไทย", "हिन्दी", "العربية", "·"];
    let words: Vec<String> = (0..n).map(|at| some[at % some.len()].to_owned()).collect();
    [words.clone(), words]
}

/// A number from 0 to 1 that looks random.
fn noise(seed: usize) -> f32 {
    let mixed = (seed as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5851_F42D_4C95_7F2D;
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as f32 / (1 << 24) as f32
}

fn loss_curve(n_series: usize, n_tokens: usize, smooth: usize) -> LossCurve {
    let series = (0..n_series).map(|idx| {
        let loss = |t: usize| {
            let beyond = (t as f32 / n_tokens as f32 - 0.5).max(0.0);
            let known = 1.8 + 2.5 / (1.0 + t as f32 / 20.0) + beyond * 6.0 / (1.0 + 2.0 * idx as f32);
            known + (noise(t * 7 + idx) - 0.5) * 3.0 + idx as f32 * 0.05
        };
        LossSeries { name: METHODS[idx].to_owned(), nll: (0..n_tokens - 1).map(loss).collect() }
    });
    LossCurve { heading: heading(""), trained_context: n_tokens / 2, series: series.collect(), smooth }
}

fn head_grid(n_layers: usize, n_heads: usize, n_bins: usize) -> HeadGrid {
    let n_panels = n_layers * n_heads;
    let score = |at: usize| if at % 7 == 3 { 0.55 + 0.4 * noise(at) } else { 0.12 * noise(at) };
    let profile = |at: usize| {
        let mass = |bin: usize| {
            let sink = if bin == 0 { 0.5 } else { 0.0 };
            let local = if bin + 2 > n_bins { 0.4 } else { 0.0 };
            let needle = if (n_bins * 4 / 10..n_bins * 45 / 100 + 1).contains(&bin) { score(at) } else { 0.0 };
            sink + local + needle + 0.08 * noise(at * 64 + bin)
        };
        (0..n_bins).map(mass).collect()
    };
    HeadGrid {
        heading: heading(METHODS[0]),
        n_layers,
        n_heads,
        query: 4095,
        score_name: "retrieval score".to_owned(),
        scores: (0..n_panels).map(score).collect(),
        profiles: (0..n_panels).map(profile).collect(),
        needle: Some(0.4..0.45),
        scale: ColorScale::Linear,
        off: vec![(0, 2), (1, 1)],
    }
}

fn run_comparison(n_tokens: usize, with_map: bool) -> RunComparison {
    let delta = |t: usize| {
        let beyond = (t as f32 / n_tokens as f32 - 0.5).max(0.0);
        (noise(t) - 0.5) * 2.0 * noise(t + 99) + beyond * 4.0 * noise(t + 7)
    };
    let side = 64;
    let difference = |at: usize| {
        let (i, j) = (at / side, at % side);
        let near = if i.saturating_sub(j) < 4 { 0.02 } else { 0.0 };
        let needle = if j == 20 && i > 30 { 0.06 } else { 0.0 };
        needle - near * noise(at) + (noise(at + 5) - 0.5) * 0.01
    };
    let map = DifferenceMap {
        layer: 1,
        head: 3,
        n_tokens: side * 16,
        side,
        stride: 16,
        cells: (0..side * side).map(difference).collect(),
    };
    let shared = "The passkey is hidden in the text above. After reading all of it again, line by line, the only number that was \
                  announced as a passkey, and repeated once, is ";
    let outputs = [
        format!("{shared}the the the the of of of\n\nof the and and and and and and and and and and and"),
        format!("{shared}71432. Remember it: 71432 is the passkey.\nThe grass is green."),
    ];
    RunComparison {
        heading: heading(""),
        names: [METHODS[0].to_owned(), METHODS[4].to_owned()],
        delta_log_prob: (0..n_tokens).map(delta).collect(),
        divergence: Some(37),
        outputs,
        map: with_map.then_some(map),
    }
}

/// A made-up workbench: lines, blocks, braille, signs and looks.
fn screen() -> Screen {
    let (columns, rows) = (100, 30);
    let (ink, ground) = (Rgb(205, 214, 224), Rgb(22, 26, 33));
    let blank =
        ScreenCell { symbol: " ".to_owned(), ink, ground, bold: false, italic: false, underlined: false, dim: false };
    let mut cells = vec![blank; columns * rows];
    let mut put = |row: usize, column: usize, text: &str, change: &dyn Fn(&mut ScreenCell)| {
        for (at, c) in text.chars().enumerate().filter(|(at, _)| column + at < columns) {
            let cell = &mut cells[row * columns + column + at];
            cell.symbol = c.to_string();
            change(cell);
        }
    };
    let plain = |_: &mut ScreenCell| {};
    let accent = |cell: &mut ScreenCell| cell.ink = Rgb(110, 190, 255);
    for (top, left, height, width, corners) in
        [(1, 0, 16, 58, "╭╮╰╯─│"), (1, 58, 16, 42, "┏┓┗┛━┃"), (17, 0, 11, 58, "╔╗╚╝═║"), (17, 58, 11, 42, "┌┐└┘╌┆")]
    {
        let signs: Vec<String> = corners.chars().map(String::from).collect();
        let across = signs[4].repeat(width - 2);
        put(top, left, &format!("{}{across}{}", signs[0], signs[1]), &accent);
        put(top + height - 1, left, &format!("{}{across}{}", signs[2], signs[3]), &accent);
        for row in top + 1..top + height - 1 {
            put(row, left, &signs[5], &accent);
            put(row, left + width - 1, &signs[5], &accent);
        }
    }
    put(0, 0, &format!("{:columns$}", " longlens  1 Text  2 Plan  3 Heads  4 Loss"), &|cell| {
        cell.ground = Rgb(52, 62, 80);
    });
    put(0, 11, "1 Text", &|cell| (cell.bold, cell.underlined) = (true, true));
    put(1, 2, " positions ", &|cell| cell.bold = true);
    put(1, 60, " methods ", &|cell| cell.bold = true);
    for row in 0..14 {
        for column in 0..56 {
            let at = |half: usize| {
                let (i, j) = ((row * 2 + half) * 2, column);
                if j > i { ground } else { Palette::Viridis.at((i - j) as f64 / 56.0) }
            };
            put(row + 2, column + 1, "▀", &|cell| (cell.ink, cell.ground) = (at(0), at(1)));
        }
    }
    let lines = ["▶ full", "  sliding_window", "  self_extend ✓", "  dual_chunk  ✓ ★", "  long_heads  ⟲ ✗ … · ⏎"];
    for (row, line) in lines.iter().enumerate() {
        put(row + 3, 60, line, &|cell| cell.bold = row == 0);
    }
    put(9, 60, "dim remark, italic remark", &|cell| cell.dim = true);
    put(9, 72, "italic remark", &|cell| (cell.italic, cell.dim) = (true, false));
    put(11, 60, "▁▂▃▄▅▆▇█ ░▒▓█ ▏▎▍▌▋▊▉█ ▖▗▘▙▚▛▜▝▞▟", &accent);
    put(13, 60, "┌┬┐ ╔╦╗ ┏┳┓ ╒╤╕ ╓╥╖ ╱╲╳ ┄┅┆┇┈┉", &plain);
    put(14, 60, "├┼┤ ╠╬╣ ┣╋┫ ╞╪╡ ╟╫╢ ╭┮╮ ╽╿╼╾", &plain);
    put(15, 60, "└┴┘ ╚╩╝ ┗┻┛ ╘╧╛ ╙╨╜ ╰┶╯ ╴╵╶╷", &plain);
    for column in 0..54 {
        let height = |x: f64| 15.0 - 12.0 * (x / 9.0).sin() * (-x / 60.0).exp();
        let dots = [height(column as f64), height(column as f64 + 0.5)];
        for row in 0..8 {
            let bit = |side: usize| {
                let dot = dots[side] as usize;
                if dot / 4 == row { [[1, 2, 4, 64], [8, 16, 32, 128]][side][dot % 4] } else { 0 }
            };
            let sign = char::from_u32(0x2800 + bit(0) + bit(1)).expect("a braille pattern");
            if sign != '\u{2800}' {
                put(row + 18, column + 2, &sign.to_string(), &|cell| cell.ink = color::ALARM);
            }
        }
    }
    put(19, 60, "α ≤ 0.5 · ∞ · q→k · Δ log p ⟨x⟩ ÄÖß", &plain);
    put(20, 60, "a <tag> & \"quotes\"", &plain);
    put(29, 0, &format!("{:columns$}", " ↑↓ move  ⏎ open  ⇧ more  ? help  q quit"), &|cell| {
        (cell.ink, cell.ground) = (ground, Rgb(110, 190, 255));
    });
    Screen { columns, rows, cells, background: ground, title: Some("longlens tui".to_owned()) }
}

fn heatmap(n_columns: usize, n_rows: usize, scale: HeatScale) -> HeatMap {
    let value = |row: usize, column: usize| ((row * 7 + column * 3) % 11) as f64 / 5.0 - 1.0;
    HeatMap {
        title: "Change of the loss".into(),
        subtitle: heading("").subtitle,
        x_name: "neighbor_window".into(),
        y_name: "group_size".into(),
        x_labels: (0..n_columns).map(|column| (32 << (column % 8)).to_string()).collect(),
        y_labels: (0..n_rows).map(|row| (2 << (row % 8)).to_string()).collect(),
        values: (0..n_rows).map(|row| (0..n_columns).map(|column| value(row, column)).collect()).collect(),
        value_name: "nats".into(),
        scale,
        range: None,
    }
}

fn lines(n_series: usize, kind: Kind) -> LinePlot {
    let is_bar = kind == Kind::Bar;
    let x = |at: usize| if is_bar { at as f64 } else { f64::from(256 << at) };
    let series = (0..n_series).map(|series| {
        let point = |at: usize| {
            let y = 2.0 + (series + 1) as f64 * (at as f64).sqrt() / 3.0;
            LinePoint { band: (series == 0).then_some((y * 0.9, y * 1.1)), ..LinePoint::new(x(at), y) }
        };
        LineSeries { name: format!("series {series}"), points: (0..METHODS.len()).map(point).collect() }
    });
    LinePlot {
        title: "Perplexity by length".into(),
        subtitle: heading("").subtitle,
        kind,
        x: Axis { name: "length".into(), scale: if is_bar { Scale::Linear } else { Scale::Log2 } },
        y: Axis::new("perplexity"),
        series: series.collect(),
        references: vec![Reference {
            is_vertical: !is_bar,
            at: if is_bar { 3.0 } else { 2048.0 },
            label: "trained".into(),
        }],
        ..LinePlot::default()
    }
}
