//! Tensors in Hugging Face's layout as a GGUF file has them: the way back from [`Architecture::mappings`].

use super::{Architecture, USUAL, experts, plain_mlp};

/// A tensor of a GGUF file and what it is made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GgufTensor {
    pub name: String,
    /// Tensors in Hugging Face's layout, in order.
    pub of: Vec<String>,
    pub form: Form,
    /// What is added to every number.
    pub shift: f32,
}

/// What a tensor makes of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Their rows, one part's behind the other's.
    Rows,
    /// Their rows with the halves of every head interleaved.
    Interleaved,
    /// One matrix behind the other, in a dimension of their own.
    Stacked,
    /// The numbers of the only row, without a dimension for rows.
    Flat,
}

/// Where a module's tensors go: the module there, which part they are of one that holds several, and how.
type Place = (String, usize, Form);

impl Architecture {
    /// The tensors of a file of this architecture that hold those of these names. An error is a name that has no place there.
    pub(crate) fn tensors(&self, names: &[String]) -> Result<Vec<GgufTensor>, String> {
        let is_sandwich = names.iter().any(|name| name.ends_with("post_feedforward_layernorm.weight"));
        let mut tensors: Vec<(GgufTensor, Vec<(usize, &String)>)> = Vec::new();
        for name in names {
            let (prefix, module, end) = split(name).ok_or_else(|| name.clone())?;
            let (place, part, form) = self.place(module, is_sandwich).ok_or_else(|| name.clone())?;
            let shift = if self.shifted && place.ends_with("norm") { 1.0 } else { 0.0 };
            let stored = format!("{prefix}{place}.{end}");
            // parts of one tensor are asked for near each other
            match tensors.iter_mut().rev().take(MODULES).find(|(one, _)| one.name == stored) {
                Some((_, parts)) => parts.push((part, name)),
                None => {
                    tensors.push((GgufTensor { name: stored, of: Vec::new(), form, shift }, vec![(part, name)]));
                }
            }
        }
        let in_order = |(one, mut parts): (GgufTensor, Vec<(usize, &String)>)| {
            parts.sort_unstable();
            GgufTensor { of: parts.into_iter().map(|(_, name)| name.clone()).collect(), ..one }
        };
        Ok(tensors.into_iter().map(in_order).collect())
    }

    /// `is_sandwich`: layers have norms behind their sublayers, so that the one behind attention is not that before the MLP.
    fn place(&self, module: &str, is_sandwich: bool) -> Option<Place> {
        if let Some((place, expert)) = experts::place(self, module) {
            return Some((place, expert, Form::Stacked));
        }
        if module == experts::SHARED_SCORE {
            return Some(("ffn_gate_inp_shexp".into(), 0, Form::Flat));
        }
        let is_split = self.names.iter().any(|(_, ours)| *ours == plain_mlp::SPLIT);
        let of_three = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"].iter().position(|of| *of == module);
        if let Some(part) = of_three.filter(|_| is_split) {
            return Some(("attn_qkv".into(), part, Form::Rows));
        }
        let is_other = |theirs: &str| self.names.iter().any(|(own, _)| *own == theirs);
        let usual = USUAL.iter().filter(|(theirs, _)| !is_other(theirs));
        let mut found = self.names.iter().chain(usual).filter(|(_, ours)| *ours == module).map(|(theirs, _)| *theirs);
        let place = if is_sandwich { found.next() } else { found.next_back() }?;
        let is_turned = self.interleaved && ["attn_q", "attn_k"].contains(&place);
        Some((place.into(), 0, if is_turned { Form::Interleaved } else { Form::Rows }))
    }
}

/// A layer has no more tensors, experts counted once.
const MODULES: usize = 64;

/// Prefix of the layer, module, and `weight` or `bias`.
fn split(name: &str) -> Option<(String, &str, &str)> {
    let (module, end) = name.rsplit_once('.')?;
    match module.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.')) {
        Some((layer, module)) => Some((format!("blk.{layer}."), module, end)),
        None => Some((String::new(), module, end)),
    }
}
