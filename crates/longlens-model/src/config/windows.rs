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
    /// Those of even number below this one.
    EvenBelow(usize),
    /// Every so many: layer `l` where this divides `l + 1`.
    Every(usize),
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
            Self::EvenBelow(end) => layer.is_multiple_of(2) && layer < *end,
            Self::Every(n) => (layer + 1).is_multiple_of(*n),
            Self::AllButEvery(n) => !(layer + 1).is_multiple_of(*n),
            Self::Listed(listed) => listed.get(layer).or(listed.last()).copied().unwrap_or(false),
        }
    }
}

impl Windows {
    /// The field with the length of a window.
    pub(crate) const FIELD: &str = "sliding_window";
    /// Fields of configs whose family may have windows.
    pub(crate) const FIELDS: &[&str] = &[Self::FIELD, "layer_types"];
    /// The same of families that have a switch for them.
    pub(crate) const SWITCHED: &[&str] = &["sliding_window", "layer_types", "use_sliding_window", "max_window_layers"];

    /// `sliding_window`, in the layers of `layer_types` or, where the config does not list them, of `kinds`. A window as long as
    /// `max_position_embeddings` is one: it hides something as soon as a run is longer than that.
    pub(crate) fn read(fields: Fields<'_>, kinds: Kinds) -> Result<Self, OpenError> {
        Self::read_or(fields, None, kinds)
    }

    /// The same with a window that is taken where the config does not name the field.
    pub(crate) fn read_or(fields: Fields<'_>, default: Option<usize>, kinds: Kinds) -> Result<Self, OpenError> {
        let kinds = match listed(fields)? {
            // a list that says what the family does anyway is the same model
            Some(listed) if listed.iter().enumerate().any(|(layer, is_window)| kinds.has(layer) != *is_window) => {
                Kinds::Listed(listed)
            }
            _ => kinds,
        };
        // some programs write 0 or -1 for none
        let is_off = fields.get("sliding_window").and_then(Value::as_i64).is_some_and(|len| len <= 0);
        let given = if is_off { None } else { fields.count("sliding_window")? };
        let len = given.or(default.filter(|_| !fields.has("sliding_window")));
        if len.is_none() && !is_off && matches!(&kinds, Kinds::Listed(listed) if listed.contains(&true)) {
            return Err(fields.error("sliding_window", "a whole number, since `layer_types` names sliding_attention"));
        }
        Ok(Self { len, kinds, rope_theta: None })
    }

    /// The same where `use_sliding_window` says so; no layer has a window otherwise.
    pub(crate) fn switched(
        fields: Fields<'_>,
        default: Option<usize>,
        kinds: Kinds,
        warnings: &mut Vec<String>,
    ) -> Result<Self, OpenError> {
        if fields.flag("use_sliding_window")?.unwrap_or(false) {
            return Self::read_or(fields, default, kinds);
        }
        if listed(fields)?.is_some_and(|listed| listed.contains(&true)) {
            warnings.push(format!(
                "{} names sliding_attention in `layer_types`, but `use_sliding_window` is {}: no layer has a window",
                fields.file,
                fields.shown("use_sliding_window")
            ));
        }
        Ok(Self { len: None, kinds: Kinds::All, rope_theta: None })
    }

    /// The same of families whose `layer_types`, where the config has it, counts whatever the switch says.
    pub(crate) fn listed_or_switched(
        fields: Fields<'_>,
        kinds: Kinds,
        warnings: &mut Vec<String>,
    ) -> Result<Self, OpenError> {
        match listed(fields)? {
            Some(listed) if listed.contains(&true) => Self::read(fields, kinds),
            Some(_) => Ok(Self { len: None, kinds: Kinds::All, rope_theta: None }),
            None => Self::switched(fields, None, kinds, warnings),
        }
    }

    /// Switched windows of the layers from `max_window_layers` on, as Qwen2 and Qwen3 have them.
    pub(crate) fn of_upper_layers(fields: Fields<'_>, warnings: &mut Vec<String>) -> Result<Self, OpenError> {
        Self::switched(fields, Some(4096), Kinds::From(max_window_layers(fields)?), warnings)
    }

    /// Switched windows of the even layers below `max_window_layers`, as `qwen2_moe` has them.
    ///
    /// transformers 5 derives `layer_types` so; 4.57 has no such list in this family, and gives other numbers with a cache than
    /// without one. Released checkpoints have no windows.
    pub(crate) fn of_lower_even_layers(fields: Fields<'_>, warnings: &mut Vec<String>) -> Result<Self, OpenError> {
        Self::switched(fields, Some(4096), Kinds::EvenBelow(max_window_layers(fields)?), warnings)
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

/// `layer_types`: which layers have a window, if the config lists them.
fn listed(fields: Fields<'_>) -> Result<Option<Vec<bool>>, OpenError> {
    let types = match fields.get("layer_types") {
        Some(Value::Array(types)) => types,
        Some(_) => return Err(fields.error("layer_types", "a list of kinds")),
        None => return Ok(None),
    };
    let is_window = |kind: &Value| match kind.as_str() {
        Some("sliding_attention") => Some(true),
        Some("full_attention") => Some(false),
        _ => None,
    };
    let listed = types.iter().map(is_window).collect::<Option<Vec<_>>>();
    let known = "known kinds: full_attention, sliding_attention";
    listed.map(Some).ok_or_else(|| fields.unsupported("layer_types", known))
}

/// The layer that `max_window_layers` names, or transformers' default.
fn max_window_layers(fields: Fields<'_>) -> Result<usize, OpenError> {
    match fields.get("max_window_layers").and_then(Value::as_u64) {
        Some(0) => Ok(0),
        _ => Ok(fields.count("max_window_layers")?.unwrap_or(28)),
    }
}
