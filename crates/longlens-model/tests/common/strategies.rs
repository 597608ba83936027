//! Methods and scalings with parameters that fit a hundred tokens.

use proptest::prelude::*;

/// Methods with one rule for prompt and generated tokens.
pub fn one_rule() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("full".to_owned()),
        (1..40usize).prop_map(|w| format!("sliding_window:window={w}")),
        (0..6usize, 1..40usize).prop_map(|(s, w)| format!("streaming:n_sink={s},window={w}")),
        (1..9usize, 1..40usize, prop_oneof![Just("off"), Just("16")])
            .prop_map(|(g, w, scale)| format!("self_extend:group_size={g},neighbor_window={w},log_scale={scale}")),
        (2..40usize, 1..40usize)
            .prop_map(|(c, w)| format!("dual_chunk:chunk_size={c},local_window={}", 1 + w % (c - 1))),
        (1..9usize, 4..7usize, 0..3usize).prop_map(|(w, n, more)| format!(
            "long_heads:chunk_len={w},attention_len={},begin_len={}",
            w * n,
            w * (n - 1) + more
        )),
    ]
}

/// Every method, those that remember how a token came included.
pub fn any_method() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => one_rule(),
        1 => (8..40usize).prop_map(|c| format!("dual_chunk:chunk_size={c},local_window=5,temperature=yarn")),
        1 => (1..9usize, 4..7usize).prop_map(|(w, n)| format!("long_heads:chunk_len={w},attention_len={},variant=released", w * n)),
    ]
}

/// Scalings whose frequencies follow no length.
pub fn fixed_rope() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("none"),
        Just("linear:factor=4"),
        Just("ntk:factor=4"),
        Just("yarn:factor=8"),
        Just("llama3:factor=8,original=32"),
    ]
}

/// Every scaling.
pub fn any_rope() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        4 => fixed_rope(),
        1 => Just("dynamic:factor=2,original=32"),
        1 => Just("dynamic:factor=2,original=32,rerotate=true"),
    ]
}
