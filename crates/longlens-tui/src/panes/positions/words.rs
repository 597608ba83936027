//! A plan in words.

use std::ops::Range;

use longlens_core::plan::{PosMap, Reach, Relation, Span};

use super::Planned;

/// Which keys a span holds.
pub fn reach_of(reach: &Reach) -> String {
    match *reach {
        Reach::Causal => "every earlier key".to_owned(),
        Reach::Nearer(window) => format!("nearer than {window}"),
        Reach::AtLeast(window) => format!("{window} and further"),
        Reach::Sinks { n_sink, .. } => format!("the first {n_sink}"),
        Reach::SameChunk(c) => format!("same chunk of {c}"),
        Reach::PreviousChunk(_) => "the chunk before".to_owned(),
        Reach::EarlierChunks(_) => "all earlier chunks".to_owned(),
        Reach::Table(ref table) if table.has_holes() => "as written, with holes".to_owned(),
        Reach::Table(_) => "as written".to_owned(),
        Reach::Part { own: true, ref keys, .. } => format!("itself, of tokens {}–{}", keys.start, keys.end - 1),
        Reach::Part { ref of, ref keys, .. } => {
            let tokens = match (keys.start, keys.end) {
                (0, end) => format!("of tokens before {end}"),
                (start, usize::MAX) => format!("of tokens from {start} on"),
                (start, end) => format!("of tokens {start}–{}", end - 1),
            };
            format!("{} {tokens}", reach_of(of))
        }
    }
}

/// How a span's positions differ from the tokens' own; nothing where they do not.
pub fn rule_of(span: &Span) -> Option<String> {
    let (query, key) = (map_of(&span.query_pos, "i"), map_of(&span.key_pos, "j"));
    (query != "i" || key != "j").then(|| format!("{query} − {key}"))
}

/// A position as a formula of a token.
fn map_of(map: &PosMap, token: &str) -> String {
    if map.table.is_some() {
        return format!("table[{token}]");
    }
    if map.modulo == Some(1) {
        return position(map.add);
    }
    let mut text = token.to_owned();
    if let Some(modulo) = map.modulo {
        text = format!("{text} mod {modulo}");
    }
    if map.divide > 1 {
        text = if map.modulo.is_some() {
            format!("({text}) / {}", map.divide)
        } else {
            format!("{text} / {}", map.divide)
        };
    }
    if map.add != 0.0 {
        let sign = if map.add < 0.0 { '−' } else { '+' };
        text = format!("{text} {sign} {}", position(map.add.abs()));
    }
    match map.cap {
        Some(cap) => format!("min({text}, {})", position(cap)),
        None if text == token => text,
        None => format!("({text})"),
    }
}

/// A position without a long fraction.
pub fn position(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The runs of keys that a query sees by one rule, nearest first, and what it sees there; `!` where that was never trained.
pub fn parts_of(planned: &Planned, query: usize) -> Vec<(Range<usize>, String)> {
    let mut parts: Vec<(Range<usize>, String)> = Vec::new();
    let choosing = planned
        .rule
        .choice
        .as_ref()
        .and_then(|choice| choice.query(query, longlens_core::plan::Prefill { n_tokens: planned.n_tokens }));
    if let Some(slots) = choosing {
        let chunk = |chunks: Range<usize>| chunks.start * slots.chunk_len..chunks.end * slots.chunk_len;
        let forced = [slots.tail.clone(), chunk(slots.newest.clone())];
        parts.extend(forced.into_iter().filter(|keys| !keys.is_empty()).map(|keys| {
            let at = at(planned, query, &keys);
            (keys, at)
        }));
        if !slots.candidates.is_empty() {
            let what = format!("in {} of {} chunks", slots.n_picks.min(slots.candidates.len()), slots.candidates.len());
            parts.push((chunk(slots.candidates.clone()), what));
        }
        let first = chunk(0..slots.candidates.start);
        if !first.is_empty() {
            parts.push((first.clone(), at(planned, query, &first)));
        }
        return parts;
    }
    for span in &planned.rule.spans {
        let keys = span.reach.keys(query);
        if !keys.is_empty() {
            let at = at(planned, query, &keys);
            parts.push((keys, at));
        }
    }
    parts.sort_by_key(|(keys, _)| std::cmp::Reverse(keys.start));
    parts
}

/// The relative positions of the first and the last of some keys.
fn at(planned: &Planned, query: usize, keys: &Range<usize>) -> String {
    let place = |key: usize| match planned.relation(query, key) {
        Relation::At(position, _) => Some(position),
        Relation::Chosen { between: (low, _), .. } => Some(low),
        Relation::Hidden => None,
    };
    let (Some(first), Some(last)) = (place(keys.start), place(keys.end - 1)) else { return "not at all".to_owned() };
    let alarm = if first.max(last) >= planned.trained as f64 { " !" } else { "" };
    let (first, last) = (position(first), position(last));
    if first == last { format!("all at {first}{alarm}") } else { format!("at {first}–{last}{alarm}") }
}

#[cfg(test)]
mod tests {
    use longlens_core::methods::Method;
    use longlens_core::spec::ModelSpec;

    use super::*;

    fn planned(method: &str, n_tokens: usize) -> Planned {
        let spec = ModelSpec::tiny(32);
        let rule = Method::parse(method).unwrap().plan(&spec).unwrap().of(0, 0).clone();
        Planned { rule, n_tokens, trained: 32 }
    }

    fn shown(method: &str, query: usize) -> Vec<String> {
        let parts = parts_of(&planned(method, 64), query).into_iter();
        parts.map(|(keys, what)| format!("{}–{} {what}", keys.start, keys.end - 1)).collect()
    }

    #[test]
    fn a_query_stands_somewhere_in_every_span() {
        assert_eq!(shown("full", 20), ["0–20 at 20–0"]);
        assert_eq!(shown("full", 40), ["0–40 at 40–0 !"]);
        assert_eq!(shown("self_extend:neighbor_window=8,group_size=4", 40), ["33–40 at 7–0", "0–32 at 16–8"]);
        assert_eq!(shown("dual_chunk:chunk_size=24,local_window=8", 40).len(), 3);
    }

    #[test]
    fn chunks_that_may_be_chosen_are_counted() {
        let method = "long_heads:chunk_len=4,attention_len=16,begin_len=16";
        let parts = shown(method, 41);
        assert_eq!(parts[0], "40–41 at 1–0");
        assert_eq!(parts[2], "4–35 in 1 of 8 chunks");
        assert!(parts[3].starts_with("0–3 at "), "{parts:?}");
    }

    #[test]
    fn rules_read_as_formulas() {
        let rules = |method: &str| planned(method, 64).rule.spans.iter().map(rule_of).collect::<Vec<_>>();
        assert_eq!(rules("full"), [None]);
        let grouped = rules("self_extend:neighbor_window=8,group_size=4");
        assert_eq!(grouped, [None, Some("(i / 4 + 6) − (j / 4)".to_owned())]);
    }
}
