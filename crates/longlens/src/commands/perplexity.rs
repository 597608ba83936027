//! `longlens perplexity`: loss against length, one line per method.

use longlens_app::views::perplexity::{Curve, perplexity as view};
use longlens_core::lens::{LensError, Setup};
use longlens_core::methods::Method;
use longlens_eval::perplexity::{ByLength, Sliding, by_length, depends_on_length, sliding};
use longlens_eval::setup::PromptSize;
use serde_json::json;

use self::measured::Measured;
use crate::args::PerplexityArgs;
use crate::config::{RunConfig, doublings, lengths};
use crate::failure::Failure;
use crate::journal::{self, Journal, hash};
use crate::terminal::Terminal;

mod measured;

/// Held-out stories of the embedded model's world: six documents of 8193 tokens.
pub const HELDOUT: &str = include_str!("../../../../fixtures/tiny-model/corpus/heldout.txt");
/// Tokens between sliding windows, as in the papers.
const STRIDE: usize = 256;
/// Files that are written into the folder of `--out`.
const OUTPUTS: [&str; 3] = ["perplexity.json", "perplexity.png", "perplexity.svg"];

pub fn run(args: &PerplexityArgs) -> Result<(), Failure> {
    let config = RunConfig::new(&args.common)?;
    let terminal = Terminal::new(config.json);
    let file = &config.file.perplexity;
    let methods = match &args.methods {
        Some(text) => Method::list(text)?,
        None => vec![config.settings.method.clone()],
    };
    let outputs = OUTPUTS.map(|name| config.out.as_ref().map(|folder| folder.join(name)));
    let read = [args.tokens.as_deref(), args.file.as_deref(), file.file.as_deref()];
    crate::inputs::spare(&config, &outputs.into_iter().flatten().collect::<Vec<_>>(), &read)?;
    super::folder(config.out.as_deref())?;
    let mut lens = super::open(&terminal, &config)?;
    let model = lens.model().clone();
    let lengths = match &args.lengths {
        Some(text) => lengths(text)?,
        None => file.lengths.clone().map_or_else(|| doublings(model.spec.trained_context), Ok)?,
    };
    let longest = lengths.iter().copied().max().unwrap_or(1);
    // what is impossible is said before anything runs
    let setups =
        methods.iter().map(|method| config.setup_of(method, &model, longest)).collect::<Result<Vec<_>, _>>()?;
    for setup in &setups {
        super::warn(&terminal, &config, &model, &setup.plan, longest)?;
    }
    let Measured { documents, note } = measured::measured(args, &config, lens.as_ref(), longest, &terminal)?;
    if let Some(note) = &note {
        terminal.note(note)?;
    }
    let stride = stride(args, &config, &terminal, &lengths)?;
    let stride_of = |window: usize| stride.unwrap_or(STRIDE.min(window));
    let text = format!("{:016x}", hash(&documents));
    let journal = |(at, setup): (usize, &Setup)| {
        // a method may be named twice, and keeps what it measures apart
        let n_before = setups[..at].iter().filter(|earlier| earlier.plan.method == setup.plan.method).count();
        let measured = json!({ "text": text, "sliding": args.sliding, "stride": stride, "again": n_before });
        let decides = journal::decides(&model, setup, &measured);
        Journal::open(&terminal, config.out.as_deref(), "perplexity", &decides)
    };
    let mut journals = setups.iter().enumerate().map(journal).collect::<Result<Vec<_>, _>>()?;

    let mut curves = Vec::new();
    let mut progress = terminal.progress("perplexity");
    for (setup, journal) in setups.iter().zip(&mut journals) {
        let name = setup.plan.method.clone();
        progress.doing(&format!("perplexity {name}"));
        let mut setup_for = |_: PromptSize| -> Result<Setup, LensError> { Ok(setup.clone()) };
        let prefill_per_length = depends_on_length(&setup.plan, &setup.rope.resolve(&model.spec)?);
        let curve = if args.sliding {
            let mut reports = Vec::new();
            for window in &lengths {
                let ask = Sliding { stride: stride_of(*window), ..Sliding::new(*window) };
                match sliding(lens.as_mut(), &mut setup_for, &documents[0], &ask, &mut progress, journal) {
                    Ok(report) => reports.push(report),
                    Err(error) if terminal.is_cancelled() && !reports.is_empty() => {
                        drop(error); // the user stopped it; earlier windows are kept
                        break;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Curve::of_windows(name, lengths.len(), reports, stride.unwrap_or(STRIDE), stride.is_none())
        } else {
            let ask = ByLength { lengths: lengths.clone(), last: None, prefill_per_length };
            let report = by_length(lens.as_mut(), &mut setup_for, &documents, &ask, &mut progress, journal)?;
            Curve::of_documents(name, report)
        };
        curves.push(curve.noting(note.as_deref()));
        if terminal.is_cancelled() {
            break;
        }
    }
    drop(progress);

    terminal.result(&curves)?;
    let rope = curves.iter().find_map(|curve| curve.points.first()).map(|point| point.run.rope_text());
    let rope = rope.unwrap_or_else(|| format!("rope {}", config.rope(&model)));
    describe(&terminal, &curves, &rope, &model.dtype)?;
    if let Some(folder) = &config.out
        && super::save_json(&terminal, &curves, &folder.join("perplexity.json"))?
    {
        let subtitle = format!("{} · {rope} · {}", model.name, model.dtype);
        let trained = model.spec.trained_context;
        if let Some(view) = view(&curves, trained, trained, &subtitle) {
            for name in ["perplexity.png", "perplexity.svg"] {
                super::save_view(&terminal, &view, &folder.join(name))?;
            }
        }
    }
    let complete = !terminal.is_cancelled() && curves.iter().all(|curve| curve.complete);
    journals.into_iter().try_for_each(|journal| journal.end(&terminal, complete))?;
    if terminal.is_cancelled() || curves.iter().any(|curve| !curve.complete) {
        return Err(Failure::interrupted());
    }
    Ok(())
}

/// How far windows slide, where somebody says so; by default no token between them is left out.
fn stride(
    args: &PerplexityArgs,
    config: &RunConfig,
    terminal: &Terminal,
    lengths: &[usize],
) -> Result<Option<usize>, Failure> {
    let shortest = lengths.iter().copied().min().unwrap_or(STRIDE);
    let given = args.stride.or(config.file.perplexity.stride).filter(|_| args.sliding);
    if let Some(stride) = given.filter(|stride| *stride > shortest) {
        terminal.note(format_args!(
            "warning: a stride of {stride} is longer than a window of {shortest} tokens: the tokens between windows are not scored"
        ))?;
    }
    Ok(given)
}

/// A table for each line.
fn describe(terminal: &Terminal, curves: &[Curve], rope: &str, dtype: &str) -> Result<(), Failure> {
    for curve in curves {
        terminal.say(format_args!("{}, {rope}, {dtype}", curve.name))?;
        terminal.say(&curve.protocol)?;
        terminal.say("length  perplexity  of the last tokens   scored")?;
        for point in &curve.points {
            let last = point.perplexity_of_last.map_or("-".into(), |last| format!("{last:.3}"));
            let (n, perplexity) = (point.n_tokens, point.perplexity);
            terminal.say(format_args!("{n:>6}  {perplexity:>10.3}  {last:>18}  {:>7}", point.n_scored))?;
        }
    }
    Ok(())
}
