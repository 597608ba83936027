//! Tensors of the files that the model does not use. A tensor that somebody trained changes the numbers of the model it was
//! trained in, so passing over it in silence would give other numbers than its author's.

use super::files::WeightFiles;
use super::stored::Stored;
use crate::error::{WeightProblem, cut};

/// What a tensor that nobody asked for means.
enum Meaning {
    /// Nothing: it holds what is computed anyway.
    Harmless,
    /// It stands beside the model; its logits do not depend on it.
    Beside,
    /// The model is another one than its config says.
    Changes { reason: &'static str, help: &'static str },
}

/// Splits what is unused into problems and into a sentence about what may stay unused.
pub(super) fn judge(files: &WeightFiles, unused: &[&str]) -> (Vec<WeightProblem>, Option<String>) {
    let (mut problems, mut beside) = (Vec::new(), Vec::new());
    for name in unused {
        match files.get(name).map_or(Meaning::Harmless, |stored| meaning(name, stored)) {
            Meaning::Harmless => {}
            Meaning::Beside => beside.push(*name),
            Meaning::Changes { reason, help } => {
                problems.push(WeightProblem::Unused { name: (*name).to_owned(), reason, help });
            }
        }
    }
    let said = beside.first().map(|first| {
        let more = if beside.len() > 1 { format!(" and {} more", beside.len() - 1) } else { String::new() };
        format!("tensors beside the model are not used: `{}`{more}", cut(first))
    });
    (problems, said)
}

fn meaning(name: &str, stored: &Stored) -> Meaning {
    let parts: Vec<&str> = name.split('.').collect();
    let has = |part: &str| parts.contains(&part);
    // frequencies and masks that older programs saved; transformers makes them anew as well
    if has("rotary_emb") || has("masked_bias") || has("position_ids") || name.ends_with("self_attn.bias") {
        return Meaning::Harmless;
    }
    if parts.iter().any(|part| part.contains("lora_") || part.contains("adapter")) {
        return Meaning::Changes {
            reason: "an adapter is not added to the weights",
            help: "merge it (PEFT's `merge_and_unload`) and save the whole model",
        };
    }
    let is_scale = |part: &&str| ["scale", "zero", "absmax", "quant", "g_idx"].iter().any(|word| part.contains(word));
    if parts.iter().any(is_scale) {
        return Meaning::Changes {
            reason: "scales of quantized weights are not applied",
            help: "use the checkpoint that this one was quantized from",
        };
    }
    if parts.last() == Some(&"bias") && (name.starts_with("model.") || name.starts_with("lm_head.")) {
        return if is_zero(stored) { Meaning::Harmless } else { bias(name) };
    }
    if has("q_norm") || has("k_norm") {
        return Meaning::Changes {
            reason: "the model that config.json describes has no norm of queries and keys",
            help: "the weights belong to another family than config.json says",
        };
    }
    if name.starts_with("model.layers.") || name.starts_with("model.norm") || name.starts_with("model.embed") {
        return Meaning::Changes {
            reason: "the model that config.json describes has no such tensor",
            help: "config.json and the weights belong to different models: compare `model_type` and `num_hidden_layers`",
        };
    }
    if name.starts_with("model.") || name.starts_with("lm_head.") {
        return Meaning::Changes {
            reason: "the model that config.json describes has no such tensor",
            help: "the weights belong to another family than config.json says",
        };
    }
    Meaning::Beside
}

fn bias(name: &str) -> Meaning {
    let reason = "the config announces no such bias";
    let help = if name.contains(".self_attn.") {
        "set `attention_bias` to true in config.json if all four attention products have one; a model with biases of query, key \
         and value alone is of another family than its `model_type` says"
    } else if name.contains(".mlp.") {
        "set `mlp_bias` to true in config.json if all three products of the MLP have one"
    } else {
        "the weights belong to another family than config.json says"
    };
    Meaning::Changes { reason, help }
}

/// Whether a tensor adds nothing.
fn is_zero(stored: &Stored) -> bool {
    if !stored.format().is_readable() {
        return false;
    }
    let mut piece = vec![0.0; PIECE.min(stored.n_numbers())];
    (0..stored.n_numbers()).step_by(PIECE).all(|first| {
        let piece = &mut piece[..PIECE.min(stored.n_numbers() - first)];
        stored.read(first, piece, f32::MAX).is_none() && piece.iter().all(|x| *x == 0.0)
    })
}

/// Numbers that are looked at together.
const PIECE: usize = 1 << 16;
