//! A function's body as Rhai writes it out, without what depends on where it stands.

/// A written-out body without lines and columns (`3:14`, `3:14-20`, `3:14-4:2`) and without the names that come from them;
/// texts are left as they are. The labels of a `switch` stand as hashes in an order of chance, and are put in one of their own.
pub fn without_places(body: &str) -> String {
    let mut kept = String::with_capacity(body.len());
    let mut rest = body;
    while let Some(first) = rest.chars().next() {
        if let Some((labels, after)) = switch(rest) {
            kept.extend([LABELS, &labels]);
            rest = after;
            continue;
        }
        let len = if rest.starts_with("'\"'") {
            3
        } else if first == '"' {
            text_len(rest)
        } else if first.is_ascii_digit() {
            match place_len(rest) {
                Some(len) => {
                    rest = &rest[len..];
                    continue;
                }
                None => digits(rest),
            }
        } else {
            first.len_utf8()
        };
        kept.push_str(&rest[..len]);
        rest = &rest[len..];
    }
    nameless(&kept)
}

/// Bytes of the text in quotes that `rest` begins with.
fn text_len(rest: &str) -> usize {
    let mut escaped = false;
    let end = rest[1..].find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    end.map_or(rest.len(), |end| end + 2)
}

/// Bytes of the place that `rest` begins with: a line, a colon and a column, and where it is a span, its end. A label of a
/// `switch` has a colon behind it too, but then a blank.
fn place_len(rest: &str) -> Option<usize> {
    let pair = |text: &str| {
        let line = digits(text);
        let column = digits(text[line..].strip_prefix(':')?);
        (line > 0 && column > 0).then_some(line + 1 + column)
    };
    let start = pair(rest)?;
    let Some(end) = rest[start..].strip_prefix('-') else { return Some(start) };
    match pair(end).unwrap_or_else(|| digits(end)) {
        0 => Some(start),
        len => Some(start + 1 + len),
    }
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// What stands before the labels of a `switch`.
const LABELS: &str = "cases: {";

/// The labels of the `switch` whose labels `rest` begins with, in order, and what follows them.
fn switch(rest: &str) -> Option<(String, &str)> {
    let inside = rest.strip_prefix(LABELS)?;
    let end = inside.find("}, ranges: ")?;
    let mut labels: Vec<&str> =
        inside[..end].split_inclusive("}, ").map(|label| label.trim_end_matches(", ")).collect();
    labels.sort_unstable();
    Some((labels.join(", "), &inside[end..]))
}

/// What stands before the number in the name of a function without a name.
const ANONYMOUS: &str = "anon$";

fn nameless(text: &str) -> String {
    let mut parts = text.split(ANONYMOUS);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + ANONYMOUS + part.trim_start_matches(|c: char| c.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_left_out_and_texts_are_kept() {
        let body = r#"[Var(("a\"1:2", '"' @ 3:14), FnPtr(anon$0f3b, 12) @ 1:2-3:4, 5:6-7), 1.5 @ none, 1-2]"#;
        let expected = r#"[Var(("a\"1:2", '"' @ ), FnPtr(anon$, 12) @ , ), 1.5 @ none, 1-2]"#;
        assert_eq!(without_places(body), expected);
    }

    #[test]
    fn labels_of_a_switch_have_one_order() {
        let switch = |labels: &str| {
            without_places(&format!("Switch((x @ 1:2, {LABELS}{labels}}}, ranges: [1..2 => 0] }}), 3:4)"))
        };
        let (one, two) = ("12: CaseBlocksList { blocks: [0] }", "345: CaseBlocksList { blocks: [1, 2] }");
        let both = switch(&format!("{one}, {two}"));
        assert_eq!(both, switch(&format!("{two}, {one}")));
        assert!(both.contains(one) && both.contains(two), "{both}");
        assert_ne!(both, switch(&format!("{one}, {}", two.replace("345", "346"))));
        assert_eq!(switch(""), "Switch((x @ , cases: {}, ranges: [1..2 => 0] }), )");
    }

    #[test]
    fn a_body_of_rhai_has_the_labels() {
        let of = |label: &str| {
            let code = format!("fn f(x) {{ switch x {{ {label} => 1, 5 => 2, _ => 3 }} }}");
            let ast = rhai::Engine::new_raw().compile(code).unwrap();
            let module = ast.shared_lib().clone();
            let (.., def) = module.iter_script_fn_info().next().unwrap();
            format!("{:?}", def.body)
        };
        assert!(of("\"a\"").contains(LABELS) && of("\"a\"").contains("}, ranges: "), "{}", of("\"a\""));
        assert_ne!(without_places(&of("\"a\"")), without_places(&of("\"b\"")));
    }
}
