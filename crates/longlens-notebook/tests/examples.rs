//! Every function is documented, and its example runs.

mod common;

use common::rig;
use longlens_notebook::interpreter::Interpreter;

#[test]
fn every_example_runs() {
    let docs: Vec<_> = rig().session.docs().own().cloned().collect();
    let mut failed = Vec::new();
    for doc in &docs {
        let Some(example) = &doc.example else { continue };
        let mut rig = rig();
        if let Err(error) = rig.run(example) {
            failed.push(format!("{}:\n{example}\n{error}", doc.signature));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

#[test]
fn every_function_has_words_and_an_example() {
    let rig = rig();
    let docs = rig.session.docs();
    let named: Vec<_> = docs.own().filter(|doc| doc.name.starts_with(char::is_alphabetic)).collect();
    assert!(named.len() > 100, "{}", named.len());
    for doc in &named {
        let hidden = ["to_string", "to_debug", "print"].contains(&doc.name.as_str());
        assert!(hidden || !doc.text.is_empty(), "{} says nothing", doc.signature);
        let has_example = docs.own().any(|other| other.name == doc.name && other.example.is_some());
        assert!(hidden || doc.is_property || has_example, "{} has no example", doc.signature);
        assert!(!doc.signature.contains("::") && !doc.signature.contains("Returned"), "{}", doc.signature);
    }
}

#[test]
fn no_help_ends_before_what_it_leads_to() {
    let mut rig = rig();
    let names: Vec<String> = rig.session.docs().own().map(|doc| doc.name.clone()).collect();
    for name in names.iter().filter(|name| name.starts_with(char::is_alphabetic)) {
        let Some(told) = rig.session.docs().describe(name, false) else { continue };
        let dangles = told.split("\n\n").zip(told.split("\n\n").skip(1).chain([""])).find(|(part, next)| {
            // what follows a colon is its example, further in than the signature of another form
            part.ends_with(':') && !next.starts_with("    ")
        });
        assert!(dangles.is_none(), "{name}: {dangles:?}");
    }
    let told = rig.say("?switch_off");
    assert!(told.contains("run(p, switch_off(full(), fetching)).found"), "{told}");
}

#[test]
fn help_and_completion_come_from_the_comments() {
    let mut rig = rig();
    insta::assert_snapshot!(rig.say("?needle"), @r#"
    needle(length: int, depth) -> Prompt
        A pass key hidden in filler: `length` tokens in all, the key at `depth` (0 the start, 1 the end; or per cent, as `"25%"`).

    needle(length: int, depth, key) -> Prompt
        The same with a key of your own.

    needle(length: int, depth, options: map) -> Prompt
        The same with options beside length and depth, those of the map below.

    needle(options: map) -> Prompt
        The same from a map: `length`, `depth`, `key`, `template` (`longlens`, `long_heads`, `chunk_llama`, `long_lm`), `seed`, and
        `chat` (true where a user says it, in the model's chat template) with `system` (what the system says first) and `date`.

    Prompt.needle
        First and last token that tell the hidden key; `()` where none is hidden.
    "#);
    insta::assert_snapshot!(rig.say("self_extend?"), @"
    self_extend(parameters: map) -> Method
        Self-Extend: exact positions nearby, shared positions further away. Jin et al., 2024, arXiv:2401.01325.

        - `group_size` (a whole number of at least 1 and below 10^12, default 8): tokens that share one position beyond the window
        - `neighbor_window` (a whole number of at least 1 and below 10^12, default 1/4 of the trained context): tokens this near keep their exact distance
        - `log_scale` (`off` or a number above 1 and at most 10^9, default off): query i is scaled by max(1, ln(i + 1) / ln(this))
        - `shift` (one of: floor, exact, default floor): w / g as a whole number (paper) or as it is

        self_extend(#{ group_size: 4, neighbor_window: 64 })
    ");
    let found = |cell: &str| {
        let done = rig.session.complete(cell, cell.len());
        let texts: Vec<_> = done.candidates.iter().take(6).map(|candidate| candidate.text.as_str()).collect();
        format!("{}|{}", &cell[..done.replaces.start], texts.join(" "))
    };
    insta::assert_snapshot!(found("let r = ret"), @"let r = |retrieval_heads retain return");
    insta::assert_snapshot!(found("self_extend(#{ "), @"self_extend(#{ |group_size:  neighbor_window:  log_scale:  shift:");
    insta::assert_snapshot!(found("passkey(#{ lengths: [1], me"), @"passkey(#{ lengths: [1], |methods:  method:");
    insta::assert_snapshot!(found("run(p, \"long"), @r#"run(p, "|long_heads: longrope:"#);
    insta::assert_snapshot!(found("run(p, \"long_heads:chunk_len=4,at"), @r#"run(p, "long_heads:chunk_len=4,|attention_len="#);
    insta::assert_snapshot!(found("%ti"), @"|%time  %timeit");
    insta::assert_snapshot!(found("?pass"), @"?|passages passkey");
}
