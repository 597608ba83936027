//! Class names in `architectures`: those of other families are computed in other ways.

use serde_json::Value;

use crate::error::{OpenError, cut};
use crate::fields::Fields;

/// Beginnings of class names whose models are computed in another way.
const OTHER_FAMILIES: &[&str] = &[
    "llama4",
    "mllama",
    "llava",
    "mistral",
    "mixtral",
    "ministral",
    "qwen",
    "gemma",
    "phi",
    "gpt",
    "bloom",
    "falcon",
    "opt",
    "cohere",
    "granite",
    "olmo",
    "stablelm",
    "starcoder",
    "deepseek",
    "baichuan",
    "chatglm",
    "glm",
    "internlm",
    "mpt",
    "minicpm",
    "exaone",
    "smollm3",
    "nemotron",
    "arctic",
    "dbrx",
    "jamba",
    "mamba",
    "apertus",
    "ernie",
    "helium",
    "persimmon",
    "seedoss",
    "cwm",
    "bitnet",
    "diffllama",
    "doge",
    "hunyuan",
    "longcat",
    "lfm",
    "zamba",
    "recurrentgemma",
    "rwkv",
    "t5",
    "bert",
    "roberta",
    "xlm",
    "xglm",
    "bart",
    "aquila",
    "orion",
    "xverse",
    "decilm",
    "youtu",
];

/// Refuses class names of other families; tells of those that nobody knows.
pub(super) fn check(fields: Fields<'_>, warnings: &mut Vec<String>) -> Result<(), OpenError> {
    let Some(value) = fields.get("architectures") else { return Ok(()) };
    let names: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let folded = |name: &str| name.to_ascii_lowercase();
    if names.iter().any(|name| is_other(name)) {
        let help = "its `model_type` says `llama`; make the two agree if it is one";
        return Err(fields.unsupported("architectures", help));
    }
    let strangers = names.iter().filter(|name| !folded(name).contains("llama"));
    warnings.extend(strangers.take(1).map(|name| {
        format!(
            "{} names the architecture `{}`; it is computed as a Llama, as its `model_type` says",
            fields.file,
            cut(name)
        )
    }));
    Ok(())
}

/// Whether a class name begins with that of another family, as a whole word: `OPTForCausalLM`, not `OptimizedLlama`.
fn is_other(name: &str) -> bool {
    let begins = |family: &&&str| name.get(..family.len()).is_some_and(|start| start.eq_ignore_ascii_case(family));
    let mut families = OTHER_FAMILIES.iter().filter(begins);
    families.any(|family| !name[family.len()..].starts_with(|next: char| next.is_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_a_whole_word() {
        for name in [
            "OPTForCausalLM",
            "Qwen2ForCausalLM",
            "QWenLMHeadModel",
            "GPT2LMHeadModel",
            "T5ForConditionalGeneration",
            "Llama4ForCausalLM",
            "LlavaLlamaForCausalLM",
            "MllamaForCausalLM",
            "opt",
            "Gemma3nForCausalLM",
        ] {
            assert!(is_other(name), "{name}");
        }
        for name in ["OptimizedLlamaForCausalLM", "PhilosopherLlama", "LlamaForCausalLM", "Glmized", "", "é", "Öpt"] {
            assert!(!is_other(name), "{name}");
        }
    }
}
