//! Class names in `architectures`: those of other families are computed in other ways.

use serde_json::Value;

use crate::error::{OpenError, cut};
use crate::families::{FAMILIES, Family};
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
pub(super) fn check(fields: Fields<'_>, family: &Family, warnings: &mut Vec<String>) -> Result<(), OpenError> {
    let Some(value) = fields.get("architectures") else { return Ok(()) };
    let names: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if names.iter().any(|name| is_other(name, family)) {
        let help = format!("its `model_type` says `{}`; make the two agree if it is one", family.model_type);
        return Err(fields.unsupported("architectures", &help));
    }
    let class = family.class();
    let strangers = names.iter().filter(|name| !name.to_ascii_lowercase().contains(&class));
    warnings.extend(strangers.take(1).map(|name| {
        let (file, name) = (fields.file, cut(name));
        format!("{file} names the architecture `{name}`; it is computed as `model_type` says, `{}`", family.model_type)
    }));
    Ok(())
}

/// Whether a class name begins with that of another family, as a whole word: `OPTForCausalLM`, not `OptimizedLlama`.
fn is_other(name: &str, family: &Family) -> bool {
    let rest = |start: &str| {
        name.get(..start.len()).filter(|begin| begin.eq_ignore_ascii_case(start)).map(|_| &name[start.len()..])
    };
    if rest(&family.class()).is_some_and(|rest| rest.starts_with("For")) {
        return false;
    }
    let others: Vec<_> = FAMILIES.iter().filter(|other| *other != family).map(Family::class).collect();
    let mut rests = OTHER_FAMILIES.iter().copied().chain(others.iter().map(String::as_str)).filter_map(rest);
    rests.any(|rest| !rest.starts_with(|next: char| next.is_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_a_whole_word() {
        let llama = crate::families::find("", "llama").unwrap();
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
            assert!(is_other(name, llama), "{name}");
        }
        for name in ["OptimizedLlamaForCausalLM", "PhilosopherLlama", "LlamaForCausalLM", "Glmized", "", "é", "Öpt"] {
            assert!(!is_other(name, llama), "{name}");
        }
    }
}
