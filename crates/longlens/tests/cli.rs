//! The program from outside: exit code, stdout, stderr and files of every command.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

mod common;

use common::{Ran, Sandbox, checkpoint, floats, golden, ints, tensors, words};

/// The command ends with this exit code, says nothing on stdout, and says all of `expected` on stderr.
fn check(sandbox: &Sandbox, args: &[&str], code: i32, expected: &[&str]) {
    let Ran { code: ended, stdout, stderr } = sandbox.run(args);
    // long lines wrap, and wrapped lines start with a bar
    let said = stderr.replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(ended, Some(code), "longlens {args:?}\n{stderr}");
    for text in expected {
        assert!(said.contains(text), "longlens {args:?} does not say `{text}`:\n{stderr}");
    }
    assert!(!said.contains("panicked"), "{stderr}");
    assert_eq!(stdout, "", "longlens {args:?}");
}

#[test]
fn a_bad_command_line_says_what_is_wrong_and_what_to_do() {
    let sandbox = Sandbox::new();
    sandbox.write("out_of_range.json", "[1, 2, 99999]");
    sandbox.write("none.json", "[]");
    sandbox.write("two.json", r#"{"tokens": [1, 2]}"#);
    sandbox.write("words.json", r#"["one"]"#);
    sandbox.write("file", "");
    let tokens = |file: &str, more: &str| format!("logits --tokens {file} {more}");
    for (line, code, expected) in [
        // the prompt
        ("generate", 2, "there is no prompt help: give --prompt TEXT, --file FILE (`-` for stdin) or --needle"),
        ("generate --file file", 2, "the prompt is empty"),
        ("generate --file absent", 1, "cannot read absent: No such file"),
        ("generate --needle many", 2, "`many` is not a number of tokens"),
        (
            "generate --needle 100:2",
            2,
            "`2` is not a depth help: for per cent write `2%`; depths go from 0 (start) to 1 (end)",
        ),
        ("generate --needle 5:0.5", 2, "cannot be 5 tokens long: without filler it already has 66"),
        (&tokens("none.json", "--output out"), 2, "the prompt is empty"),
        (
            &tokens("out_of_range.json", "--output out"),
            1,
            "token 99999 at position 2 is outside the vocabulary of 1024",
        ),
        (
            &tokens("words.json", "--output out"),
            1,
            "words.json holds no token ids: the text \"one\" at position 0 is no token id help: give a JSON array of ids such as",
        ),
        (&tokens("two.json", "--output out --prefill 0"), 2, "--prefill 0 does not fit 2 tokens help: give 1 to 2"),
        (&tokens("two.json", "--output out --prefill 3"), 2, "--prefill 3 does not fit 2 tokens help: give 1 to 2"),
        // methods and scalings
        ("positions --method selfextend", 2, "unknown method `selfextend` help: did you mean `self_extend`?"),
        ("positions --method self_extend:groupsize=2", 2, "no parameter `groupsize` help: did you mean `group_size`?"),
        ("positions --method self_extend:group_size=x", 2, "group_size = x is not a whole number of at least 1"),
        (
            "positions --method long_heads:chunk_len=7,attention_len=64",
            2,
            "attention_len mod chunk_len = 0 (64 mod 7 = 1) does not hold help: set attention_len to 63 or 70",
        ),
        ("positions --rope yarm:factor=2", 2, "unknown RoPE scaling `yarm` help: did you mean `yarn`?"),
        ("positions --rope yarn:factor=0.5", 2, "factor = 0.5 is not a number of at least 1 and at most 10^9"),
        ("positions --rope yarn:factor=1e300", 2, "is not a number of at least 1 and at most 10^9"),
        ("methods dualchunk", 2, "unknown method or RoPE scaling `dualchunk` help: did you mean `dual_chunk`?"),
        ("perplexity --methods full;ful", 2, "unknown method `ful` help: did you mean `full`?"),
        // weights
        (
            "generate --prompt a --weights q5",
            2,
            "invalid value 'q5' for '--weights <FORMAT>' [possible values: file, f32,",
        ),
        // places
        ("positions --pair 1", 2, "`1` is not a pair help: write QUERY,KEY as in `300,12`"),
        ("positions --pair 1,5", 2, "key 5 comes after query 1"),
        (
            "convert --model embedded --out new --weights q4_0",
            2,
            "safetensors hold no blocks of Q4_0 help: give --out a file that ends in .gguf",
        ),
        ("chunks --needle 100 --query 100", 2, "query 100 does not exist"),
        ("chunks --needle 100 --layer 4", 2, "layer 4 does not exist help: layers go from 0 to 3"),
        ("chunks --needle 100 --attention --chunk-len 0", 2, "it must be at least 1"),
        ("attention --needle 100 --layer 4", 2, "layer 4 does not exist help: layers go from 0 to 3"),
        ("attention --needle 100 --head 4", 2, "head 4 does not exist help: heads go from 0 to 3"),
        ("attention --needle 100 --query 4000", 2, "query 4000 does not exist"),
        ("attention --needle 100 --side 0", 2, "--side 0 is out of range help: give 1 to 4096"),
        // numbers
        ("passkey --lengths 256,12x", 2, "`12x` is not a number of tokens help: write a whole number"),
        ("passkey --lengths 128 --trials 0", 2, "trials = 0 is not a whole number of at least 1"),
        ("passkey --lengths 128 --depths 0,2", 2, "`2` is not a depth"),
        ("passkey --template longlen", 2, "unknown passkey template `longlen`"),
        ("perplexity --lengths 1", 2, "length = 1 is not a whole number of at least 2"),
        ("perplexity --lengths 128 --documents 0", 2, "it must be at least 1"),
        ("perplexity --lengths 100k", 2, "no document has 102400 tokens: the longest has 8193"),
        ("generate --needle 100 --temperature -1", 2, "temperature = -1 is not a number of at least 0"),
        ("generate --needle 100 --top-p 2", 2, "top_p = 2 is not a number above 0 and at most 1"),
        ("generate --needle 100 --prefill-chunk 0", 2, "prefill_chunk = 0 is not a whole number of at least 1"),
        ("demo --up-to 3", 2, "--up-to must be a power of two"),
        // outputs
        (
            "positions --out absent/map.png",
            1,
            "cannot write absent/map.png: No such file or directory (os error 2) help: create the folder first",
        ),
        ("chunks --needle 100 --out file/map.png", 1, "cannot write file/map.png: Not a directory (os error 20) help:"),
        ("positions --out map.gif", 2, "cannot tell the picture format of `map.gif` help: end the file name in `.png`"),
        (&tokens("two.json", "--output absent/out"), 1, "cannot write absent/out: No such file or directory"),
        (&tokens("two.json", "--output ."), 1, "cannot write .: is a directory help: give the name of a file"),
        ("passkey --lengths 128 --out file", 1, "cannot make the folder file: File exists"),
        ("demo --up-to 2 --out file/demo", 1, "cannot make the folder file/demo: Not a directory"),
    ] {
        check(&sandbox, &words(line), code, &[expected]);
    }
    check(&sandbox, &["generate", "--prompt", ""], 2, &["the prompt is empty"]);
}

#[test]
fn flags_and_prompts_that_cannot_be_used_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("two.json", "[1, 2]");
    sandbox.write("nothing.jsonl", "\n");
    sandbox.write("one.jsonl", r#"{"prompt": "It is 7. It is", "answer": "7", "length": 10}"#);
    for (line, code, expected) in [
        // numbers
        (
            "generate --prompt a --max-tokens -1",
            2,
            "invalid value '-1' for '--max-tokens <N>': max_tokens = -1 is not a whole number from 0 to 4194304",
        ),
        ("passkey --trials -3", 2, "invalid value '-3' for '--trials <N>': it must not be below 0"),
        ("chunks --needle 100 --query 1.5", 2, "invalid value '1.5' for '--query <TOKEN>': it is not a whole number"),
        (
            "demo --seed 18446744073709551616",
            2,
            "for '--seed <N>': seed = 18446744073709551616 is not a whole number from 0 to",
        ),
        ("bench --repeat -1", 2, "invalid value '-1' for '--repeat <N>': it must be at least 1"),
        // flags that would do nothing
        (
            "perplexity --file a.txt --token-format u16",
            2,
            "the argument '--file <FILE>' cannot be used with '--token-format",
        ),
        ("model --out map.png", 2, "this command writes nothing to --out help: `--json > FILE` keeps what it says"),
        (
            "logits --tokens two.json --output a --out b",
            2,
            "this command writes nothing to --out help: the file to write is",
        ),
        // stored prompts
        ("passkey --prompts nothing.jsonl", 1, "nothing.jsonl: it holds no prompts help: each line is a JSON object"),
        (
            "passkey --prompts one.jsonl --lengths 99,1k",
            2,
            "no stored prompt has a length of --lengths help: leave --lengths out, or give some of the lengths that they have: 10",
        ),
    ] {
        check(&sandbox, &words(line), code, &[expected]);
    }
}

#[test]
fn a_bad_config_file_is_shown_where_it_is_wrong() {
    let sandbox = Sandbox::new();
    for (toml, place, expected) in [
        ("seed = 1\nmethdo = \"full\"\n", "bad.toml:2:1", "unknown field `methdo`, expected one of `model`, `method`"),
        ("seed = 1\n\nmethod = \"ful\"\n", "bad.toml:3:10", "unknown method `ful`; did you mean `full`?"),
        ("[method]\nname = \"self_extend\"\nsize = 3\n", "bad.toml:1:1", "`self_extend` has no parameter `size`"),
        ("rope = \"yarm:factor=2\"\n", "bad.toml:1:8", "unknown RoPE scaling `yarm`; did you mean `yarn`?"),
        ("[sampling]\ntop_k = \"many\"\n", "bad.toml:2:9", "top_k = many is not a whole number of at least 0"),
        ("seed = -1\n", "bad.toml:1:8", "seed = -1 is not a whole number from 0 to"),
        ("[passkey]\nlengths = [\"1m\"]\n", "bad.toml:2:", "`1m` is not a number of tokens"),
        ("model = \"embedded\n", "bad.toml:1:", "invalid basic string"),
        ("weights = \"q5\"\n", "bad.toml:1:11", "unknown weights `q5`, expected one of file, f32, bf16, q8, q4"),
        ("prefill_chunk = 0\n", "bad.toml:1:17", "prefill_chunk = 0 is not a whole number of at least 1"),
    ] {
        sandbox.write("bad.toml", toml);
        check(&sandbox, &words("positions --config bad.toml"), 2, &[place, expected]);
    }
    check(&sandbox, &words("positions --config absent.toml"), 1, &["cannot read absent.toml: No such file"]);
}

#[test]
fn a_bad_checkpoint_is_named_with_everything_wrong_in_it() {
    let sandbox = Sandbox::new();
    sandbox.write("two.json", "[1, 2]");
    let check = |folder: &str, expected: &[&str]| {
        check(&sandbox, &["logits", "--tokens", "two.json", "--output", "out", "--model", folder], 1, expected);
    };
    checkpoint(&sandbox, "short", |_, _| {});
    let whole = sandbox.read("short/model.safetensors");
    sandbox.write("short/model.safetensors", &whole[..whole.len() - 1000]);
    check("short", &["model.safetensors is cut short: it has", &format!("of {} bytes", whole.len())]);

    checkpoint(&sandbox, "wrong", |tensors, _| {
        tensors.remove("model.norm.weight");
        tensors.remove("model.layers.1.mlp.up_proj.weight");
        let embedding = tensors["model.embed_tokens.weight"].clone();
        tensors.insert("model.layers.0.self_attn.k_proj.weight".into(), embedding);
    });
    check(
        "wrong",
        &[
            "`model.layers.0.self_attn.k_proj.weight` has shape [256, 64], but the config needs [32, 64]",
            "`model.layers.1.mlp.up_proj.weight` is missing",
            "`model.norm.weight` is missing",
        ],
    );

    checkpoint(&sandbox, "family", |_, config| config["model_type"] = "llamma".into());
    check("family", &["unknown `model_type` `llamma` help: did you mean `llama`?"]);

    checkpoint(&sandbox, "nan", |tensors, _| {
        let (_, _, bytes) = tensors.get_mut("model.norm.weight").unwrap();
        bytes[4 * 7..4 * 8].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    check("nan", &["`model.norm.weight` holds NaN at [7]"]);

    // more tokens than rows of the embedding: released so, and well for texts without them
    checkpoint(&sandbox, "tokenizer", |_, _| {});
    let tiny = golden("../tiny-model/tokenizer.json");
    sandbox.write("tokenizer/tokenizer.json", std::fs::read(tiny).unwrap());
    let ran = sandbox.done("logits --tokens two.json --output out --model tokenizer");
    assert!(ran.stderr.contains("tokens without an embedding (`vocab_size` is 256)"), "{}", ran.stderr);

    sandbox.write("hf/hub/models--meta--Llama-Tiny/refs/main", "abc");
    checkpoint(&sandbox, "hf/hub/models--meta--Llama-Tiny/snapshots/abc", |_, _| {});
    check("meta/Lama-Tiny", &["no model `meta/Lama-Tiny`", "help: did you mean `meta/Llama-Tiny`?"]);
    check("embeded", &["no model `embeded`", "help: did you mean `embedded`?"]);
    sandbox.done("logits --tokens two.json --output out --model meta/Llama-Tiny");
    sandbox.done("model --model meta/Llama-Tiny");
}

/// What `positions --json` says of the method and the scaling.
fn method_of(sandbox: &Sandbox, flags: &str) -> [String; 2] {
    let said: Value = serde_json::from_str(&sandbox.done(&format!("positions --json {flags}")).stdout).unwrap();
    ["method", "rope"].map(|key| said[key].as_str().unwrap().to_owned())
}

#[test]
fn a_config_file_says_what_flags_say_and_flags_override_it() {
    let sandbox = Sandbox::new();
    sandbox.write("text.toml", "method = \"self_extend:group_size=4,neighbor_window=64\"\nrope = \"yarn:factor=2\"\n");
    let table =
        "[method]\nname = \"self_extend\"\nneighbor_window = 64\ngroup_size = 4\n[rope]\nname = \"yarn\"\nfactor = 2\n";
    sandbox.write("table.toml", table);
    let flags = method_of(&sandbox, "--method self_extend:group_size=4,neighbor_window=64 --rope yarn:factor=2");
    assert_eq!(method_of(&sandbox, "--config text.toml"), flags);
    assert_eq!(method_of(&sandbox, "--config table.toml"), flags);
    let overridden = method_of(&sandbox, "--config table.toml --method full --rope none");
    assert_eq!(overridden, ["full", "none"]);

    sandbox.write(
        "more.toml",
        "seed = 3\n[sampling]\nmax_tokens = 2\ntop_k = 5\n[passkey]\nlengths = [128]\ndepths = [0.5]\ntrials = 2\n",
    );
    let generated = json(&sandbox, "generate --needle 100 --config more.toml --top-k 7 --seed 4");
    assert_eq!(generated["generated"]["tokens"].as_array().unwrap().len(), 2);
    assert_eq!((&generated["sampling"]["top_k"], &generated["sampling"]["seed"]), (&7.into(), &4.into()));
    let cells = json(&sandbox, "passkey --config more.toml --trials 1")["cells"].clone();
    assert_eq!((cells.as_array().unwrap().len(), &cells[0]["length"]), (1, &128.into()));
    assert_eq!((&cells[0]["depth"], &cells[0]["n_trials"]), (&0.5.into(), &1.into()));
}

#[test]
fn weights_of_fewer_bits_are_named_and_take_less() {
    let sandbox = Sandbox::new();
    sandbox.write("q8.toml", "weights = \"q8\"\n");
    for (flags, dtype, bits) in [
        ("", "f16", 16),
        ("--weights f32", "f32 (stored as f16)", 32),
        ("--config q8.toml", "q8 (stored as f16)", 9),
        ("--config q8.toml --weights q4", "q4 (stored as f16)", 5),
    ] {
        let said = json(&sandbox, &format!("model {flags}"));
        // nine norms of 128 stay in 32 bits
        let bytes = (787_584 - 9 * 128) * bits / 8 + 9 * 128 * 4;
        assert_eq!((&said["model"]["dtype"], &said["memory_bytes"]["weights"]), (&dtype.into(), &bytes.into()));
        let said = json(&sandbox, &format!("generate --needle 100 --max-tokens 1 {flags}"));
        assert_eq!(said["generated"]["run"]["dtype"], dtype);
    }
}

#[test]
fn keys_that_a_choice_packs_are_part_of_the_forecast() {
    let sandbox = Sandbox::new();
    for (method, n_tokens, has_keys) in [("full", 1024, false), ("long_heads", 1024, true), ("long_heads", 256, false)]
    {
        let line = format!("model --method {method} --tokens {n_tokens}");
        let memory = &json(&sandbox, &line)["memory_bytes"];
        let cache = memory["cache"].as_u64().unwrap();
        // half of it is keys, with room for 256 tokens more
        let keys = cache / 2 * n_tokens / (n_tokens + 256);
        assert_eq!(memory["chunk_keys"], if has_keys { keys } else { 0 }, "{line}");
        assert_eq!(sandbox.done(&line).stdout.contains("chunk keys"), has_keys, "{line}");
    }
}

/// Stdout of a command with `--json`, which must be JSON and nothing else.
fn json(sandbox: &Sandbox, line: &str) -> Value {
    let stdout = sandbox.done(&format!("{line} --json")).stdout;
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("longlens {line}: {error}\n{stdout}"))
}

#[test]
fn json_stands_alone_on_stdout() {
    let sandbox = Sandbox::new();
    sandbox.write("two.json", "[1, 2]");
    for (line, key) in [
        ("model", "/model/n_parameters"),
        ("methods", "/0/parameters"),
        ("methods yarn", "/0/name"),
        ("positions --out map.svg", "/capacity"),
        ("positions --pair 300,12", "/relation"),
        ("generate --needle 300 --max-tokens 3", "/generated/text"),
        ("passkey --lengths 128 --depths 0.5 --trials 1", "/cells/0/hits_tokens"),
        ("perplexity --lengths 64,128 --documents 1", "/0/points/1/perplexity"),
        ("perplexity --lengths 64 --documents 1 --sliding --stride 2048", "/0/points/0/perplexity"),
        ("chunks --needle 300 --out chunks.svg", "/heads/0/chunks/0/value"),
        ("attention --needle 100 --out attention.svg", "/mean/0"),
        ("attention --needle 100 --query 50", "/query_weights/50"),
        ("logits --tokens two.json --output out", "/output"),
    ] {
        let said = json(&sandbox, line);
        assert!(said.pointer(key).is_some(), "longlens {line} --json has no {key}:\n{said}");
    }
}

/// `longlens logits` of a golden case, with its trace.
fn logits_of(sandbox: &Sandbox, case: &str, method: &str) -> common::Tensors {
    let meta: Value = serde_json::from_slice(&std::fs::read(golden(&format!("cases/{case}.json"))).unwrap()).unwrap();
    let (tokens, model) =
        (golden(&format!("cases/{case}.json")), golden(&format!("models/{}", meta["model"].as_str().unwrap())));
    let prefill = meta["prefill_len"].to_string();
    let args = ["logits", "--output", "out.safetensors", "--trace", "--method", method, "--prefill", &prefill];
    let args = [&args[..], &["--tokens", tokens.to_str().unwrap(), "--model", model.to_str().unwrap()]].concat();
    let ran = sandbox.run(&args);
    assert_eq!(ran.code, Some(0), "{case}: {}", ran.stderr);
    tensors(&sandbox.read("out.safetensors"))
}

#[test]
fn logits_are_written_like_the_golden_arrays() {
    let sandbox = Sandbox::new();
    let long_heads = "long_heads:chunk_len=8,attention_len=64,variant=released";
    for (case, method) in [
        ("lh-a64w8", long_heads),
        ("lh-a64w8-from1", long_heads),
        ("lh-a64w8-prefill-eq-begin", long_heads),
        ("se-llama3-gqa-g8w32-scale64", "self_extend:group_size=8,neighbor_window=32,log_scale=64"),
    ] {
        let expected = tensors(&std::fs::read(golden(&format!("cases/{case}.safetensors"))).unwrap());
        let written = logits_of(&sandbox, case, method);
        let rows = ints(&expected["rows"]);
        for (name, expected) in expected.iter().filter(|(name, _)| !["relpos", "rows"].contains(&name.as_str())) {
            let written = written.get(name).unwrap_or_else(|| panic!("{case}: no {name}"));
            assert_eq!(written.0, expected.0, "{case}: {name}");
            if name.starts_with("chunk") {
                assert_eq!(written.1, expected.1, "{case}: {name}");
                assert_eq!(ints(written), ints(expected), "{case}: {name}");
            } else {
                // the case holds some of all positions
                let (numbers, width) = (floats(written), expected.1[1]);
                assert!(written.1[1] == width && rows.len() == expected.1[0], "{case}: {name}");
                let held = rows.iter().flat_map(|row| &numbers[*row as usize * width..][..width]);
                let far = held.zip(floats(expected)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(far <= 1e-4, "{case}: {name} is off by {far:e}");
            }
        }
    }
}

#[test]
fn pictures_are_what_their_names_say() {
    let sandbox = Sandbox::new();
    for (line, pictures) in [
        ("positions --method dual_chunk --out positions", "positions"),
        ("chunks --needle 300 --out shares", "shares"),
        ("chunks --needle 400 --method long_heads --layer 1 --out choice", "choice"),
        ("attention --needle 300 --layer 2 --head 1 --side 64 --max --out attention", "attention"),
        ("passkey --lengths 128 --depths 0.5 --trials 1 --out made/here", "made/here/passkey"),
        (
            "perplexity --lengths 64,128 --documents 1 --methods full;streaming --out made/there",
            "made/there/perplexity",
        ),
    ] {
        if line.contains("made") {
            sandbox.done(line);
            assert!(sandbox.json(&format!("{pictures}.json")).to_string().contains("\"run\""), "longlens {line}");
        } else {
            sandbox.done(&format!("{line}.png"));
            sandbox.done(&format!("{line}.svg"));
        }
        assert!(sandbox.read(&format!("{pictures}.png")).starts_with(b"\x89PNG\r\n\x1a\n"), "longlens {line}");
        let svg = String::from_utf8(sandbox.read(&format!("{pictures}.svg"))).unwrap();
        assert!(svg.starts_with("<svg") || svg.starts_with("<?xml"), "longlens {line}");
        assert!(svg.trim_end().ends_with("</svg>"), "longlens {line}");
    }
}

#[test]
fn generation_repeats_with_its_seed_and_stops_where_told() {
    let sandbox = Sandbox::new();
    let sampled = |seed: u32| {
        let args = ["generate", "--prompt", "Once upon a time", "--max-tokens", "24", "--temperature", "1"];
        sandbox.run(&[&args[..], &["--seed", &seed.to_string()]].concat()).stdout
    };
    let text = sampled(1);
    assert_eq!(text, sampled(1));
    assert_ne!(text, sampled(2));
    assert!(text.ends_with('\n'), "{text:?}");

    let greedy = |stop: &[&str]| {
        let args = ["generate", "--prompt", "Once upon a time", "--max-tokens", "24"];
        sandbox.run(&[&args[..], stop].concat()).stdout
    };
    let whole = greedy(&[]);
    let word = whole.split_whitespace().nth(4).unwrap();
    let before = whole.split(word).next().unwrap();
    assert_eq!(greedy(&["--stop", "never said", "--stop", word]), format!("{before}\n"), "{whole:?} before {word:?}");
}

#[test]
fn no_escape_codes_where_nobody_can_see_colors() {
    let sandbox = Sandbox::new();
    let lines =
        ["positions --tokens 12", "positions --method ful", "passkey --lengths 128 --depths 0.5 --trials 1", "--help"];
    for line in lines {
        for no_color in [false, true] {
            let mut command = sandbox.command(&words(line));
            if no_color {
                command.env("NO_COLOR", "1");
            }
            let ran = Ran::from(command.output().unwrap());
            assert!(!(ran.stdout + &ran.stderr).contains('\x1b'), "longlens {line}, NO_COLOR {no_color}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn help_that_cannot_be_written_is_an_error() {
    let sandbox = Sandbox::new();
    for flag in ["--help", "--version"] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ran = Ran::from(sandbox.command(&[flag]).stdout(full).stderr(Stdio::piped()).output().unwrap());
        assert_eq!(ran.code, Some(1), "{flag}: {}", ran.stderr);
        assert!(ran.stderr.contains("cannot write the output"), "{flag}: {}", ran.stderr);
    }
}

#[test]
fn a_reader_that_leaves_is_no_reason_for_a_message() {
    let sandbox = Sandbox::new();
    for line in ["methods", "methods --json", "completions bash", "model", "generate --needle 100 --max-tokens 40"] {
        let mut command = sandbox.command(&words(line));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""), "longlens {line}");
    }
}

#[test]
fn ctrl_c_keeps_what_is_finished() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&words("passkey --lengths 128,4k --depths 0.5 --trials 20 --out kept"));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let pressed = Instant::now();
    if !Command::new("kill").args(["-INT", &child.id().to_string()]).status().is_ok_and(|status| status.success()) {
        child.kill().unwrap();
        child.wait().unwrap();
        return; // this system has no `kill`
    }
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
    assert!(pressed.elapsed() < Duration::from_secs(5), "it took {:?} to stop", pressed.elapsed());
    assert!(said.contains("stopping; what is finished is kept") && said.contains("interrupted"), "{said}");
    let report = sandbox.json("kept/passkey.json");
    assert_eq!(report["complete"], false);
    assert!(!report["cells"].as_array().unwrap().is_empty());
}

#[test]
fn completions_are_a_script() {
    let script = Sandbox::new().done("completions bash").stdout;
    assert!(script.starts_with("_longlens()"), "{script}");
    assert!(["perplexity", "--prefill-chunk", "wgpu"].iter().all(|word| script.contains(word)), "{script}");
}

#[test]
fn the_demo_shows_what_it_promises() {
    let sandbox = Sandbox::new();
    let table = sandbox.done("demo --up-to 2 --out demo").stdout;
    assert!(table.contains("self_extend") && table.contains("summary.json"), "{table}");
    for name in ["passkey", "perplexity", "chunks"] {
        assert!(sandbox.read(&format!("demo/{name}.png")).starts_with(b"\x89PNG"));
        assert!(sandbox.read(&format!("demo/{name}.svg")).starts_with(b"<"));
    }
    let summary = sandbox.json("demo/summary.json");
    let found = |name: &str| {
        let method = summary["methods"].as_array().unwrap().iter().find(|method| method["name"] == name).unwrap();
        let cells = method["passkey"].as_array().unwrap().iter().filter(|cell| cell["length"] == 512);
        let count = |key: &str| cells.clone().map(|cell| cell[key].as_u64().unwrap()).sum::<u64>() as f64;
        count("hits_tokens") / count("n_trials")
    };
    assert!(found("full") <= 0.2, "full attention finds {} of the keys", found("full"));
    assert!(found("self_extend") >= 0.8, "Self-Extend finds {} of the keys", found("self_extend"));
}

#[cfg(unix)]
#[test]
fn a_device_is_written_to_and_stays_a_device() {
    let sandbox = Sandbox::new();
    sandbox.write("two.json", "[1, 2]");
    // a link, so that a mistake takes the place of the link alone
    std::os::unix::fs::symlink("/dev/null", sandbox.path("device")).unwrap();
    sandbox.done("logits --tokens two.json --output device");
    assert!(sandbox.path("device").is_symlink());
}

#[test]
fn bench_says_how_fast_each_method_is_at_each_length() {
    let sandbox = Sandbox::new();
    let said = json(&sandbox, "bench --methods full;long_heads --lengths 64,256 --repeat 2 --new-tokens 3 --threads 2");
    let rows = said.as_array().unwrap();
    let keys = [
        "model",
        "method",
        "rope",
        "device",
        "dtype",
        "threads",
        "n_tokens",
        "phase",
        "seconds",
        "seconds_min",
        "seconds_max",
        "tokens_per_s",
        "flops",
        "bytes",
        "peak_memory_bytes",
        "forecast_memory_bytes",
        "weight_bytes",
        "before_memory_bytes",
        "load_memory_bytes",
        "kernel_path",
        "version",
        "ceiling_flops_per_s",
        "ceiling_bytes_per_s",
    ];
    for row in rows {
        assert_eq!(row.as_object().unwrap().keys().collect::<Vec<_>>(), keys);
        let [low, median, high] = ["seconds_min", "seconds", "seconds_max"].map(|key| row[key].as_f64().unwrap());
        assert!(0.0 < low && low <= median && median <= high, "{row}");
        let n_computed = if row["phase"] == "prefill" { row["n_tokens"].as_f64().unwrap() } else { 1.0 };
        assert!((row["tokens_per_s"].as_f64().unwrap() * median / n_computed - 1.0).abs() < 1e-9, "{row}");
        assert!(row["ceiling_flops_per_s"].as_f64() > Some(1e8) && row["ceiling_bytes_per_s"].as_f64() > Some(1e8));
        assert_eq!((&row["threads"], &row["device"], &row["rope"]), (&2.into(), &"cpu".into(), &"none".into()));
    }
    let order: Vec<_> =
        rows.iter().map(|row| (row["n_tokens"].as_u64().unwrap(), row["phase"].as_str().unwrap())).collect();
    let lengths = [(64, "prefill"), (64, "decode"), (256, "prefill"), (256, "decode")];
    assert_eq!(order, [lengths, lengths].concat());
    assert_eq!((&rows[0]["method"], &rows[0]["model"]), (&"full".into(), &"longlens-tiny".into()));
    // four layers of 163840 numbers, 256 * 257 / 2 pairs of four heads of 32, one row of 1024 logits
    assert_eq!(rows[2]["flops"], 2 * 4 * 163_840 * 256 + 4 * 4 * 4 * 32 * 32_896 + 2 * 128 * 1024);
}

#[test]
fn bench_measures_random_models_and_draws_what_it_found() {
    let sandbox = Sandbox::new();
    let ran = sandbox
        .done("bench --model tiny --layers 1 --lengths 32,100 --phase decode --repeat 1 --warmup 0 --out speed.png");
    assert!(ran.stdout.starts_with("tiny, 1 of 4 layers, random weights, rope none, f32"), "{}", ran.stdout);
    assert_eq!(ran.stdout.matches(" decode ").count(), 2, "{}", ran.stdout);
    assert!(!ran.stdout.contains(" prefill "), "{}", ran.stdout);
    assert!(sandbox.read("speed.png").starts_with(b"\x89PNG"));
    // a folder of a shape's name comes first
    checkpoint(&sandbox, "tiny", |_, _| {});
    let rows = json(&sandbox, "bench --model tiny --lengths 32 --phase prefill --seed 3");
    assert_eq!(
        (rows.as_array().unwrap().len(), &rows[0]["model"], &rows[0]["dtype"]),
        (1, &"tiny".into(), &"f32".into())
    );
}

#[test]
fn bench_refuses_what_it_cannot_measure() {
    let sandbox = Sandbox::new();
    for (line, code, expected) in [
        (
            "bench --phase fast",
            2,
            "invalid value 'fast' for '--phase <PHASE>' [possible values: prefill, decode, both]",
        ),
        ("bench --threads 0", 2, "it must be at least 1"),
        ("bench --lengths 1k,x", 2, "`x` is not a number of tokens"),
        ("bench --repeat 99999999 --new-tokens 99999999", 2, "tokens are more than longlens counts"),
        ("bench --new-tokens 9999999", 2, "tokens is too long to make"),
        ("bench --methods full;ful", 2, "unknown method `ful` help: did you mean `full`?"),
        ("bench --methods full,long_heads:chunk_len=7,attention_len=64,full", 2, "set attention_len to 63 or 70"),
        ("bench --methods full;long_heads:chunk_len=7,attention_len=64", 2, "set attention_len to 63 or 70"),
        (
            "bench --layers 2",
            2,
            "--layers shortens a random model, and embedded is a checkpoint help: leave --layers out",
        ),
        ("bench --model tiny --layers 5", 2, "--layers 5 is more than the 4 layers of tiny help: give 1 to 4"),
        ("bench --model 1b-lik", 1, "no model `1b-lik`"),
        ("bench --model 1b-lik", 1, "help: did you mean the random model `1b-like`? The shapes are tiny, 1b-like"),
        ("bench --model tiny --out speed.gif", 2, "cannot tell the picture format of `speed.gif`"),
    ] {
        check(&sandbox, &words(line), code, &[expected]);
    }
    if cfg!(target_os = "linux") {
        let line = "bench --model llama2-7b --lengths 4096k --phase prefill";
        let expected = ["its cache of 4194304 tokens 4.0 TiB, and ", "shorter --lengths"];
        check(&sandbox, &words(line), 1, &expected);
    }
    // tokens that are not decoded do not count
    sandbox.done("bench --lengths 32 --phase prefill --repeat 1 --new-tokens 9999999");
}

#[test]
fn bench_keeps_the_rows_that_were_finished() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&words("bench --lengths 64,256k --phase prefill --repeat 1"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    if !Command::new("kill").args(["-INT", &child.id().to_string()]).status().is_ok_and(|status| status.success()) {
        child.kill().unwrap();
        child.wait().unwrap();
        return; // this system has no `kill`
    }
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("interrupted"), "{}", ran.stderr);
    assert_eq!(ran.stdout.matches(" prefill ").count(), 1, "{}", ran.stdout);
}

#[test]
fn windows_of_layers_are_kept_or_left_out_and_views_begin_at_a_layer_without_one() {
    let sandbox = Sandbox::new();
    let positions = |model: &str, more: &str| {
        let model = golden("models").join(model);
        format!("positions --model {} --tokens 40 {more}", model.display())
    };
    for (more, layer, told) in [
        ("", 1, None),
        ("--layer 2", 2, None),
        (
            "--method streaming",
            1,
            Some("layers 0, 2 keep their own window of 24 tokens; the method acts on layers 1, 3"),
        ),
        (
            "--layer-windows off",
            0,
            Some("layers 0, 2 have a window of 24 tokens, which layer_windows = off leaves out"),
        ),
    ] {
        let said: Value =
            serde_json::from_str(&sandbox.done(&positions("gemma2", &format!("--json {more}"))).stdout).unwrap();
        let warnings = said["warnings"].to_string();
        assert_eq!(said["layer"], layer, "{more}");
        assert!(told.map_or(warnings == "[]", |told| warnings.contains(told)), "{more}: {warnings}");
    }
    let line = positions("mistral-swa", "--method streaming --layer-windows keep");
    let expected = "so that `streaming` would act on no layer help: set layer_windows to auto";
    check(&sandbox, &words(&line), 2, &[expected]);
}

#[test]
fn a_model_becomes_a_gguf_file_that_every_command_takes() {
    let sandbox = Sandbox::new();
    let said = sandbox.done("convert --model embedded --out new.gguf --weights q8_0 --json").stdout;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (said["files"][0].as_str(), said["weight_bytes"].as_u64()),
        (Some("new.gguf"), Some(sandbox.read("new.gguf").len() as u64))
    );
    let text = |model: &str| sandbox.done(&format!("generate --model {model} --needle 200 --max-tokens 4")).stdout;
    assert_eq!(text("new.gguf"), text("embedded"), "the key is found, by the same tokens");
    let again = ["convert", "--model", "embedded", "--out", "new.gguf"];
    check(&sandbox, &again, 1, &["cannot write new.gguf", "help: no file is replaced"]);
}

#[test]
fn every_command_says_that_a_method_replaces_the_windows_of_a_model() {
    let sandbox = Sandbox::new();
    // more than the window: below, nothing would be missed
    sandbox.write("tokens.json", format!("{:?}", [1, 5, 9, 7, 3].repeat(6)));
    let model = golden("models/mistral-swa");
    let method = "self_extend:group_size=2,neighbor_window=4";
    for args in [
        "logits --tokens tokens.json --output out.safetensors",
        "bench --lengths 32 --repeat 1 --warmup 0 --phase prefill",
    ] {
        let args = [&words(args)[..], &["--method", method, "--model", model.to_str().unwrap()]].concat();
        let ran = sandbox.run(&args);
        let said = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        let expected = "warning: self_extend: every layer of this model has a window of 24 tokens";
        assert!(said.contains(expected), "{args:?}: {}", ran.stderr);
    }
}
