//! The model inside the program gives the values that were recorded when it was trained
//! (`fixtures/tiny-model/golden.json`; float16 weights, float32 arithmetic; about 1e-3 on logits).

use burn_flex::{Flex, FlexDevice};
use longlens_core::lens::{Lens, Rows, Setup};
use longlens_core::methods::Method;
use longlens_core::rope::RopeScaling;
use longlens_kernel::linear::Storage;
use longlens_model::source::Source;
use serde_json::Value;

const TOLERANCE: f64 = 1e-3;

fn open() -> Box<dyn Lens> {
    longlens_model::open::<Flex>(&Source::embedded(), Storage::F32, FlexDevice, "test").unwrap()
}

fn golden() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/tiny-model/golden.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn argmax(logits: &[f32]) -> u32 {
    logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0 as u32
}

/// `[[token, logit], …]`, the five largest.
fn check_top5(case: &str, logits: &[f32], expected: &Value) {
    for pair in expected.as_array().unwrap() {
        let (token, logit) = (pair[0].as_u64().unwrap() as usize, pair[1].as_f64().unwrap());
        let got = f64::from(logits[token]);
        assert!((got - logit).abs() < TOLERANCE, "{case}: logit of {token} is {got} instead of {logit}");
    }
}

/// The recorded method names in ours, and the scaling for `n` fed tokens.
fn method(name: &str, n: usize) -> (String, String) {
    let parts: Vec<&str> = name.split(':').collect();
    let factor = n as f64 / 256.0;
    match parts[..] {
        ["full"] => ("full".into(), "none".into()),
        ["pi"] => ("full".into(), format!("linear:factor={factor}")),
        ["ntk", factor] => ("full".into(), format!("ntk:factor={factor}")),
        ["yarn"] => ("full".into(), format!("yarn:factor={factor}")),
        ["stream", sinks, window] => (format!("streaming:n_sink={sinks},window={window}"), "none".into()),
        ["se", group, window] => (format!("self_extend:group_size={group},neighbor_window={window}"), "none".into()),
        ["dca", chunk, window] => (format!("dual_chunk:chunk_size={chunk},local_window={window}"), "none".into()),
        ["lh", chunk, length] => (format!("long_heads:chunk_len={chunk},attention_len={length}"), "none".into()),
        _ => panic!("method {name}"),
    }
}

fn setup(lens: &dyn Lens, name: &str, n: usize) -> Setup {
    let (method, rope) = method(name, n);
    let mut setup = Setup::new(&Method::parse(&method).unwrap(), &lens.model().spec, n).unwrap();
    setup.rope = RopeScaling::parse(&rope).unwrap();
    setup
}

#[test]
fn greedy_generations_are_the_recorded_ones() {
    let mut lens = open();
    for case in golden()["greedy"].as_array().unwrap() {
        let (prompt, expected) = (ids(&case["input_ids"]), ids(&case["output_ids"]));
        let text = case["prompt"].as_str().unwrap();
        assert_eq!(lens.text().unwrap().encode(text, true).unwrap(), prompt);
        lens.begin(&setup(lens.as_ref(), "full", prompt.len())).unwrap();
        let mut logits = lens.feed(&prompt, Rows::Last, &mut ()).unwrap();
        check_top5(text, &logits, &case["first_step_top5"]);
        let mut output = vec![argmax(&logits)];
        while output.len() < expected.len() {
            logits = lens.feed(&output[output.len() - 1..], Rows::Last, &mut ()).unwrap();
            output.push(argmax(&logits));
        }
        assert_eq!(output, expected, "{text}");
        assert_eq!(lens.text().unwrap().decode(&output).unwrap(), case["output_text"].as_str().unwrap());
    }
}

#[test]
fn every_method_gives_the_recorded_logits_and_losses() {
    let mut lens = open();
    let vocab_size = lens.model().spec.vocab_size;
    for case in golden()["methods"].as_array().unwrap() {
        let prompt = lens.text().unwrap().encode(case["prompt"].as_str().unwrap(), true).unwrap();
        let targets = ids(&case["target_ids"]);
        assert_eq!(prompt.len(), case["n_tokens"].as_u64().unwrap() as usize);
        for (name, expected) in case["methods"].as_object().unwrap() {
            // teacher-forced: the prompt and all but the last of the answer
            let forced = [&prompt[..], &targets[..targets.len() - 1]].concat();
            lens.begin(&setup(lens.as_ref(), name, forced.len())).unwrap();
            let logits = lens.feed(&forced, Rows::All, &mut ()).unwrap();
            let answer: Vec<&[f32]> = logits.chunks(vocab_size).skip(prompt.len() - 1).collect();
            check_top5(name, answer[0], &expected["first_step_top5"]);
            let got: Vec<u32> = answer.iter().map(|row| argmax(row)).collect();
            assert_eq!(got, ids(&expected["teacher_forced_argmax_ids"]), "{name}");

            let mut setup = setup(lens.as_ref(), name, prompt.len() - 1);
            (setup.n_prompt, setup.watch.nll) = (prompt.len(), true);
            lens.begin(&setup).unwrap();
            lens.feed(&prompt, Rows::None, &mut ()).unwrap();
            let nll = lens.trace().nll;
            let mean = nll.iter().map(|loss| f64::from(*loss)).sum::<f64>() / nll.len() as f64;
            let recorded = expected["nll_mean_over_prompt"].as_f64().unwrap();
            assert!((mean - recorded).abs() < TOLERANCE, "{name}: loss {mean} instead of {recorded}");
        }
    }
}
