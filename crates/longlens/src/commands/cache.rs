//! `longlens cache`: prompts whose keys and values are kept in files.

use std::path::Path;
use std::time::Instant;

use longlens_app::bytes;
use longlens_app::kept::{self, KeptFile};
use serde_json::json;

use crate::args::{CacheCommand, GenerateArgs, OpenArgs, SaveArgs};
use crate::config::RunConfig;
use crate::failure::Failure;
use crate::kept::refused;
use crate::prompt;
use crate::terminal::{Terminal, check_writable};

pub fn run(command: &CacheCommand) -> Result<(), Failure> {
    match command {
        CacheCommand::Save(args) => save(args),
        CacheCommand::Open(args) => open(args),
        CacheCommand::Show { file, json } => show(file, *json),
    }
}

fn save(args: &SaveArgs) -> Result<(), Failure> {
    let config = RunConfig::new(&args.common)?;
    let terminal = Terminal::new(config.json);
    let Some(out) = config.out.clone() else {
        return Err(Failure::usage(
            "there is no place to keep the prompt in",
            "give --out FILE.safetensors".to_owned(),
        ));
    };
    if args.prompt.cache.is_some() {
        return Err(Failure::usage(
            "a prompt that goes on from a kept one cannot be kept",
            "keep the whole prompt: leave --cache out".to_owned(),
        ));
    }
    if super::ending(&out) != "safetensors" {
        return Err(Failure::usage(
            format!("{} is no name for a kept prompt", out.display()),
            "let it end in .safetensors".to_owned(),
        ));
    }
    let given = prompt::given(&args.prompt, &config);
    if given.messages.is_some() || given.chat && given.file.is_none() {
        return Err(Failure::usage(
            "of a conversation, only a document that is asked about can be kept",
            "give the text with --file; --chat puts it into the template, and what is asked later follows it there"
                .to_owned(),
        ));
    }
    crate::inputs::spare(&config, std::slice::from_ref(&out), &[given.file.as_deref()])?;
    check_writable(&out)?;
    let mut lens = super::open(&terminal, &config)?;
    let prompt = prompt::read_or_made(&terminal, &args.prompt, &config, lens.as_ref())?;
    let mut settings = config.settings.clone();
    settings.trained_context = config.trained_context;
    let setup = settings.setup(&lens.model().spec, prompt.tokens.len())?;
    super::warn(&terminal, &config, lens.model(), &setup.plan, prompt.tokens.len())?;
    let started = Instant::now();
    let mut progress = terminal.progress("prefill");
    let to_keep = prompt.to_keep(lens.text()?)?;
    let saved = kept::save(&out, lens.as_mut(), &settings, args.queries, to_keep, &mut progress);
    drop(progress);
    let (about, n_bytes) = saved.map_err(refused)?;
    let seconds = started.elapsed().as_secs_f64();
    let (n_kept, n_prompt) = (about.n_kept, about.n_prompt);
    terminal.result(&json!({ "file": out, "bytes": n_bytes, "seconds": seconds, "cache": about }))?;
    terminal.note(format_args!(
        "wrote {}: {n_kept} of {n_prompt} tokens, {}, computed and written in {seconds:.1} s",
        out.display(),
        bytes::text(n_bytes as usize),
    ))
}

fn open(args: &OpenArgs) -> Result<(), Failure> {
    let GenerateArgs { common, prompt, sampling, stop, .. } = &args.generate;
    let prompt = crate::args::PromptArgs { cache: Some(args.file.clone()), ..prompt.clone() };
    super::generate::run(&GenerateArgs {
        common: common.clone(),
        prompt,
        sampling: sampling.clone(),
        prompts: None,
        stop: stop.clone(),
    })
}

fn show(path: &Path, json: bool) -> Result<(), Failure> {
    let file = KeptFile::open(path).map_err(refused)?;
    let (terminal, about) = (Terminal::new(json), &file.about);
    let document = file.document.as_ref().map(|kept| {
        json!({ "characters": kept.document.text.chars().count(), "kind": kept.document.kind, "chat": kept.chat })
    });
    terminal.result(&json!({ "file": path, "bytes": file.n_bytes(), "cache": about, "document": document }))?;
    if json {
        return Ok(());
    }
    let rows = [
        ("model", format!("{} (weights {})", about.model, about.content)),
        ("method", about.method.clone()),
        ("rope", about.rope.clone()),
        ("numbers", about.dtype.clone()),
        ("computed on", about.kernel_path.clone()),
        ("prompt", format!("{} tokens, {} of them kept", about.n_prompt, about.n_kept)),
        ("queries", if about.queries { "kept" } else { "not kept" }.to_owned()),
        (
            "document",
            file.document.as_ref().map_or("none".to_owned(), |kept| {
                let told =
                    kept.chat.as_ref().map_or(", outside the chat template".to_owned(), |chat| format!(", {chat}"));
                format!("{} characters{told}", kept.document.text.chars().count())
            }),
        ),
        ("hidden key", about.needle.as_ref().map_or("none".to_owned(), |needle| needle.key.clone())),
        ("size", bytes::text(file.n_bytes() as usize)),
        ("version", about.version.clone()),
    ];
    rows.iter().try_for_each(|(name, value)| terminal.say(format_args!("{name:<12} {value}")))
}
