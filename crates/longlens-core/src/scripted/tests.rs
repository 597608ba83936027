use super::*;
use crate::lens::CancelToken;
use crate::methods::Method;
use crate::setting::SettingError;
use crate::trace::{MapPick, RowPick};

fn setup(lens: &ScriptedLens, n_prompt: usize) -> Setup {
    Setup::new(&Method::full(), &lens.model().spec, n_prompt).unwrap()
}

fn argmax(logits: &[f32]) -> u32 {
    logits.iter().position(|logit| *logit >= SURE).unwrap() as u32
}

#[test]
fn it_says_its_text_and_ends() {
    let mut lens = ScriptedLens::saying("ok");
    let prompt = lens.text().unwrap().encode("say ok: ", true).unwrap();
    for _ in 0..2 {
        lens.begin(&setup(&lens, prompt.len())).unwrap();
        let mut said = vec![argmax(&lens.feed(&prompt, Rows::Last, &mut ()).unwrap())];
        while *said.last().unwrap() != EOS {
            said.push(argmax(&lens.feed(&said[said.len() - 1..], Rows::Last, &mut ()).unwrap()));
        }
        assert_eq!(ByteCodec.decode(&said).unwrap(), "ok");
    }
}

#[test]
fn induction_continues_the_longest_match() {
    let mut logits = vec![0.0; VOCAB_SIZE];
    induction(&ByteCodec.encode("xa1 ya2 xa", false).unwrap(), &mut logits);
    assert_eq!(argmax(&logits), token_of(b'1'));
}

#[test]
fn losses_cover_every_fed_token_but_the_first() {
    let mut lens = ScriptedLens::new(|_, logits| logits[5] = 2.0);
    lens.begin(&Setup { watch: Watch { nll: true, ..Watch::default() }, ..setup(&lens, 3) }).unwrap();
    assert!(lens.feed(&[5, 5, 6], Rows::None, &mut ()).unwrap().is_empty());
    lens.feed(&[5], Rows::None, &mut ()).unwrap();
    let other = (2f64.exp() + 257.0).ln();
    let expected = [other - 2.0, other, other - 2.0];
    let nll = lens.trace().nll;
    assert_eq!(nll.len(), expected.len());
    assert!(nll.iter().zip(expected).all(|(found, expected)| (f64::from(*found) - expected).abs() < 1e-6));
}

#[test]
fn wrong_tokens_and_cancellation_are_errors() {
    let mut lens = ScriptedLens::new(induction);
    lens.begin(&setup(&lens, 2)).unwrap();
    let error = lens.feed(&[5, 258], Rows::None, &mut ()).unwrap_err();
    insta::assert_snapshot!(error, @"token 258 at position 1 is outside the vocabulary of 258");
    let mut token = CancelToken::default();
    token.cancel();
    lens.begin(&setup(&lens, 2)).unwrap();
    assert!(matches!(lens.feed(&[], Rows::None, &mut ()), Err(LensError::EmptyPrompt)));
    lens.begin(&setup(&lens, 2)).unwrap();
    assert!(matches!(lens.feed(&[5, 6], Rows::None, &mut token), Err(LensError::Cancelled)));
    assert!(matches!(lens.feed(&[5, 6], Rows::None, &mut ()), Err(LensError::NotBegun)), "an error ends a sequence");
    assert!(lens.without_tokenizer().text().is_err());
}

#[test]
fn a_fork_is_what_a_real_model_makes_of_it() {
    let mut lens = ScriptedLens::new(|_, logits| logits[5] = 2.0);
    assert!(matches!(lens.feed(&[5], Rows::None, &mut ()), Err(LensError::NotBegun)));
    let of = |method: &str, n_prompt| {
        let setup = Setup::new(&Method::parse(method).unwrap(), &ModelSpec::tiny(64), n_prompt).unwrap();
        Setup { watch: Watch { nll: true, ..Watch::default() }, ..setup }
    };
    let (full, chosen) = (of("full", 1), of("long_heads:chunk_len=4,attention_len=16", 10));
    // a prompt of one token, forked behind it
    lens.begin(&full).unwrap();
    for token in [5, 5, 6] {
        lens.feed(&[token], Rows::None, &mut ()).unwrap();
    }
    assert!(matches!(lens.fork(0), Err(LensError::EmptyFork)));
    assert!(matches!(lens.fork(4), Err(LensError::OutOfRange { index: 3, count: 3, .. })));
    let fork = lens.fork(3).unwrap();
    let losses = |lens: &mut ScriptedLens| {
        lens.feed(&[7], Rows::None, &mut ()).unwrap();
        (lens.trace().run.mode, lens.trace().nll.len(), lens.tokens().to_vec())
    };
    lens.begin_from(&full, &fork).unwrap();
    assert_eq!(losses(&mut lens), ("re-prefill".into(), 1, vec![5, 5, 6, 7]));
    let two = Setup { n_prompt: 2, ..full.clone() };
    assert!(matches!(lens.begin_from(&two, &fork), Err(LensError::ShortPrompt { n_tokens: 2, n_prefix: 3 })));
    assert!(matches!(lens.begin_from(&chosen, &fork), Err(LensError::NothingKept { .. })));
    let other = ScriptedLens::saying("").begin_from(&full, &fork);
    assert!(matches!(other, Err(LensError::OtherModel)));
    // inside a chunk without its queries, and one that another plan goes on from
    lens.begin(&chosen).unwrap();
    lens.feed(&[5; 10], Rows::None, &mut ()).unwrap();
    assert!(matches!(lens.fork(7), Err(LensError::NothingKept { .. })));
    assert!(lens.fork(8).is_ok() && lens.fork(9).is_ok());
    lens.reuse(&full, 8).unwrap();
    let swapped = lens.fork(8).unwrap();
    assert!(!swapped.serves(&Setup { n_prompt: 10, ..full.clone() }));
    lens.begin_from(&Setup { n_prompt: 10, ..full }, &swapped).unwrap();
    assert_eq!(losses(&mut lens).0, "reuse-kv");
}

#[test]
fn inspecting_sees_what_the_plan_shows() {
    // head 1 looks at key 5, which full attention sees and a window of 4 does not
    let mut lens =
        ScriptedLens::saying("ok").attending(|_, head, _, key| if head == 1 && key == 5 { 99.0 } else { 1.0 });
    let tokens: Vec<u32> = (0..40).map(|t| t + 2).collect();
    let row = RowPick { layer: 0, head: 1, query: 39 };
    let watch = Watch { rows: vec![row], maps: vec![MapPick::whole(0, 1, 10)], ..Watch::default() };
    let mut inspect = |method: &str, watch: &Watch| {
        let method = Method::parse(method).unwrap();
        let kept = Setup { keep_queries: true, ..Setup::new(&method, &lens.model().spec, 40).unwrap() };
        lens.begin(&kept).unwrap();
        lens.feed(&tokens, Rows::None, &mut ()).unwrap();
        lens.inspect(watch, &mut ()).unwrap()
    };
    let trace = inspect("full", &watch);
    assert!((trace.rows[0].1[5] - 99.0 / 138.0).abs() < 1e-6);
    let map = &trace.maps[0];
    assert_eq!((map.side, map.stride), (10, 4));
    assert!(map.max[9 * 10 + 1] > 0.7 && (map.mean[9 * 10..].iter().sum::<f32>() - 1.0).abs() < 1e-5);
    assert!(inspect("sliding_window:window=4", &watch).rows[0].1[5].abs() < 1e-9);

    let chosen = Watch { choices: Queries::Of(vec![39]), ..Watch::default() };
    let trace = inspect("long_heads:chunk_len=4,attention_len=16", &chosen);
    let choices = trace.layers[0].choices.as_ref().unwrap();
    let chunks: Vec<_> = choices.row(0, 1).map(|(chunk, _)| chunk).collect();
    assert_eq!(chunks, [0, 1, 8, 9], "the first, key 5's, the newest complete and the own chunk");
}

#[test]
fn a_sequence_longer_than_the_plan_is_refused() {
    let relation = |distance: usize| Ok::<_, std::convert::Infallible>(Some(distance as f64));
    let plan = crate::written::from_distance("mine", "mine", 3, relation).unwrap();
    let method = Method::written("mine", plan);
    let mut lens = ScriptedLens::new(induction);
    let setup = |n_prompt| Setup::new(&method, &ModelSpec::tiny(64), n_prompt).unwrap();
    let too_long = |result| matches!(result, Err(LensError::Setting(SettingError::TooLong { n_tokens: 4, .. })));
    assert!(too_long(lens.begin(&setup(4))));
    lens.begin(&setup(3)).unwrap();
    lens.feed(&[5, 6, 7], Rows::None, &mut ()).unwrap();
    assert!(too_long(lens.feed(&[5], Rows::None, &mut ()).map(|_| ())));
    lens.begin(&Setup { n_prompt: 4, ..Setup::new(&Method::full(), &ModelSpec::tiny(64), 4).unwrap() }).unwrap();
    lens.feed(&[5, 6, 7, 8], Rows::None, &mut ()).unwrap();
    assert!(too_long(lens.reuse(&setup(4), 4)));
}
