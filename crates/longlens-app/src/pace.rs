//! How long things take: time that is left of what is measured, and from one run the time of another.

use longlens_core::plan::Plan;
use longlens_core::spec::ModelSpec;
use longlens_core::work::Work;

/// Floating-point operations a second, measured or guessed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace(f64);

/// What a core does at least with packed weights, in operations a second.
const CORE: f64 = 12e9;
/// The same of a device with memory of its own.
const DEVICE: f64 = 10e12;
/// A first prompt should take no longer than this, in seconds.
const FIRST_SECONDS: f64 = 4.0;
/// Tokens of a first prompt: enough for a hidden key at least, and no more than a look around needs.
const FIRST_TOKENS: (usize, usize) = (128, 4096);
/// Time that is left says nothing before this many seconds.
const TOO_EARLY: f64 = 0.3;

impl Pace {
    /// A guess before anything ran.
    pub fn guessed(on_device: bool) -> Self {
        let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self(if on_device { DEVICE } else { CORE * n_cores as f64 })
    }

    /// Of a prompt of `n_tokens` that took `seconds`, computed in steps of `step` tokens; nothing where it took no time.
    pub fn measured(model: &ModelSpec, plan: &Plan, n_tokens: usize, step: usize, seconds: f64) -> Option<Self> {
        let flops = Work::of_prompt(model, plan, n_tokens, step.max(1)).flops as f64;
        (seconds > 0.0 && flops > 0.0).then(|| Self(flops / seconds))
    }

    /// Which of two is slower.
    pub fn compare(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }

    /// Seconds that a prompt of `n_tokens` takes at this pace.
    pub fn seconds(self, model: &ModelSpec, plan: &Plan, n_tokens: usize, step: usize) -> f64 {
        Work::of_prompt(model, plan, n_tokens, step.max(1)).flops as f64 / self.0
    }

    /// Tokens of a first prompt that is there in a few seconds: a power of two, and no longer than four times what the model was
    /// trained on, behind which nothing is left to see.
    pub fn first_length(self, model: &ModelSpec) -> usize {
        let (least, most) = FIRST_TOKENS;
        let most = most.min(4 * model.trained_context);
        let products = 2.0 * (model.layer_weights as f64).max(1.0);
        let affordable = (FIRST_SECONDS * self.0 / products) as usize;
        if affordable >= most { most } else { (1 << affordable.max(1).ilog2()).max(least).min(most) }
    }
}

/// Seconds that are left when `done` of `total` steps took `seconds`; nothing while that is too little to tell.
pub fn left(seconds: f64, done: usize, total: usize) -> Option<f64> {
    (done > 0 && total > 0 && seconds >= TOO_EARLY).then(|| seconds * total.saturating_sub(done) as f64 / done as f64)
}

/// `12 s`, `3 min 20 s`, `2 h 5 min`; what is under a second is one.
pub fn text(seconds: f64) -> String {
    let seconds = seconds.clamp(0.0, 1e9).ceil().max(1.0) as u64;
    let two = |large: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {unit}"),
        small => format!("{large} {unit} {small} {small_unit}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        // ten seconds are near enough for minutes
        60..3600 => {
            let tens = seconds / 10 * 10;
            two(tens / 60, "min", tens % 60, "s")
        }
        _ => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
    }
}

#[cfg(test)]
mod tests {
    use longlens_core::methods::Method;

    use super::*;

    #[test]
    fn time_is_told_in_the_words_that_it_needs() {
        let words = [0.2, 12.1, 60.0, 209.0, 3600.0, 7512.0].map(text);
        assert_eq!(words, ["1 s", "13 s", "1 min", "3 min 20 s", "1 h", "2 h 5 min"]);
        assert_eq!(
            [left(3.0, 1, 4), left(0.1, 1, 4), left(3.0, 0, 4), left(3.0, 4, 4)],
            [Some(9.0), None, None, Some(0.0)]
        );
    }

    #[test]
    fn a_first_prompt_is_as_long_as_a_few_seconds_allow() {
        let sized = |layer_weights, trained| ModelSpec { layer_weights, ..ModelSpec::tiny(trained) };
        let pace = Pace(24e9);
        let lengths = [(700_000, 256), (106_000_000, 8192), (1_000_000_000, 8192), (7_000_000_000, 8192)];
        let lengths = lengths.map(|(weights, trained)| pace.first_length(&sized(weights, trained)));
        // a tiny model takes all that there is to see; the largest still takes what holds a key
        assert_eq!(lengths, [1024, 256, 128, 128]);
        assert_eq!(Pace(DEVICE).first_length(&sized(7_000_000_000, 8192)), 2048);
        assert_eq!(pace.first_length(&sized(700_000, 16)), 64);
    }

    #[test]
    fn what_was_measured_forecasts_itself() {
        let (spec, plan) = (ModelSpec::tiny(64), Method::full().plan(&ModelSpec::tiny(64)).unwrap());
        let pace = Pace::measured(&spec, &plan, 500, 100, 2.0).unwrap();
        assert!((pace.seconds(&spec, &plan, 500, 100) - 2.0).abs() < 1e-9);
        assert!(pace.seconds(&spec, &plan, 1000, 100) > 4.0, "attention grows with the square");
        assert_eq!(Pace::measured(&spec, &plan, 500, 100, 0.0), None);
    }
}
