//! Methods that a script writes, wherever a method may stand.

use std::time::{Duration, Instant};

use longlens_notebook::interpreter::Interpreter;
use longlens_notebook::session::Limits;

use crate::common::rig;
use crate::{error, transcript};

#[test]
fn a_written_method_works_wherever_a_method_does() {
    let mut rig = rig();
    rig.run("let near = 48; let mine = method(\"mine\", |d| min(d, near)); let p = needle(300, 0.5);").unwrap();
    for cell in [
        "run(p, mine).nll.len() == p.n_tokens - 1",
        "run(p, mine).record.method.contains(\"mine\")",
        "generate(\"abc abc ab\", mine, 3).len() > 0",
        "trace(p, mine).record.method.contains(\"mine\")",
        "retrieval_heads(trace(p, mine)).len() > 0",
        "passkey(#{ lengths: [200, 350, 700], depths: [0.0, 1.0], methods: [mine, full()] }).len() == 12",
        "perplexity(#{ lengths: [16, 64, 300], methods: [mine] }).len() == 3",
        "save(positions(mine, 100), \"a.npz\") == \"a.npz\"",
        "position(mine, 200, 150, 0) == 48.0 && position(mine, 200, 150, 140) == 10.0",
        "forecast(mine, 2000).len() > 4",
        "capacity(mine) == ()",
        "compare(run(p, full()), run(p, mine)).len() == 2",
        "save(losses([run(p, full()), run(p, mine)], 8), \"b.npz\") == \"b.npz\"",
        "sweep(#{ near: [8, 16] }, |s| run(p, method(\"m\", |d| min(d, s.near)))).len() == 2",
        "sweep(#{ m: [mine, full()] }, |s| run(p, s.m)).column(\"method\").len() == 2",
        "mine.name == \"mine\" && mine.text() == \"mine\"",
        "`${mine}` == \"mine (written here)\"",
    ] {
        assert_eq!(rig.say(cell), "true", "{cell}");
    }
}

#[test]
fn a_written_identity_is_full_attention() {
    let mut rig = rig();
    rig.run("let p = needle(400, 0.3); let plain = run(p, full()).nll;").unwrap();
    for method in [
        "method(\"same\", |d| d)",
        "method(\"same\", |q, k| q - k)",
        "method(\"same\", |d| d.to_float())",
        "method(\"same\", #{ position: |d| d, sees: |q, k| true })",
        "method(\"same\", #{ position: |q, k| q - k, sees: |d| d >= 0 })",
    ] {
        assert_eq!(rig.say(&format!("run(p, {method}).nll == plain")), "true", "{method}");
        assert_eq!(rig.say(&format!("position({method}, 300, 250, 17)")), "233.0", "{method}");
    }
}

#[test]
fn written_rules_agree_with_the_listed_ones() {
    let mut rig = rig();
    rig.run("fn group(i, g) { i / g }").unwrap();
    for (written, listed) in [
        ("method(\"w\", #{ position: |d| d, sees: |d| d < 32 })", "sliding_window(#{ window: 32 })"),
        (
            "method(\"w\", |q, k| if q - k < 32 { q - k } else { group(q, 4) + 32 - 32 / 4 - group(k, 4) })",
            "self_extend(#{ neighbor_window: 32, group_size: 4 })",
        ),
    ] {
        let cell = format!(
            "let w = {written}; let l = {listed}; let differ = 0;
            for q in [0, 1, 31, 32, 33, 150, 299] {{ for k in 0..q + 1 {{
                if position(w, 300, q, k) != position(l, 300, q, k) {{ differ += 1; }}
            }} }}
            differ"
        );
        assert_eq!(rig.say(&cell), "0", "{written}");
    }
}

#[test]
fn what_is_hidden_and_what_is_between() {
    let mut rig = rig();
    insta::assert_snapshot!(transcript(&mut rig, &[
        "let half = method(\"half\", |d| if d > 40 { () } else { d / 2.0 });",
        "[position(half, 100, 50, 50), position(half, 100, 50, 47), position(half, 100, 50, 1)]",
        "forecast(half, 100)",
        "positions(half, 100)",
        "half",
        "[half]",
        "method(\"none\", #{ sees: |q, k| k % 2 == 0 || k == q, position: |q, k| q - k })",
    ]), @r#"
    > let half = method("half", |d| if d > 40 { () } else { d / 2.0 });
    > [position(half, 100, 50, 50), position(half, 100, 50, 47), position(half, 100, 50, 1)]
    [0.0, 1.5, ()]
    > forecast(half, 100)
    what               value
    method             half (written)
    rope               none
    tokens             100
    capacity           at least 100 tokens
    highest position   20.0
    trained positions  256
    cache              150.0 KiB
    > positions(half, 100)
    positions of half (written) at 100 tokens: highest 20, 256 trained
    > half
    half (written here)
    > [half]
    [half (written here)]
    > method("none", #{ sees: |q, k| k % 2 == 0 || k == q, position: |q, k| q - k })
    none (written here)
    "#);
}

#[test]
fn a_written_method_follows_the_variables_and_functions_that_it_uses() {
    let mut rig = rig();
    rig.run("let w = 32; let m = method(\"r\", |d| min(d, w)); let p = needle(300, 0.5);").unwrap();
    rig.run("fn far(d) { if d < 90 { d } else { 90 } } let f = method(\"f\", |q, k| far(q - k));").unwrap();
    let at = |method: &str| format!("position({method}, 300, 290, 10)");
    assert_eq!(rig.say(&at("m")), "32.0");
    assert_eq!(rig.say(&format!("w = 64; {}", at("m"))), "64.0");
    assert_eq!(rig.say(&at("f")), "90.0");
    rig.run("fn far(d) { if d < 70 { d } else { 70 } }").unwrap();
    assert_eq!(rig.say(&at("f")), "70.0");
    // a method that holds itself ends too
    rig.run("let own = (); own = method(\"own\", |d| if own == () { d } else { d });").unwrap();
    assert_eq!(rig.say(&at("own")), "280.0");
}

#[test]
fn functions_are_asked_about_the_tokens_that_run_and_no_others() {
    let mut rig = rig();
    rig.run("let p = prompt(\"one two three four\"); let a = []; for i in 0..p.n_tokens { a.push(i) }").unwrap();
    rig.run("let m = method(\"listed\", |q, k| a[q] - a[k]); let d = method(\"d\", |d| a[d]);").unwrap();
    for cell in [
        "run(p, m, #{ max_tokens: 0 }).nll.len() == p.n_tokens - 1",
        "run(p, d, #{ max_tokens: 0 }).nll.len() == p.n_tokens - 1",
        "trace(p, m).query == p.n_tokens - 1",
        "trace(run(p, m, #{ max_tokens: 0 })).query == p.n_tokens - 1",
        "forecast(m, p.n_tokens).len() > 4",
    ] {
        assert_eq!(rig.say(cell), "true", "{cell}");
    }
    let said = error(&mut rig, "forecast(method(\"m\", |d| d), 32769)");
    assert_eq!(said.split(" [").next(), Some("Error: `m`: a method is written out for 1 to 32768 tokens, not 32769"));
}

#[test]
fn a_run_that_says_nothing_can_be_traced() {
    let mut rig = rig();
    rig.run("let w = 40; let m = method(\"m\", |d| min(d, w)); let p = needle(300, 0.5);").unwrap();
    rig.run("let r = run(p, m, #{ max_tokens: 0 });").unwrap();
    assert_eq!(rig.say("trace(r).query == trace(p, m).query && trace(r).query == p.n_tokens"), "true");
    let changed = error(&mut rig, "w = 20; trace(r)");
    insta::assert_snapshot!(changed, @"Error: the functions of m (written here) changed since this run [1: trace] (run it again, or trace the prompt under the new method)");
}

#[test]
fn methods_of_one_name_are_told_apart() {
    let mut rig = rig();
    rig.run("let p = needle(200, 0.5); fn m(w) { method(\"m\", |d| min(d, w)) }").unwrap();
    let calls = "let a = m(8); let b = m(16); [run(p, a), run(p, b), run(p, a)]";
    let names = "compare(runs[0], runs[1]).column(\"method\") + compare(runs[0], runs[2]).column(\"method\")";
    insta::assert_snapshot!(rig.say(&format!("let runs = {{ {calls} }}; {names}")), @r##"["m (written) #1", "m (written) #2", "m (written)", "m (written)"]"##);
    insta::assert_snapshot!(rig.say("losses(runs, 4)"), @"loss by token of m (written) #1, m (written) #2, m (written) #1");
    assert_eq!(rig.say("let one = m(8); perplexity(#{ lengths: [16], methods: [one, one] }).len()"), "2");
    insta::assert_snapshot!(error(&mut rig, "passkey(#{ lengths: [200], methods: [m(8), m(16)] })"), @r#"Error: two of the methods are called `m` [1: passkey] (give each a name of its own, as in method("window_8", …))"#);
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let mut rig = rig();
    insta::assert_snapshot!(transcript(&mut rig, &[
        "passkey(#{ lengths: [200], method: full(), methods: [full()] })",
        "perplexity(#{ lengths: [16], documents: 0 })",
        "trace(needle(400, 0.5), \"long_heads:chunk_len=16,attention_len=128\", #{ chunk_len: 32 })",
        "trace(\"one two\", full(), #{ chunk_len: 0 })",
        "trace(needle(400, 0.5), \"long_heads:chunk_len=16,attention_len=128\", #{ chunk_len: 16 }).chunk_len",
    ]), @r#"
    > passkey(#{ lengths: [200], method: full(), methods: [full()] })
    Error: `methods` and `method` are both given
      |
    1 | passkey(#{ lengths: [200], method: full(), methods: [full()] })
      | ^^^^^^^
    help: put every method into `methods`
    > perplexity(#{ lengths: [16], documents: 0 })
    Error: there are no documents to measure
      |
    1 | perplexity(#{ lengths: [16], documents: 0 })
      | ^^^^^^^^^^
    help: give `documents` 1 or more
    > trace(needle(400, 0.5), "long_heads:chunk_len=16,attention_len=128", #{ chunk_len: 32 })
    Error: chunks of 32 tokens do not fit this method, which chooses chunks of 16
      |
    1 | trace(needle(400, 0.5), "long_heads:chunk_len=16,attention_len=128", #{ chunk_len: 32 })
      | ^^^^^
    help: leave `chunk_len` out, or give it to the method
    > trace("one two", full(), #{ chunk_len: 0 })
    Error: chunks of 0 tokens are none
      |
    1 | trace("one two", full(), #{ chunk_len: 0 })
      | ^^^^^
    help: give `chunk_len` 1 or more
    > trace(needle(400, 0.5), "long_heads:chunk_len=16,attention_len=128", #{ chunk_len: 16 }).chunk_len
    16
    "#);
}

#[test]
fn capacity_of_written_methods_is_that_of_their_rule() {
    let mut rig = rig();
    for (method, expected) in [
        ("|d| d", "256"),
        ("|d| d / 4.0", "1021"),
        ("|d| min(d, 100)", ""),
        ("|q, k| q - k", "256"),
        ("|q, k| if q - k < 100 { q - k } else { 100 }", ""),
    ] {
        assert_eq!(rig.say(&format!("capacity(method(\"m\", {method}))")), expected, "{method}");
    }
}

#[test]
fn the_compiler_stops_in_every_pass() {
    let mut rig = rig();
    rig.session.set_limits(Limits { operations: u64::MAX, ..Limits::default() });
    // two positions in a long pattern: minutes of compiling behind 32768 questions
    let cell = "forecast(method(\"noise\", |d| if d * 7919 % 1013 % 3 == 0 { 0 } else { 1 }), 32768)";
    for after in [200, 500, 900] {
        let cancel = rig.session.cancel();
        let raise = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(after));
            cancel.cancel();
            Instant::now()
        });
        let told = error(&mut rig, cell);
        let took = raise.join().unwrap().elapsed();
        assert!(told.starts_with("Interrupted"), "{told}");
        assert!(took < Duration::from_millis(400), "stopped {took:?} after it was asked to");
    }
}
