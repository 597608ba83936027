//! Files of a checkpoint changed at random, thousands of times where `LONGLENS_FUZZ_CASES` asks for it: the answer is always a model
//! or an error that names the file, in bounded time and memory, and never a panic.
//!
//! `LONGLENS_FUZZ_CASES=100000 cargo test --release --workspace --test mutations -- --nocapture` runs so many cases of each target;
//! `LONGLENS_FUZZ_SEED` begins elsewhere. A failure says seed and case, and leaves the file in the folder for temporary files.

mod counted;
mod mutate;
mod seeds;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use mutate::{Dice, mutated};
use seeds::Seed;

/// Cases of a target in a usual run of the tests.
pub const CASES: u64 = 300;
/// A case takes no longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes that a case may take beyond what the unchanged file takes.
const MOST: usize = 320 << 20;

/// Memory is counted for the whole program, so that one case runs at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Tries a target on its unchanged seeds, which must open, and on changed ones: so many, or as many as somebody asks for.
#[expect(clippy::print_stdout, reason = "a long run says how far it came")]
pub fn fuzz(
    name: &str,
    usual: u64,
    seeds: &[Seed],
    words: &[&str],
    target: impl Fn(&Seed, &[u8]) -> Result<(), String>,
) {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for seed in seeds {
        target(seed, &seed.bytes).unwrap_or_else(|error| panic!("{name}: {} unchanged: {error}", seed.file));
    }
    let (n_cases, start) = (number("LONGLENS_FUZZ_CASES").unwrap_or(usual), number("LONGLENS_FUZZ_SEED").unwrap_or(0));
    let (began, mut n_refused, mut highest) = (Instant::now(), 0, 0);
    for case in 0..n_cases {
        let mut dice = Dice::new(start ^ (case << 8));
        let seed = &seeds[dice.below(seeds.len())];
        let bytes = mutated(&seed.bytes, words, &mut dice);
        let (since, before) = (Instant::now(), counted::restart());
        let answer = catch_unwind(AssertUnwindSafe(|| target(seed, &bytes)));
        let (took, peak) = (since.elapsed(), counted::peak().saturating_sub(before));
        highest = peak.max(highest);
        let wrong = match &answer {
            Err(_) => Some("it panics".to_owned()),
            _ if took > PATIENCE => Some(format!("it takes {took:?}")),
            _ if peak > MOST => Some(format!("it takes {} MiB", peak >> 20)),
            Ok(Err(error)) if !seed.is_named(error) => Some(format!("the error names no file: {error}")),
            Ok(Err(error)) if error.len() > 4000 => Some(format!("the error has {} bytes", error.len())),
            Ok(_) => None,
        };
        if let Some(wrong) = wrong {
            let path = std::env::temp_dir().join(format!("fuzz-{name}-{start}-{case}-{}", seed.file));
            std::fs::write(&path, &bytes).unwrap();
            panic!("{name}, seed {start}, case {case} of {}: {wrong} ({})", seed.file, path.display());
        }
        n_refused += u64::from(matches!(answer, Ok(Err(_))));
    }
    assert!(n_refused > 0, "{name}: nothing is refused");
    println!("{name}: {n_cases} cases, {n_refused} refused, at most {} MiB, {:?}", highest >> 20, began.elapsed());
}
