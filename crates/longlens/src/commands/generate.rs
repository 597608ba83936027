//! `longlens generate`: a prompt continued.

use std::path::Path;

use longlens_app::bytes;
use longlens_eval::generate::{Generated, Stop, StopReason, generate};
use longlens_eval::sampling::Sampling;
use serde_json::{Value, json};

use crate::args::GenerateArgs;
use crate::config::RunConfig;
use crate::failure::Failure;
use crate::kept;
use crate::prompt;
use crate::terminal::{Terminal, check_writable, write_file};

pub fn run(args: &GenerateArgs) -> Result<(), Failure> {
    if let Some(prompts) = &args.prompts {
        return super::batch::run(args, prompts);
    }
    let mut config = RunConfig::new(&args.common)?;
    let kept = kept::file(&mut config, &args.prompt)?;
    config.settings.lay_over(&args.sampling.given())?;
    let terminal = Terminal::new(config.json);
    let out = super::data(&config, &args.common, "generate.json")?;
    let given = prompt::given(&args.prompt, &config);
    crate::inputs::spare(&config, out.as_slice(), &[given.file.as_deref(), given.cache.as_deref()])?;
    super::expect_data(out.as_deref())?;
    out.as_deref().map_or(Ok(()), check_writable)?;
    let mut lens = super::open(&terminal, &config)?;
    kept::check_model(kept.as_ref(), lens.as_ref())?;
    let prompt = prompt::build(&terminal, &args.prompt, &config, lens.as_ref())?;
    let setup = config.setup(lens.model(), prompt.tokens.len())?;
    lens = kept::go_on(lens, kept, &setup, &prompt.tokens)?;
    let strings = if args.stop.is_empty() { &config.file.sampling.stop } else { &args.stop };
    let sampling = &config.settings.sampling;
    let stop = Stop { max_tokens: config.settings.max_tokens, strings: strings.clone(), ..Stop::default() };
    let n_tokens = prompt.tokens.len() + stop.max_tokens;
    super::warn(&terminal, &config, lens.model(), &setup.plan, n_tokens)?;
    if sampling.temperature == 0.0 && (sampling.top_k, sampling.top_p, sampling.min_p) != unused() {
        terminal
            .note("note: at temperature 0 the likeliest token is taken, so top_k, top_p and min_p change nothing")?;
    }
    let mut progress = terminal.progress("prefill");
    let mut is_read = true;
    let generated = generate(lens.as_mut(), &setup, &prompt.tokens, sampling, &stop, &mut progress, &mut |text| {
        is_read &= terminal.stream(text).is_ok();
        if !is_read && out.is_none() {
            terminal.cancel(); // the text is for nobody
        }
    })?;
    drop(progress);
    let result = json!({
        "generated": generated, "sampling": sampling, "prefill_tokens_per_s": generated.prefill_speed(),
        "kept_tokens": generated.trace.n_taken,
        "decode_tokens_per_s": generated.decode_speed(), "peak_memory_bytes": generated.trace.peak_memory,
        "phase_seconds": generated.trace.seconds, "prompt": prompt.asked,
    });
    let wrote = write(out.as_deref(), &result)?;
    terminal.end_stream();
    wrote.into_iter().try_for_each(|wrote| terminal.note(wrote))?;
    terminal.result(&result)?;
    if !is_read {
        return Ok(());
    }
    if generated.stop == StopReason::Cancelled && generated.tokens.is_empty() {
        return Err(Failure::interrupted()); // no speed to tell
    }
    say_speed(&terminal, &generated)?;
    if generated.stop == StopReason::Cancelled { Err(Failure::interrupted()) } else { Ok(()) }
}

/// Writes the result where `--out` asks for it; returns what was done.
fn write(out: Option<&Path>, result: &Value) -> Result<Option<String>, Failure> {
    let Some(path) = out else { return Ok(None) };
    let did = if path.exists() { "replaced" } else { "wrote" };
    write_file(path, result.to_string().as_bytes())?;
    Ok(Some(format!("{did} {}", path.display())))
}

fn say_speed(terminal: &Terminal, generated: &Generated) -> Result<(), Failure> {
    let n_kept = generated.trace.n_taken;
    let decode = generated.decode_speed().map_or(String::new(), |speed| format!(", decode {speed:.0} tokens/s"));
    let first = generated.seconds_to_first_token.zip(generated.prefill_speed());
    let prefill = first.map_or(String::new(), |(seconds, speed)| {
        format!(", prefill {speed:.0} tokens/s, first token after {seconds:.2} s")
    });
    let memory = generated.trace.peak_memory.map_or(String::new(), |n| format!(", peak {}", bytes::text(n as usize)));
    terminal.note(format_args!(
        "{}{} + {} tokens{prefill}{decode}{memory}; {}, {}, {}, {}",
        if n_kept > 0 { format!("{n_kept} kept + ") } else { String::new() },
        generated.n_prompt - n_kept,
        generated.tokens.len(),
        generated.run.method,
        generated.run.rope_text(),
        generated.run.dtype,
        generated.run.kernel_path,
    ))
}

/// `top_k`, `top_p` and `min_p` that leave every token in.
fn unused() -> (usize, f32, f32) {
    let plain = Sampling::default();
    (plain.top_k, plain.top_p, plain.min_p)
}
