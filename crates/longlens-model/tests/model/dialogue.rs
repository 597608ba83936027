//! A conversation that goes on from its cache records what whole prompts record.

use longlens_core::trace::{Chunks, Queries, Watch, WatchMass};
use longlens_eval::dialogue::Dialogue;
use longlens_eval::generate::{Stop, generate};
use longlens_eval::sampling::Sampling;

use crate::common::{Way, same_attention, tokens, two_layers};

#[test]
fn passages_of_a_later_turn_are_those_of_its_whole_prompt() {
    let mut lens = two_layers();
    let lens = lens.as_mut();
    let stop = Stop { max_tokens: 4, eos: false, ..Stop::default() };
    for method in ["full", "self_extend:group_size=4,neighbor_window=16", "long_heads:chunk_len=4,attention_len=32"] {
        let way = Way::new(method, "none");
        let mut dialogue = Dialogue::new(Sampling::default(), stop.clone());
        for n_prompt in [60, 90, 120] {
            let prompt = tokens(n_prompt);
            let queries = Queries::Of((n_prompt - 5..n_prompt + 2).collect());
            let mass = Some(WatchMass { chunks: Chunks::At([0, 7, 30, 55].into()), queries });
            let watch = Watch { mass, beyond: stop.max_tokens, ..Watch::default() };
            let setup = way.setup(lens, n_prompt, watch);
            let said = dialogue.answer(lens, &setup, &prompt, &mut (), &mut |_| {}).unwrap();
            let plain = Sampling::default();
            let anew = generate(lens, &setup, &prompt, &plain, &stop, &mut (), &mut |_| {}).unwrap();
            assert_eq!(said.tokens, anew.tokens, "{method} after {n_prompt} tokens");
            assert_eq!(said.trace.layers[0].mass.as_ref().unwrap().queries.len(), 7, "{method}");
            same_attention(&said.trace, &anew.trace).unwrap();
        }
    }
}
