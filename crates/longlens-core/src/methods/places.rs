//! Some heads of some layers, as parts of a method's text form name them: `3`, `0-1`, `2-`, `3h0-7`.

use std::fmt;
use std::ops::RangeInclusive;

use crate::setting::SettingError;
use crate::spec::ModelSpec;

/// Heads of layers; every layer named has the same heads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    layers: RangeInclusive<usize>,
    heads: RangeInclusive<usize>,
}

/// The highest layer or head there is.
const LAST: usize = usize::MAX;

impl Places {
    /// One head.
    pub(crate) fn head(layer: usize, head: usize) -> Self {
        Self { layers: layer..=layer, heads: head..=head }
    }

    /// Reads the text form; an error says what was expected in place of it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (layers, heads) = text.trim().split_once('h').unwrap_or((text.trim(), "0-"));
        let numbers = |numbers: &str| match range(numbers) {
            Some(range) if range.is_empty() => {
                Err(format!("a part whose numbers ascend, as in `{}-{}`", range.end(), range.start()))
            }
            Some(range) => Ok(range),
            None => Err("a part for layers as in `3`, `0-1`, `2-`, or heads of them as in `3h0-7`".into()),
        };
        Ok(Self { layers: numbers(layers)?, heads: numbers(heads)? })
    }

    /// Whether a head is one of them.
    pub(crate) fn hold(&self, layer: usize, head: usize) -> bool {
        self.layers.contains(&layer) && self.heads.contains(&head)
    }

    /// Refuses layers and heads that `model` does not have; `owner` names the method in the error.
    pub(crate) fn check(&self, owner: &'static str, model: &ModelSpec) -> Result<(), SettingError> {
        for (what, count, numbers) in [("layer", model.n_layers, &self.layers), ("head", model.n_heads, &self.heads)] {
            let named = if *numbers.end() == LAST { *numbers.start() } else { *numbers.end() };
            if named >= count {
                let first = (*numbers.start()).min(count - 1);
                return Err(SettingError::Impossible {
                    owner,
                    inequality: format!("{what} < {count} ({named} < {count})"),
                    nearest: format!("the model has {count} {what}s; `{first}-` goes on to the last one"),
                });
            }
        }
        Ok(())
    }
}

/// `3`, `0-1` or `2-`.
pub(super) fn range(text: &str) -> Option<RangeInclusive<usize>> {
    let number = |text: &str| text.trim().parse::<usize>().ok();
    Some(match text.split_once('-') {
        None => number(text)?..=number(text)?,
        Some((first, "")) => number(first)?..=LAST,
        Some((first, last)) => number(first)?..=number(last)?,
    })
}

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = |numbers: &RangeInclusive<usize>| match (numbers.start(), numbers.end()) {
            (first, &LAST) => format!("{first}-"),
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        };
        f.write_str(&numbers(&self.layers))?;
        if self.heads != (0..=LAST) {
            write!(f, "h{}", numbers(&self.heads))?;
        }
        Ok(())
    }
}
