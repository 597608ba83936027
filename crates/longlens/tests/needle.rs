//! Needle prompts of the command line, and scripts that the workbench records: every line of them runs.

use serde_json::Value;

mod common;

use common::Sandbox;

fn json(sandbox: &Sandbox, line: &str) -> Value {
    serde_json::from_str(&sandbox.done(line).stdout).unwrap_or_else(|error| panic!("longlens {line}: {error}"))
}

/// The command is refused with all of `expected`.
fn refused(sandbox: &Sandbox, line: &str, expected: &str) {
    let ran = sandbox.run(&common::words(line));
    let said = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(ran.code == Some(2) && said.contains(expected), "longlens {line}\n{}", ran.stderr);
}

#[test]
fn a_needle_is_what_its_flags_say() {
    let sandbox = Sandbox::new();
    // a key of one's own is found by the model that the program carries
    let said = json(&sandbox, "generate --needle 200:0.3:40921 --max-tokens 7 --json");
    assert!(said["generated"]["text"].as_str().unwrap().contains("40921"), "{said}");
    let needle = |flags: &str| json(&sandbox, &format!("attention --needle {flags} --side 4 --json"))["mean"].clone();
    let (seeded, plain) = (needle("200:0.3 --seed 3"), needle("200:0.3"));
    assert_ne!(seeded, plain);
    assert_eq!(seeded, needle("200:0.3 --needle-seed 3"), "the seed is that of --seed where it is not given");
    assert_eq!(seeded, needle("200:0.3 --needle-seed 3 --seed 9"));
    assert_eq!(plain, needle("200:0.3 --needle-template longlens"));
    assert_ne!(plain, needle("200:0.3 --needle-template long_lm"));
    assert_eq!(needle("200"), needle("200:0.5"));
}

#[test]
fn a_needle_that_cannot_be_is_refused() {
    let sandbox = Sandbox::new();
    for (line, expected) in [
        ("generate --needle 200:0.5:4-1", "key = `4-1` is not 1 to 64 letters or digits"),
        ("generate --needle 200:0.5:", "key = `` is not 1 to 64 letters or digits"),
        ("generate --needle 200:0.5:1:2", "key = `1:2` is not 1 to 64 letters or digits"),
        ("generate --needle 200::12", "`` is not a depth"),
        ("generate --needle 200 --needle-template short", "unknown passkey template `short` help: one of: longlens,"),
        ("generate --prompt a --needle-seed 3", "cannot be used with"),
        ("generate --prompt a --file b", "'--prompt <TEXT>' cannot be used with '--file <FILE>'"),
        ("generate --file b --needle 200", "'--file <FILE>' cannot be used with '--needle"),
        ("chunks --file b --needle-template longlens", "cannot be used with"),
        ("attention --needle-seed 1", "required arguments were not provided: --needle <"),
    ] {
        refused(&sandbox, line, expected);
    }
}

#[test]
fn the_tokens_that_fetch_a_hidden_key_can_be_asked_for() {
    let sandbox = Sandbox::new();
    let default = json(&sandbox, "chunks --needle 300:0.5 --needle-seed 2 --json");
    let query = default["query"].as_u64().unwrap();
    let asked = json(&sandbox, &format!("chunks --needle 300:0.5 --needle-seed 2 --query {query} --json"));
    assert_eq!(asked, default);
    // the one before is the prompt's last
    let before = query - 1;
    let last = json(&sandbox, &format!("chunks --needle 300:0.5 --needle-seed 2 --query {before} --json"));
    assert_eq!(last["run"]["n_prompt"], query);
    // the right answer is a blank and five digits; the last fetches nothing
    let last = json(&sandbox, &format!("chunks --needle 300:0.5 --needle-seed 2 --query {} --json", query + 4));
    assert_eq!(last["query"], query + 4);
    let beyond = query + 5;
    refused(&sandbox, &format!("chunks --needle 300:0.5 --needle-seed 2 --query {beyond}"), "does not exist");
}

#[test]
fn every_token_of_the_answer_counts_for_hit_rates() {
    let method = "long_heads:chunk_len=16,attention_len=64";
    let plotted = json(&Sandbox::new(), &format!("plot layers --needle 300:0.5 --method {method} --json"));
    let columns = plotted["table"]["columns"].as_array().unwrap();
    let queries = columns.iter().position(|column| column["name"] == "queries").expect("hits are counted");
    let rows = plotted["table"]["rows"].as_array().unwrap();
    assert!(!rows.is_empty() && rows.iter().all(|row| row[queries] == 6), "a blank and five digits: {plotted}");
}

/// Steps as the workbench records them.
const SCRIPT: &str = include_str!("data/steps.sh");

/// A config as the workbench saves it.
const CONFIG: &str = include_str!("data/workbench.toml");

#[cfg(unix)]
#[test]
fn every_line_of_a_recorded_script_runs() {
    let sandbox = Sandbox::new();
    sandbox.write("story.txt", "Once there was a cat. It ran to the old tree.\n");
    sandbox.write("steps.sh", SCRIPT);
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_longlens"));
    let path = std::env::join_paths(
        [program.parent().unwrap().to_owned()]
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-x", "steps.sh"])
        .current_dir(sandbox.path(""))
        .env("PATH", path.unwrap())
        .env("HF_HOME", sandbox.path("hf"));
    let ran: common::Ran = shell.output().unwrap().into();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("+ longlens ").count(), SCRIPT.matches("\nlonglens ").count());
    for name in ["heads.png", "chosen.png", "story.svg", "map.png", "my map.svg", "positions.svg"] {
        assert!(sandbox.path(name).metadata().unwrap().len() > 1000, "{name}");
    }
}

#[test]
fn a_config_of_the_workbench_is_taken_by_every_command() {
    let sandbox = Sandbox::new();
    sandbox.write("longlens.toml", CONFIG);
    let said = json(&sandbox, "generate --config longlens.toml --needle 120 --json");
    let run = &said["generated"]["run"];
    assert_eq!(
        (&run["method"], &run["rope"]),
        (
            &"long_heads:chunk_len=16,attention_len=64,begin_len=64,variant=consistent".into(),
            &"yarn:factor=2,original=256,beta_fast=32,beta_slow=1,truncate=true".into(),
        )
    );
    let sampling = &said["sampling"];
    assert_eq!((&sampling["seed"], &sampling["top_k"]), (&5.into(), &40.into()));
    assert_eq!(said["generated"]["tokens"].as_array().unwrap().len(), 3);
    let grid = json(&sandbox, "passkey --config longlens.toml --json");
    let cells = grid["cells"].as_array().unwrap();
    assert_eq!((cells.len(), &cells[0]["length"], &cells[3]["depth"]), (4, &100.into(), &1.0.into()));
    assert_eq!(cells[0]["n_trials"], 1);
    for line in ["positions", "chunks --needle 120", "attention --needle 120", "model"] {
        sandbox.done(&format!("{line} --config longlens.toml"));
    }
}

#[test]
fn a_template_that_makes_prompts_longer_than_asked_says_so() {
    let sandbox = Sandbox::new();
    let said = |flags: &str| sandbox.done(&format!("generate --needle 512 --max-tokens 1 {flags}")).stderr;
    let warned = said("--needle-template long_heads");
    assert!(warned.contains("are cut by characters: the one asked for at 512 tokens has 7"), "{warned}");
    assert!(!said("").contains("cut by characters"));
}
