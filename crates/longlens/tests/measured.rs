//! What is measured is what was asked: texts, token files, stored prompts, and runs that were cut short.

mod common;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Sandbox, words};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

fn tiny_model(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny-model").join(name)
}

/// The start of a held-out story, in lines of some sentences.
fn story() -> String {
    let text = fs::read_to_string(tiny_model("corpus/heldout.txt")).unwrap();
    text.chars().take(4000).collect()
}

/// Perplexities of the first line by length.
fn perplexities(sandbox: &Sandbox, line: &str) -> Vec<f64> {
    let said: Value = serde_json::from_str(&sandbox.done(&format!("perplexity {line} --json")).stdout).unwrap();
    said[0]["points"].as_array().unwrap().iter().map(|point| point["perplexity"].as_f64().unwrap()).collect()
}

/// Exit code, and what was said in one line.
fn refused(sandbox: &Sandbox, line: &str) -> (Option<i32>, String) {
    let ran = sandbox.run(&words(line));
    let said: String = ran.stderr.replace(['│', '×', '╰', '─', '▶'], " ");
    (ran.code, said.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[test]
fn a_file_is_one_document_whatever_its_form() {
    let sandbox = Sandbox::new();
    let story = story();
    let blank = story.replacen(". ", ".\n\n", 3);
    sandbox.write("flat.txt", &story);
    sandbox.write("mark.txt", format!("\u{feff}{story}"));
    sandbox.write("blank.txt", &blank);
    sandbox.write("one.jsonl", format!("{}\n", json!({ "text": story, "meta": {} })));
    sandbox.write("two.jsonl", format!("{}\n{}\n", json!({ "text": "Short." }), json!({ "text": story })));
    let flat = perplexities(&sandbox, "--file flat.txt --lengths 64,256");
    for line in ["--text flat.txt", "--file mark.txt", "--file one.jsonl", "--file two.jsonl"] {
        assert_eq!(perplexities(&sandbox, &format!("{line} --lengths 64,256")), flat, "{line}");
    }
    sandbox.write("run.toml", "[perplexity]\ntext = \"flat.txt\"\nlengths = [64, 256]\n");
    assert_eq!(perplexities(&sandbox, "--config run.toml"), flat);
    assert_ne!(perplexities(&sandbox, "--file blank.txt --lengths 64,256"), flat, "line breaks are part of the text");

    let ran = sandbox.done("perplexity --file two.jsonl --lengths 64,256");
    assert!(
        ran.stderr.contains("1 of 2 documents measured, 1 passed over with fewer than 256 tokens"),
        "{}",
        ran.stderr
    );
    assert!(ran.stdout.contains("1 document, 63 to 255 tokens scored"), "{}", ran.stdout);
    assert!(ran.stdout.contains("; 1 of 2 documents measured"), "{}", ran.stdout);

    // windows of 256 over one document are the mean of its parts, with nothing put in between
    let windows = perplexities(&sandbox, "--file flat.txt --sliding --lengths 256");
    assert_eq!(perplexities(&sandbox, "--file one.jsonl --sliding --lengths 256"), windows);
    assert_eq!(perplexities(&sandbox, "--file flat.txt --sliding --stride 9999 --lengths 256"), flat[1..]);
    assert_eq!(
        perplexities(&sandbox, "--file blank.txt --sliding --stride 9999 --lengths 256"),
        perplexities(&sandbox, "--file blank.txt --lengths 256")
    );
    let both = perplexities(&sandbox, "--file flat.txt --sliding --lengths 64,512");
    assert_eq!(
        both[1..],
        perplexities(&sandbox, "--file flat.txt --sliding --lengths 512"),
        "a length does not decide another's windows"
    );
    let joined = sandbox.done("perplexity --file two.jsonl --sliding --lengths 64").stdout;
    assert!(joined.contains("2 documents joined, a first token before the first alone"), "{joined}");
}

#[test]
fn texts_that_cannot_be_measured_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("parts.txt", "A title\n\nBy a writer\n\nIt was.\n");
    sandbox.write("latin.txt", b"one\ncaf\xe9\n");
    sandbox.write("wide.txt", b"\xff\xfea\0b\0");
    sandbox.write("other.jsonl", "{\"input\": \"a\"}\n");
    sandbox.write("empty.txt", "\n");
    for (line, code, said) in [
        ("perplexity --file parts.txt --lengths 64", 2, "no document has 64 tokens: the longest has"),
        ("perplexity --file parts.txt --split-documents --lengths 64", 2, "no document has 64 tokens: the longest has"),
        (
            "perplexity --file latin.txt",
            1,
            "latin.txt: byte 0xe9 in line 2, column 4 (offset 7) is not UTF-8 help: text is read as UTF-8",
        ),
        (
            "perplexity --file wide.txt",
            1,
            "wide.txt: it is UTF-16, not UTF-8 (byte 0xff in line 1, offset 0) help: convert it: `iconv -f UTF-16",
        ),
        ("generate --file latin.txt", 1, "latin.txt: byte 0xe9 in line 2, column 4 (offset 7) is not UTF-8"),
        ("perplexity --file other.jsonl", 1, "line 1 of other.jsonl: it has no `text`; it has `input`"),
        ("perplexity --file empty.txt", 1, "empty.txt: it holds no text"),
        ("perplexity --file absent.txt", 1, "cannot read absent.txt: No such file or directory"),
    ] {
        let (exit, all) = refused(&sandbox, line);
        assert!(exit == Some(code) && all.contains(said), "longlens {line}: {exit:?} {all}");
    }
    assert_eq!(refused(&sandbox, "perplexity --file parts.txt --lengths 4 --documents 1").0, Some(0));
}

/// What stands before the numbers of an array in a file of numpy.
fn npy_header(kind: &str, shape: &str) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\0".as_slice(), &(header.len() as u16).to_le_bytes(), header.as_bytes()].concat()
}

#[test]
fn token_files_of_any_width_measure_the_same() {
    let sandbox = Sandbox::new();
    let ids: Vec<u32> = (0..600u32).map(|n| 3 + n * n % 97).collect();
    sandbox.write("t16.bin", ids.iter().flat_map(|id| (*id as u16).to_le_bytes()).collect::<Vec<_>>());
    sandbox.write("t32.bin", ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<_>>());
    sandbox.write("t64.bin", ids.iter().flat_map(|id| i64::from(*id).to_le_bytes()).collect::<Vec<_>>());
    sandbox.write("ids.json", json!({ "input_ids": [ids] }).to_string());
    let narrow = perplexities(&sandbox, "--tokens t16.bin --lengths 128,256");
    for name in ["t32.bin", "t64.bin", "ids.json"] {
        assert_eq!(perplexities(&sandbox, &format!("--tokens {name} --lengths 128,256")), narrow, "{name}");
    }
    // rows are documents
    let (one, two) = ids.split_at(400);
    sandbox.write("rows.json", json!([one, two]).to_string());
    sandbox.write("rows.jsonl", format!("{}\n{}\n", json!({ "input_ids": one }), json!(two)));
    sandbox.write("npy", [npy_header("<u2", "(2, 300)"), sandbox.read("t16.bin")].concat());
    let rows = perplexities(&sandbox, "--tokens rows.json --lengths 128");
    assert_eq!(perplexities(&sandbox, "--tokens rows.jsonl --lengths 128"), rows);
    let said = sandbox.done("perplexity --tokens rows.json --lengths 256");
    assert!(said.stdout.contains("token ids read as JSON; 1 of 2 documents measured"), "{}", said.stdout);
    let said = sandbox.done("perplexity --tokens npy --lengths 128 --documents 1").stdout;
    assert!(said.contains("token ids read as npy; 1 of 2 documents measured"), "{said}");
    let sliding = |name: &str| perplexities(&sandbox, &format!("--tokens {name} --sliding --lengths 128"));
    assert_eq!(sliding("rows.json"), sliding("t16.bin"));
    sandbox.write("high.bin", [5u8, 0, 255, 255, 7, 0]);
    sandbox.write("odd.bin", [1u8, 0, 2]);
    sandbox.write("both.bin", [5u8, 0, 0, 0, 7, 0, 0, 0]);
    for (line, code, said) in [
        ("perplexity --tokens high.bin", 1, "token 65535 at position 1 is outside the vocabulary"),
        ("perplexity --tokens odd.bin", 1, "its 3 bytes are no whole number of 16-bit tokens"),
        (
            "perplexity --tokens both.bin",
            1,
            "both.bin makes sense as u16 and as u32 help: say which with `token_format`",
        ),
        ("perplexity --tokens t16.bin --token-format u8", 2, "token_format = `u8` is not one of u16, u32, i64"),
        ("perplexity --tokens t16.bin --lengths 1k", 2, "no document has 1024 tokens: the longest has 600"),
    ] {
        let (exit, all) = refused(&sandbox, line);
        assert!(exit == Some(code) && all.contains(said), "longlens {line}: {exit:?} {all}");
    }
    assert_eq!(perplexities(&sandbox, "--tokens both.bin --token-format u32 --lengths 2").len(), 1);
}

/// What follows the header of a safetensors file: the header names its fields in any order.
fn numbers(sandbox: &Sandbox, name: &str) -> Vec<u8> {
    let bytes = sandbox.read(name);
    let (length, rest) = bytes.split_first_chunk::<8>().unwrap();
    rest[u64::from_le_bytes(*length) as usize..].to_vec()
}

#[test]
fn logits_take_ids_as_tokenizers_write_them() {
    let sandbox = Sandbox::new();
    for (name, text) in [
        ("list", "[1, 2, 3]"),
        ("rows", "[[1, 2, 3]]"),
        ("object", "{\"input_ids\": [[1, 2, 3]], \"attention_mask\": [[1, 1, 1]]}"),
    ] {
        sandbox.write(name, text);
        sandbox.done(&format!("logits --tokens {name} --output {name}.out"));
        assert_eq!(numbers(&sandbox, &format!("{name}.out")), numbers(&sandbox, "list.out"), "{name}");
    }
    sandbox.write("two", "[[1], [2]]");
    let (code, said) = refused(&sandbox, "logits --tokens two --output out");
    assert!(
        code == Some(1) && said.contains("two holds no token ids: there are 2 rows, and one sequence is run at a time"),
        "{said}"
    );
}

#[test]
fn depths_may_be_per_cent() {
    let sandbox = Sandbox::new();
    let depths = |line: &str| {
        let said: Value = serde_json::from_str(&sandbox.done(&format!("{line} --json")).stdout).unwrap();
        said["cells"].as_array().unwrap().iter().map(|cell| cell["depth"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(depths("passkey --lengths 128 --trials 1 --depths 0%,50%,1"), [0.0, 0.5, 1.0]);
    sandbox.write("run.toml", "[passkey]\nlengths = [128]\ndepths = [\"25%\", 1]\ntrials = 1\n");
    assert_eq!(depths("passkey --config run.toml"), [0.25, 1.0]);
    sandbox.write("bad.toml", "[passkey]\ndepths = [50]\n");
    for (line, said) in [
        ("passkey --depths 50", "`50` is not a depth help: for per cent write `50%`"),
        ("passkey --config bad.toml", "`50` is not a depth: for per cent write `50%`"),
        ("generate --needle 128:50", "`50` is not a depth help: for per cent write `50%`"),
    ] {
        let (code, all) = refused(&sandbox, line);
        assert!(code == Some(2) && all.contains(said), "longlens {line}: {all}");
    }
    let one = sandbox.done("chunks --needle 200:50% --json").stdout;
    assert_eq!(one, sandbox.done("chunks --needle 200:0.5 --json").stdout);
}

#[test]
fn stored_prompts_of_other_repositories_are_counted_and_run() {
    let sandbox = Sandbox::new();
    let filler = "The river runs past the mill.\nBirds sit on the old roof.\n";
    let key = "The pass key is 724. Remember it. 724 is the pass key.\n";
    let near = json!({ "input": format!("{filler}{key}{filler}"), "target": "724", "passkey_position": 5 });
    let far = json!({ "input": format!("{}{key}{filler}", filler.repeat(3)), "target": "724", "passkey_position": 30 });
    sandbox.write("prompts.jsonl", format!("{near}\n{far}\n"));
    sandbox.done("passkey --prompts prompts.jsonl --out results");
    let report = sandbox.json("results/passkey.json");
    let cells = report["cells"].as_array().unwrap();
    assert_eq!(cells.iter().map(|cell| cell["depth"].as_f64().unwrap()).collect::<Vec<_>>(), [0.5, 0.75]);
    for cell in cells {
        let trial = &cell["trials"][0];
        assert!(cell["length"].as_u64() > trial["prompt_tokens"].as_u64() && trial["needle_start"].is_u64(), "{cell}");
    }
    sandbox.write("empty.jsonl", "{\"prompt\": \"It is 7.\", \"answer\": \"\"}\n");
    let (code, said) = refused(&sandbox, "passkey --prompts empty.jsonl");
    assert!(code == Some(1) && said.contains("line 1 of empty.jsonl: its `answer` is empty"), "{said}");
}

#[test]
fn outputs_are_never_inputs() {
    let sandbox = Sandbox::new();
    let ids = "[1, 2, 3]";
    sandbox.write("ids.json", ids);
    sandbox.write("run.toml", "seed = 1\n");
    sandbox.write("results/passkey.json", "{\"prompt\": \"It is 7. It is\", \"answer\": \"7\"}\n");
    sandbox.write("picture.png", "a prompt");
    sandbox.write("config.png", "seed = 1\n");
    sandbox.write("results/summary.json", "seed = 1\n");
    sandbox.write("prompt.toml", "prompt.file = \"ids.json\"\n");
    fs::hard_link(sandbox.path("ids.json"), sandbox.path("same.json")).unwrap();
    for line in [
        "logits --tokens ids.json --output ids.json",
        "logits --tokens ids.json --output ./results/../ids.json",
        "logits --tokens ids.json --output same.json",
        "logits --tokens ids.json --config run.toml --output run.toml",
        "passkey --prompts results/passkey.json --out results",
        "chunks --file picture.png --out picture.png",
        "attention --file picture.png --out picture.png",
        "generate --file picture.png --out picture.png",
        "generate --config prompt.toml --out ids.json",
        "screenshot --file picture.png --out picture.png",
        "positions --config config.png --out config.png",
        "bench --config config.png --out config.png",
        "demo --config results/summary.json --out results",
    ] {
        let (code, said) = refused(&sandbox, line);
        assert!(code == Some(2) && said.contains("is read by this command"), "longlens {line}: {said}");
    }
    assert_eq!(sandbox.read("ids.json"), ids.as_bytes());
    assert_eq!(sandbox.read("picture.png"), b"a prompt");
}

#[test]
fn stdin_is_a_file_like_any_other_and_devices_are_none() {
    let sandbox = Sandbox::new();
    let story = story();
    sandbox.write("story.txt", &story);
    let flat = perplexities(&sandbox, "--file story.txt --lengths 64");
    let piped = |line: &str, text: &str| -> Value {
        let mut command = sandbox.command(&words(line));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
        let ran = common::Ran::from(child.wait_with_output().unwrap());
        assert_eq!(ran.code, Some(0), "longlens {line}: {}", ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap()
    };
    let said = piped("perplexity --file - --lengths 64 --json", &story);
    assert_eq!(said[0]["points"][0]["perplexity"].as_f64(), Some(flat[0]));
    let ids: Vec<u32> = (1..100).collect();
    let said = piped("perplexity --tokens - --lengths 64 --json", &json!(ids).to_string());
    assert!(said[0]["protocol"].as_str().unwrap().ends_with("token ids read as JSON"), "{said}");
    let said = piped("passkey --prompts - --json", "{\"prompt\": \"It is 7. It is\", \"answer\": \"7\"}\n");
    assert_eq!(said["cells"][0]["n_trials"], 1);
    #[cfg(unix)]
    for line in ["generate --file", "perplexity --file", "perplexity --tokens", "passkey --prompts"] {
        let (code, said) = refused(&sandbox, &format!("{line} /dev/zero"));
        assert!(code == Some(1) && said.contains("/dev/zero: it is a device, not a file"), "longlens {line}: {said}");
    }
}

#[test]
fn depths_that_are_one_make_one_cell() {
    let sandbox = Sandbox::new();
    let said = sandbox.done("passkey --lengths 256,256 --depths 0.5,50%,0,0 --trials 1 --json").stdout;
    let said: Value = serde_json::from_str(&said).unwrap();
    let depths: Vec<_> = said["cells"].as_array().unwrap().iter().map(|cell| cell["depth"].as_f64()).collect();
    assert_eq!(depths, [Some(0.5), Some(0.0)]);
}

#[test]
fn results_say_what_is_known_of_the_model() {
    let sandbox = Sandbox::new();
    for name in ["generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        sandbox.write(&format!("model/{name}"), fs::read(tiny_model(name)).unwrap());
    }
    let mut config: Value = serde_json::from_slice(&fs::read(tiny_model("config.json")).unwrap()).unwrap();
    config["rope_scaling"] = json!({ "type": "linear", "factor": 4.0 });
    config["attention_temperature"] = json!(2.0);
    sandbox.write("model/config.json", config.to_string());
    sandbox.done("generate --prompt Once --max-tokens 1 --model model --out out.json");
    let run = &sandbox.json("out.json")["generated"]["run"];
    let warnings = run["warnings"].to_string();
    assert!(run["trained_context"] == 1024 && warnings.contains("attention_temperature"), "{run}");
    assert!(warnings.contains("1024, 256 times the linear factor 4"), "{run}");
    let grid = sandbox.done("passkey --model model --lengths 256 --depths 0 --trials 1").stdout;
    assert!(grid.contains("rope linear:factor=4 (trained on 1024 tokens)"), "{grid}");
    sandbox.write("run.toml", "trained_context = \"1k\"\n");
    let run = sandbox.done("generate --prompt Once --max-tokens 1 --model model --config run.toml --out out.json");
    assert!(!run.stderr.contains("linear factor"), "{}", run.stderr);
    assert_eq!(sandbox.json("out.json")["generated"]["run"]["trained_context"], 1024);
}

#[test]
fn numbers_that_are_not_finite_make_no_picture() {
    let sandbox = Sandbox::new();
    for name in ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"] {
        sandbox.write(&format!("model/{name}"), fs::read(tiny_model(name)).unwrap());
    }
    let file = fs::read(tiny_model("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    // finite numbers whose sums are not
    let name =
        tensors.names().into_iter().find(|name| name.contains("layers.0") && name.contains("down_proj")).unwrap();
    let shape = tensors.tensor(name).unwrap().shape().to_vec();
    let large: Vec<u8> = (0..shape.iter().product::<usize>()).flat_map(|_| 3e38f32.to_le_bytes()).collect();
    let views = tensors.iter().map(|(at, view)| {
        let view = if at == name { TensorView::new(Dtype::F32, shape.clone(), &large).unwrap() } else { view };
        (at.to_owned(), view)
    });
    sandbox.write("model/model.safetensors", safetensors::serialize(views, None).unwrap());
    for line in ["chunks --needle 200", "attention --needle 200 --layer 2", "attention --needle 200 --query 50"] {
        let (code, said) = refused(&sandbox, &format!("{line} --model model --out picture.png"));
        assert!(code == Some(1) && said.contains("not finite"), "longlens {line}: {code:?} {said}");
    }
    assert!(!sandbox.path("picture.png").exists());
}

/// The file of finished cells in a folder.
fn cells(sandbox: &Sandbox, folder: &str) -> Option<std::path::PathBuf> {
    let entries = fs::read_dir(sandbox.path(folder)).ok()?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    paths.find(|path| path.to_string_lossy().ends_with(".cells.jsonl"))
}

/// Waits until that file has some lines.
fn wait_for_lines(sandbox: &Sandbox, folder: &str, n_lines: usize) {
    let started = Instant::now();
    let n_there =
        || cells(sandbox, folder).and_then(|path| fs::read_to_string(path).ok()).map_or(0, |t| t.lines().count());
    while n_there() < n_lines {
        assert!(started.elapsed() < Duration::from_mins(2), "no {n_lines} lines of finished cells in {folder}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A report without what differs from run to run.
fn timeless(mut json: Value) -> Value {
    match &mut json {
        Value::Object(object) => {
            object.retain(|name, _| name != "seconds" && name != "peak_memory_bytes");
            object.values_mut().for_each(|value| *value = timeless(value.take()));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| *value = timeless(value.take())),
        _ => (),
    }
    json
}

#[test]
fn a_killed_run_goes_on_and_reports_the_same() {
    for (line, file) in [
        ("passkey --lengths 256,512,1k --depths 0,0.5,1 --trials 4 --method dual_chunk", "passkey.json"),
        ("perplexity --lengths 128,512 --methods dual_chunk;full --documents 6", "perplexity.json"),
        ("perplexity --lengths 128 --sliding", "perplexity.json"),
        ("demo --up-to 2", "summary.json"),
    ] {
        let sandbox = Sandbox::new();
        sandbox.done(&format!("{line} --out whole"));
        assert_eq!(cells(&sandbox, "whole"), None, "{line}: a finished run leaves no cells");

        let again = format!("{line} --out cut");
        let mut killed = sandbox.command(&words(&again)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for_lines(&sandbox, "cut", 3);
        killed.kill().unwrap();
        killed.wait().unwrap();
        assert!(!sandbox.path("cut").join(file).exists(), "{line}: it was not killed in time");
        // as a kill leaves it that falls into a line
        let path = cells(&sandbox, "cut").unwrap();
        let mut kept = fs::read(&path).unwrap();
        kept.truncate(kept.len() - 7);
        fs::write(&path, kept).unwrap();

        let ran = sandbox.done(&again);
        assert!(ran.stderr.contains("finished before"), "{line}: {}", ran.stderr);
        assert_eq!(cells(&sandbox, "cut"), None, "{line}");
        let [whole, cut] = ["whole", "cut"].map(|folder| timeless(sandbox.json(&format!("{folder}/{file}"))));
        assert_eq!(whole, cut, "{line}");
    }
}

#[test]
fn a_run_that_is_cut_short_leaves_a_complete_result() {
    let sandbox = Sandbox::new();
    let line = "passkey --lengths 256,512,1k --depths 0,0.5,1 --trials 4 --out results";
    sandbox.done(line);
    let (json, picture) = (sandbox.read("results/passkey.json"), sandbox.read("results/passkey.png"));
    let again = sandbox.command(&words(line)).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for_lines(&sandbox, "results", 2);
    let stopped = std::process::Command::new("kill").args(["-INT", &again.id().to_string()]).status().unwrap();
    assert!(stopped.success());
    let ran: common::Ran = again.wait_with_output().unwrap().into();
    assert!(ran.stderr.contains("results/passkey.json holds a complete result and stays as it is"), "{}", ran.stderr);
    assert!(sandbox.read("results/passkey.json") == json && sandbox.read("results/passkey.png") == picture);
    let ran = sandbox.done(line);
    assert!(
        ran.stderr.contains("replaced results/passkey.json") && ran.stderr.contains("finished before"),
        "{}",
        ran.stderr
    );
}

/// The limits of the process itself, as `ulimit -v` sets them.
#[cfg(target_os = "linux")]
#[test]
fn a_model_that_is_larger_than_the_memory_is_refused_before_it_is_loaded() {
    let sandbox = Sandbox::new();
    for name in ["generation_config.json", "tokenizer.json", "tokenizer_config.json"] {
        sandbox.write(&format!("model/{name}"), fs::read(tiny_model(name)).unwrap());
    }
    let mut config: Value = serde_json::from_slice(&fs::read(tiny_model("config.json")).unwrap()).unwrap();
    let [width, n_layers] = ["hidden_size", "num_hidden_layers"].map(|name| config[name].as_u64().unwrap());
    // six gigabytes in 16 bits, twelve in memory
    let inner = 1_000_000_000 / (width * n_layers);
    config["intermediate_size"] = json!(inner);
    sandbox.write("model/config.json", config.to_string());
    // the header of a file whose numbers are one large hole
    let mut at = 0;
    let mut header = serde_json::Map::new();
    let small = fs::read(tiny_model("model.safetensors")).unwrap();
    for (name, view) in SafeTensors::deserialize(&small).unwrap().tensors() {
        let mut shape: Vec<u64> = view.shape().iter().map(|n| *n as u64).collect();
        match name.rsplit('.').nth(1) {
            Some("gate_proj" | "up_proj") => shape = vec![inner, width],
            Some("down_proj") => shape = vec![width, inner],
            _ => {}
        }
        let end = at + 2 * shape.iter().product::<u64>();
        header.insert(name, json!({ "dtype": "F16", "shape": shape, "data_offsets": [at, end] }));
        at = end;
    }
    let header = Value::Object(header).to_string();
    sandbox.write("model/model.safetensors", [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat());
    let file = fs::OpenOptions::new().write(true).open(sandbox.path("model/model.safetensors")).unwrap();
    file.set_len(8 + header.len() as u64 + at).unwrap();
    assert!(at > 5_900_000_000, "{at} bytes are no large model");
    let program = env!("CARGO_BIN_EXE_longlens");
    let line = format!("ulimit -v 10000000; {program} generate --model model --weights f32 --prompt hi --max-tokens 1");
    let ran: common::Ran =
        std::process::Command::new("sh").args(["-c", &line]).current_dir(sandbox.path("")).output().unwrap().into();
    let said: String =
        ran.stderr.replace(['│', '×', '╰', '─', '▶'], " ").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(ran.code == Some(1) && said.contains("the weights of model as f32") && said.contains("left"), "{said}");
}

#[test]
fn other_settings_do_not_meet_and_equal_ones_wait() {
    let sandbox = Sandbox::new();
    let line = "passkey --lengths 512,1k,2k --depths 0,1 --trials 8 --out results";
    let mut first = sandbox.command(&words(line)).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for_lines(&sandbox, "results", 2);
    let (code, said) = refused(&sandbox, line);
    assert!(code == Some(1) && said.contains("another run with these settings"), "{said}");
    let other = sandbox.done("passkey --lengths 128 --depths 0 --trials 1 --out results");
    assert!(!other.stderr.contains("finished before"), "{}", other.stderr);
    first.kill().unwrap();
    first.wait().unwrap();
    let mut rest = String::new();
    first.stderr.take().unwrap().read_to_string(&mut rest).unwrap();
    assert!(rest.lines().all(|line| line.is_empty() || line.starts_with("warning: ")), "{rest}");
    sandbox.write("results/file", "kept");
    let path = cells(&sandbox, "results").unwrap();
    fs::write(&path, "something else\n").unwrap();
    let (code, said) = refused(&sandbox, line);
    assert!(code == Some(1) && said.contains("holds something else than finished cells"), "{said}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "something else\n");
}
