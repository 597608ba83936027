//! Functions that speak of any value, and what a model predicts.

use longlens_notebook::interpreter::Interpreter;

use crate::common::rig;
use crate::error;

#[test]
fn values_are_printed_on_one_line() {
    let mut rig = rig();
    assert_eq!(rig.say("print(1, 2)"), "1 2\n");
    assert_eq!(
        rig.say("print(\"loss\", 1.5, [1, \"a\"], #{ b: true }, (), full())"),
        "loss 1.5 [1, \"a\"] #{\"b\": true}  full\n"
    );
    assert_eq!(rig.say("print()"), "\n");
    let sixteen = (1..=16).map(|n| n.to_string()).collect::<Vec<_>>();
    assert_eq!(rig.say(&format!("print({})", sixteen.join(", "))), format!("{}\n", sixteen.join(" ")));
    assert!(rig.say("print(\"rows\", table(#{ n: [7] }))").contains('7'));
}

#[test]
fn functions_of_floats_take_whole_numbers_too() {
    let mut rig = rig();
    for (whole, float) in [
        ("sqrt(2)", "sqrt(2.0)"),
        ("exp(1)", "exp(1.0)"),
        ("ln(2)", "ln(2.0)"),
        ("log(100)", "log(100.0)"),
        ("log(100)", "ln(100.0)"),
        ("log10(100)", "2.0"),
        ("log2(8)", "3.0"),
        ("log(8, 2)", "log(8.0, 2.0)"),
        ("log(8, 2.0)", "log(8.0, 2.0)"),
        ("atan(1, 2)", "atan(1.0, 2.0)"),
        ("hypot(3, 4.0)", "hypot(3.0, 4.0)"),
        ("tanh(1)", "tanh(1.0)"),
        ("to_degrees(1)", "to_degrees(1.0)"),
        ("2 ** 0.5", "2.0 ** 0.5"),
        ("min(1, 0.5)", "min(1.0, 0.5)"),
    ] {
        assert_eq!(rig.say(whole), rig.say(float), "{whole}");
    }
    assert_eq!(
        rig.say("[floor(7), round(7), ceiling(7), int(7), is_nan(7), is_finite(7), fraction(7)]"),
        "[7, 7, 7, 7, false, true, 0.0]"
    );
    assert_eq!(rig.say("(9).sqrt()"), "3.0");
}

#[test]
fn lists_of_numbers_have_a_sum_a_mean_and_extremes() {
    let mut rig = rig();
    for (cell, value) in [
        ("[sum([1, 2, 3]), sum([1, 0.5]), sum([])]", "[6, 1.5, 0]"),
        ("[mean([1, 2]), median([3, 1, 2]), median([1, 2, 3, 4.0])]", "[1.5, 2.0, 2.5]"),
        ("[min([2, 1.5]), max([1, 7, 7.0]), argmax([1, 7, 7]), max(1, 2)]", "[1.5, 7, 1, 2]"),
        ("[mean([]) == (), max([]) == (), argmax([]) == ()]", "[true, true, true]"),
        ("let l = [1, 2]; [l.sum(), l.max(), l]", "[3, 2, [1, 2]]"),
        ("max([0.0 / 0.0, 1.0])", "1.0"),
    ] {
        assert_eq!(rig.say(cell), value, "{cell}");
    }
    let said = error(&mut rig, "mean([1, \"a\"])");
    assert!(said.contains("`mean` takes numbers, and item 1 of the list is of type string"), "{said}");
}

#[test]
fn help_speaks_of_functions_and_values() {
    let mut rig = rig();
    assert!(rig.say("help(\"needle\")").starts_with("needle(length: int, depth) -> Prompt\n    A pass key hidden"));
    assert_eq!(rig.say("help(\"?needle\")"), rig.say("help(\"needle\")"));
    let of_run = rig.say("help(run(\"abc\", full()))");
    assert!(of_run.contains("properties: found, loss") && of_run.contains("functions: compare"), "{of_run}");
    assert!(rig.say("fn mine(a, b) { a }\nhelp(\"mine\")").contains("mine(a, b)"));
    assert!(rig.say("help()").contains("%functions"));
    assert_eq!(
        error(&mut rig, "help(\"needel\")"),
        "Error: nothing is known of `needel` [1: help] (did you mean help(\"needle\")?)"
    );
}

#[test]
fn functions_are_listed_by_topic() {
    let mut rig = rig();
    let all = rig.say("%functions");
    let topics: Vec<&str> = all.lines().filter(|line| !line.starts_with(' ') && !line.is_empty()).collect();
    assert!(topics.len() > 8 && topics[0] == "Models", "{topics:?}");
    for (topic, function) in [
        ("Prompts", "needle"),
        ("Methods and RoPE scalings", "self_extend"),
        ("Pictures of a trace", "chunks"),
        ("Showing, help and time", "help"),
    ] {
        let below =
            all.split("\n\n").find(|part| part.starts_with(topic)).unwrap_or_else(|| panic!("no {topic} in {all}"));
        assert!(below.lines().any(|line| line.trim_start().starts_with(&format!("{function} "))), "{below}");
    }
    // a name that is in two topics stands in both, with what it does there
    assert!(
        all.contains("  text             A prompt with the text of a file")
            && all.contains("  text             The text form of a method")
    );
    let names = all.lines().filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
    let distinct: std::collections::HashSet<&str> = names.collect();
    let documented = rig
        .session
        .docs()
        .own()
        .filter(|doc| !doc.is_property && !doc.text.is_empty() && doc.name.starts_with(char::is_alphabetic));
    let documented: std::collections::HashSet<&str> = documented.map(|doc| doc.name.as_str()).collect();
    assert_eq!(distinct.len(), documented.len());
    assert!(rig.say("%functions sweep").lines().count() < 20);
}

#[test]
fn next_tokens_are_those_of_the_run() {
    let mut rig = rig();
    // the scripted model goes on with what it has seen before
    assert_eq!(rig.say("let t = next_tokens(\"abcab\", 3); [t.len(), t[0].token]"), "[3, \"c\"]");
    assert_eq!(rig.say("let all = next_tokens(\"abcab\", 1000); let sum = 0.0; for row in all { sum += row.probability; } (sum - 1.0).abs() < 1e-9"), "true");
    assert_eq!(rig.say("t[0].logit == logits(\"abcab\")[t[0].id]"), "true");
    assert_eq!(rig.say("next_tokens(\"abcab\", 1, #{ position: 4 })[0].token"), "b");
    // behind a trace and a run it is the same, whether or not the model still holds their sequence
    assert_eq!(rig.say("let tr = trace(\"abcab\", full()); let r = run(\"abcab\", full(), #{ max_tokens: 3 }); [next_tokens(tr, 1)[0].token, next_tokens(r, 1)[0].token]"), "[\"c\", \"c\"]");
    assert_eq!(rig.say("logits(tr) == logits(\"abcab\") && logits(r) == logits(\"abcab\")"), "true");
    assert_eq!(rig.say("let rows = logits(\"abcab\", #{ positions: [5, 0, 5] }); [rows.len(), rows[0] == rows[2], rows[0] == logits(\"abcab\")]"), "[3, true, true]");
    assert_eq!(rig.say("logits(\"abcab\", #{ positions: \"all\" }).len() == prompt(\"abcab\").n_tokens"), "true");
    assert_eq!(rig.say("t.records[0].method"), "full");
}

#[test]
fn predictions_refuse_what_makes_no_sense() {
    let mut rig = rig();
    for (cell, said) in [
        ("next_tokens(\"abc\", 0)", "n 0 is not a whole number of at least 1"),
        ("next_tokens(\"abc\", 1, #{ position: 99 })", "token 99 does not exist"),
        ("logits(\"abc\", #{ positions: \"most\" })", "a token, a list of tokens, or \"all\""),
        ("logits(\"abc\", #{ positions: [] })", "a token, a list of tokens, or \"all\""),
        ("logits(trace(\"abc\", full()), #{ method: full() })", "has no option `method`"),
        ("next_tokens(5, 1)", "a prompt or a text"),
    ] {
        let told = error(&mut rig, cell);
        assert!(told.contains(said), "{cell}: {told}");
    }
}

#[test]
fn html_shows_itself_and_has_a_text() {
    let mut rig = rig();
    let shown = rig.run("html(\"<b style='color: teal'>a</b><script>alert(1)</script>\")").unwrap().unwrap();
    assert_eq!((shown.html.as_deref(), shown.text.as_str()), (Some("<b style=\"color:teal\">a</b>"), "a"));
    rig.run("for n in 1..3 { show(html(`<i>${n}</i>`)); }").unwrap();
    assert_eq!(rig.heard.borrow().shown.len(), 2);
    assert_eq!(rig.say("print(html(\"<p>one</p><p>two</p>\"))"), "one\ntwo\n");
    assert_eq!(rig.say("escaped(\"<a & b>\")"), "&lt;a &amp; b&gt;");
}

#[test]
fn a_function_says_what_it_does_not_see() {
    let mut rig = rig();
    rig.run("let p = needle(200, 0.5);").unwrap();
    let told = error(&mut rig, "fn tokens(n) { p.n_tokens + n }\ntokens(1)");
    assert_eq!(
        told,
        "NameError: `tokens` does not see the variable `p`: functions see their parameters and no variables of outside [1: p] (hand it on, as in `fn tokens(n, p)`; or write a function without a name, `let f = |x| …`, which takes the variables of its place along and is called as `f.call(x)`)"
    );
    // what the help says works
    assert_eq!(rig.say("fn tokens(n, p) { p.n_tokens + n }\ntokens(1, p) == p.n_tokens + 1"), "true");
    assert_eq!(rig.say("let factor = 3; let times = |x| x * factor; times.call(2)"), "6");
    let told = error(&mut rig, "fn typo(count) { cuont + 1 }\ntypo(1)");
    assert!(told.ends_with("(did you mean `count`?)"), "{told}");
    let told = error(&mut rig, "fn unknown(n) { n + entirely_other }\nunknown(1)");
    assert!(told.contains("functions see their parameters, no variables of outside: hand it on"), "{told}");
}

#[test]
fn an_error_names_the_calls_that_led_to_it() {
    let mut rig = rig();
    rig.run("fn inner(x) {\n    let y = x + 1;\n    y + zzz\n}").unwrap();
    rig.run("fn outer(x) {\n    inner(x) * 2\n}").unwrap();
    let error = rig.run("// nothing of this is wrong\n\nouter(2)").unwrap_err();
    let lines = error.lines();
    assert_eq!(
        lines[4..6],
        ["in `inner`, called in line 2 of cell 2: inner(x) * 2", "in `outer`, called in line 3: outer(2)"]
    );
    let deep = rig.run("fn down(n) { if n == 0 { throw \"there\" } down(n - 1) }\ndown(40)").unwrap_err();
    let lines = deep.lines();
    assert!(lines.len() < 16 && lines.iter().any(|line| line == "… 33 more calls …"), "{lines:#?}");
    assert!(rig.session.check("1 +").unwrap_err().calls.is_empty());
}
