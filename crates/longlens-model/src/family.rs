//! Model families by the `model_type` of their `config.json`.

use longlens_core::nearest::nearest;

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
            nearest: nearest(model_type, known.iter().copied()),
            known,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_family_and_a_stranger_gets_the_list() {
        assert_eq!(find("config.json", "llama").unwrap().title, "Llama");
        let slip = find("config.json", "lama").unwrap_err();
        assert_eq!(slip.to_string(), "config.json: unknown `model_type` `lama`");
        assert_eq!(slip.help().unwrap(), "did you mean `llama`?");
        assert_eq!(find("config.json", "mixtral").unwrap_err().help().unwrap(), "known families: llama");
    }
}
