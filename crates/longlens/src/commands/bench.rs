//! `longlens bench`: how fast each method runs at each length, beside what the machine can do.

use std::path::Path;
use std::time::Instant;

use longlens_app::bytes::text as bytes;
use longlens_core::brief;
use longlens_core::lens::{Control, Lens, LensError, ModelInfo, Rows, Setup};
use longlens_core::memory::{OnDevice, RunSize};
use longlens_core::methods::Method;
use longlens_core::plan::Prefill;
use longlens_core::trace::{RunRecord, Trace, rope_text};
use longlens_core::work::Work;
use longlens_model::peak_memory;
use longlens_plot::Heading;
use longlens_plot::plots::{Speed as Figure, SpeedPoint, SpeedSeries};
use serde::Serialize;

use super::made;
use crate::args::{BenchArgs, Device, Phases};
use crate::backend::{self, Ceilings};
use crate::config::{RunConfig, lengths, prompt_length};
use crate::failure::Failure;
use crate::terminal::{Progress, Terminal};

/// Lengths when none are given.
const LENGTHS: [usize; 2] = [1024, 4096];
/// Threads a core: more are a slip.
const MOST_THREADS: usize = 8;

/// One method at one length in one phase.
#[derive(Debug, Clone, Serialize)]
struct Row {
    model: String,
    method: String,
    rope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    layer_windows: Option<String>,
    device: &'static str,
    dtype: String,
    threads: usize,
    n_tokens: usize,
    phase: Phase,
    /// Median: of a whole prompt, or of one generated token.
    seconds: f64,
    seconds_min: f64,
    seconds_max: f64,
    tokens_per_s: f64,
    /// Work of what `seconds` is the time of.
    flops: u128,
    bytes: u128,
    /// Highest while the method ran at this length, where the system tells.
    peak_memory_bytes: Option<u64>,
    /// The most of the device's memory that the program held so far, where it has memory of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_peak_bytes: Option<u64>,
    /// What of it the run was expected to take; the rest is the program's own.
    forecast_memory_bytes: usize,
    /// Bytes of the weights as they are kept.
    weight_bytes: usize,
    /// What the process held before the model was made, and at most while it was.
    before_memory_bytes: Option<u64>,
    load_memory_bytes: Option<u64>,
    kernel_path: String,
    version: String,
    ceiling_flops_per_s: f64,
    ceiling_bytes_per_s: f64,
}

/// What one row is the time of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Phase {
    Prefill,
    Decode,
}

/// What is measured, and how often.
struct Ask {
    prefill: bool,
    decode: bool,
    repeat: usize,
    warmup: usize,
    new_tokens: usize,
    device: Device,
    /// How a device with memory of its own keeps what a run makes.
    on_device: Option<OnDevice>,
    /// Highest memory before the model was made, and while it was.
    memory: [Option<u64>; 2],
    /// Bytes that a weight takes on the average.
    weight_bytes: f64,
}

pub fn run(args: &BenchArgs) -> Result<(), Failure> {
    let config = RunConfig::new(&args.common)?;
    let terminal = Terminal::new(config.json);
    let methods = methods(args, &config)?;
    let lengths = args.lengths.as_deref().map_or_else(|| Ok(LENGTHS.to_vec()), lengths)?;
    let longest = longest(args, &lengths)?;
    let out = super::picture(config.out.as_deref(), "bench.png")?;
    crate::inputs::spare(&config, out.as_slice(), &[])?;
    // what is impossible is said before anything runs
    let made = made::Ask {
        layers: args.layers,
        attention_only: args.attention_only,
        n_tokens: longest,
        length_flag: "--lengths",
        keeps_queries: false,
    };
    let made = made::model(made, &config)?;
    let info = match made {
        Some(made) => made.describe(),
        None => {
            backend::outline(&config.model, config.opening()).map_err(|error| made::or_shape(error, &config.model))?
        }
    };
    let setups = setups(&config, &info, &methods, &lengths)?;
    for setup in setups.iter().step_by(lengths.len().max(1)) {
        // of random tokens only what is computed matters, which is the same at every length
        super::tell(&terminal, &setup.plan, &setup.plan.warnings(setup.n_prompt, None))?;
    }
    backend::check(config.device, config.weights)?;
    start_threads(args.threads)?;

    forget_peak_memory();
    let before = peak_memory();
    let mut lens = match made {
        Some(made) => made.open(config.device)?,
        None => super::open(&terminal, &config)?,
    };
    let model = lens.model().clone();
    let ask = Ask {
        memory: [before, peak_memory()],
        prefill: args.phase != Phases::Decode,
        decode: args.phase != Phases::Prefill,
        repeat: args.repeat,
        warmup: args.warmup,
        new_tokens: args.new_tokens,
        device: config.device,
        on_device: backend::on_device_of(config.device, &model, config.kv_offload)?,
        weight_bytes: model.weight_bytes as f64 / model.n_parameters.max(1) as f64,
    };
    let mut rows = Vec::new();
    let mut progress = terminal.progress("bench");
    let measured = setups.iter().try_for_each(|setup| {
        measure(lens.as_mut(), setup, &ask, config.settings.sampling.seed, &mut rows, &mut progress)
    });
    drop(progress);

    // what is finished is kept, whatever ended the rest; the machine is measured last, so that its buffers are in no peak
    if rows.is_empty() {
        terminal.result(&rows)?;
    } else {
        let most = |of: fn(&Row) -> u128| rows.iter().map(|row| of(row) as f64 / row.seconds).fold(0.0, f64::max);
        let done = (most(|row| row.flops), most(|row| row.bytes));
        let ceilings = ceilings(done, || backend::ceilings(config.device, ask.on_device))?;
        for row in &mut rows {
            (row.ceiling_flops_per_s, row.ceiling_bytes_per_s) = (ceilings.flops_per_s, ceilings.bytes_per_s);
        }
        let heading = heading(&model, &config);
        let methods: Vec<_> = rows.iter().map(|row| &row.method).collect();
        let names = brief::names(&methods, model.spec.trained_context);
        let shown: Vec<_> = rows.iter().zip(&names).map(|(row, name)| (row, name.as_str())).collect();
        // a picture that cannot be written takes no number along
        let drawn = out.map_or(Ok(()), |path| draw(&terminal, &shown, &heading, measured.is_err(), &path));
        terminal.result(&rows)?;
        table(&terminal, &heading, ceilings, &shown)?;
        drawn?;
    }
    Ok(measured?)
}

/// How often the machine is measured anew where a row was faster than it: something else ran beside the first measurement.
const PROBES: usize = 4;

/// What the machine does at most: the most of several measurements where a row did more operations or bytes a second than the first
/// of them says.
fn ceilings((flops, bytes): (f64, f64), probe: impl Fn() -> Result<Ceilings, Failure>) -> Result<Ceilings, Failure> {
    let mut ceilings = probe()?;
    for _ in 1..PROBES {
        if flops <= ceilings.flops_per_s && bytes <= ceilings.bytes_per_s {
            break;
        }
        let again = probe()?;
        ceilings.flops_per_s = ceilings.flops_per_s.max(again.flops_per_s);
        ceilings.bytes_per_s = ceilings.bytes_per_s.max(again.bytes_per_s);
    }
    Ok(ceilings)
}

/// A share of a ceiling in per cent. None where it would be more than all of it: reading out of caches is faster than memory, and a
/// measurement that something else disturbed says nothing of the rest either.
fn share(of: f64, ceiling: f64) -> String {
    let share = 100.0 * of / ceiling;
    if share <= 100.0 { format!("{share:.0}%") } else { "–".into() }
}

/// The methods of `--methods`, else the one of the run.
fn methods(args: &BenchArgs, config: &RunConfig) -> Result<Vec<Method>, Failure> {
    match &args.methods {
        Some(text) => Ok(Method::list(text)?),
        None => Ok(vec![config.settings.method.clone()]),
    }
}

/// Every method at every length, in the order in which they are measured.
fn setups(config: &RunConfig, info: &ModelInfo, methods: &[Method], lengths: &[usize]) -> Result<Vec<Setup>, Failure> {
    let at_lengths = |method| lengths.iter().map(move |n_tokens| config.setup_of(method, info, *n_tokens));
    methods.iter().flat_map(at_lengths).collect()
}

/// Draws the picture; one of an earlier run is not replaced by a part of this one.
fn draw(
    terminal: &Terminal,
    rows: &[(&Row, &str)],
    heading: &str,
    was_interrupted: bool,
    path: &Path,
) -> Result<(), Failure> {
    if was_interrupted && path.exists() {
        return terminal.note(format_args!(
            "{} is there from an earlier run and stays as it is: this one was cut short",
            path.display()
        ));
    }
    let interrupted = if was_interrupted { ", interrupted" } else { "" };
    super::save(terminal, &figure(rows, format!("{heading}{interrupted}")), path)
}

/// Tokens of the longest sequence; all of them are made beforehand.
fn longest(args: &BenchArgs, lengths: &[usize]) -> Result<usize, Failure> {
    let longest = lengths.iter().copied().max().unwrap_or(1);
    let n_decoded = match args.phase {
        Phases::Prefill => 0,
        Phases::Decode | Phases::Both => args.repeat.saturating_mul(args.new_tokens).saturating_add(args.warmup),
    };
    prompt_length(&longest.saturating_add(n_decoded).to_string())
}

/// Makes the pool that every kernel computes in; it can be made once, before anything uses it.
fn start_threads(n: Option<usize>) -> Result<(), Failure> {
    let Some(n) = n else { return Ok(()) };
    let n_cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if n > MOST_THREADS * n_cores {
        return Err(Failure::usage(
            format!("--threads {n} on {n_cores} cores would only wait for one another"),
            format!("give at most {}", MOST_THREADS * n_cores),
        ));
    }
    rayon::ThreadPoolBuilder::new().num_threads(n).build_global().map_err(|error| {
        Failure::failed(format!("cannot start {n} threads: {error}"), Some("give fewer --threads".to_owned()))
    })
}

/// Measures one method at one length; finished rows are added as they come.
fn measure(
    lens: &mut dyn Lens,
    setup: &Setup,
    ask: &Ask,
    seed: u64,
    rows: &mut Vec<Row>,
    progress: &mut Progress,
) -> Result<(), LensError> {
    let (n, spec) = (setup.n_prompt, lens.model().spec.clone());
    let n_warm = n + ask.warmup;
    let n_all = if ask.decode { n_warm + ask.repeat * ask.new_tokens } else { n };
    let tokens = made::tokens(lens.model(), n_all, seed);
    let name = setup.plan.method.clone();

    let mut seconds = Vec::new();
    let n_prefills = if ask.prefill { ask.warmup + ask.repeat } else { 1 };
    forget_peak_memory();
    for at in 0..n_prefills {
        progress.doing(&format!("prefill {n}, {} of {n_prefills}, {name}", at + 1));
        let started = Instant::now(); // with what a method prepares for a sequence
        lens.begin(setup)?;
        lens.feed(&tokens[..n], Rows::Last, progress)?;
        if at >= ask.warmup {
            seconds.push(started.elapsed().as_secs_f64());
        }
    }
    if ask.prefill {
        let work = Work::of_prompt(&spec, &setup.plan, n, step_of(&lens.trace(), setup));
        rows.push(row(lens, ask, setup, (Phase::Prefill, n), seconds, work));
    }

    if n_all == n {
        return Ok(());
    }
    progress.doing(&format!("decode at {n}, {name}"));
    let (mut seconds, mut work) = (Vec::new(), Work::default());
    for at in n..n_all {
        let started = Instant::now();
        lens.feed(&tokens[at..=at], Rows::Last, &mut Quiet(progress))?;
        if at >= n_warm {
            seconds.push(started.elapsed().as_secs_f64());
            let prompt = Prefill { n_tokens: n };
            work = work + Work::of_step(&spec, &setup.plan, prompt, at..at + 1, 1);
        }
        progress.progress(at + 1 - n, n_all - n);
    }
    let n = seconds.len() as u128;
    let mean = Work { flops: work.flops / n, weights: work.weights / n, cached: work.cached / n };
    rows.push(row(lens, ask, setup, (Phase::Decode, n_all), seconds, mean));
    Ok(())
}

/// Carries Ctrl-C into a run that is too short for a bar of its own.
struct Quiet<'a>(&'a Progress);

impl Control for Quiet<'_> {
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}

fn row(
    lens: &mut dyn Lens,
    ask: &Ask,
    setup: &Setup,
    (phase, n_all): (Phase, usize),
    mut seconds: Vec<f64>,
    work: Work,
) -> Row {
    let (trace, n_tokens) = (lens.trace(), setup.n_prompt);
    let step = step_of(&trace, setup);
    let (model, prompt) = (lens.model(), Prefill { n_tokens });
    let forecast = match ask.on_device {
        Some(device) => RunSize::on_device(model, &setup.plan, prompt, n_all, step, device),
        None => RunSize::of(model, &setup.plan, prompt, n_all, step),
    };
    let number = ask.on_device.map_or(made::NUMBER, |device| device.number);
    let RunRecord { model, method, rope, layer_windows, dtype, kernel_path, version, .. } = trace.run;
    seconds.sort_by(f64::total_cmp);
    let middle = |at: usize| seconds[at.min(seconds.len() - 1)];
    let median = f64::midpoint(middle((seconds.len() - 1) / 2), middle(seconds.len() / 2));
    let n_computed = if phase == Phase::Prefill { n_tokens } else { 1 };
    Row {
        model,
        method,
        rope,
        layer_windows,
        device: ask.device.name(),
        dtype,
        threads: rayon::current_num_threads(),
        n_tokens,
        phase,
        seconds: median,
        seconds_min: middle(0),
        seconds_max: middle(usize::MAX),
        tokens_per_s: n_computed as f64 / median,
        flops: work.flops,
        bytes: (work.weights as f64 * ask.weight_bytes) as u128 + work.cached * number as u128,
        peak_memory_bytes: trace.peak_memory,
        device_peak_bytes: trace.device_peak,
        forecast_memory_bytes: forecast.total(),
        weight_bytes: lens.model().weight_bytes,
        before_memory_bytes: ask.memory[0],
        load_memory_bytes: ask.memory[1],
        kernel_path,
        version,
        ceiling_flops_per_s: f64::NAN, // measured after all rows
        ceiling_bytes_per_s: f64::NAN,
    }
}

/// Tokens of a step as it was: a device may take a prompt whole.
fn step_of(trace: &Trace, setup: &Setup) -> usize {
    if trace.prefill_chunk > 0 { trace.prefill_chunk } else { setup.prefill_chunk }
}

/// What every row has in common.
fn heading(model: &ModelInfo, config: &RunConfig) -> String {
    let rope = rope_text(&config.rope(model).to_string(), model.spec.trained_context);
    let threads = rayon::current_num_threads();
    let threads = if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") };
    let or_whole = if config.kv_offload { ", or layer by layer where that fits" } else { "" };
    format!(
        "{}, {rope}, {}, {}, {threads}, steps of {} tokens{or_whole}",
        model.name, model.dtype, model.kernel_path, config.settings.prefill_chunk
    )
}

fn table(terminal: &Terminal, heading: &str, ceilings: Ceilings, rows: &[(&Row, &str)]) -> Result<(), Failure> {
    let Ceilings { flops_per_s, bytes_per_s } = ceilings;
    // a GPU's numbers are a thousand times those of a processor
    let (unit, flops) = if flops_per_s < 1e13 { ("GFLOP/s", 1e9) } else { ("TFLOP/s", 1e12) };
    terminal.say(heading)?;
    terminal.say(format_args!(
        "measured here: matrix product {:.1} {unit}, reading memory {:.1} GB/s; the shares are of these (caches are faster: no share then)",
        flops_per_s / flops,
        bytes_per_s / 1e9
    ))?;
    terminal.say(format_args!(
        "length  phase      tokens/s         ms  (min to max)          {unit}  share    GB/s  share         peak  method",
    ))?;
    for (row, method) in rows {
        let (arithmetic, traffic) = (row.flops as f64 / row.seconds, row.bytes as f64 / row.seconds);
        let between = format!("({} to {})", milliseconds(row.seconds_min), milliseconds(row.seconds_max));
        terminal.say(format_args!(
            "{:>6}  {:<7}  {:>10.1}  {:>9}  {between:<20}  {:>7.1}  {:>5}  {:>6.1}  {:>5}  {:>11}  {}",
            row.n_tokens,
            if row.phase == Phase::Prefill { "prefill" } else { "decode" },
            row.tokens_per_s,
            milliseconds(row.seconds),
            arithmetic / flops,
            share(arithmetic, flops_per_s),
            traffic / 1e9,
            share(traffic, bytes_per_s),
            row.device_peak_bytes.or(row.peak_memory_bytes).map_or("-".into(), |peak| bytes(peak as usize)),
            method,
        ))?;
    }
    Ok(())
}

/// Four digits or so.
fn milliseconds(seconds: f64) -> String {
    let ms = seconds * 1e3;
    if ms < 10.0 { format!("{ms:.3}") } else { format!("{ms:.1}") }
}

/// Tokens per second against length, one line per method and phase.
fn figure(rows: &[(&Row, &str)], subtitle: String) -> Figure {
    let mut series: Vec<SpeedSeries> = Vec::new();
    for (row, name) in rows {
        let is_decode = row.phase == Phase::Decode;
        let found = series.iter().position(|line| line.name == *name && line.is_decode == is_decode);
        let at = found.unwrap_or_else(|| {
            series.push(SpeedSeries { name: (*name).to_owned(), is_decode, points: Vec::new() });
            series.len() - 1
        });
        series[at].points.push(SpeedPoint { n_tokens: row.n_tokens, tokens_per_s: row.tokens_per_s });
    }
    Figure { heading: Heading { title: "median of the measured runs".into(), subtitle }, series }
}

/// Lets the highest memory start anew from what the process holds; where the system does not offer that, it is the highest so
/// far.
fn forget_peak_memory() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn the_machine_is_measured_again_where_a_row_was_faster() {
        let measured = |done: f64, flops: [f64; PROBES]| {
            let n = Cell::new(0);
            let probe = || {
                n.set(n.get() + 1);
                Ok(Ceilings { flops_per_s: flops[n.get() - 1], bytes_per_s: 100.0 })
            };
            let found = ceilings((done, 10.0), probe).unwrap();
            (found.flops_per_s, n.get())
        };
        assert_eq!(measured(50.0, [60.0, 1.0, 1.0, 1.0]), (60.0, 1));
        assert_eq!(measured(90.0, [60.0, 80.0, 95.0, 1.0]), (95.0, 3));
        assert_eq!(measured(500.0, [60.0, 80.0, 70.0, 65.0]), (80.0, 4), "nothing is enough");
        assert_eq!([share(50.0, 60.0), share(60.0, 60.0), share(61.0, 60.0)], ["83%", "100%", "–"]);
    }
}
