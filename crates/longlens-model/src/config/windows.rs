//! Windows that layers have of their own: `sliding_window`, and which layers it holds in.

use longlens_core::spec::{LayerSpec, ModelSpec, Rotation};
use serde_json::Value;

use crate::error::OpenError;
use crate::fields::Fields;

/// The window of a model, and the layers that have it.
#[derive(Debug, Clone, PartialEq)]
pub struct Windows {
    /// Newest keys that a query sees, its own included; no layer has a window where this is absent.
    pub len: Option<usize>,
    /// Layers that have it.
    pub kinds: Kinds,
    /// RoPE base of these layers, where it is another.
    pub rope_theta: Option<f64>,
}

/// Which layers of a model have the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kinds {
    /// All.
    All,
    /// From this one on.
    From(usize),
    /// All but every so many: layer `l` sees everything where this divides `l + 1`.
    AllButEvery(usize),
    /// As `layer_types` has it, layer by layer.
    Listed(Vec<bool>),
}

impl Kinds {
    /// Whether a layer has the window.
    fn has(&self, layer: usize) -> bool {
        match self {
            Self::All => true,
            Self::From(first) => layer >= *first,
            Self::AllButEvery(n) => !(layer + 1).is_multiple_of(*n),
            Self::Listed(listed) => listed.get(layer).or(listed.last()).copied().unwrap_or(false),
        }
    }
}

impl Windows {
    /// `sliding_window`, in the layers of `layer_types` or, where the config does not list them, of `kinds`. A window that is no
    /// shorter than the longest context hides nothing and is none.
    pub(crate) fn read(fields: Fields<'_>, kinds: Kinds) -> Result<Self, OpenError> {
        Self::read_or(fields, None, kinds)
    }

    /// The same with a window that is taken where the config does not name the field.
    pub(crate) fn read_or(fields: Fields<'_>, default: Option<usize>, kinds: Kinds) -> Result<Self, OpenError> {
        let kinds = match fields.get("layer_types") {
            Some(Value::Array(types)) => {
                let is_window = |kind: &Value| match kind.as_str() {
                    Some("sliding_attention") => Some(true),
                    Some("full_attention") => Some(false),
                    _ => None,
                };
                let listed = types.iter().map(is_window).collect::<Option<Vec<_>>>();
                let listed = listed.ok_or_else(|| {
                    fields.unsupported("layer_types", "known kinds: full_attention, sliding_attention")
                })?;
                // a list that says what the family does anyway is the same model
                let is_usual = listed.iter().enumerate().all(|(layer, is_window)| kinds.has(layer) == *is_window);
                if is_usual { kinds } else { Kinds::Listed(listed) }
            }
            Some(_) => return Err(fields.error("layer_types", "a list of kinds")),
            None => kinds,
        };
        // some programs write 0 or -1 for none
        let is_off = fields.get("sliding_window").and_then(Value::as_i64).is_some_and(|len| len <= 0);
        let given = if is_off { None } else { fields.count("sliding_window")? };
        let len = given.or(default.filter(|_| !fields.has("sliding_window")));
        if len.is_none() && !is_off && matches!(&kinds, Kinds::Listed(listed) if listed.contains(&true)) {
            return Err(fields.error("sliding_window", "a whole number, since `layer_types` names sliding_attention"));
        }
        let longest = fields.count("max_position_embeddings")?;
        let hides = |len: &usize| longest.is_none_or(|longest| *len < longest);
        Ok(Self { len: len.filter(hides), kinds, rope_theta: None })
    }

    /// Windows that count where `use_sliding_window` says so, from layer `max_window_layers` on.
    pub(crate) fn of_upper_layers(fields: Fields<'_>) -> Result<Self, OpenError> {
        let first = match fields.get("max_window_layers").and_then(Value::as_u64) {
            Some(0) => 0,
            _ => fields.count("max_window_layers")?.unwrap_or(28),
        };
        if fields.flag("use_sliding_window")?.unwrap_or(false) {
            return Self::read_or(fields, Some(4096), Kinds::From(first));
        }
        // a list of kinds is looked at all the same: others than these two are no windows
        Ok(Self { len: None, kinds: Kinds::All, ..Self::read_or(fields, Some(4096), Kinds::All)? })
    }

    /// The same, with another RoPE base in the layers that have the window.
    #[must_use]
    pub fn rotated_by(self, rope_theta: f64) -> Self {
        Self { rope_theta: Some(rope_theta), ..self }
    }

    /// Gives the layers of a spec their windows.
    pub fn specify(&self, spec: &mut ModelSpec) {
        let own = |layer| {
            let is_such = self.kinds.has(layer);
            LayerSpec {
                window: self.len.filter(|_| is_such),
                rotation: self.rope_theta.filter(|_| is_such).map_or(Rotation::Model, Rotation::Base),
            }
        };
        let layers: Vec<_> = (0..spec.n_layers).map(own).collect();
        spec.layers = if layers.iter().all(|layer| *layer == LayerSpec::default()) { Vec::new() } else { layers };
    }
}
