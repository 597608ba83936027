//! The program from outside: exit code, stdout, stderr and files of every command.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

mod common;

use common::{Bench, Ran, checkpoint, floats, golden, ints, tensors, words};

/// The command ends with this exit code, says nothing on stdout, and says all of `expected` on stderr.
fn check(bench: &Bench, args: &[&str], code: i32, expected: &[&str]) {
    let Ran { code: ended, stdout, stderr } = bench.run(args);
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
    let bench = Bench::new();
    bench.write("out_of_range.json", "[1, 2, 99999]");
    bench.write("none.json", "[]");
    bench.write("two.json", r#"{"tokens": [1, 2]}"#);
    bench.write("words.json", r#"["one"]"#);
    bench.write("file", "");
    let tokens = |file, more| format!("logits --tokens {file} --output out.safetensors {more}");
    for (line, code, expected) in [
        // the prompt
        ("generate", 2, "there is no prompt help: give --prompt TEXT, --file FILE (`-` for stdin) or --needle"),
        ("generate --file file", 2, "the prompt is empty"),
        ("generate --file absent", 1, "cannot read absent: No such file"),
        ("generate --needle many", 2, "`many` is not a number of tokens"),
        ("generate --needle 100:2", 2, "`2` is not a depth help: depths go from 0 (start) to 1 (end)"),
        ("generate --needle 5:0.5", 2, "cannot be 5 tokens long: without filler it already has 66"),
        (&tokens("none.json", ""), 2, "the prompt is empty"),
        (&tokens("out_of_range.json", ""), 1, "token 99999 at position 2 is outside the vocabulary of 1024"),
        (&tokens("words.json", ""), 1, "words.json holds no token ids help: give a JSON array of ids such as"),
        (&tokens("two.json", "--prefill 0"), 2, "--prefill 0 does not fit 2 tokens help: give 1 to 2"),
        (&tokens("two.json", "--prefill 3"), 2, "--prefill 3 does not fit 2 tokens help: give 1 to 2"),
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
        ("positions --rope yarn:factor=0.5", 2, "factor = 0.5 is not a number of at least 1"),
        ("methods dualchunk", 2, "unknown method or RoPE scaling `dualchunk` help: did you mean `dual_chunk`?"),
        ("perplexity --methods full;ful", 2, "unknown method `ful` help: did you mean `full`?"),
        // places
        ("positions --pair 1", 2, "`1` is not a pair help: write QUERY,KEY as in `300,12`"),
        ("positions --pair 1,5", 2, "key 5 comes after query 1"),
        ("chunks --needle 100 --query 100", 2, "is not in the prompt of"),
        ("chunks --needle 100 --layer 4", 2, "layer 4 does not exist help: layers go from 0 to 3"),
        ("chunks --needle 100 --mass --chunk-len 0", 2, "it must be at least 1"),
        ("attention --needle 100 --layer 4", 2, "layer 4 does not exist: there are 4"),
        ("attention --needle 100 --head 4", 2, "head 4 does not exist: there are 4"),
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
        ("generate --needle 100 --top-p 2", 2, "top_p = 2 is not above 0 and at most 1"),
        ("generate --needle 100 --prefill-chunk 0", 2, "it must be at least 1"),
        ("demo --up-to 3", 2, "--up-to must be a power of two"),
        // outputs
        ("positions --out absent/map.png", 1, "cannot write `absent/map.png`: No such file or directory (os error 2)"),
        ("positions --out file/map.png", 1, "cannot write `file/map.png`: Not a directory"),
        ("positions --out map.gif", 1, "cannot tell the picture format of `map.gif` help: end the file name in `.png`"),
        ("passkey --lengths 128 --out file", 1, "cannot make the folder file: File exists"),
        ("demo --up-to 2 --out file/demo", 1, "cannot make the folder file/demo: Not a directory"),
    ] {
        check(&bench, &words(line), code, &[expected]);
    }
    check(&bench, &["generate", "--prompt", ""], 2, &["the prompt is empty"]);
    for output in ["absent/out.safetensors", "file/out.safetensors"] {
        let said = format!("cannot write {output}: ");
        check(&bench, &["logits", "--tokens", "two.json", "--output", output], 1, &[&said]);
    }
}
