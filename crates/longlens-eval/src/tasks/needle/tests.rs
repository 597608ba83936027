//! What holds for prompts of needle grids.

use longlens_core::scripted::{BOS, ByteCodec};
use longlens_core::spec::ModelSpec;

use super::*;
use crate::scorers::{Mode, Scorer};
use crate::tasks::Disk;

fn made(setting: &str) -> Result<(Vec<Sample>, Vec<String>), EvalError> {
    let setting = Task::parse(setting).unwrap();
    let ask = Ask { setting: &setting, spec: &ModelSpec::tiny(2048), codec: &ByteCodec, files: &Disk };
    let mut samples = ask.samples()?;
    let made = (0..samples.n).map(|at| (samples.make)(at, &ByteCodec)).collect::<Result<_, _>>()?;
    Ok((made, samples.notes))
}

fn of(setting: &str) -> Vec<Sample> {
    made(setting).unwrap().0
}

fn text(sample: &Sample) -> &str {
    sample.prompt.text().unwrap()
}

fn context(sample: &Sample) -> &str {
    let inside = text(sample).split_once("<context>\n").unwrap().1;
    inside.split_once("\n</context>").unwrap().0
}

fn score(sample: &Sample, answer: &str, mode: Mode) -> f64 {
    let Rule::Answer(answering) = &sample.rule else { panic!("an answer") };
    let scorer = Scorer::named(answering.scorer).unwrap();
    let row = serde_json::json!({ "prediction": answer, "references": sample.answers });
    scorer.score(row.as_object().unwrap(), mode).unwrap().as_f64().unwrap() / scorer.scale
}

/// Whether a score is this one, but for the last digits.
fn is(score: f64, expected: f64) -> bool {
    (score - expected).abs() < 1e-9
}

const NEEDLE: &str = "The best thing to do in San Francisco is eat a sandwich and sit in Dolores Park on a sunny day.";

#[test]
fn the_scripts_grid_is_made() {
    let samples = of("needle:length=2000,lengths=3,depths=5");
    assert_eq!(samples.len(), 15);
    let cells: Vec<_> = samples.iter().map(|sample| (sample.length.unwrap(), sample.depth.unwrap())).collect();
    assert_eq!(cells[..6], [(1000, 0.0), (1000, 0.25), (1000, 0.5), (1000, 0.75), (1000, 1.0), (1500, 0.0)]);
    let haystack = Haystack::default().text;
    for sample in &samples {
        let (length, depth) = (sample.length.unwrap(), sample.depth.unwrap());
        let context = context(sample);
        // bytes are tokens, and the token that begins a text is one of the context and one of the needle
        assert_eq!(context.len(), length - 200 - 2, "{}", sample.id);
        assert!(context.contains(&format!("\n{NEEDLE}\n")));
        let rest = context.replace(&format!("\n{NEEDLE}\n"), "");
        assert!(haystack.starts_with(&rest));
        let place = context.find(NEEDLE).unwrap() - 1;
        assert!(place == 0 || depth > 0.99 || context[..place].ends_with('.'), "{}", sample.id);
        assert!(place as f64 <= depth * rest.len() as f64 + 1.0);
        assert_eq!(&text(sample)[sample.evidence[0].clone()], NEEDLE);
    }
}

#[test]
fn depths_share_what_they_begin_with() {
    for mode in ["faithful", "fixed"] {
        let samples = of(&format!("needle:length=4000,depths=7,spacing=sigmoid,mode={mode}"));
        for pair in samples.windows(2) {
            let shared = text(&pair[0]).bytes().zip(text(&pair[1]).bytes()).take_while(|(a, b)| a == b).count();
            assert!(shared >= pair[0].evidence[0].start - 1, "{mode}: {} {}", pair[0].id, pair[1].id);
        }
    }
}

#[test]
fn trials_read_other_passages() {
    let samples = of("needle:length=1000,depths=1,samples=3");
    assert_eq!(samples.len(), 3);
    assert!(context(&samples[0]) != context(&samples[1]) && context(&samples[1]) != context(&samples[2]));
}

#[test]
fn fixed_prompts_have_the_length_with_their_answers() {
    for form in ["gkamradt", "book"] {
        for length in [1000, 1500, 3000] {
            let samples = of(&format!("needle:length={length},depths=9,mode=fixed,form={form}"));
            for sample in &samples {
                let n_tokens = sample.prompt.tokens(Ok(&ByteCodec)).unwrap().len() + 300;
                assert!(n_tokens <= length && n_tokens + 400 > length, "{}: {n_tokens}", sample.id);
                let before = &text(sample)[..sample.evidence[0].start - 1];
                let is_end = before.ends_with(['.', '!', '?', '"', '\'']) && !before.ends_with("Mr.");
                assert!(is_end || before.ends_with("<context>\n") || before.ends_with("<book> "), "{}", sample.id);
            }
        }
    }
    // the script's prompts are longer than asked for where its words take more than the buffer
    let samples = of("needle:length=1000,depths=1");
    assert!(samples[0].prompt.tokens(Ok(&ByteCodec)).unwrap().len() + 300 > 1000);
}

#[test]
fn several_needles_stand_evenly_behind_the_first() {
    for mode in ["faithful", "fixed"] {
        let samples = of(&format!("needle:length=3000,depths=3,needles=pizza,mode={mode}"));
        for sample in &samples {
            assert_eq!((sample.evidence.len(), sample.answers.len()), (3, 3));
            let told: Vec<_> = sample.evidence.iter().map(|place| &text(sample)[place.clone()]).collect();
            assert_eq!(told[0], "Figs are one of the secret ingredients needed to build the perfect pizza.");
            assert!(sample.evidence.is_sorted_by_key(|place| place.start), "{told:?}");
            assert!(is(score(sample, "Goat cheese and FIGS", Mode::Fixed), 2.0 / 3.0));
            assert!(is(score(sample, "Figs, prosciutto and goat cheese.", Mode::Fixed), 1.0));
        }
        let gaps = |at: usize| samples[at].evidence[2].start - samples[at].evidence[0].start;
        assert!(gaps(0) > 1000 && gaps(2) < 200, "{mode}");
    }
}

#[test]
fn a_perfect_answer_scores_less_than_one_only_in_the_script() {
    let sample = &of("needle:length=1000,depths=1")[0];
    assert!(is(score(sample, NEEDLE, Mode::Faithful), 11.0 / 12.0));
    assert!(is(score(sample, NEEDLE, Mode::Fixed), 1.0));
    let sample = &of("needle:length=1000,depths=1,score=facts")[0];
    assert!(is(score(sample, "On a sunny day, sit in Dolores Park and eat a sandwich", Mode::Fixed), 1.0));
    assert!(is(score(sample, "Eat a sandwich.", Mode::Fixed), 1.0 / 3.0));
    let sample = &of("needle_fu:length=1000,depths=1")[0];
    assert!((score(sample, NEEDLE, Mode::Faithful) - 1.0).abs() < 1e-9);
    assert!(text(sample).starts_with("<|im_start|> This is a very long story book: <book> "));
}

#[test]
fn own_needles() {
    let samples =
        of("needle:length=1000,depths=2,needle=The mill burned in 1702.,question=When did the mill burn?,answer=1702");
    assert!(
        text(&samples[0]).contains("\nThe mill burned in 1702.\n")
            && text(&samples[0]).contains("When did the mill burn? ")
    );
    assert_eq!(samples[0].answers, ["1702"]);
    let samples = of("needle:length=1500,depths=1,needle=A is 1.|B is 2.,question=What are they?");
    assert_eq!((samples[0].evidence.len(), samples[0].answers.len()), (2, 2));
    let error = made("needle:length=1000,needle=A is 1.").unwrap_err().to_string();
    insta::assert_snapshot!(error, @"question = `` is not a question about the needle that was given");
}

#[test]
fn turns_are_those_of_the_script() {
    let sample = &of("needle:length=1000,depths=1,template=model")[0];
    assert!(text(sample).starts_with("system: You are a helpful AI bot"), "{}", text(sample));
    assert!(text(sample).ends_with("or repeat your findings\nassistant:"), "{}", text(sample));
    assert_ne!(sample.prompt.tokens(Ok(&ByteCodec)).unwrap()[0], BOS, "the template writes it");
}

#[test]
fn too_short_a_length_is_refused() {
    let error = |setting: &str| {
        let error = made(setting).unwrap_err();
        format!("{error} | {}", error.help().unwrap_or_default())
    };
    insta::assert_snapshot!(error("needle:length=298"), @"a `needle` prompt cannot be 298 tokens long: without filler it already has 299 | ask for at least 299 tokens");
    assert!(made("needle:length=299,depths=3").is_ok());
    assert!(error("needle:length=299,mode=fixed").starts_with("a `needle` prompt cannot be 299 tokens long"));
}

#[test]
fn folders_are_read_by_name_and_said_so() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("b.txt", "Second. "), ("a.txt", "First. ")] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let (samples, notes) = made(&format!("needle:length=400,depths=2,haystack={}", folder.path().display())).unwrap();
    assert!(context(&samples[1]).starts_with("First. Second. First. "), "{}", context(&samples[1]));
    assert_eq!(notes, ["files of a haystack are read in the order of their names; the script takes that of the disk"]);
}
