//! `longlens verify`: attention of a run beside its definition in f64.

use longlens_core::lens::{Lens, LensError, Setup};
use longlens_core::methods::Method;
use longlens_eval::verify::{Ask, HeadError, Report, verify};

use super::made;
use crate::args::{PromptArgs, VerifyArgs};
use crate::backend;
use crate::config::{RunConfig, prompt_length};
use crate::failure::Failure;
use crate::prompt;
use crate::terminal::Terminal;

pub fn run(args: &VerifyArgs) -> Result<(), Failure> {
    let config = RunConfig::new(&args.common)?;
    let terminal = Terminal::new(config.json);
    super::no_out(&args.common, "give --json for the errors of all heads")?;
    let methods = match &args.methods {
        Some(text) => Method::list(text)?,
        None => vec![config.settings.method.clone()],
    };
    let length = prompt_length(&args.length)?;
    let made = made::Ask {
        layers: args.layers,
        attention_only: false,
        n_tokens: length + args.new_tokens,
        length_flag: "--length",
        keeps_queries: true,
    };
    let made = made::model(made, &config)?;
    let mut lens = match made {
        Some(made) => {
            backend::check(config.device, config.weights)?;
            made.open(config.device)?
        }
        None => super::open(&terminal, &config).map_err(|error| made::or_shape(error, &config.model))?,
    };
    let model = lens.model().clone();
    if let Some(layer) = args.layer.iter().find(|layer| **layer >= model.spec.n_layers) {
        let count = model.spec.n_layers;
        return Err(LensError::OutOfRange { what: "layer", index: *layer, count }.into());
    }
    let tokens = tokens(&terminal, args, &config, lens.as_ref(), length)?;
    let n_prompt = tokens.len() - args.new_tokens;
    let setups = methods.iter().map(|method| config.setup_of(method, &model, n_prompt));
    let setups: Vec<Setup> = setups.collect::<Result<_, Failure>>()?;
    let mut reports = Vec::new();
    let mut progress = terminal.progress("verify");
    for setup in &setups {
        progress.doing(&format!("verify {}", setup.plan.method));
        let ask = Ask { tokens: &tokens, layers: args.layer.clone(), n_queries: args.queries };
        reports.push(verify(lens.as_mut(), setup, &ask, &mut progress)?);
    }
    drop(progress);
    terminal.result(&reports)?;
    reports.iter().try_for_each(|report| describe(&terminal, report))?;
    let n_wrong: usize = reports.iter().map(|report| report.wrong().count()).sum();
    if n_wrong == 0 {
        return Ok(());
    }
    let help = "compare with --device cpu, and report it with this command's --json".to_owned();
    Err(Failure::failed(
        format!("{n_wrong} heads are further from their definition than rounding explains"),
        Some(help),
    ))
}

/// The prompt, or random tokens, and those after it.
fn tokens(
    terminal: &Terminal,
    args: &VerifyArgs,
    config: &RunConfig,
    lens: &dyn Lens,
    length: usize,
) -> Result<Vec<u32>, Failure> {
    let seed = config.settings.sampling.seed;
    let given = prompt::given(&args.prompt, config);
    let PromptArgs { prompt: text, file, needle, messages, .. } = &given;
    if text.is_none() && file.is_none() && needle.is_none() && messages.is_none() {
        return Ok(made::tokens(lens.model(), length + args.new_tokens, seed));
    }
    let mut tokens = prompt::build(terminal, &args.prompt, config, lens)?.tokens;
    tokens.extend(made::tokens(lens.model(), args.new_tokens, seed));
    Ok(tokens)
}

/// One line for every layer, with its worst head.
fn describe(terminal: &Terminal, report: &Report) -> Result<(), Failure> {
    let run = &report.run;
    terminal.say(format_args!(
        "{}, {}, {}, {}, {}: {} queries of {} tokens",
        run.model,
        run.method,
        run.rope_text(),
        run.dtype,
        run.kernel_path,
        report.queries.len(),
        run.n_prompt,
    ))?;
    let bits = if report.has_sixteen_bits { 16 } else { 32 };
    terminal.say(format_args!(
        "its cache has {bits} bits a number: a head may be off by {:.0e} of its largest number",
        report.limit
    ))?;
    terminal.say("layer  off by   rms      head  at query  other choices  their scores")?;
    for of_layer in report.heads.chunk_by(|a, b| a.layer == b.layer) {
        let worst = of_layer.iter().max_by(|a, b| a.worst().total_cmp(&b.worst())).expect("a layer has heads");
        let HeadError { layer, head, off, off_rms, query, .. } = worst;
        let n_other = of_layer.iter().filter_map(|head| head.n_other_choices).reduce(|a, b| a + b);
        let choice = of_layer.iter().filter_map(|head| head.choice_off).fold(0.0, f64::max);
        let choices = n_other.map_or(String::new(), |n| format!("  {n:<13}  {choice:.1e}"));
        terminal.say(format_args!("{layer:>5}  {off:.1e}  {off_rms:.1e}  {head:<4}  {query:<8}{choices}"))?;
    }
    let n_wrong = report.wrong().count();
    terminal.say(match n_wrong {
        0 => format!("all {} heads agree with their definition", report.heads.len()),
        n => format!("{n} of {} heads do NOT agree with their definition", report.heads.len()),
    })
}
