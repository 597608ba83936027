//! `longlens demo`: how plain attention breaks past the trained length, and how each method holds.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use longlens_app::bytes;
use longlens_app::settings::Settings;
use longlens_app::views::chunks::Chunks;
use longlens_app::views::passkey::grids;
use longlens_app::views::perplexity::{Curve, perplexity};
use longlens_app::views::{Plot, TraceView};
use longlens_core::lens::{Lens, LensError, ModelInfo, Setup};
use longlens_core::methods::Method;
use longlens_core::rope::RopeScaling;
use longlens_core::setting::Setting;
use longlens_eval::passkey::{self, Cell, Grid, Template};
use longlens_eval::perplexity::{ByLength, by_length, encode_documents};
use longlens_eval::setup::PromptSize;
use longlens_plot::Heading;
use longlens_plot::color::Palette;
use serde_json::{Value, json};

use crate::args::DemoArgs;
use crate::commands::perplexity::HELDOUT;
use crate::commands::plot::{Looks, record};
use crate::config::RunConfig;
use crate::failure::Failure;
use crate::journal::{self, Journal, hash};
use crate::prompt;
use crate::terminal::{Progress, Terminal, check_writable, write_file};

const DEPTHS: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];
const FOLDER: &str = "longlens-out/demo";
/// Files that are written into the folder of `--out`.
const OUTPUTS: [&str; 7] =
    ["passkey.png", "passkey.svg", "perplexity.png", "perplexity.svg", "chunks.png", "chunks.svg", "summary.json"];
/// Documents behind every perplexity.
const DOCUMENTS: usize = 1;

/// A method of the comparison; what depends on the length is set per length.
struct Contender {
    name: &'static str,
    /// Method and scaling at a multiple of the trained context.
    at: fn(multiple: usize, trained: usize) -> (String, String),
}

/// The settings that `fixtures/tiny-model/README.md` measured.
static CONTENDERS: &[Contender] = &[
    Contender { name: "full", at: |_, _| ("full".into(), "none".into()) },
    Contender {
        name: "streaming",
        at: |_, trained| (format!("streaming:n_sink=4,window={}", trained - 4), "none".into()),
    },
    Contender { name: "full + yarn", at: |multiple, _| ("full".into(), format!("yarn:factor={multiple}")) },
    Contender {
        name: "self_extend",
        at: |multiple, trained| {
            (format!("self_extend:group_size={},neighbor_window={}", 2 * multiple, trained / 4), "none".into())
        },
    },
    Contender {
        name: "dual_chunk",
        at: |_, trained| {
            (format!("dual_chunk:chunk_size={},local_window={}", trained * 3 / 4, trained / 8), "none".into())
        },
    },
    Contender {
        name: "long_heads",
        at: |_, trained| {
            let chunk_len = (trained / 16).max(1);
            (format!("long_heads:chunk_len={chunk_len},attention_len={}", 16 * chunk_len), "none".into())
        },
    },
];

/// What one method gave.
struct Outcome {
    name: &'static str,
    /// Method and scaling over the lengths, as `self_extend:group_size=2..32,neighbor_window=64`.
    method: String,
    cells: Vec<Cell>,
    perplexity: Curve,
}

pub fn run(args: &DemoArgs) -> Result<(), Failure> {
    let config = RunConfig::new(&args.common)?;
    let terminal = Terminal::new(config.json);
    check(args)?;
    let started = Instant::now();
    let mut lens = super::open(&terminal, &config)?;
    let info = lens.model().clone();
    let trained = info.spec.trained_context;
    let lengths: Vec<usize> = (0..=args.up_to.ilog2()).map(|n| trained << n).collect();
    terminal.note(format_args!(
        "{}: {} parameters, trained on {trained} tokens; pass key and perplexity up to {} tokens",
        info.name,
        info.n_parameters,
        lengths.last().unwrap_or(&trained),
    ))?;
    let texts = encode_documents(lens.text()?, HELDOUT)?;
    let texts = &texts[..DOCUMENTS.min(texts.len())];
    // what cannot work is said before anything runs
    check_lengths(args.up_to, trained, texts)?;
    check_contenders(&config, &info)?;
    let folder = config.out.clone().unwrap_or_else(|| PathBuf::from(FOLDER));
    crate::inputs::spare(&config, &OUTPUTS.map(|name| folder.join(name)), &[])?;
    super::folder(Some(&folder))?;
    check_writable(&folder.join("summary.json"))?;

    let grid = Grid {
        chat: None,
        template: Template::Longlens,
        lengths: lengths.clone(),
        depths: DEPTHS.to_vec(),
        trials: args.trials,
        seed: config.settings.sampling.seed,
    };
    let measured = json!({
        "methods": CONTENDERS.iter().map(|contender| (contender.at)(2, trained)).collect::<Vec<_>>(),
        "texts": format!("{:016x}", hash(texts)), "trials": grid.trials, "seed": grid.seed,
    });
    let decides = journal::decides(&info, &config.setup(&info, trained)?, &measured);
    let mut journal = Journal::open(&terminal, Some(&folder), "demo", &decides)?;
    let measured = Measured { settings: &config.settings, grid, texts };
    let mut progress = terminal.progress("demo");
    let outcomes = compare(lens.as_mut(), &measured, &terminal, &mut progress, &mut journal)?;
    progress.doing("pictures");
    let chosen = if terminal.is_cancelled() { None } else { choose(lens.as_mut(), &config, &lengths, &mut progress)? };
    drop(progress);

    let peak = lens.trace().peak_memory;
    let complete = !terminal.is_cancelled();
    let summary = summary(&info, &lengths, &outcomes, started.elapsed().as_secs_f64(), peak, complete);
    // files come first, and one that cannot be written takes no number along
    let written = if complete || !OUTPUTS.iter().any(|name| folder.join(name).exists()) {
        write(&folder, &outcomes, &info, chosen.as_ref(), &summary)
            .map(|written| format!("wrote {} to {}", written.join(", "), folder.display()))
    } else {
        Ok(format!("{} holds an earlier result and stays as it is", folder.display()))
    };
    terminal.result(&summary)?;
    terminal.say(table(&outcomes, &lengths, args.trials * DEPTHS.len()))?;
    terminal.say(format_args!(
        "\n{:.1} s{}; {}",
        started.elapsed().as_secs_f64(),
        peak.map_or(String::new(), |peak| format!(", peak memory {}", bytes::text(peak as usize))),
        written?,
    ))?;
    journal.end(&terminal, complete)?;
    if complete { Ok(()) } else { Err(Failure::interrupted()) }
}

/// Refuses flags that a demo cannot follow.
fn check(args: &DemoArgs) -> Result<(), Failure> {
    if !args.up_to.is_power_of_two() || args.trials == 0 {
        return Err(Failure::usage("--up-to must be a power of two, and --trials at least 1", None));
    }
    if args.common.method.is_some() || args.common.rope.is_some() {
        return Err(Failure::usage(
            "demo compares methods and scalings of its own",
            "`longlens passkey` and `longlens perplexity` take --method and --rope".to_owned(),
        ));
    }
    Ok(())
}

/// Refuses lengths that the held-out texts do not have.
fn check_lengths(up_to: usize, trained: usize, texts: &[Vec<u32>]) -> Result<(), Failure> {
    let longest = texts.iter().map(Vec::len).max().unwrap_or(0);
    if trained.saturating_mul(up_to) <= longest {
        return Ok(());
    }
    Err(Failure::usage(
        format!("{up_to} times {trained} tokens are more than the held-out text has ({longest})"),
        "give a smaller --up-to; `longlens passkey` goes to any length".to_owned(),
    ))
}

/// Refuses a model that some method cannot run on.
fn check_contenders(config: &RunConfig, info: &ModelInfo) -> Result<(), Failure> {
    for contender in CONTENDERS {
        let (method, rope) = (contender.at)(1, info.spec.trained_context);
        config.setup_of(&Method::parse(&method)?, info, 1)?;
        RopeScaling::parse(&rope)?.resolve(&info.spec)?;
    }
    Ok(())
}

/// What every method is measured on.
struct Measured<'a> {
    settings: &'a Settings,
    grid: Grid,
    texts: &'a [Vec<u32>],
}

/// What every method gave, up to where the user interrupts.
fn compare(
    lens: &mut dyn Lens,
    measured: &Measured<'_>,
    terminal: &Terminal,
    progress: &mut Progress,
    journal: &mut Journal,
) -> Result<Vec<Outcome>, Failure> {
    let mut outcomes = Vec::new();
    for contender in CONTENDERS {
        progress.doing(&format!("{:<12}", contender.name));
        outcomes.push(measure(contender, lens, measured, progress, journal)?);
        if terminal.is_cancelled() {
            break;
        }
    }
    Ok(outcomes)
}

/// Pass key grid and perplexity of one method.
fn measure(
    contender: &Contender,
    lens: &mut dyn Lens,
    Measured { settings, grid, texts }: &Measured<'_>,
    progress: &mut Progress,
    journal: &mut Journal,
) -> Result<Outcome, Failure> {
    let info = lens.model().clone();
    let trained = info.spec.trained_context;
    let mut setup_for = |size: PromptSize| -> Result<Setup, LensError> {
        let (method, rope) = (contender.at)(size.target / trained, trained);
        let (method, rope) = (Method::parse(&method)?, Some(RopeScaling::parse(&rope)?));
        let settings = Settings { method, rope, ..(*settings).clone() };
        Ok(settings.setup(&info.spec, size.n_tokens)?)
    };
    let (keys, losses) = (format!("passkey {}", contender.name), format!("perplexity {}", contender.name));
    let passkey = passkey::run(lens, &mut setup_for, grid, progress, &mut journal.section(&keys))?;
    let prefill_per_length = (contender.at)(1, trained) != (contender.at)(2, trained);
    let ask = ByLength { lengths: grid.lengths.clone(), last: Some(trained), prefill_per_length };
    let perplexity = by_length(lens, &mut setup_for, texts, &ask, progress, &mut journal.section(&losses))?;
    let longest = grid.lengths.last().map_or(1, |length| length / trained);
    let text = |multiple: usize| match (contender.at)(multiple, trained) {
        (method, rope) if rope == "none" => method,
        (method, rope) => format!("{method} + {rope}"),
    };
    let method = from_to(&text(1), &text(longest));
    let perplexity = Curve::of_documents(method.clone(), perplexity);
    Ok(Outcome { name: contender.name, method, cells: passkey.cells, perplexity })
}

/// Two texts of one form as one: where a number differs, `first..last`.
fn from_to(first: &str, last: &str) -> String {
    let parts = first.split(',').zip(last.split(',')).map(|(first, last)| match last.rsplit_once('=') {
        Some((_, number)) if first != last => format!("{first}..{number}"),
        _ => last.to_owned(),
    });
    parts.collect::<Vec<_>>().join(",")
}

/// The chunks that every head of `long_heads` chose for the token that fetches the key of a prompt of four times the trained
/// length.
fn choose(
    lens: &mut dyn Lens,
    config: &RunConfig,
    lengths: &[usize],
    progress: &mut Progress,
) -> Result<Option<Plot>, Failure> {
    let Some(length) = lengths.get(2).or(lengths.last()).copied() else { return Ok(None) };
    let info = lens.model().clone();
    let mut prompt = prompt::hidden(length, 0.5, lens, config.settings.sampling.seed)?;
    let choosing = CONTENDERS.iter().find(|contender| contender.name == "long_heads");
    let Some((method, _)) = choosing.map(|contender| (contender.at)(1, info.spec.trained_context)) else {
        return Ok(None);
    };
    let mut setup = config.setup_of(&Method::parse(&method)?, &info, prompt.tokens.len())?;
    // the last prompt token predicts the blank before the key; the blank predicts its first digit
    prompt.tokens.extend(&prompt.answer);
    let options = Setting::new(Chunks.info());
    let (_, view) = record(lens, &prompt, &mut setup, &Chunks, &options, Looks::default(), progress)?;
    // a short prompt has nothing to choose among
    Ok(Some(view).filter(|view| view.about["kind"] == "choice"))
}

/// Writes pictures and summary; returns the names of the files.
fn write(
    folder: &Path,
    outcomes: &[Outcome],
    info: &ModelInfo,
    chosen: Option<&Plot>,
    summary: &Value,
) -> Result<Vec<String>, Failure> {
    let trained_context = info.spec.trained_context;
    let cut = if summary["complete"] == true { "" } else { ", interrupted" };
    let mut views: Vec<(&str, Plot)> = Vec::new();
    let panels: Vec<_> = outcomes.iter().map(|outcome| (outcome.method.clone(), &outcome.cells[..])).collect();
    if panels.iter().any(|(_, cells)| !cells.is_empty()) {
        let subtitle = format!("{}, greedy, exact tokens{cut}", info.name);
        let heading = Heading { title: "pass key retrieval".into(), subtitle };
        views.push(("passkey", grids(&panels, heading, &info.spec, Palette::default())));
    }
    let curves: Vec<_> = outcomes.iter().map(|outcome| outcome.perplexity.clone()).collect();
    views.extend(perplexity(&curves, trained_context, trained_context, &info.name).map(|view| ("perplexity", view)));
    views.extend(chosen.map(|chosen| ("chunks", chosen.clone())));
    let mut written = Vec::new();
    for (name, view) in &views {
        for ending in ["png", "svg"] {
            super::save_bytes(view, ending, &folder.join(format!("{name}.{ending}")))?;
        }
        written.push(format!("{name}.png and .svg"));
    }
    let json = serde_json::to_vec_pretty(summary).map_err(|error| Failure::failed(error, None))?;
    write_file(&folder.join("summary.json"), &json)?;
    written.push("summary.json".into());
    Ok(written)
}

fn summary(
    info: &ModelInfo,
    lengths: &[usize],
    outcomes: &[Outcome],
    seconds: f64,
    peak: Option<u64>,
    complete: bool,
) -> Value {
    let methods: Vec<_> = outcomes
        .iter()
        .map(|outcome| {
            json!({
                "name": outcome.name, "method": outcome.method, "passkey": outcome.cells, "perplexity": outcome.perplexity.points,
                "perplexity_protocol": outcome.perplexity.protocol,
            })
        })
        .collect();
    json!({
        "model": info, "lengths": lengths, "seconds": seconds, "peak_memory_bytes": peak,
        "version": env!("CARGO_PKG_VERSION"), "methods": methods, "complete": complete,
    })
}

/// One row per method: keys found, then perplexity, per length.
fn table(outcomes: &[Outcome], lengths: &[usize], n_prompts: usize) -> String {
    let header = lengths.iter().fold(String::new(), |header, length| format!("{header}{length:>8}"));
    let mut text = format!("pass keys found, % of {} prompts a length\n{:<12}{header}\n", n_prompts, "");
    for outcome in outcomes {
        let _ = write!(text, "{:<12}", outcome.name);
        for length in lengths {
            let cells = outcome.cells.iter().filter(|cell| cell.length == *length);
            let (hits, n) = cells.fold((0, 0), |(hits, n), cell| (hits + cell.hits_tokens, n + cell.n_trials));
            let shown = if n == 0 { "-".into() } else { format!("{:.0}", 100.0 * hits as f64 / n as f64) };
            let _ = write!(text, "{shown:>8}");
        }
        text.push('\n');
    }
    let _ = write!(text, "\nperplexity of the last tokens\n{:<12}{header}\n", "");
    for outcome in outcomes {
        let _ = write!(text, "{:<12}", outcome.name);
        for length in lengths {
            let point = outcome.perplexity.points.iter().find(|point| point.n_tokens == *length);
            let shown = point.and_then(|point| point.perplexity_of_last).map_or("-".into(), |p| format!("{p:.2}"));
            let _ = write!(text, "{shown:>8}");
        }
        text.push('\n');
    }
    text.trim_end().to_owned()
}
