//! Perplexity: how surprised the model is by a text, document by document or over windows that slide along one.
//!
//! `perplexity` feeds every document once, whole or its first `length` tokens. A token's loss does not depend on what is behind it, so the
//! losses at a length are the first of those at any longer one where the method does not look at the length
//! ([`crate::perplexity::depends_on_length`]): [`crate::perplexity::by_length()`] reads all lengths from one prefill.
//!
//! `perplexity_sliding` is the protocol of `ChunkLlama` and `LongLoRA` ([`crate::perplexity::sliding()`] runs it alone). Its windows overlap,
//! but each begins with another token, which has other tokens before it than in the window before: nothing that was computed for one can
//! be taken over by the next, and a text of `n` tokens costs `n / stride` prefills of a window.

use longlens_core::lens::TextCodec;
use longlens_core::setting::{Fallback, Info, Kind, Param};

use self::source::{documents, stream};
use super::{Ask, LENGTH, MODE, Mean, Samples, Task, file, samples};
use crate::error::{EvalError, expect};
use crate::perplexity::Documents;
use crate::sample::{Prompt, Rule, Sample};
use crate::scorers::Mode;

mod source;

/// The name of the family.
const FAMILY: &str = "perplexity";
/// More documents or windows than are looked at.
const ALL: usize = 1_000_000;

/// Documents, each fed once.
pub static DOCUMENTS: Task = Task {
    info: &Info {
        name: "perplexity",
        title: "Perplexity of documents",
        source: "longlens",
        summary: "mean loss of the tokens of documents, whole or up to a length",
        params: &[WHOLE_OR_LENGTH, LAST, FILE, TOKENS, TOKEN_FORMAT, SPLIT, samples(ALL)],
    },
    version: 1,
    family: FAMILY,
    mean: Mean::Perplexity,
    make: of_documents,
};

/// Windows along one text.
pub static SLIDING: Task = Task {
    info: &Info {
        name: "perplexity_sliding",
        title: "Perplexity over sliding windows",
        source: "HKUNLP/ChunkLlama: ppl/test_ppl.py; dvlab-research/LongLoRA: eval.py",
        summary: "windows of `length` tokens every `stride`, each on its own; all its tokens count, or the last `stride` where faults are mended",
        params: &[LENGTH, STRIDE, FILE, TOKENS, TOKEN_FORMAT, samples(ALL), MODE],
    },
    version: 1,
    family: FAMILY,
    mean: Mean::SlidingPerplexity,
    make: of_windows,
};

const WHOLE_OR_LENGTH: Param = Param {
    name: LENGTH.name,
    alias: "seq_len",
    kind: Kind::Whole(0, 1 << 32),
    default: Fallback::Number(0.0),
    help: "tokens of every document; shorter ones are passed over. 0 takes documents as long as they are",
};

const LAST: Param = Param {
    name: "last",
    alias: "",
    kind: Kind::Whole(0, 1 << 32),
    default: Fallback::Number(0.0),
    help: "how many tokens at the end count; 0 for all",
};

const STRIDE: Param = Param {
    name: "stride",
    alias: "",
    kind: Kind::Count(1),
    default: Fallback::Number(256.0),
    help: "tokens from the beginning of a window to that of the next",
};

const FILE: Param = file(
    "file",
    "text, JSON lines, PDF or HTML, or a folder of them; an excerpt of six novels when neither this nor `tokens` is given",
);

const TOKENS: Param = file("tokens", "a file of token ids in place of text, as the papers' 16-bit files");

const TOKEN_FORMAT: Param = Param {
    name: "token_format",
    alias: "",
    kind: Kind::Word(&["auto", "u16", "u32", "i64"]),
    default: Fallback::Word("auto"),
    help: "how wide the numbers of a token file are. ChunkLlama's script reads 16 bits whatever was written: u16 does the same",
};

const SPLIT: Param = Param {
    name: "split_documents",
    alias: "",
    kind: Kind::Word(&["off", "on"]),
    default: Fallback::Word("off"),
    help: "whether blank lines separate documents",
};

/// A sample a document.
fn of_documents(ask: &Ask<'_>) -> Result<Samples, EvalError> {
    let (length, last) = (ask.count(LENGTH.name), ask.count(LAST.name));
    expect(length != 1, "length", length, "0 or at least 2")?;
    expect(length == 0 || last <= length, "last", last, "at most the length of the documents")?;
    let (Documents { tokens, .. }, notes) = documents(ask, length.max(2), ask.n_samples())?;
    let n = tokens.len();
    let make = move |at: usize, _: &dyn TextCodec| {
        let document = &tokens[at];
        let fed = &document[..if length == 0 { document.len() } else { length }];
        let from = if last == 0 { 1 } else { fed.len().saturating_sub(last).max(1) };
        Ok(Sample {
            id: at.to_string(),
            prompt: Prompt::Tokens(fed.to_vec()),
            answers: Vec::new(),
            rule: Rule::Loss { from },
            length: (length > 0).then_some(length),
            depth: None,
            part: None,
            evidence: Vec::new(),
            n_truncated: document.len() - fed.len(),
        })
    };
    Ok(Samples { notes, ..Samples::making(n, make) })
}

/// A sample a window.
///
/// The scripts leave out the last of their windows, whose starts stay below the tokens less a window, and count every token but a window's
/// first. Press et al. (2021), whom both papers name, count the last `stride` of each, which the fixed mode does, over every whole window.
fn of_windows(ask: &Ask<'_>) -> Result<Samples, EvalError> {
    let (window, stride, is_fixed) = (ask.length(), ask.count(STRIDE.name), ask.mode() == Mode::Fixed);
    let (tokens, notes) = stream(ask)?;
    let n_windows = n_windows(tokens.len(), window, stride, is_fixed);
    if n_windows == 0 {
        let needed = if is_fixed { window } else { window.saturating_add(stride).saturating_add(1) };
        return Err(EvalError::ShortDocuments { needed, longest: tokens.len() });
    }
    let make = move |at: usize, _: &dyn TextCodec| {
        let start = at * stride;
        let from = if is_fixed { window.saturating_sub(stride).max(1) } else { 1 };
        Ok(Sample {
            id: start.to_string(),
            prompt: Prompt::Tokens(tokens[start..start + window].to_vec()),
            answers: Vec::new(),
            rule: Rule::Loss { from },
            length: Some(window),
            depth: None,
            part: None,
            evidence: Vec::new(),
            n_truncated: 0,
        })
    };
    Ok(Samples { notes, ..Samples::making(n_windows.min(ask.n_samples()), make) })
}

/// How many windows there are.
fn n_windows(n_tokens: usize, window: usize, stride: usize, is_fixed: bool) -> usize {
    let Some(beyond) = n_tokens.checked_sub(window) else { return 0 };
    // the scripts' `range(0, n_tokens - window, stride)` lacks a window that ends with the text, and `pop` takes another
    if is_fixed { beyond / stride + 1 } else { beyond.div_ceil(stride).saturating_sub(1) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use longlens_core::scripted::{BOS, ByteCodec};
    use longlens_core::spec::ModelSpec;

    use super::*;
    use crate::tasks::Disk;
    use crate::tasks::haystack::built_in;

    fn made(setting: &str) -> Result<(Vec<Sample>, Vec<String>), EvalError> {
        let setting = Task::parse(setting).unwrap();
        let spec = ModelSpec { vocab_size: 258, ..ModelSpec::tiny(2048) };
        let ask = Ask { setting: &setting, spec: &spec, codec: &ByteCodec, files: &Disk };
        let mut samples = ask.samples()?;
        let made = (0..samples.n).map(|at| (samples.make)(at, &ByteCodec)).collect::<Result<_, _>>()?;
        Ok((made, samples.notes))
    }

    fn tokens(sample: &Sample) -> &[u32] {
        let Prompt::Tokens(tokens) = &sample.prompt else { panic!("texts are fed as tokens") };
        tokens
    }

    /// Tokens and the first that counts, of every sample.
    fn shape(setting: &str) -> Vec<(usize, usize)> {
        let shape = |sample: &Sample| {
            let Rule::Loss { from } = sample.rule else { panic!("losses are measured") };
            (tokens(sample).len(), from)
        };
        made(setting).unwrap().0.iter().map(shape).collect()
    }

    #[test]
    fn windows_are_those_of_the_script() {
        // range(0, n - window, stride) without its last
        for (n_tokens, window, stride, script, all) in [
            (1000, 500, 250, 1, 3),
            (1001, 500, 250, 2, 3),
            (999, 500, 250, 1, 2),
            (500, 500, 250, 0, 1),
            (499, 500, 250, 0, 0),
        ] {
            let starts: Vec<usize> = (0..n_tokens.max(window) - window).step_by(stride).collect();
            assert_eq!(starts.len().saturating_sub(1), script);
            let of = |is_fixed| n_windows(n_tokens, window, stride, is_fixed);
            assert_eq!((of(false), of(true)), (script, all), "{n_tokens}");
        }
    }

    #[test]
    fn every_token_counts_in_the_script_and_the_last_stride_where_it_is_mended() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.txt");
        fs::write(&file, "x".repeat(1300)).unwrap();
        let file = file.display();
        // 1301 tokens with the first
        assert_eq!(shape(&format!("perplexity_sliding:length=600,file={file}")), [(600, 1); 2]);
        assert_eq!(shape(&format!("perplexity_sliding:length=600,file={file},mode=fixed")), [(600, 344); 3]);
        assert_eq!(shape(&format!("perplexity_sliding:length=600,file={file},mode=fixed,stride=700")), [(600, 1); 2]);
        assert_eq!(shape(&format!("perplexity_sliding:length=600,file={file},samples=1")), [(600, 1)]);
        let (samples, _) = made(&format!("perplexity_sliding:length=600,file={file}")).unwrap();
        assert_eq!((tokens(&samples[0])[0], tokens(&samples[1])[0], &*samples[1].id), (BOS, 122, "256"));
        let error = made(&format!("perplexity_sliding:length=1200,file={file}")).unwrap_err().to_string();
        assert_eq!(error, "no document has 1457 tokens: the longest has 1301");
        assert!(made(&format!("perplexity_sliding:length=1301,file={file},mode=fixed")).is_ok());
    }

    #[test]
    fn documents_are_whole_or_cut_to_a_length() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.jsonl");
        fs::write(&file, "{\"text\": \"0123456789\"}\n{\"text\": \"abc\"}\n{\"text\": \"abcdefg\"}\n").unwrap();
        let file = file.display();
        assert_eq!(shape(&format!("perplexity:file={file}")), [(11, 1), (4, 1), (8, 1)]);
        assert_eq!(shape(&format!("perplexity:file={file},length=8,last=3")), [(8, 5), (8, 5)]);
        assert_eq!(shape(&format!("perplexity:file={file},samples=1,last=100")), [(11, 1)]);
        let (samples, notes) = made(&format!("perplexity:file={file},length=8")).unwrap();
        assert_eq!((samples[0].n_truncated, samples[0].length), (3, Some(8)));
        assert_eq!(notes, ["2 of 3 documents measured, 1 passed over with fewer than 8 tokens"]);
        assert!(made(&format!("perplexity:file={file},length=1")).is_err());
        assert!(made(&format!("perplexity:file={file},length=12")).is_err());
    }

    #[test]
    fn text_comes_from_files_folders_token_files_or_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        fs::write(at("b.txt"), "second\n\nthird").unwrap();
        fs::write(at("a.md"), "first").unwrap();
        fs::write(at("c.dat"), [1, 2]).unwrap();
        assert_eq!(shape(&format!("perplexity:file={}", at(""))), [(6, 1), (14, 1)]);
        assert_eq!(shape(&format!("perplexity:file={},split_documents=on", at("b.txt"))), [(7, 1), (6, 1)]);
        let bytes = |width: usize| -> Vec<u8> {
            (0..600_u64).flat_map(|id| (id % 90 + 100).to_le_bytes()[..width].to_vec()).collect()
        };
        for width in [2, 4] {
            fs::write(at("t.bin"), bytes(width)).unwrap();
            let (samples, notes) =
                made(&format!("perplexity_sliding:length=200,stride=100,tokens={}", at("t.bin"))).unwrap();
            assert_eq!((samples.len(), &tokens(&samples[1])[..2]), (3, &[110, 111][..]), "{width} bytes");
            assert_eq!(notes, [format!("token ids read as u{}", 8 * width)]);
        }
        // as ChunkLlama's script reads ids of 32 bits: every second is the upper half of one
        let (samples, _) = made(&format!("perplexity:token_format=u16,tokens={}", at("t.bin"))).unwrap();
        assert_eq!(tokens(&samples[0])[..4], [100, 0, 101, 0]);
        assert_eq!(shape("perplexity"), [(built_in().len() + 1, 1)]);
        let error = made(&format!("perplexity:file={},tokens={}", at("b.txt"), at("t.bin"))).unwrap_err().to_string();
        assert!(error.starts_with("tokens = `"), "{error}");
        assert!(made(&format!("perplexity:file={}", at("none.txt"))).is_err());
    }

    #[test]
    fn the_script_has_another_base() {
        let perplexity = |mean: Mean, mode| mean.perplexity(3.0, mode);
        assert_eq!(format!("{:.6}", perplexity(Mean::SlidingPerplexity, Mode::Faithful)), "20.085496");
        assert_eq!(format!("{:.6}", perplexity(Mean::SlidingPerplexity, Mode::Fixed)), "20.085537");
        assert_eq!(format!("{:.6}", perplexity(Mean::Perplexity, Mode::Faithful)), "20.085537");
    }
}
