//! Methods that a script writes, wherever a method may stand.

use crate::common::sitting;
use crate::transcript;

#[test]
fn a_written_method_works_wherever_a_method_does() {
    let mut sitting = sitting();
    sitting.run("let near = 48; let mine = method(\"mine\", |d| min(d, near)); let p = needle(300, 0.5);").unwrap();
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
        "capacity(mine) > 1000",
        "compare(run(p, full()), run(p, mine)).len() == 2",
        "save(losses([run(p, full()), run(p, mine)], 8), \"b.npz\") == \"b.npz\"",
        "sweep(#{ near: [8, 16] }, |s| run(p, method(\"m\", |d| min(d, s.near)))).len() == 2",
        "sweep(#{ m: [mine, full()] }, |s| run(p, s.m)).column(\"method\").len() == 2",
        "mine.name == \"mine\" && mine.text() == \"mine\"",
        "`${mine}` == \"mine (written here)\"",
    ] {
        assert_eq!(sitting.say(cell), "true", "{cell}");
    }
}

#[test]
fn a_written_identity_is_full_attention() {
    let mut sitting = sitting();
    sitting.run("let p = needle(400, 0.3); let plain = run(p, full()).nll;").unwrap();
    for method in [
        "method(\"same\", |d| d)",
        "method(\"same\", |q, k| q - k)",
        "method(\"same\", |d| d.to_float())",
        "method(\"same\", #{ position: |d| d, sees: |q, k| true })",
        "method(\"same\", #{ position: |q, k| q - k, sees: |d| d >= 0 })",
    ] {
        assert_eq!(sitting.say(&format!("run(p, {method}).nll == plain")), "true", "{method}");
        assert_eq!(sitting.say(&format!("position({method}, 300, 250, 17)")), "233.0", "{method}");
    }
}

#[test]
fn written_rules_agree_with_the_listed_ones() {
    let mut sitting = sitting();
    sitting.run("fn group(i, g) { i / g }").unwrap();
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
        assert_eq!(sitting.say(&cell), "0", "{written}");
    }
}

#[test]
fn what_is_hidden_and_what_is_between() {
    let mut sitting = sitting();
    insta::assert_snapshot!(transcript(&mut sitting, &[
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
    capacity           128 tokens
    highest position   20.0
    trained positions  256
    cache              150.0 KiB
    > positions(half, 100)
    positions of half (written) at 100 tokens: highest 20.0, 256 trained
    > half
    half (written here)
    > [half]
    [half (written here)]
    > method("none", #{ sees: |q, k| k % 2 == 0 || k == q, position: |q, k| q - k })
    none (written here)
    "#);
}
