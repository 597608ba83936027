//! `longlens verify`, attention alone in `bench`, and where keys and values are kept.

mod common;

use common::{Ran, Sandbox, checkpoint, words};
use serde_json::Value;

fn json(sandbox: &Sandbox, line: &str) -> Value {
    let stdout = sandbox.done(&format!("{line} --json")).stdout;
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("longlens {line}: {error}\n{stdout}"))
}

fn refused(sandbox: &Sandbox, line: &str, code: i32, expected: &str) {
    let Ran { code: ended, stdout, stderr } = sandbox.run(&words(line));
    let said = stderr.replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!((ended, stdout.as_str()), (Some(code), ""), "longlens {line}\n{stderr}");
    assert!(
        said.contains(expected) && !said.contains("panicked"),
        "longlens {line} does not say `{expected}`:\n{stderr}"
    );
}

#[test]
fn every_head_stands_beside_its_definition() {
    let sandbox = Sandbox::new();
    let line = "verify --methods full;long_heads --length 300 --queries 20 --new-tokens 3 --layer 1,3";
    let ran = sandbox.done(line);
    let text = ran.stdout;
    assert_eq!(text.matches("all 8 heads agree with their definition").count(), 2, "{text}");
    assert_eq!(text.matches("23 queries of 300 tokens").count(), 2, "{text}");
    let reports = json(&sandbox, line);
    for (report, method) in reports.as_array().unwrap().iter().zip(["full", "long_heads:"]) {
        assert!(report["run"]["method"].as_str().unwrap().starts_with(method));
        assert_eq!(report["queries"].as_array().unwrap().len(), 23);
        let heads = report["heads"].as_array().unwrap();
        let places: Vec<_> = heads.iter().map(|head| (head["layer"].as_u64(), head["head"].as_u64())).collect();
        let expected = [1, 3].into_iter().flat_map(|layer| (0..4).map(move |head| (Some(layer), Some(head))));
        assert_eq!(places, expected.collect::<Vec<_>>());
        for head in heads {
            let off = head["off"].as_f64().unwrap();
            assert!(0.0 < off && off < 1e-5, "{head}");
            assert_eq!(head.get("choice_off").is_some_and(Value::is_number), method != "full", "{head}");
        }
    }
}

#[test]
fn prompts_and_random_models_are_verified_too() {
    let sandbox = Sandbox::new();
    let needle = json(&sandbox, "verify --needle 200 --method self_extend --queries 4 --new-tokens 0");
    assert!(needle[0]["run"]["n_prompt"].as_u64() > Some(150));
    let random = json(&sandbox, "verify --model tiny --layers 1 --length 40 --seed 5");
    assert_eq!(random[0]["heads"].as_array().map(Vec::len), Some(4));
    assert_eq!(random, json(&sandbox, "verify --model tiny --layers 1 --length 40 --seed 5"));
}

#[test]
fn what_cannot_be_verified_is_refused() {
    let sandbox = Sandbox::new();
    for (line, code, expected) in [
        ("verify --layer 9", 2, "layer 9 does not exist: there are 4"),
        ("verify --length 0", 2, "0"),
        ("verify --length 20 --needle 300", 2, "cannot be used with"),
        ("verify --queries 0", 2, "it must be at least 1"),
        ("verify --layers 2", 2, "--layers shortens a random model, and embedded is a checkpoint"),
        ("verify --model tin", 1, "did you mean the random model `tiny`?"),
        ("verify --out errors.json", 2, "give --json for the errors of all heads"),
        ("verify --methods full;ful", 2, "unknown method `ful`"),
    ] {
        refused(&sandbox, line, code, expected);
    }
}

#[test]
fn attention_is_measured_alone() {
    let sandbox = Sandbox::new();
    let line = "bench --model tiny --attention-only --methods full;long_heads --lengths 512 --repeat 1 --warmup 0";
    let rows = json(&sandbox, line);
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 4);
    let model = rows[0]["model"].as_str().unwrap();
    assert!(model.starts_with("tiny") && model.contains("attention alone"), "{model}");
    // of the same shape with its weights
    let shape = json(&sandbox, "bench --model tiny --methods full --lengths 512 --repeat 1 --warmup 0");
    assert!(rows[0]["flops"].as_u64() < shape[0]["flops"].as_u64(), "products with weights do not count");
    refused(
        &sandbox,
        "bench --attention-only",
        2,
        "--attention-only is of a random model, and embedded is a checkpoint help: give --model one of tiny, 1b-like",
    );
}

#[test]
fn the_processors_keys_are_in_the_hosts_memory_already() {
    let sandbox = Sandbox::new();
    let expected = "kv_offload is for devices with memory of their own";
    checkpoint(&sandbox, "model", |_, _| {});
    // a file is for every device
    sandbox.write("run.toml", "kv_offload = true\n");
    sandbox.done("verify --config run.toml --length 20");
    for line in [
        "generate --model model --prompt x --kv-offload",
        "verify --kv-offload",
        "bench --model tiny --lengths 64 --kv-offload",
    ] {
        refused(&sandbox, line, 2, expected);
    }
}
