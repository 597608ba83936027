//! Python's `format`, as far as a document meets it that stands inside the format by mistake.

/// What `message.format(document=document, inst=instruction)` gives; nothing where it raises, after which the scripts send the message as
/// it is.
///
/// Double braces become single ones, and `{document}` and `{inst}` what they name. Whatever else stands in braces raises: nearly all that
/// code and prose hold does. What Python knows beyond, such as a width behind a colon, is taken for raising, too.
pub(super) fn formatted(message: &str, document: &str, instruction: &str) -> Option<String> {
    let mut text = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(at) = rest.find(['{', '}']) {
        text.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        let behind = &rest[at + 1..];
        if let Some(single) = behind.strip_prefix(brace) {
            text.push_str(brace);
            rest = single;
            continue;
        }
        // a closing brace alone raises
        let (field, behind) = (brace == "{").then(|| behind.split_once('}')).flatten()?;
        let name = field.strip_suffix(':').unwrap_or(field);
        text.push_str(match name.strip_suffix("!s").unwrap_or(name) {
            "document" => document,
            "inst" => instruction,
            _ => return None,
        });
        rest = behind;
    }
    text.push_str(rest);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_interpreted_or_raise() {
        let of = |message: &str| formatted(message, "DOC", "INST");
        assert_eq!(of("no braces"), Some("no braces".into()));
        assert_eq!(of("{{1}} of {{{{"), Some("{1} of {{".into()));
        assert_eq!(of("a {document} b {inst!s:}"), Some("a DOC b INST".into()));
        for raises in ["{", "}", "{}", "{0}", "{x: 1}", "{document", "a}b", "{'a': 1}", "{{}"] {
            assert_eq!(of(raises), None, "{raises}");
        }
    }
}
