//! A message as it stands on a socket: its address, its signature, and four texts in JSON that are not always complete.

use bytes::Bytes;
use jupyter_protocol::{Header, JupyterMessage, JupyterMessageContent};
use serde_json::{Map, Value, json};

use super::signatures::Signatures;

/// Between the addresses and the signature.
const DELIMITER: &[u8] = b"<IDS|MSG>";
/// Parts that are signed: header, header of the message that this one answers, metadata, content.
const N_SIGNED: usize = 4;

/// Why a message is not obeyed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    /// It does not come from somebody who has the key, or somebody repeats it.
    #[error("{0}")]
    Unsigned(&'static str),
    /// It is signed, and no message of the protocol.
    #[error("{0}")]
    Wrong(String),
}

/// Reads a request; `name` is the address to which replies go.
pub(super) fn read(name: Bytes, frames: &[Bytes], signatures: &Signatures) -> Result<JupyterMessage, Unread> {
    let delimiter =
        frames.iter().position(|frame| frame == DELIMITER).ok_or(Unread::Unsigned("it sends no message of Jupyter"))?;
    let (addresses, message) = (&frames[..delimiter], &frames[delimiter + 1..]);
    let [signature, header, parent_header, metadata, content, ..] = message else {
        return Err(Unread::Unsigned("it sends too few parts"));
    };
    let signature =
        signatures.check(signature, &message[1..=N_SIGNED]).ok_or(Unread::Unsigned("its signature is wrong"))?;
    let header = serde_json::from_slice(header).map_err(|error| wrong("header", &error))?;
    // what the kernel tells all clients is signed too, and anybody hears it: sent back it proves nothing
    if !is_request(&header) {
        return Err(Unread::Unsigned("it sends what only a kernel says"));
    }
    if !signatures.is_new(signature) {
        return Err(Unread::Unsigned("it repeats a message"));
    }
    let addresses = std::iter::once(name).chain(addresses.iter().cloned());
    parse(addresses.collect(), header, parent_header, metadata, content)
}

/// The frames of a message, with the addresses that it has.
pub(super) fn write(message: &JupyterMessage, signatures: &Signatures) -> Result<Vec<Bytes>, serde_json::Error> {
    let parent_header = message.parent_header.as_ref().map_or_else(|| Ok(b"{}".to_vec()), serde_json::to_vec)?;
    let parts: [Bytes; N_SIGNED] = [
        serde_json::to_vec(&message.header)?.into(),
        parent_header.into(),
        serde_json::to_vec(&message.metadata)?.into(),
        serde_json::to_vec(&message.content)?.into(),
    ];
    let signature = signatures.sign(&parts);
    // what both sides may say would be obeyed when somebody who heard it sends it back
    if is_request(&message.header)
        && let Some(own) = signatures.check(&signature, &parts)
    {
        signatures.is_new(own);
    }
    let mut frames = message.zmq_identities.clone();
    frames.extend([Bytes::from_static(DELIMITER), signature]);
    frames.extend(parts);
    frames.extend_from_slice(&message.buffers);
    Ok(frames)
}

fn is_request(header: &Header) -> bool {
    header.msg_type.ends_with("_request") || header.msg_type.starts_with("comm_")
}

fn wrong(what: &str, error: &serde_json::Error) -> Unread {
    Unread::Wrong(format!("its {what} is wrong: {error}"))
}

fn parse(
    zmq_identities: Vec<Bytes>,
    header: Header,
    parent_header: &[u8],
    metadata: &[u8],
    content: &[u8],
) -> Result<JupyterMessage, Unread> {
    let wrong = |error: serde_json::Error| wrong(&format!("content as `{}`", header.msg_type), &error);
    let mut content: Map<String, Value> = serde_json::from_slice(content).map_err(wrong)?;
    fill(&header.msg_type, &mut content);
    let content =
        JupyterMessageContent::from_type_and_content(&header.msg_type, Value::Object(content)).map_err(wrong)?;
    Ok(JupyterMessage {
        // a request seldom has a parent, and then an empty object stands here
        parent_header: serde_json::from_slice(parent_header).ok(),
        metadata: serde_json::from_slice(metadata).unwrap_or_else(|_| json!({})),
        zmq_identities,
        header,
        content,
        buffers: Vec::new(),
        channel: None,
    })
}

/// Gives optional fields that are absent or null the values that the protocol names.
fn fill(msg_type: &str, content: &mut Map<String, Value>) {
    let defaults = match msg_type {
        "execute_request" => json!({
            "silent": false,
            "store_history": true,
            "user_expressions": {},
            "allow_stdin": false,
            "stop_on_error": true,
        }),
        "history_request" => json!({
            "hist_access_type": "tail",
            "output": false,
            "raw": true,
            "session": 0,
            "start": 0,
            "stop": i32::MAX,
            "n": i32::MAX,
            "pattern": "*",
            "unique": false,
        }),
        "inspect_request" => json!({ "detail_level": 0 }),
        "shutdown_request" => json!({ "restart": false }),
        "comm_open" => json!({ "data": {}, "target_name": "" }),
        "comm_msg" | "comm_close" => json!({ "data": {} }),
        _ => return,
    };
    let Value::Object(defaults) = defaults else { return };
    for (name, value) in defaults {
        if content.get(&name).is_none_or(Value::is_null) {
            content.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use jupyter_protocol::HistoryRequest;

    use super::*;

    fn frames(header: &str, content: &str, signatures: &Signatures) -> Vec<Bytes> {
        let parts = [header, "{}", "{}", content].map(|part| Bytes::copy_from_slice(part.as_bytes()));
        let signed = [Bytes::from_static(DELIMITER), signatures.sign(&parts)];
        signed.into_iter().chain(parts).collect()
    }

    fn message(header: &str, content: &str) -> Result<JupyterMessage, Unread> {
        let signatures = Signatures::new("key");
        read(Bytes::from_static(b"peer"), &frames(header, content, &signatures), &signatures)
    }

    fn header(msg_type: &str) -> String {
        json!({ "msg_id": "1", "username": "u", "session": "s", "msg_type": msg_type, "version": "5.3" }).to_string()
    }

    #[test]
    fn what_a_client_leaves_out_is_filled_in() {
        let request = message(&header("execute_request"), r#"{"code": "1", "user_expressions": null}"#).unwrap();
        let JupyterMessageContent::ExecuteRequest(ask) = request.content else { panic!("{request:?}") };
        assert!(!ask.silent && ask.store_history && ask.stop_on_error);

        let search = r#"{"hist_access_type": "search", "pattern": "a*", "raw": true, "output": false}"#;
        let request = message(&header("history_request"), search).unwrap();
        let JupyterMessageContent::HistoryRequest(ask) = request.content else { panic!("{request:?}") };
        assert!(matches!(ask, HistoryRequest::Search { unique: false, n: i32::MAX, .. }));
    }

    #[test]
    fn messages_of_unknown_kinds_are_read() {
        let request = message(&header("make_coffee_request"), r#"{"sugar": 2}"#).unwrap();
        assert_eq!(request.message_type(), "make_coffee_request");
    }

    #[test]
    fn replies_find_their_way_back() {
        let signatures = Signatures::new("key");
        let mut asked = frames(&header("kernel_info_request"), "{}", &signatures);
        asked.insert(0, Bytes::from_static(b""));
        let request = read(Bytes::from_static(b"peer"), &asked, &signatures).unwrap();
        let written = write(&request, &signatures).unwrap();
        assert_eq!((&written[0][..], &written[1][..], &written[2][..]), (&b"peer"[..], &b""[..], DELIMITER));
        assert!(signatures.check(&written[3], &written[4..8]).is_some());
    }

    #[test]
    fn only_what_a_client_has_signed_is_read_and_only_once() {
        let signatures = Signatures::new("key");
        let reads = |frames: &[Bytes]| read(Bytes::new(), frames, &signatures);
        let unsigned = |frames: &[Bytes]| assert!(matches!(reads(frames), Err(Unread::Unsigned(_))), "{frames:?}");
        let ask = header("kernel_info_request");
        let good = frames(&ask, "{}", &signatures);
        unsigned(&frames(&ask, "{}", &Signatures::new("other")));
        unsigned(&frames(&ask, "{}", &Signatures::new("")));
        (0..good.len()).for_each(|len| unsigned(&good[..len]));
        // what all clients are told, sent back
        unsigned(&frames(&header("execute_input"), "{}", &signatures));
        reads(&good).unwrap();
        unsigned(&good);
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        for (header, content) in [
            ("", "{}"),
            ("{}", "{}"),
            (header("execute_request").as_str(), "{}"),
            (header("execute_request").as_str(), "[1]"),
            (header("execute_request").as_str(), r#"{"code": 1}"#),
            (header("history_request").as_str(), r#"{"hist_access_type": "dig"}"#),
            (header("complete_request").as_str(), r#"{"code": "", "cursor_pos": -1}"#),
        ] {
            assert!(message(header, content).is_err(), "{header} {content}");
        }
    }
}
