//! What `longlens perplexity` measures: documents of a file or of the embedded model, or a file of token ids.

use longlens_core::lens::Lens;
use longlens_eval::perplexity::{Documents, encode_joined, split_at_blank_lines, texts, token_file};
use longlens_model::source::EMBEDDED;

use super::HELDOUT;
use crate::args::PerplexityArgs;
use crate::config::RunConfig;
use crate::failure::Failure;
use crate::inputs::{read, shown};
use crate::terminal::Terminal;

/// Held-out stories when nobody says how many.
const DOCUMENTS: usize = 2;

/// What is measured.
pub struct Measured {
    /// Tokens of every document; for sliding windows one row of all.
    pub documents: Vec<Vec<u32>>,
    /// What was passed over or joined, in words.
    pub note: Option<String>,
}

/// Reads what flags or config ask for; `longest` is what a document needs.
pub fn measured(
    args: &PerplexityArgs,
    config: &RunConfig,
    lens: &dyn Lens,
    longest: usize,
    terminal: &Terminal,
) -> Result<Measured, Failure> {
    let file = &config.file.perplexity;
    let at_most = args.documents.or(file.documents);
    if at_most == Some(0) {
        return Err(Failure::usage("documents must be at least 1", None));
    }
    if let Some(path) = &args.tokens {
        let format = args.token_format.as_ref().map(|name| name.parse()).transpose()?;
        let mut file = token_file(shown(path), &read(path)?, lens.model().spec.vocab_size, format)?;
        let at_most = at_most.unwrap_or(usize::MAX);
        let joined = (args.sliding && file.documents.len() > 1).then(|| {
            let (n_found, n_used) = (file.documents.len(), file.documents.len().min(at_most));
            file.documents = vec![file.documents[..n_used].concat()];
            format!("{}; windows reach from one into the next", joined(n_used, n_found))
        });
        let documents = Documents::of_file(file, longest, at_most)?;
        let notes: Vec<_> = joined.into_iter().chain(documents.note()).collect();
        return Ok(Measured { documents: documents.tokens, note: (!notes.is_empty()).then(|| notes.join("; ")) });
    }
    let split = args.split_documents || file.split_documents.unwrap_or(false);
    let (texts, at_most) = match args.file.as_ref().or(file.file.as_ref()) {
        Some(path) => {
            let texts = texts(shown(path), read(path)?, split, &())?;
            terminal.caution(&texts.warnings)?;
            (texts.documents, at_most.unwrap_or(usize::MAX))
        }
        None if lens.model().source == EMBEDDED => {
            let texts = split_at_blank_lines(HELDOUT).into_iter().map(str::to_owned).collect();
            (texts, at_most.unwrap_or(DOCUMENTS))
        }
        None => {
            return Err(Failure::usage(
                "there is no text to measure",
                "give --file FILE with text, or --tokens FILE with token ids".to_owned(),
            ));
        }
    };
    let codec = lens.text()?;
    if !args.sliding {
        let documents = Documents::encode(codec, &texts, longest, at_most)?;
        let note = documents.note();
        return Ok(Measured { documents: documents.tokens, note });
    }
    let (tokens, n_used) = encode_joined(codec, &texts, at_most)?;
    let all_joined = || {
        let joined = joined(n_used, texts.len());
        format!("{joined}, a first token before the first alone; windows reach from one into the next")
    };
    let joined = (texts.len() > 1).then(all_joined);
    let has_crlf = texts.iter().take(n_used).any(|text| text.contains("\r\n"));
    let documents = Documents { has_crlf, ..Documents::of_tokens(tokens, longest)? };
    let notes: Vec<_> = joined.into_iter().chain(documents.note()).collect();
    Ok(Measured { documents: documents.tokens, note: (!notes.is_empty()).then(|| notes.join("; ")) })
}

fn joined(n_used: usize, n_found: usize) -> String {
    if n_used < n_found {
        format!("{n_used} of {n_found} documents joined")
    } else {
        format!("{n_found} documents joined")
    }
}
