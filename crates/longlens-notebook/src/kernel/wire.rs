//! A message as it comes off a socket: signed, and not always complete.

use jupyter_protocol::{Header, JupyterMessage, JupyterMessageContent};
use jupyter_zmq_client::{Connection, RawMessage, RuntimeError};
use serde_json::{Map, Value, json};
use zeromq::SocketRecv;

/// Waits for the next message; an error says why one was dropped.
pub(super) async fn read<S: SocketRecv>(connection: &mut Connection<S>) -> Result<JupyterMessage, String> {
    let parts = connection.socket.recv().await.map_err(|error| error.to_string())?;
    let raw = RawMessage::from_multipart(parts, &connection.mac).map_err(|error| match error {
        RuntimeError::VerifyError(_) | RuntimeError::DecodeError(_) => "its signature is wrong".into(),
        other => other.to_string(),
    })?;
    parse(raw)
}

fn parse(raw: RawMessage) -> Result<JupyterMessage, String> {
    let [header, parent_header, metadata, content] = raw.jparts.first_chunk().ok_or("it has too few parts")?;
    let header: Header = serde_json::from_slice(header).map_err(|error| format!("its header is wrong: {error}"))?;
    let wrong = |error: serde_json::Error| format!("the content of `{}` is wrong: {error}", header.msg_type);
    let mut content: Map<String, Value> = serde_json::from_slice(content).map_err(wrong)?;
    fill(&header.msg_type, &mut content);
    let content =
        JupyterMessageContent::from_type_and_content(&header.msg_type, Value::Object(content)).map_err(wrong)?;
    Ok(JupyterMessage {
        // a request seldom has a parent, and then an empty object stands here
        parent_header: serde_json::from_slice(parent_header).ok(),
        metadata: serde_json::from_slice(metadata).unwrap_or_else(|_| json!({})),
        zmq_identities: raw.zmq_identities,
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

    fn message(header: &str, content: &str) -> Result<JupyterMessage, String> {
        let parts = [header, "{}", "{}", content].map(|part| part.as_bytes().to_vec().into());
        parse(RawMessage { zmq_identities: Vec::new(), jparts: parts.into() })
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
