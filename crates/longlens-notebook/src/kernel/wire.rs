//! A message as it stands on a socket: its address, its signature, and four texts in JSON that are not always complete.

use bytes::Bytes;
use jupyter_protocol::{Header, JupyterMessage, JupyterMessageContent, UnknownMessage};
use serde_json::{Map, Value, json};

use super::signatures::Signatures;

/// Between the addresses and the signature.
const DELIMITER: &[u8] = b"<IDS|MSG>";
/// Parts that are signed: header, header of the message that this one answers, metadata, content.
const N_SIGNED: usize = 4;

/// Requests that a client waits for an answer to, whatever they say.
const ANSWERED: [&str; 9] = [
    "comm_info_request",
    "complete_request",
    "execute_request",
    "history_request",
    "inspect_request",
    "interrupt_request",
    "is_complete_request",
    "kernel_info_request",
    "shutdown_request",
];
/// Where a request of an unknown kind says what is wrong with it.
const WRONG: &str = "wrong";

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

/// Reads a request; `name` is the address to which replies go. One whose content is wrong is read too where it is to be
/// answered: [`refusal`] has the answer.
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

/// The content of the answer to a request whose own content is wrong; `None` for any other message. `n_cells` is the number of the
/// newest cell.
pub(super) fn refusal(request: &JupyterMessage, n_cells: usize) -> Option<JupyterMessageContent> {
    let kind = request.header.msg_type.as_str();
    let JupyterMessageContent::UnknownMessage(unknown) = &request.content else { return None };
    // what is read without a fault has a content of its kind
    let why = unknown.content.get(WRONG).and_then(Value::as_str).filter(|_| ANSWERED.contains(&kind))?;
    let line = format!("ProtocolError: {why}");
    let mut answer = json!({ "status": "error", "ename": "ProtocolError", "evalue": why, "traceback": [line] });
    // some clients read no answer without these
    match kind {
        "execute_request" => answer["execution_count"] = n_cells.into(),
        "history_request" => answer["history"] = json!([]),
        "shutdown_request" => answer["restart"] = false.into(),
        _ => {}
    }
    Some(unknown.reply(answer))
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
    let kind = header.msg_type.as_str();
    let read = serde_json::from_slice(content).and_then(|mut content: Map<String, Value>| {
        fill(kind, &mut content);
        JupyterMessageContent::from_type_and_content(kind, Value::Object(content))
    });
    let content = match read {
        Ok(content) => content,
        Err(error) if ANSWERED.contains(&kind) => {
            let why = format!("the content of this {kind} is wrong: {error}");
            UnknownMessage { msg_type: kind.to_owned(), content: json!({ WRONG: why }) }.into()
        }
        Err(error) => return Err(wrong(&format!("content as `{kind}`"), &error)),
    };
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

/// Gives optional fields that are absent or null the values that the protocol names. A cursor before the code is at its start.
fn fill(msg_type: &str, content: &mut Map<String, Value>) {
    if let Some(cursor) = content.get_mut("cursor_pos").filter(|cursor| cursor.as_i64().is_some_and(i64::is_negative)) {
        *cursor = 0.into();
    }
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
        for (header, content) in
            [("", "{}"), ("{}", "{}"), (header("comm_open").as_str(), "[1]"), (header("debug_request").as_str(), "[1]")]
        {
            assert!(message(header, content).is_err(), "{header} {content}");
        }
    }

    #[test]
    fn wrong_requests_have_an_answer() {
        for (kind, content, told) in [
            ("execute_request", "{}", "missing field `code`"),
            ("execute_request", "[1]", "expected a map"),
            ("execute_request", "{", "EOF"),
            ("execute_request", r#"{"code": 1}"#, "expected a string"),
            ("history_request", r#"{"hist_access_type": "dig"}"#, "unknown variant `dig`"),
            ("complete_request", r#"{"code": "", "cursor_pos": "end"}"#, "expected usize"),
            ("inspect_request", r#"{"code": "", "cursor_pos": 1e300}"#, "expected usize"),
            ("is_complete_request", "null", "expected a map"),
            ("shutdown_request", r#"{"restart": "perhaps"}"#, "expected a boolean"),
            ("kernel_info_request", "7", "expected a map"),
        ] {
            let request = message(&header(kind), content).unwrap();
            let answer = refusal(&request, 7).unwrap_or_else(|| panic!("{kind} {content}"));
            assert_eq!(answer.message_type(), kind.replace("request", "reply"));
            let answer = serde_json::to_value(&answer).unwrap();
            assert_eq!(answer["status"], "error", "{answer}");
            assert!(answer["evalue"].as_str().is_some_and(|why| why.contains(kind) && why.contains(told)), "{answer}");
            assert!(answer["ename"].is_string() && answer["traceback"][0].is_string(), "{answer}");
        }
        // a client's own words are none of ours
        assert!(refusal(&message(&header("make_coffee_request"), r#"{"wrong": "x"}"#).unwrap(), 7).is_none());
        assert!(
            refusal(&message(&header("complete_request"), r#"{"code": "", "cursor_pos": 0}"#).unwrap(), 7).is_none()
        );
    }

    #[test]
    fn a_cursor_before_the_code_is_at_its_start() {
        let request = message(&header("complete_request"), r#"{"code": "a", "cursor_pos": -1}"#).unwrap();
        let JupyterMessageContent::CompleteRequest(ask) = request.content else { panic!("{request:?}") };
        assert_eq!(ask.cursor_pos, 0);
        let request = message(&header("inspect_request"), r#"{"code": "a", "cursor_pos": -5}"#).unwrap();
        let JupyterMessageContent::InspectRequest(ask) = request.content else { panic!("{request:?}") };
        assert_eq!(ask.cursor_pos, 0);
    }
}
