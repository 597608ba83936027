//! Model families by the `model_type` of their `config.json`.

use longlens_core::nearest::nearest_within;

use crate::error::OpenError;

/// A model family.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// Its `model_type`.
    pub model_type: &'static str,
    /// The name in its papers.
    pub title: &'static str,
}

/// Every family; a new one adds its line here and its file beside this one.
pub static FAMILIES: &[Family] = &[Family { model_type: "llama", title: "Llama" }];

/// The family of a `model_type` that stands in `file`.
pub fn find(file: &str, model_type: &str) -> Result<&'static Family, OpenError> {
    FAMILIES.iter().find(|family| family.model_type == model_type).ok_or_else(|| {
        let known: Vec<_> = FAMILIES.iter().map(|family| family.model_type).collect();
        OpenError::UnknownFamily {
            file: file.into(),
            model_type: model_type.into(),
            nearest: slip(model_type, &known),
            known,
        }
    })
}

/// The family that was meant by a misspelt name. One letter is a slip; a digit more, or the name of another real family, is not.
fn slip(model_type: &str, known: &[&'static str]) -> Option<&'static str> {
    let is_other =
        REAL.contains(&model_type.to_ascii_lowercase().as_str()) || model_type.contains(|c: char| c.is_ascii_digit());
    (!is_other).then(|| nearest_within(model_type, known.iter().copied(), 1)).flatten()
}

/// Names of other families that are one letter away.
const REAL: &[&str] = &["mllama", "llava", "flava", "llama_moe"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_family_and_a_stranger_gets_the_list() {
        assert_eq!(find("config.json", "llama").unwrap().title, "Llama");
        let slip = find("config.json", "lama").unwrap_err();
        assert_eq!(slip.to_string(), "config.json: unknown `model_type` `lama`");
        assert_eq!(slip.help().unwrap(), "did you mean `llama`?");
        for slip in ["Llama", "LLaMA", "llamma", "lllama"] {
            assert_eq!(find("config.json", slip).unwrap_err().help().unwrap(), "did you mean `llama`?", "{slip}");
        }
        for stranger in ["mixtral", "llama4", "llama4_text", "mllama", "llava", "llama2", "gemma", "mamba", "opt", ""] {
            let error = find("config.json", stranger).unwrap_err();
            assert_eq!(error.help().unwrap(), "known families: llama", "{stranger}");
        }
    }
}
