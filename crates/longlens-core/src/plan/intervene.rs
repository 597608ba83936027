//! Changes of one head's rule that leave its method as it is.

use std::ops::Range;

use super::{HeadPlan, Reach, Span};

/// Why a rule cannot be changed so: what does not hold, and what would work.
pub type Refusal = (String, String);

impl HeadPlan {
    /// The same attention with an output of zeros.
    #[must_use]
    pub fn off(self) -> Self {
        Self { is_off: true, ..self }
    }

    /// The same without the keys of some ranges of tokens, which may overlap: no later query meets them. Every query meets itself.
    /// Capacities are those of the rule without holes.
    ///
    /// Errors: a rule that chooses chunks or is written out query by query.
    pub fn hiding(self, hidden: &[Range<usize>]) -> Result<Self, Refusal> {
        if self.choice.is_some() {
            return Err((
                "keys are met by spans alone".into(),
                "give the head a method without a choice of chunks first, or force other chunks".into(),
            ));
        }
        if self.written.is_some() {
            return Err((
                "spans are given by formulas".into(),
                "hide the keys in the function that wrote the method".into(),
            ));
        }
        let mut ranges: Vec<Range<usize>> = hidden.to_vec();
        ranges.sort_by_key(|range| range.start);
        let mut apart: Vec<Range<usize>> = Vec::new();
        for range in ranges {
            match apart.last_mut().filter(|last| range.start < last.end) {
                Some(last) => last.end = last.end.max(range.end),
                None => apart.push(range),
            }
        }
        let starts = std::iter::once(0).chain(apart.iter().map(|range| range.end));
        let ends = apart.iter().map(|range| range.start).chain([usize::MAX]);
        let seen = starts.zip(ends).map(|(start, end)| (start..end, false));
        let parts: Vec<_> = seen.chain(apart.iter().map(|range| (range.clone(), true))).collect();
        let part = |span: &Span, (keys, own): &(Range<usize>, bool)| Span {
            reach: Reach::Part { of: Box::new(span.reach.clone()), keys: keys.clone(), own: *own },
            ..span.clone()
        };
        let is_some = |(keys, _): &&(Range<usize>, bool)| !keys.is_empty();
        let spans = self.spans.iter().flat_map(|span| parts.iter().filter(is_some).map(|one| part(span, one)));
        Ok(Self { spans: spans.collect(), ..self })
    }

    /// The same with chunks that are picked whatever they score, once they are complete and there to pick from. `chunks` ascend.
    ///
    /// Errors: a rule without a choice of chunks, and more chunks than it picks.
    pub fn forcing(self, chunks: &[u32]) -> Result<Self, Refusal> {
        let Some(choice) = self.choice else {
            return Err(("the head chooses chunks".into(), "take a method that chooses chunks".into()));
        };
        let (n, n_picks) = (chunks.len(), choice.n_picks());
        if n > n_picks {
            return Err((
                format!("forced chunks <= chunks picked by score ({n} <= {n_picks})"),
                format!("force at most {n_picks}, or let the method attend to more chunks"),
            ));
        }
        Ok(Self { forced: chunks.to_vec(), ..self })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::methods::Method;
    use crate::methods::tests::any_spans;
    use crate::plan::{Prefill, Relation};
    use crate::spec::ModelSpec;

    fn rule(text: &str) -> HeadPlan {
        Method::parse(text).unwrap().plan(&ModelSpec::tiny(64)).unwrap().of(0, 0).clone()
    }

    proptest! {
        #[test]
        fn hidden_keys_are_those_and_no_others(
            text in any_spans(), ranges in prop::collection::vec((0..90usize, 1..20usize), 1..4), n in 1..120usize,
        ) {
            let hidden: Vec<_> = ranges.iter().map(|(start, len)| *start..start + len).collect();
            let hides = |i: usize, j: usize| i > j && hidden.iter().any(|range| range.contains(&j));
            let before = rule(&text);
            let after = before.clone().hiding(&hidden).unwrap();
            let prompt = Prefill { n_tokens: n };
            for (i, j) in (0..n).flat_map(|i| (0..=i).map(move |j| (i, j))) {
                let at = |rule: &HeadPlan| match rule.relation(i, j, prompt) {
                    Relation::At(position, _) => Some(position),
                    _ => None,
                };
                prop_assert_eq!(at(&after), at(&before).filter(|_| !hides(i, j)), "query {}, key {}", i, j);
                let met = after.spans.iter().filter(|span| span.reach.keys(i).contains(&j)).count();
                prop_assert!(met <= 1);
            }
            prop_assert!(after.highest_position(n) >= before.highest_position(n) - 1e-9);
        }

        #[test]
        fn blocks_of_a_reach_in_parts_bound_those_of_its_queries(
            text in any_spans(), first in 0..60usize, len in 1..30usize, start in 0..90usize, n in 1..40usize,
        ) {
            let hiding = rule(&text).hiding(std::slice::from_ref(&(first..first + len))).unwrap();
            for span in &hiding.spans {
                let (any, all) = (span.reach.keys_of_any(start..start + n), span.reach.keys_of_all(start..start + n));
                for i in start..start + n {
                    let keys = span.reach.keys(i);
                    prop_assert!(keys.is_empty() || (any.start <= keys.start && keys.end <= any.end));
                    prop_assert!(all.is_empty() || (keys.start <= all.start && all.end <= keys.end));
                }
            }
        }
    }

    #[test]
    fn what_a_rule_cannot_do_is_refused() {
        let chooses = rule("long_heads:chunk_len=4,attention_len=24");
        assert_eq!(chooses.choice.unwrap().n_picks(), 3);
        assert!(chooses.clone().hiding(std::slice::from_ref(&(0..4))).is_err());
        assert_eq!(chooses.clone().forcing(&[7, 9]).unwrap().forced, [7, 9]);
        assert_eq!(chooses.forcing(&[1, 2, 3, 4]).unwrap_err().0, "forced chunks <= chunks picked by score (4 <= 3)");
        assert_eq!(HeadPlan::full().forcing(&[1]).unwrap_err().0, "the head chooses chunks");
    }
}
