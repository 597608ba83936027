//! `longlens convert`: a checkpoint in any format as a folder in Hugging Face's layout, or as a GGUF file.

use longlens_app::bytes::text as size;
use longlens_core::lens::Control;
use longlens_model::source::Source;
use longlens_model::weights::Written;
use serde_json::json;

use crate::args::ConvertArgs;
use crate::failure::Failure;
use crate::terminal::Terminal;

pub fn run(args: &ConvertArgs) -> Result<(), Failure> {
    let terminal = Terminal::new(args.json);
    let refused = |error: longlens_model::error::OpenError| {
        let help = error.help();
        Failure::failed(error, help)
    };
    let source = Source::resolve(&args.model).map_err(refused)?;
    let adapter = args.adapter.as_deref().map(Source::resolve).transpose().map_err(refused)?;
    if let Written::Blocks(kind) = args.weights
        && args.out.extension().is_none_or(|end| end != "gguf")
    {
        return Err(Failure::usage(
            format!("safetensors hold no blocks of {}", kind.name()),
            "give --out a file that ends in .gguf, or --weights f32, f16 or bf16".to_owned(),
        ));
    }
    let mut progress = terminal.progress("convert");
    let converted = longlens_model::convert(&source, adapter.as_ref(), args.weights, &args.out, &mut progress);
    let stopped = progress.cancelled();
    drop(progress);
    let converted = converted.map_err(|error| if stopped { Failure::interrupted() } else { refused(error) })?;
    for warning in &converted.warnings {
        terminal.note(format_args!("warning: {warning}"))?;
    }
    let files: Vec<_> = converted.files.iter().map(|file| file.display().to_string()).collect();
    terminal.result(&json!({ "model": source.place(), "files": files, "weight_bytes": converted.weight_bytes }))?;
    if args.json {
        return Ok(());
    }
    for file in &files {
        terminal.say(format_args!("{file}"))?;
    }
    terminal.say(format_args!("weights {}", size(converted.weight_bytes as usize)))
}
