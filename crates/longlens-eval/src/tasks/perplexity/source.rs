//! The texts whose perplexity is measured, as tokens.

use std::path::Path;

use super::{FILE, SPLIT, TOKEN_FORMAT, TOKENS};
use crate::error::EvalError;
use crate::perplexity::{Documents, Texts, TokenFile, TokenFormat, encode_joined, texts, token_file};
use crate::tasks::Ask;
use crate::tasks::haystack::{built_in, is_text};

/// The first `at_most` documents of at least `needed` tokens, and what a user should know of them.
pub fn documents(ask: &Ask<'_>, needed: usize, at_most: usize) -> Result<(Documents, Vec<String>), EvalError> {
    let (documents, mut notes) = if let Some(file) = ids(ask)? {
        (Documents::of_file(file, needed, at_most)?, Vec::new())
    } else {
        let Texts { documents, warnings } = read(ask, ask.is(SPLIT.name, "on"))?;
        (Documents::encode(ask.codec, &documents, needed, at_most)?, warnings)
    };
    notes.extend(documents.note());
    Ok((documents, notes))
}

/// All texts as one row of tokens, as the scripts have them: the token that begins a text stands at the very beginning alone.
pub fn stream(ask: &Ask<'_>) -> Result<(Vec<u32>, Vec<String>), EvalError> {
    if let Some(file) = ids(ask)? {
        let notes = vec![format!("token ids read as {}", file.format)];
        return Ok((file.documents.concat(), notes));
    }
    let Texts { documents, warnings } = read(ask, false)?;
    Ok((encode_joined(ask.codec, &documents, usize::MAX)?.0, warnings))
}

/// The ids of the token file, where one is given.
fn ids(ask: &Ask<'_>) -> Result<Option<TokenFile>, EvalError> {
    let Some(name) = ask.text(TOKENS.name) else { return Ok(None) };
    if ask.text(FILE.name).is_some() {
        let expected = "given beside `file`: give one of them";
        return Err(EvalError::Value { name: "tokens", value: format!("`{name}`"), expected });
    }
    let format: Option<TokenFormat> =
        ask.text(TOKEN_FORMAT.name).filter(|name| name != "auto").map(|name| name.parse()).transpose()?;
    let vocab_size = ask.codec.vocabulary().unwrap_or(ask.spec.vocab_size);
    let bytes = ask.files.read(&name)?;
    token_file(Path::new(&name), &bytes, vocab_size, format).map(Some)
}

/// The texts of the file, or of the files in the folder, or the one that comes with the program.
fn read(ask: &Ask<'_>, split: bool) -> Result<Texts, EvalError> {
    let Some(name) = ask.text(FILE.name) else {
        let whole = built_in();
        let parts = if split { crate::perplexity::split_at_blank_lines(whole) } else { vec![whole] };
        return Ok(Texts { documents: parts.into_iter().map(str::to_owned).collect(), warnings: Vec::new() });
    };
    let of = |name: &str| texts(Path::new(name), ask.files.read(name)?, split, &());
    let Some(held) = ask.files.folder(&name)? else { return of(&name) };
    let mut all = Texts { documents: Vec::new(), warnings: Vec::new() };
    // JSON holds no documents, but a folder of them may have some beside them
    let is_document = |name: &&String| is_text(name) && !name.to_ascii_lowercase().ends_with(".json");
    for name in held.iter().filter(is_document) {
        let read = of(name)?;
        all.documents.extend(read.documents);
        all.warnings.extend(read.warnings.into_iter().map(|warning| format!("{name}: {warning}")));
    }
    if all.documents.is_empty() {
        return Err(EvalError::File {
            path: name.into(),
            problem: "no file in it holds text by its name".into(),
            help: "name a file, or a folder with .txt, .md, .html, .pdf or .jsonl files".into(),
        });
    }
    Ok(all)
}
