//! `longlens logits`: the logits of every position, as other programs can compare them.

use std::collections::BTreeMap;
use std::path::Path;

use longlens_app::bytes;
use longlens_core::lens::{Lens, LensError, ModelInfo, Rows};
use longlens_core::trace::{Choices, Queries, Trace};
use longlens_eval::text::text_of;
use longlens_eval::token_ids;
use longlens_notebook::memory::Machine;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

use crate::args::LogitsArgs;
use crate::config::RunConfig;
use crate::failure::Failure;
use crate::inputs::{read, shown};
use crate::terminal::{Progress, Terminal, check_writable, write_file};

/// Logits may take this much memory; writing them takes twice as much again.
const ALLOWED: usize = 4 << 30;

pub fn run(args: &LogitsArgs) -> Result<(), Failure> {
    let config = RunConfig::new(&args.common)?;
    let terminal = Terminal::new(config.json);
    super::no_out(&args.common, "the file to write is named by --output")?;
    crate::inputs::spare(&config, std::slice::from_ref(&args.output), &[Some(&args.tokens)])?;
    check_writable(&args.output)?;
    let tokens = read_tokens(&args.tokens)?;
    if tokens.is_empty() {
        return Err(LensError::EmptyPrompt.into());
    }
    let n_prompt = args.prefill.unwrap_or(tokens.len());
    if n_prompt == 0 || n_prompt > tokens.len() {
        return Err(Failure::usage(
            format!("--prefill {n_prompt} does not fit {} tokens", tokens.len()),
            format!("give 1 to {}", tokens.len()),
        ));
    }
    let mut lens = super::open(&terminal, &config)?;
    check_room(tokens.len(), lens.model())?;
    let mut setup = config.setup(lens.model(), n_prompt)?;
    super::warn(&terminal, &config, lens.model(), &setup.plan, tokens.len())?;
    if args.trace {
        let n_layers = lens.model().spec.n_layers;
        setup.watch.attn_out = if n_layers == 1 { vec![0] } else { vec![0, n_layers - 1] };
        setup.watch.choices = Queries::All;
    }
    let mut progress = terminal.progress("logits");
    lens.begin(&setup)?;
    let logits = feed_all(lens.as_mut(), &tokens, n_prompt, &mut progress)?;
    drop(progress);
    let trace = lens.trace();

    let vocab_size = lens.model().spec.vocab_size;
    let mut arrays = Arrays::default();
    arrays.floats("logits", &[tokens.len(), vocab_size], &logits);
    if args.trace {
        arrays.trace(&trace, tokens.len(), n_prompt);
    }
    arrays.write(&args.output, &trace)?;
    terminal.result(&json!({
        "run": trace.run, "n_tokens": tokens.len(), "output": args.output, "seconds": trace.seconds,
        "peak_memory_bytes": trace.peak_memory,
    }))?;
    terminal.say(format_args!(
        "wrote {} ({} tokens, {}, {})",
        args.output.display(),
        tokens.len(),
        trace.run.method,
        trace.run.rope_text()
    ))
}

/// Refuses logits that would fill the memory: an allocation that fails ends the program.
fn check_room(n_tokens: usize, model: &ModelInfo) -> Result<(), Failure> {
    let needed = n_tokens * model.spec.vocab_size * size_of::<f32>();
    // the logits, their bytes, and the file that is made of them
    let room = Machine::here().room().map_or(usize::MAX, |room| room.bytes as usize / 3);
    if needed <= room.min(ALLOWED) {
        return Ok(());
    }
    Err(Failure::failed(
        format!(
            "logits of {n_tokens} tokens take {}, more than {}",
            bytes::text(needed),
            bytes::text(room.min(ALLOWED))
        ),
        Some("feed fewer tokens; `longlens perplexity` keeps losses alone".into()),
    ))
}

/// Prompt tokens in one prefill, the others one by one.
fn feed_all(
    lens: &mut dyn Lens,
    tokens: &[u32],
    n_prompt: usize,
    progress: &mut Progress,
) -> Result<Vec<f32>, LensError> {
    let mut logits = lens.feed(&tokens[..n_prompt], Rows::All, progress)?;
    for token in &tokens[n_prompt..] {
        logits.extend(lens.feed(&[*token], Rows::All, progress)?);
    }
    Ok(logits)
}

/// The ids of a JSON file, as tokenizers write them.
fn read_tokens(path: &Path) -> Result<Vec<u32>, Failure> {
    let text = text_of(shown(path), read(path)?)?;
    token_ids::from_json(&text).map_err(|problem| {
        Failure::failed(
            format!("{} holds no token ids: {problem}", shown(path).display()),
            Some(token_ids::HELP.into()),
        )
    })
}

/// Arrays of a safetensors file in the making.
#[derive(Default)]
struct Arrays(BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>);

impl Arrays {
    fn floats(&mut self, name: &str, shape: &[usize], numbers: &[f32]) {
        let bytes = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        self.0.insert(name.into(), (Dtype::F32, shape.to_vec(), bytes));
    }

    fn ints(&mut self, name: &str, shape: &[usize], numbers: &[i32]) {
        let bytes = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        self.0.insert(name.into(), (Dtype::I32, shape.to_vec(), bytes));
    }

    fn trace(&mut self, trace: &Trace, n_tokens: usize, n_prompt: usize) {
        for (layer, of_layer) in trace.layers.iter().enumerate() {
            if !of_layer.attn_out.is_empty() {
                let shape = [n_tokens, of_layer.attn_out.len() / n_tokens];
                self.floats(&format!("attn_out.{layer}"), &shape, &of_layer.attn_out);
            }
            let Some(choices) = &of_layer.choices else { continue };
            let queries: Vec<i32> = choices.queries.iter().map(|query| *query as i32).collect();
            self.ints("chunk_queries", &[queries.len()], &queries);
            let shape = [choices.n_heads, queries.len(), choices.n_slots];
            self.ints(&format!("chunks.{layer}"), &shape, &by_head(choices, n_prompt));
        }
    }

    fn write(&self, path: &Path, trace: &Trace) -> Result<(), Failure> {
        let views = self.0.iter().map(|(name, (dtype, shape, bytes))| {
            let view = TensorView::new(*dtype, shape.clone(), bytes);
            (name, view.unwrap_or_else(|error| panic!("{name} has a shape of its own: {error}")))
        });
        let run = &trace.run;
        let about = [
            ("model", &run.model),
            ("method", &run.method),
            ("rope", &run.rope),
            ("dtype", &run.dtype),
            ("kernel_path", &run.kernel_path),
            ("mode", &run.mode),
            ("version", &run.version),
        ];
        let about = about.into_iter().map(|(key, value)| (key.to_owned(), value.clone())).collect();
        let bytes = safetensors::serialize(views, Some(about))
            .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display()), None))?;
        write_file(path, &bytes)
    }
}

/// `[queries, heads, slots]` to `[heads, queries, slots]`. As in the golden arrays, the partial chunk in the last slot is
/// listed for prompt tokens alone.
fn by_head(choices: &Choices, n_prompt: usize) -> Vec<i32> {
    let (n, heads) = (choices.n_slots, choices.n_heads);
    let mut chunks = Vec::with_capacity(choices.chunks.len());
    for head in 0..heads {
        for (row, query) in choices.queries.iter().enumerate() {
            let at = (row * heads + head) * n;
            let (complete, own) = choices.chunks[at..at + n].split_at(n - 1);
            chunks.extend(complete);
            chunks.extend(own.iter().map(|own| if *query < n_prompt { *own } else { -1 }));
        }
    }
    chunks
}
