//! Two methods on the same samples: by how much their scores differ, and how sure that is.

use std::collections::BTreeMap;

use serde::Serialize;

use super::measure::{Measure, score};
use super::record::Record;
use super::summary::DRAWS;
use crate::scorers::Mode;
use crate::stats::{difference, stratified95};
use crate::tasks::{Mean, Task};

/// Samples of one task under two methods.
#[derive(Debug, Clone, Copy)]
pub struct Compared<'a> {
    /// Those of the method.
    pub ours: &'a [&'a Record],
    /// Those of the method that it is compared with.
    pub reference: &'a [&'a Record],
    /// How much the task counts, where several are added up.
    pub weight: f64,
}

/// A difference of scores between two methods on the same samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// Samples that both have.
    pub n: usize,
    /// The method's score less that of the other.
    pub difference: f64,
    /// Its 95 % interval, by the bootstrap over pairs; not numbers where a task has one pair, of which nobody knows how far others lie.
    pub interval: (f64, f64),
    /// Samples on which the method is better.
    pub n_better: usize,
    /// Samples on which it is worse.
    pub n_worse: usize,
    /// Whether chance is an unlikely reason: the interval lies on one side of 0, and at least [`LEAST`] samples differ.
    pub is_sure: bool,
}

/// Samples that have to differ before a difference is called sure. Of five that all point one way a sign test gives a probability of
/// 0.06, of six 0.03; the bootstrap by itself makes a point of any few that are alike.
pub const LEAST: usize = 6;

/// Compares methods on the samples that both have, those of one name and prompt. Scores of several tasks are added up by weight. Nothing
/// where a task has no sample that both have.
pub fn compare(tasks: &[Compared<'_>]) -> Option<Difference> {
    let pairs: Vec<Pairs> = tasks.iter().map(Pairs::of).collect::<Option<_>>()?;
    let groups: Vec<&[(Measure, Measure)]> = pairs.iter().map(|pairs| &pairs.measures[..]).collect();
    let weighted = |at: usize, drawn: &[(Measure, Measure)]| {
        let Pairs { mean, mode, .. } = pairs[at];
        tasks[at].weight * difference(drawn, |measures| score(measures, mean, mode))
    };
    let has_one = groups.iter().any(|group| group.len() < 2);
    let interval = if has_one { (f64::NAN, f64::NAN) } else { stratified95(&groups, DRAWS, weighted) };
    let count = |is: fn(f64, f64) -> bool| {
        let all = groups.iter().flat_map(|group| group.iter());
        all.filter(|(ours, reference)| is(ours.merit(), reference.merit())).count()
    };
    let (n_better, n_worse) = (count(|ours, reference| ours > reference), count(|ours, reference| ours < reference));
    let is_one_sided = interval.0 > 0.0 || interval.1 < 0.0;
    Some(Difference {
        n: groups.iter().map(|group| group.len()).sum(),
        difference: groups.iter().enumerate().map(|(at, group)| weighted(at, group)).sum(),
        interval,
        n_better,
        n_worse,
        is_sure: is_one_sided && n_better + n_worse >= LEAST,
    })
}

/// Samples of a task that both have.
struct Pairs {
    measures: Vec<(Measure, Measure)>,
    mean: Mean,
    mode: Mode,
}

impl Pairs {
    fn of(compared: &Compared<'_>) -> Option<Self> {
        let first = compared.ours.first()?;
        let mean = Task::named(&first.task).map_or(Mean::Plain, |task| task.mean);
        let by_sample = |records: &[&Record]| -> BTreeMap<(String, String), Measure> {
            let named = records.iter().filter_map(|record| {
                let measure = Measure::of(record, mean)?;
                Some(((record.id.clone(), record.prompt_sha256.clone()), measure))
            });
            named.collect()
        };
        let (ours, reference) = (by_sample(compared.ours), by_sample(compared.reference));
        let measures: Vec<_> =
            ours.iter().filter_map(|(sample, measure)| Some((*measure, *reference.get(sample)?))).collect();
        (!measures.is_empty()).then_some(Self { measures, mean, mode: first.mode })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::answered;
    use super::*;

    #[test]
    fn samples_are_paired_by_name_and_prompt() {
        let hits = |hits: &[bool]| -> Vec<Record> {
            hits.iter().enumerate().map(|(at, hit)| answered(&at.to_string(), *hit)).collect()
        };
        let (ours, mut reference) = (hits(&[true; 10]), hits(&[false; 10]));
        reference.reverse();
        let of = |ours: &[Record], reference: &[Record]| {
            let (ours, reference): (Vec<_>, Vec<_>) = (ours.iter().collect(), reference.iter().collect());
            compare(&[Compared { ours: &ours, reference: &reference, weight: 1.0 }])
        };
        let found = of(&ours, &reference).unwrap();
        assert_eq!((found.n, found.difference, found.n_better, found.n_worse), (10, 100.0, 10, 0));
        assert!(found.is_sure && found.interval == (100.0, 100.0));
        let back = of(&reference, &ours).unwrap();
        assert_eq!((back.difference, back.n_worse, back.is_sure), (-100.0, 10, true));
        // five that differ may be chance
        let five = of(&ours[..5], &reference).unwrap();
        assert_eq!((five.n, five.interval, five.is_sure), (5, (100.0, 100.0), false));
        // half for one and half for the other
        let mixed = hits(&[true, false].repeat(5));
        let other = hits(&[false, true].repeat(5));
        let even = of(&mixed, &other).unwrap();
        assert_eq!((even.difference, even.n_better, even.n_worse, even.is_sure), (0.0, 5, 5, false));
        assert!(even.interval.0 < -40.0 && even.interval.1 > 40.0, "{even:?}");
        // another prompt is another sample
        for record in &mut reference {
            record.prompt_sha256 = "other".into();
        }
        assert_eq!(of(&ours, &reference), None);
    }

    #[test]
    fn one_sample_of_every_task_makes_no_difference_sure() {
        let tasks =
            ["ruler_vt", "ruler_cwe", "ruler_fwe", "niah_single_1", "niah_single_2", "niah_single_3", "passkey"];
        let of = |hit: bool| -> Vec<Record> {
            tasks.iter().map(|task| Record { task: (*task).into(), ..answered("0", hit) }).collect()
        };
        let (ours, reference) = (of(true), of(false));
        let (ours, reference): (Vec<&Record>, Vec<&Record>) = (ours.iter().collect(), reference.iter().collect());
        let compared: Vec<_> = (0..tasks.len())
            .map(|at| Compared { ours: &ours[at..=at], reference: &reference[at..=at], weight: 1.0 / 7.0 })
            .collect();
        let found = compare(&compared).unwrap();
        assert!((found.difference - 100.0).abs() < 1e-9 && found.n_better == 7, "{found:?}");
        assert!(found.interval.0.is_nan() && found.interval.1.is_nan() && !found.is_sure, "{found:?}");
    }

    #[test]
    fn tasks_are_added_up_by_weight() {
        let records = |task: &str, n: usize, hit: bool| -> Vec<Record> {
            (0..n).map(|at| Record { task: task.into(), ..answered(&at.to_string(), hit) }).collect()
        };
        let [many, none, few] =
            [records("passkey", 40, true), records("passkey", 40, false), records("needle", 4, true)];
        let [many, none, few]: [Vec<&Record>; 3] = [&many, &none, &few].map(|records| records.iter().collect());
        let found = compare(&[
            Compared { ours: &many, reference: &none, weight: 0.5 },
            Compared { ours: &few, reference: &few, weight: 0.5 },
        ]);
        let found = found.unwrap();
        assert_eq!((found.difference, found.n), (50.0, 44), "each task counts half, however many samples it has");
    }
}
