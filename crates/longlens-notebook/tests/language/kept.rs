//! Prompts that are kept in files, beside prompts that are not.

use crate::common::rig;

#[test]
fn only_a_kept_prompt_goes_on_from_its_file() {
    let mut rig = rig();
    rig.run("let p = needle(300, 0.5); let before = run(p, full()); let m = \"streaming:window=64\";").unwrap();
    rig.run("keep(p, full(), \"key.safetensors\"); let k = kept(\"key.safetensors\", \" And again\"); let told = run(k, full());").unwrap();
    // another call of the same text computes all of it, and has all of its losses
    rig.run("let after = run(p, full());").unwrap();
    assert_eq!(
        rig.say("[before.nll.len() == after.nll.len(), before.loss == after.loss, after.perplexity > 0.0]"),
        "[true, true, true]"
    );
    assert_eq!(rig.say("told.nll.len() < 16 && told.nll.len() > 0"), "true");
    let told = rig.say("told");
    assert!(
        told.contains("nats a token")
            && told.contains("; of the last ")
            && told.contains("as the others were taken over"),
        "{told}"
    );
    assert!(!rig.say("after").contains("of the last"));

    // beside a run that computed every token, losses are of the tokens that both computed
    rig.run("let whole = run(k, m);").unwrap();
    let compared = rig.say("compare(told, whole)");
    assert!(compared.contains("those that both runs computed"), "{compared}");
    assert_eq!(rig.say("let c = compare(told, run(prompt(k.text), full())); c.column(\"loss\").len()"), "2");
    let rows = rig.say("sweep(#{ method: [full(), m] }, |c| run(k, c.method))");
    assert!(rows.contains("loss_tokens"), "{rows}");
    // the words of a trace and of predictions are the same either way
    assert_eq!(rig.say("generate(k, full(), 4) == generate(prompt(k.text), full(), 4)"), "true");
}
