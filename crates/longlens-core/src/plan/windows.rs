//! Layers of a model that have a window of their own, under a plan: which of them keep it, and what a user is told.

use serde::{Deserialize, Serialize};

use super::{HeadPlan, Heads, Plan, Warning};
use crate::ranges::numbers;
use crate::setting::SettingError;
use crate::spec::ModelSpec;

/// What becomes of windows that layers of a model have of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerWindows {
    /// Layers keep their window, and the method acts on the others; where no others are left, a method other than `full` takes the
    /// place of all windows.
    #[default]
    Auto,
    /// Layers keep their window, and a method that no other layer is left for is refused.
    Keep,
    /// No layer has a window: the method, `full` too, acts on all of them.
    Off,
}

impl LayerWindows {
    /// The names of all, the usual one first.
    pub const NAMES: &[&str] = &["auto", "keep", "off"];

    /// The name in settings and results.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The one of this name; the usual one where none has it.
    pub fn named(name: &str) -> Self {
        [Self::Auto, Self::Keep, Self::Off].into_iter().find(|one| one.name() == name).unwrap_or_default()
    }
}

/// Windows of a model's layers under one plan.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Windows {
    /// How they were asked to be treated; the usual way where the model has none.
    asked: LayerWindows,
    /// What a user should know of them.
    told: Option<Warning>,
    /// The first layer without a window, the first of all where every layer is alike.
    first_whole: usize,
}

impl Plan {
    /// The same plan on a model some of whose layers have a window or frequencies of their own: such layers rotate by their own
    /// frequencies, and have their window or not as `asked` says. `is_plain` is attention without a method, in whose place no
    /// window needs to go.
    pub(crate) fn on(self, model: &ModelSpec, is_plain: bool, asked: LayerWindows) -> Result<Self, SettingError> {
        if model.layers.is_empty() {
            return Ok(self);
        }
        let (windows, keeps) = Windows::of(model, is_plain, asked).ok_or_else(|| {
            let method = self.method.split(':').next().unwrap_or_default().to_owned();
            SettingError::NoLayerLeft { method }
        })?;
        let rule = |layer: usize, head: usize| {
            let own = model.layers.get(layer).cloned().unwrap_or_default();
            let window = own.window.filter(|_| keeps);
            let rule = window.map_or_else(|| self.of(layer, head).clone(), HeadPlan::window);
            HeadPlan { rotation: own.rotation, ..rule }
        };
        Ok(Self { heads: Heads::by_head(model, rule), method: self.method, windows })
    }

    /// What a user should know of windows that layers of the model have of their own.
    pub fn windows(&self) -> Option<&Warning> {
        self.windows.told.as_ref()
    }

    /// How windows that the model's layers have were asked to be treated, where that is not the usual way.
    pub fn layer_windows(&self) -> Option<&'static str> {
        Some(self.windows.asked).filter(|asked| *asked != LayerWindows::Auto).map(LayerWindows::name)
    }

    /// The layer that views of one layer show where none is named: the first that the method acts on.
    pub fn first_layer(&self) -> usize {
        self.windows.first_whole
    }
}

impl Windows {
    /// What becomes of the windows of a model's layers, and whether layers keep them; nothing where no layer is left for a method.
    fn of(model: &ModelSpec, is_plain: bool, asked: LayerWindows) -> Option<(Self, bool)> {
        let has_window = |layer: &usize| model.layers.get(*layer).is_some_and(|own| own.window.is_some());
        let (windowed, whole): (Vec<_>, Vec<_>) = (0..model.n_layers).partition(has_window);
        let Some(window) = model.layers.iter().filter_map(|own| own.window).max() else {
            return Some((Self::default(), true));
        };
        let (windowed, is_one) = (numbers("layer", &windowed).unwrap_or_default(), windowed.len() == 1);
        let told = match (asked, numbers("layer", &whole)) {
            (LayerWindows::Off, _) => Some(Warning::WindowsIgnored { window, windowed, is_one }),
            _ if is_plain => None,
            (_, Some(whole)) => Some(Warning::WindowsKept { window, windowed, whole, is_one }),
            (LayerWindows::Auto, None) => Some(Warning::WindowsReplaced { window }),
            (LayerWindows::Keep, None) => return None,
        };
        let keeps = !matches!(told, Some(Warning::WindowsReplaced { .. } | Warning::WindowsIgnored { .. }));
        let first_whole = whole.first().copied().filter(|_| keeps).unwrap_or(0);
        Some((Self { asked, told, first_whole }, keeps))
    }
}
