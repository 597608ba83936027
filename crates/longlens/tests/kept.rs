//! Prompts whose keys and values are kept in files, and heads that are changed.

mod common;

use std::fs;

use common::{Sandbox, words};
use safetensors::SafeTensors;
use serde_json::Value;

/// Exit code, and what was said in one line.
fn refused(sandbox: &Sandbox, line: &str) -> (Option<i32>, String) {
    let ran = sandbox.run(&words(line));
    let said: String = ran.stderr.replace(['│', '×', '╰', '─', '▶'], " ");
    (ran.code, said.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn json(sandbox: &Sandbox, line: &str) -> Value {
    serde_json::from_str(&sandbox.done(&format!("{line} --json")).stdout).unwrap()
}

#[test]
fn a_kept_prompt_goes_on_as_if_it_had_been_computed() {
    let sandbox = Sandbox::new();
    for method in
        ["full", "long_heads:chunk_len=16,attention_len=128", "quest:page_size=16,token_budget=64,prefill=chosen"]
    {
        let given = format!("--needle 400:0.5 --method {method}");
        let whole = json(&sandbox, &format!("generate {given} --max-tokens 6"));
        let saved = json(&sandbox, &format!("cache save {given} --out key.safetensors"));
        let n_prompt = whole["generated"]["n_prompt"].as_u64().unwrap();
        let counts = (saved["cache"]["n_prompt"].as_u64(), saved["cache"]["n_kept"].as_u64());
        assert_eq!(counts, (Some(n_prompt), Some(n_prompt - 1)));
        let bytes = fs::read(sandbox.path("key.safetensors")).unwrap();
        assert_eq!(saved["bytes"].as_u64(), Some(bytes.len() as u64));
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(tensors.tensor("tokens").unwrap().shape(), [n_prompt as usize]);
        assert_eq!(tensors.tensor("layers.0.key").unwrap().shape()[1], n_prompt as usize - 1);

        for line in ["cache open key.safetensors", "generate --cache key.safetensors"] {
            let opened = json(&sandbox, &format!("{line} --max-tokens 6"));
            assert_eq!(opened["generated"]["tokens"], whole["generated"]["tokens"], "{method}");
            assert_eq!(opened["generated"]["run"], whole["generated"]["run"], "{method}");
            assert_eq!(opened["kept_tokens"].as_u64(), Some(n_prompt - 1));
        }
        // what follows it, and a view of what is not kept
        let more = json(&sandbox, "cache open key.safetensors --prompt=-_and --max-tokens 2");
        assert!(more["generated"]["n_prompt"].as_u64() > Some(n_prompt));
        sandbox.done("chunks --cache key.safetensors --out a.csv");
        sandbox.done(&format!("chunks {given} --out b.csv"));
        let table = |name: &str| fs::read_to_string(sandbox.path(name)).unwrap();
        assert_eq!(table("a.csv").lines().count(), table("b.csv").lines().count(), "{method}");
        assert!(table("a.csv").contains("true"), "the needle is known");
    }
    let shown = sandbox.done("cache show key.safetensors").stdout;
    assert!(shown.contains(" of them kept") && shown.contains("quest:"), "{shown}");
}

/// The numbers of a table: all cells that are some.
fn numbers(table: &str) -> Vec<f64> {
    table.lines().skip(1).flat_map(|line| line.split(',')).filter_map(|cell| cell.parse().ok()).collect()
}

#[test]
fn earlier_tokens_of_a_prompt_that_is_kept_with_its_queries_are_looked_at() {
    let sandbox = Sandbox::new();
    let given = "--needle 200:0.5 --method self_extend:group_size=4,neighbor_window=64";
    sandbox.done(&format!("cache save {given} --queries --out all.safetensors"));
    for view in ["entropy", "distance", "layers", "usage", "chunks:query=100"] {
        let written = |prompt: &str| {
            sandbox.done(&format!("plot {view} {prompt} --out view.csv"));
            fs::read_to_string(sandbox.path("view.csv")).unwrap()
        };
        let (computed, kept) = (written(given), written("--cache all.safetensors"));
        let (a, b) = (numbers(&computed), numbers(&kept));
        let is_near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-3 * (1.0 + a.abs());
        assert!(a.len() == b.len() && a.len() > 10 && a.iter().zip(&b).all(is_near), "{view}: {computed}{kept}");
    }
    for ending in ["png", "html", "npz"] {
        sandbox.done(&format!("attention --layer 1 --cache all.safetensors --out map.{ending}"));
    }
    // what is asked behind it is no passage of it
    sandbox.write(
        "text.txt",
        "The heron stands in the water.\n\nThe boat waits for the evening, and nobody comes to see it leave.\n"
            .repeat(4),
    );
    sandbox.done("cache save --file text.txt --queries --out text.safetensors");
    let table = |prompt: &str| {
        sandbox.done(&format!("plot passages {prompt} --out passages.csv"));
        fs::read_to_string(sandbox.path("passages.csv")).unwrap()
    };
    let n_lines = |table: &str| table.lines().count();
    let asked = table("--cache text.safetensors --question Where_does_the_heron_stand?");
    assert_eq!(n_lines(&asked), n_lines(&table("--file text.txt")));
    assert!(!asked.contains("does_the"), "{asked}");
}

#[test]
fn what_a_kept_prompt_does_not_serve_is_refused() {
    let sandbox = Sandbox::new();
    sandbox
        .done("cache save --needle 300:0.5 --method self_extend:group_size=4,neighbor_window=64 --out key.safetensors");
    let say = |line: &str| refused(&sandbox, &format!("generate --cache key.safetensors {line}"));
    let (code, said) = say("--method full");
    assert!(code == Some(1) && said.contains("was kept under self_extend:") && said.contains("not full"), "{said}");
    let (_, said) = say("--rope yarn:factor=4");
    assert!(said.contains("was kept under rope none, not yarn:"), "{said}");
    let (_, said) = say("--weights q8");
    assert!(said.contains("was kept with weights in f16, and they are in q8"), "{said}");
    let (_, said) = refused(&sandbox, "attention --cache key.safetensors --out a.png");
    assert!(said.contains(" tokens, and this run looks at what they attended to"), "{said}");
    let (_, said) = refused(&sandbox, "cache save --prompt A --chat --out chat.safetensors");
    assert!(said.contains("of a conversation, only a document that is asked about can be kept"), "{said}");
    let (_, said) = refused(&sandbox, "cache open key.safetensors --chat --prompt A");
    assert!(said.contains("no turn of a conversation"), "{said}");
    let (code, said) = say("--needle 300");
    assert!(code == Some(2) && said.contains("cannot be used with"), "{said}");
    let (_, said) = refused(&sandbox, "cache save --needle 300");
    assert!(said.contains("there is no place to keep the prompt in"), "{said}");
    // frequencies that follow the length serve prompts of one length
    sandbox.done("cache save --needle 300 --rope dynamic:factor=4 --out length.safetensors");
    sandbox.done("generate --cache length.safetensors --max-tokens 1");
    let (_, said) = refused(&sandbox, "generate --cache length.safetensors --prompt more");
    assert!(said.contains("was kept for a prompt of "), "{said}");
}

/// A file of this header and these numbers, whose checksums are right.
fn sealed(header: &str, body: &[u8]) -> Vec<u8> {
    let head = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    let entries: Value = serde_json::from_str(header).unwrap();
    let offsets = |name: &str| entries[name]["data_offsets"].clone();
    let mut ranges: Vec<(usize, usize)> = entries
        .as_object()
        .unwrap()
        .keys()
        .filter(|name| *name != "__metadata__")
        .map(|name| serde_json::from_value(offsets(name)).unwrap())
        .collect();
    ranges.sort_unstable();
    let (at, _) = ranges.pop().unwrap(); // they are the last tensor
    let checksums = ranges.iter().map(|(start, end)| crc32fast::hash(&body[*start..*end]));
    let checksums = [crc32fast::hash(&head)].into_iter().chain(checksums).flat_map(u32::to_le_bytes);
    [&head, &body[..at], &checksums.collect::<Vec<u8>>()].concat()
}

#[test]
fn damaged_files_are_refused_with_what_is_wrong() {
    let sandbox = Sandbox::new();
    sandbox.done("cache save --needle 100 --method long_heads:chunk_len=4,attention_len=32 --out key.safetensors");
    let bytes = fs::read(sandbox.path("key.safetensors")).unwrap();
    let n_header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let try_with = |bytes: &[u8]| {
        sandbox.write("bad.safetensors", bytes);
        let (code, said) = refused(&sandbox, "generate --cache bad.safetensors --max-tokens 1");
        assert!(code == Some(1) && said.contains("bad.safetensors"), "{code:?}: {said}");
        said
    };
    assert!(try_with(b"").contains("it has no header"));
    assert!(try_with(b"{\"model\": 1}").contains("longer than the file"));
    assert!(try_with(&[&2u64.to_le_bytes()[..], b"[]"].concat()).contains("its header is no JSON"));
    assert!(try_with(&[&2u64.to_le_bytes()[..], b"{}"].concat()).contains("it does not say of what"));
    assert!(try_with(&bytes[..bytes.len() - 1]).contains("longer or shorter than its header says"));
    assert!(try_with(&bytes[..n_header + 8 + 200]).contains("longer or shorter than its header says"));
    assert_eq!(refused(&sandbox, "cache show bad.safetensors").0, Some(1));
    let header = String::from_utf8(bytes[8..8 + n_header].to_vec()).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(header.contains(from), "{header}");
        sealed(&header.replacen(from, to, 1), &bytes[8 + n_header..])
    };
    assert!(try_with(&changed("layers.0.key", "layers.0.kez")).contains("`layers.0.key` is missing"));
    assert!(try_with(&changed("chunk_len=4", "chunk_len=8")).contains("is needed"));
    assert!(try_with(&changed("\\\"layout\\\":2", "\\\"layout\\\":9")).contains("has layout 9"));
    assert!(try_with(&changed("\\\"n_kept\\\":", "\\\"n_kept\\\":9")).contains("none or all"));
    let content = header.split("content\\\":\\\"").nth(1).unwrap()[..16].to_owned();
    assert!(try_with(&changed(&content, "0123456789abcdef")).contains("whose weights are not those of"));
    // one bit of the header, of the tokens, of keys, and of the last values
    let (name, last) = (8 + header.find("longlens-tiny").unwrap(), bytes.len() - 400);
    let places =
        [(name, "its header"), (8 + n_header, "its tokens"), (bytes.len() / 2, "`layers."), (last, "`layers.")];
    for (at, what) in places {
        let mut other = bytes.clone();
        other[at] ^= 1;
        let said = try_with(&other);
        assert!(said.contains("is damaged: the checksum of") && said.contains(what), "{said}");
    }
    // a token that the vocabulary does not have
    let other = [&u32::MAX.to_le_bytes(), &bytes[8 + n_header + 4..]].concat();
    assert!(try_with(&sealed(&header, &other)).contains("its token 0 is none of the model's"));
}

#[test]
fn heads_that_fetch_the_key_are_found_and_switched_off() {
    let sandbox = Sandbox::new();
    let table = |method: &str| {
        sandbox.done(&format!("plot layers --needle 200:0.5 --method {method} --out layers.csv"));
        let text = fs::read_to_string(sandbox.path("layers.csv")).unwrap();
        let names: Vec<String> = text.lines().next().unwrap().split(',').map(str::to_owned).collect();
        let place = |name: &str| names.iter().position(|known| known == name).unwrap();
        let (layer, head, attention) = (place("layer"), place("head"), place("attention"));
        let row = |line: &str| {
            let cells: Vec<&str> = line.split(',').collect();
            (cells[attention].parse::<f64>().unwrap(), cells[layer].to_owned(), cells[head].to_owned())
        };
        let mut rows: Vec<_> = text.lines().skip(1).map(row).collect();
        rows.sort_by(|a, b| b.0.total_cmp(&a.0));
        rows
    };
    let best = table("full");
    let switched = |heads: &[(f64, String, String)]| {
        let off: Vec<String> = heads.iter().map(|(_, layer, head)| format!("/{layer}h{head}=off")).collect();
        off.concat()
    };
    let off = switched(&best[..6]);
    let hits = |method: &str| {
        let said = json(&sandbox, &format!("passkey --method {method} --lengths 200 --depths 0.5 --trials 4"));
        said["cells"].as_array().unwrap().iter().map(|cell| cell["hits_tokens"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(hits("full"), 4);
    assert_eq!(hits(&format!("full{off}")), 0, "{off}");
    // two that do not look at it can go
    let others = switched(&best[best.len() - 2..]);
    assert_eq!(hits(&format!("full{others}")), 4, "{others}");
    // both in one grid, each under its own name
    let said = json(&sandbox, &format!("perplexity --methods full;full{off} --lengths 128"));
    let names: Vec<_> = said.as_array().unwrap().iter().map(|run| run["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["full", &format!("full{off}")]);
}
