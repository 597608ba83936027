//! The model inside the program behaves as `fixtures/tiny-model/README.md` says: plain attention breaks past its 256
//! trained tokens, and each method holds as far as it did when the model was measured there. `scripts/tiny-model` prints
//! the whole tables, up to 8192 tokens.

use std::path::Path;

use burn_flex::{Flex, FlexDevice};
use longlens_core::lens::{Lens, LensError, Setup};
use longlens_core::methods::Method;
use longlens_core::rope::RopeScaling;
use longlens_eval::passkey::{Fixture, Fixtures, read_fixtures, run_fixtures};
use longlens_eval::perplexity::{ByLength, by_length, encode_documents};
use longlens_eval::setup::PromptSize;
use longlens_kernel::linear::Storage;
use longlens_model::source::Source;

/// Stored prompts of each length that are run.
const PROMPTS: usize = 10;

/// Method and scaling of a prompt of so many tokens.
type Settings = fn(usize) -> (String, String);

fn corpus(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny-model/corpus").join(file)
}

fn open() -> Box<dyn Lens> {
    longlens_model::open::<Flex>(&Source::embedded(), Storage::F32, FlexDevice, "test").unwrap()
}

fn setup(lens: &dyn Lens, settings: Settings, size: PromptSize) -> Result<Setup, LensError> {
    let (method, rope) = settings(size.target);
    let setup = Setup::new(&Method::parse(&method)?, &lens.model().spec, size.n_tokens)?;
    Ok(Setup { rope: RopeScaling::parse(&rope)?, ..setup })
}

/// Share of keys found at a length.
fn found(settings: Settings, length: usize) -> f64 {
    let mut lens = open();
    let reference = open();
    let of_length = |prompt: &Fixture| prompt.length == Some(length);
    let prompts: Vec<Fixture> =
        read_fixtures(&corpus("passkey.jsonl")).unwrap().into_iter().filter(of_length).take(PROMPTS).collect();
    assert_eq!(prompts.len(), PROMPTS);
    let prompts = Fixtures::new(reference.text().unwrap(), prompts, None).unwrap();
    let mut setup_for = |size| setup(reference.as_ref(), settings, size);
    let report = run_fixtures(lens.as_mut(), &mut setup_for, &prompts, &mut (), &mut ()).unwrap();
    report.cells.iter().map(|cell| cell.hits_tokens).sum::<usize>() as f64 / PROMPTS as f64
}

fn group(length: usize) -> String {
    format!("self_extend:group_size={},neighbor_window=64", (length / 128).max(1))
}

#[test]
fn keys_are_found_as_far_as_each_method_carries() {
    // the least and the most that the README's table allows with ten prompts
    let cases: &[(Settings, usize, f64, f64)] = &[
        (|_| ("full".into(), "none".into()), 256, 1.0, 1.0),
        (|_| ("full".into(), "none".into()), 512, 0.0, 0.2),
        (|_| ("full".into(), "none".into()), 1024, 0.0, 0.0),
        (|_| ("full".into(), "none".into()), 2048, 0.0, 0.0),
        (|n| ("full".into(), format!("yarn:factor={}", n / 256)), 2048, 0.95, 1.0),
        (|n| (group(n), "none".into()), 512, 0.95, 1.0),
        (|n| (group(n), "none".into()), 2048, 0.95, 1.0),
        (|_| ("dual_chunk".into(), "none".into()), 2048, 0.95, 1.0),
        // one depth of five lies inside the window
        (|_| ("streaming:n_sink=4,window=252".into(), "none".into()), 1024, 0.1, 0.3),
        (|_| ("long_heads:chunk_len=16,attention_len=256".into(), "none".into()), 1024, 0.7, 1.0),
        (|_| ("long_heads:chunk_len=16,attention_len=256".into(), "none".into()), 2048, 0.65, 1.0),
    ];
    for (settings, length, least, most) in cases {
        let share = found(*settings, *length);
        let name = settings(*length);
        assert!((*least..=*most).contains(&share), "{name:?} found {share} at {length}, not {least} to {most}");
    }
}

#[test]
fn perplexity_at_8192_tokens_is_the_recorded_one() {
    // over the last 256 tokens and over all, of the first two held-out documents; the README's tables
    let cases: &[(Settings, f64, f64)] = &[
        (|_| ("full".into(), "none".into()), 100.64, 38.68),
        (|n| (group(n), "none".into()), 2.35, 2.61),
        (|_| ("dual_chunk".into(), "none".into()), 2.40, 2.63),
    ];
    let mut lens = open();
    let reference = open();
    let text = std::fs::read_to_string(corpus("heldout.txt")).unwrap();
    let documents = encode_documents(reference.text().unwrap(), &text).unwrap();
    assert_eq!(documents.iter().map(Vec::len).collect::<Vec<_>>(), [8193; 6]);
    for (settings, of_last, of_all) in cases {
        let mut setup_for = |size| setup(reference.as_ref(), *settings, size);
        let ask = ByLength { lengths: vec![8192], last: Some(256), prefill_per_length: true };
        let report = by_length(lens.as_mut(), &mut setup_for, &documents[..2], &ask, &mut (), &mut ()).unwrap();
        let row = &report.rows[0];
        for (got, recorded) in [(row.last.perplexity, of_last), (row.all.perplexity, of_all)] {
            let name = settings(8192);
            assert!((got / recorded - 1.0).abs() < 0.05, "{name:?}: perplexity {got} instead of {recorded}");
        }
    }
}
