//! Pass keys between the sentences of a text of the user's choice.

use longlens_core::lens::TextCodec;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::scripts::told;
use crate::error::EvalError;
use crate::sample::{Answering, Rule, Sample, Wrapper};
use crate::tasks::haystack::{Haystack, Prose, Room};
use crate::tasks::{Ask, Samples};

const TASK: &str = "A pass key is hidden in this long text. Find it and keep it in mind.";
const QUESTION: &str = "What is the pass key? The pass key is";

/// The number of a trial, of so many digits, of which the first is not 0.
pub fn key(digits: usize, seed: u64, trial: usize) -> String {
    let mut bytes = [0; 32];
    // another beginning than that of the filler, which takes the same numbers
    for (bytes, part) in bytes.chunks_exact_mut(8).zip([!seed, 0, 0, trial as u64]) {
        bytes.copy_from_slice(&part.to_le_bytes());
    }
    let mut random = ChaCha8Rng::from_seed(bytes);
    (0..digits).map(|at| char::from(b'0' + random.random_range(u8::from(at == 0)..10))).collect()
}

/// Trial after trial, each at all depths of one text.
pub fn samples(ask: &Ask<'_>) -> Result<Samples, EvalError> {
    let haystack = Haystack::of(ask)?;
    let notes = haystack.notes.clone();
    let (length, n_depths, n_trials) = (ask.length(), ask.count("depths"), ask.n_samples());
    let (seed, digits, wrapper) = (ask.seed(), ask.count("digits"), ask.wrapper());
    let mut kept: Option<(usize, Prose)> = None;
    let make = move |at: usize, codec: &dyn TextCodec| {
        let (trial, step) = (at / n_depths, at % n_depths);
        let depth = if n_depths == 1 { 0.5 } else { step as f64 / (n_depths - 1) as f64 };
        let key = key(digits, seed, trial);
        let told = told(&key);
        let hidden = [format!(" {told}")];
        let framed = |text: &str| wrapped(codec, wrapper, &told, text);
        let n_answer = codec.encode(&format!(" {key}"), false)?.len() + 1;
        let room = Room { what: "passkey_haystack", length, n_answer };
        let prose = match kept.take().filter(|(known, _)| *known == trial) {
            Some((_, prose)) => prose,
            None => Prose::new(codec, (&haystack, haystack.start(trial, n_trials)), &hidden, &framed, room)?,
        };
        let prompt = prose.prompt(codec, &hidden, 100.0 * depth, &framed, room)?;
        kept = Some((trial, prose));
        let place = prompt.text().and_then(|text| text.find(&told)).map(|start| start..start + told.len());
        Ok(Sample {
            id: format!("{trial} at {depth}"),
            evidence: place.into_iter().collect(),
            prompt,
            answers: vec![key],
            rule: Rule::Answer(Answering::new(n_answer, "passkey_text")),
            length: Some(length),
            depth: Some(depth),
            part: None,
            n_truncated: 0,
        })
    };
    Ok(Samples { notes, ..Samples::making(n_trials * n_depths, make) })
}

fn wrapped(
    codec: &dyn TextCodec,
    wrapper: Wrapper,
    told: &str,
    text: &str,
) -> Result<crate::sample::Prompt, longlens_core::lens::LensError> {
    // in front of the first sentence a key has the blank behind it that it has before it elsewhere
    let text = match text.strip_prefix(' ').and_then(|text| text.strip_prefix(told)) {
        Some("") => told.to_owned(),
        Some(rest) => format!("{told} {}", rest.trim_start_matches(' ')),
        None => text.to_owned(),
    };
    super::wrapped(wrapper, codec, &format!("{TASK}\n{text}\n{QUESTION}"))
}

#[cfg(test)]
mod tests {
    use longlens_core::scripted::ByteCodec;
    use longlens_core::spec::ModelSpec;

    use super::*;
    use crate::tasks::{Disk, Task};

    fn made(setting: &str) -> Result<Vec<Sample>, EvalError> {
        let setting = Task::parse(setting).unwrap();
        let ask = Ask { setting: &setting, spec: &ModelSpec::tiny(2048), codec: &ByteCodec, files: &Disk };
        let mut samples = ask.samples()?;
        (0..samples.n).map(|at| (samples.make)(at, &ByteCodec)).collect()
    }

    #[test]
    fn a_key_stands_between_sentences_at_every_depth_of_one_text() {
        let samples = made("passkey_haystack:length=3000,depths=5,samples=2,digits=12").unwrap();
        assert_eq!(samples.len(), 10);
        let texts: Vec<_> = samples.iter().map(|sample| sample.prompt.text().unwrap()).collect();
        // the key with one blank at its side
        let bare = |at: usize| {
            let place = samples[at].evidence[0].clone();
            texts[at].replacen(&texts[at][place], "", 1).replace("\n ", "\n").replace("  ", " ").replace(" \n", "\n")
        };
        for (at, sample) in samples.iter().enumerate() {
            assert!(sample.answers[0].len() == 12 && !sample.answers[0].starts_with('0'), "{:?}", sample.answers);
            let n_tokens = sample.prompt.tokens(Ok(&ByteCodec)).unwrap().len() + 14;
            assert!(n_tokens <= 3000 && n_tokens > 2500, "{n_tokens}");
            assert_eq!(bare(at), bare(at / 5 * 5), "one text for all depths");
            let before = texts[at][..sample.evidence[0].start].trim_end_matches(' ');
            assert!(before.ends_with(['.', '!', '?', '"', '\'']) || before.ends_with("mind.\n"), "{}", sample.id);
        }
        assert!(texts[0].starts_with(&format!("{TASK}\nThe pass key is ")), "{}", &texts[0][..200]);
        assert!(texts.iter().all(|text| !text.contains(" is the pass key.It")));
        let behind = &texts[0][samples[0].evidence[0].end..];
        assert!(behind.starts_with(' ') && !behind.starts_with("  "), "{}", &behind[..20]);
        assert!(texts[4].ends_with(" is the pass key.\nWhat is the pass key? The pass key is"));
        assert_ne!(bare(0), bare(5), "trials read other passages");
        assert!(made("passkey_haystack:length=150").is_err());
    }

    #[test]
    fn a_haystack_may_begin_with_blanks() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("book.txt");
        std::fs::write(&path, "  It rained today. The sun shone. ".repeat(60)).unwrap();
        let samples = made(&format!("passkey_haystack:length=1200,depths=3,samples=1,haystack={}", path.display()));
        let samples = samples.unwrap();
        let around = |at: usize| {
            let (text, place) = (samples[at].prompt.text().unwrap(), samples[at].evidence[0].clone());
            (text[..place.start].to_owned(), text[place.end..].to_owned())
        };
        let (before, behind) = around(0);
        assert!(before.ends_with("mind.\n") && behind.starts_with(" It rained"), "{before:?} {}", &behind[..20]);
        let (before, _) = around(1);
        assert!(before.contains("mind.\n  It rained"), "the text is as it was: {}", &before[..120]);
    }

    #[test]
    fn keys_have_the_digits_that_are_asked_for() {
        for digits in [5, 17, 64] {
            let keys: Vec<_> = (0..50).map(|trial| key(digits, 0, trial)).collect();
            assert!(keys.iter().all(|key| key.len() == digits && key.bytes().all(|byte| byte.is_ascii_digit())));
            assert!(keys.iter().all(|key| !key.starts_with('0')) && keys[0] != keys[1]);
        }
        for task in ["passkey", "passkey_haystack"] {
            let samples = made(&format!("{task}:length=1000,depths=2,samples=1,digits=64")).unwrap();
            assert!(samples.iter().all(|sample| sample.answers[0].len() == 64));
            assert!(samples.iter().all(|sample| sample.prompt.text().unwrap().contains(&sample.answers[0])));
            assert!(
                Task::parse(&format!("{task}:digits=65")).is_err() && Task::parse(&format!("{task}:digits=4")).is_err()
            );
        }
        let usual = made("passkey:length=1000").unwrap();
        assert!(usual.iter().all(|sample| sample.answers[0].len() == 5));
    }
}
