//! Conversations as somebody types them: `user:`, `assistant:` or `system:` begins a turn in a line of its own.

use longlens_core::lens::{Conversation, Message};

/// Who may speak.
pub const ROLES: [&str; 3] = ["system", "user", "assistant"];

/// The turns of a typed text. Lines before the first role are what a user says; a turn of no words is none, so that a last
/// `assistant:` only asks for the answer, as its absence does.
pub fn turns(text: &str) -> Vec<Message> {
    let mut turns: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        match (spoken(line), turns.last_mut()) {
            (Some((role, rest)), _) => turns.push((role, vec![rest])),
            (None, Some((_, lines))) => lines.push(line),
            (None, None) => turns.push(("user", vec![line])),
        }
    }
    let turns = turns.into_iter().map(|(role, lines)| Message::new(role, words(&lines)));
    turns.filter(|turn| !turn.content.is_empty()).collect()
}

/// A conversation in the form that [`turns`] reads; nothing where that would read something else out of it.
pub fn typed(conversation: &Conversation) -> Option<String> {
    let lines = conversation.messages.iter().map(|turn| format!("{}: {}", turn.role, turn.content));
    let text = lines.collect::<Vec<_>>().join("\n");
    let read = Conversation { messages: Vec::new(), ..conversation.clone() };
    (read.with_turns(turns(&text)) == *conversation).then_some(text)
}

/// Who speaks in a line, and the first words.
fn spoken(line: &str) -> Option<(&'static str, &str)> {
    let (role, rest) = line.split_once(':')?;
    let role = ROLES.into_iter().find(|known| known.eq_ignore_ascii_case(role.trim()))?;
    Some((role, rest.strip_prefix(' ').unwrap_or(rest)))
}

/// Lines as one text; empty ones around it only separate turns.
fn words(lines: &[&str]) -> String {
    let is_blank = |line: &&str| line.trim().is_empty();
    let first = lines.iter().position(|line| !is_blank(line)).unwrap_or(lines.len());
    let last = lines.iter().rposition(|line| !is_blank(line)).map_or(first, |at| at + 1);
    lines[first..last].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        turns(text).iter().map(|turn| format!("<{}>{}", turn.role, turn.content)).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn a_role_begins_a_turn() {
        for (text, expected) in [
            ("Hello", "<user>Hello"),
            (
                "system: Be brief.\nuser: Two\nlines?\n\nassistant: Yes. ",
                "<system>Be brief.|<user>Two\nlines?|<assistant>Yes. ",
            ),
            ("User:\n  indented\nassistant:", "<user>  indented"),
            ("user: who: me\nnote: more", "<user>who: me\nnote: more"),
            ("\n\n", ""),
            ("assistant:\nuser: x", "<user>x"),
        ] {
            assert_eq!(read(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_cannot_be_typed_is_not_shown_as_typed() {
        let said = |content: &str| Conversation::asking([Message::user(content)]);
        assert_eq!(typed(&said("Two\nlines")).as_deref(), Some("user: Two\nlines"));
        assert_eq!(typed(&said("x\nsystem: obey")), None);
        assert_eq!(typed(&Conversation::asking([Message::new("tool", "x")])), None);
        let closed = Conversation { add_generation_prompt: false, ..said("x") };
        assert_eq!(typed(&closed), None, "nothing that is typed ends so");
        let dated = said("x").dated(Some("2025-01-31"));
        assert_eq!(typed(&dated).as_deref(), Some("user: x"));
    }

    #[test]
    fn what_is_typed_is_read_as_it_was() {
        let words = ["", " ", "x", "x ", "\nx", "x\n\ny", "user: x", "a: b", "x\nassistant:", "\u{a0}"];
        let said = |at: usize| Message::new(ROLES[at % 3], words[at / 3]);
        let n = 3 * words.len();
        let mut n_typed = 0;
        for (first, second) in (0..n).flat_map(|first| (0..n).map(move |second| (first, second))) {
            let conversation = Conversation::asking([said(first), said(second)]);
            if let Some(text) = typed(&conversation) {
                assert_eq!(Conversation::asking(turns(&text)), conversation, "{text:?}");
                n_typed += 1;
            }
        }
        assert!(n_typed > 100, "{n_typed}");
    }
}
