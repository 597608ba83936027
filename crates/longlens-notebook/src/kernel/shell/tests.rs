//! A session without sockets: requests in, everything that it says out.

use std::sync::mpsc::channel;

use jupyter_protocol::{
    CommId, CommOpen, ExecuteRequest, HistoryRequest, IsCompleteRequest, JupyterMessageContent as Content,
    KernelInfoRequest, UnknownMessage,
};
use longlens_core::lens::CancelToken;

use super::*;
use crate::interpreter::{CellError, Completions, Out};
use crate::kernel::outbox::{Channel, Outgoing, queue};
use crate::shown::Shown;

/// A language where a cell's value is the cell, `fail` fails, and `say` prints. `count` is how many cells it has counted.
#[derive(Default)]
struct Parrot {
    n_counted: usize,
}

impl Interpreter for Parrot {
    fn run(&mut self, cell: &str, out: &Out) -> Result<Option<Shown>, CellError> {
        self.n_counted += 1;
        self.aside(cell, out)
    }

    fn aside(&mut self, cell: &str, out: &Out) -> Result<Option<Shown>, CellError> {
        match cell {
            "count" => return Ok(Some(Shown::text(self.n_counted.to_string()))),
            "fail" => return Err(CellError::new("NameError", "no", Some("say yes".into()))),
            "say" => {
                out.borrow_mut().print("a");
                out.borrow_mut().show(&Shown::text("b"));
                return Ok(None);
            }
            _ => {}
        }
        Ok(Some(Shown::text(cell)))
    }

    fn count(&self) -> usize {
        self.n_counted
    }

    fn cancel(&self) -> CancelToken {
        CancelToken::default()
    }

    fn completeness(&self, cell: &str) -> Completeness {
        if cell.ends_with('{') { Completeness::Open { indent: "  ".into() } } else { Completeness::Whole }
    }

    fn check(&self, _cell: &str) -> Result<(), CellError> {
        Ok(())
    }

    fn complete(&self, _cell: &str, cursor: usize) -> Completions {
        let candidate = Candidate { text: "parrot".into(), kind: "variable", help: String::new() };
        Completions { replaces: cursor - 2..cursor, candidates: vec![candidate] }
    }

    fn inspect(&self, cell: &str, _cursor: usize, more: bool) -> Option<Shown> {
        (cell == "parrot").then(|| Shown::text(if more { "a parrot, at length" } else { "a parrot" }))
    }

    fn history(&self) -> Vec<(usize, String)> {
        Vec::new()
    }
}

/// Channel, content and request of everything that a session says to these requests.
fn said(asked: Vec<Content>) -> Vec<(Channel, Content, String)> {
    let (sender, mut outgoing) = queue();
    let (requests, waiting) = channel();
    for (number, content) in asked.into_iter().enumerate() {
        let mut request = JupyterMessage::new(content, None);
        request.header.msg_id = number.to_string();
        requests.send(request).unwrap();
    }
    drop(requests);
    Shell::new(Box::new(Parrot::default()), Outbox::new(sender), Arc::default()).run(&waiting);
    let mut said = Vec::new();
    while let Ok(Outgoing::Message(channel, message)) = outgoing.try_recv() {
        said.push((channel, message.content, message.parent_header.unwrap().msg_id));
    }
    said
}

/// The same, a line each: `channel request kind: content`.
fn lines(asked: Vec<Content>) -> String {
    let line = |(channel, content, request): (Channel, Content, String)| {
        let json = serde_json::to_string(&content).unwrap();
        format!("{channel:?} {request} {}: {json}\n", content.message_type())
    };
    said(asked).into_iter().map(line).collect::<Vec<_>>().concat()
}

fn cell(code: &str) -> ExecuteRequest {
    ExecuteRequest::new(code.into())
}

#[test]
fn nothing_that_a_cell_says_commands_a_terminal() {
    let told = said(vec![cell("\u{1b}[2J\u{7}").into()]);
    let results = told.iter().filter(|(_, content, _)| content.message_type() == "execute_result");
    let results: Vec<_> = results.map(|(_, content, _)| serde_json::to_string(content).unwrap()).collect();
    assert!(results.len() == 1 && results[0].contains("{\"text/plain\":\"␛[2J␇\"}"), "{results:?}");
}

#[test]
fn a_cell_is_told_in_order() {
    insta::assert_snapshot!(lines(vec![cell("say").into(), cell("1").into()]), @r#"
    IoPub 0 status: {"execution_state":"busy"}
    IoPub 0 execute_input: {"code":"say","execution_count":1}
    IoPub 0 stream: {"name":"stdout","text":"a"}
    IoPub 0 display_data: {"data":{"text/plain":"b"},"metadata":{}}
    Shell 0 execute_reply: {"status":"ok","execution_count":1,"payload":[],"user_expressions":{}}
    IoPub 0 status: {"execution_state":"idle"}
    IoPub 1 status: {"execution_state":"busy"}
    IoPub 1 execute_input: {"code":"1","execution_count":2}
    IoPub 1 execute_result: {"execution_count":2,"data":{"text/plain":"1"},"metadata":{},"transient":{}}
    Shell 1 execute_reply: {"status":"ok","execution_count":2,"payload":[],"user_expressions":{}}
    IoPub 1 status: {"execution_state":"idle"}
    "#);
}

#[test]
fn an_error_stops_the_cells_that_wait_and_nothing_else() {
    let asked = vec![cell("fail").into(), cell("1").into(), KernelInfoRequest {}.into()];
    let kinds: Vec<(String, Content)> =
        said(asked).into_iter().filter(|(channel, ..)| *channel == Channel::Shell).map(|(_, c, id)| (id, c)).collect();
    let [(_, Content::ExecuteReply(failed)), (_, Content::ExecuteReply(aborted)), (_, Content::KernelInfoReply(_))] =
        &kinds[..]
    else {
        panic!("{kinds:?}")
    };
    insta::assert_snapshot!(serde_json::to_string(failed).unwrap(), @r#"{"status":"error","execution_count":1,"payload":[],"user_expressions":{},"ename":"NameError","evalue":"no","traceback":["\u001b[1;31mNameError\u001b[0m: no","\u001b[32mhelp: say yes\u001b[0m"]}"#);
    insta::assert_snapshot!(serde_json::to_string(aborted).unwrap(), @r#"{"status":"aborted","execution_count":1,"payload":[],"user_expressions":{}}"#);
}

#[test]
fn an_error_may_leave_the_others_alone() {
    let careless = ExecuteRequest { stop_on_error: false, ..cell("fail") };
    let said = lines(vec![careless.into(), cell("1").into()]);
    assert!(said.contains(r#"Shell 1 execute_reply: {"status":"ok""#), "{said}");
}

#[test]
fn a_silent_cell_is_neither_heard_nor_counted() {
    let silent = ExecuteRequest { silent: true, ..cell("say") };
    let history = HistoryRequest::Tail { n: 9, output: false, raw: true };
    insta::assert_snapshot!(lines(vec![silent.into(), cell(" \n").into(), history.into()]), @r#"
    IoPub 0 status: {"execution_state":"busy"}
    Shell 0 execute_reply: {"status":"ok","execution_count":0,"payload":[],"user_expressions":{}}
    IoPub 0 status: {"execution_state":"idle"}
    IoPub 1 status: {"execution_state":"busy"}
    IoPub 1 execute_input: {"code":" \n","execution_count":0}
    Shell 1 execute_reply: {"status":"ok","execution_count":0,"payload":[],"user_expressions":{}}
    IoPub 1 status: {"execution_state":"idle"}
    IoPub 2 status: {"execution_state":"busy"}
    Shell 2 history_reply: {"history":[],"status":"ok"}
    IoPub 2 status: {"execution_state":"idle"}
    "#);
}

#[test]
fn only_cells_with_a_number_are_counted() {
    let silent = ExecuteRequest { silent: true, ..cell("1") };
    let unstored = ExecuteRequest { store_history: false, ..cell("1") };
    let expressions = ExecuteRequest { user_expressions: Some([("a".into(), "1".into())].into()), ..cell("1") };
    let impossible = ExecuteRequest { stop_on_error: false, ..cell("# Parameters\nx = \"\\ud800\"") };
    let asked = [silent, unstored, expressions, impossible, cell("count")];
    let said = lines(asked.map(Content::from).into());
    assert!(said.contains(r#"4 execute_result: {"execution_count":2,"data":{"text/plain":"2"}"#), "{said}");
}

#[test]
fn expressions_are_evaluated_beside_the_cell() {
    let expressions = [("good", "2"), ("bad", "fail")].map(|(name, code)| (name.to_owned(), code.to_owned()));
    let asked = ExecuteRequest { user_expressions: Some(expressions.into()), ..cell("1") };
    let said = lines(vec![asked.into()]);
    assert!(said.contains(r#""good":{"status":"ok","data":{"text/plain":"2"},"metadata":{}}"#), "{said}");
    assert!(said.contains(r#""bad":{"status":"error","ename":"NameError""#), "{said}");
}

#[test]
fn parameters_of_papermill_run_as_rhai() {
    let said = lines(vec![cell("# Parameters\nx = None").into()]);
    assert!(said.contains(r##"execute_input: {"code":"# Parameters\nx = None""##), "{said}");
    assert!(said.contains(r#""text/plain":"// Parameters\nlet x = ();\n""#), "{said}");
}

#[test]
fn questions_about_code_are_answered_in_code_points() {
    let complete = CompleteRequest { code: "😀 pa".into(), cursor_pos: 4 };
    let inspect =
        |code: &str, level| InspectRequest { code: code.into(), cursor_pos: 1, detail_level: Some(level) }.into();
    let whole = |code: &str| IsCompleteRequest { code: code.into() }.into();
    let asked = vec![
        complete.into(),
        inspect("parrot", 0),
        inspect("parrot", 1),
        inspect("cat", 1),
        whole("fn f() {"),
        whole("1"),
    ];
    let said = lines(asked);
    let replies: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("Shell ")).collect();
    insta::assert_snapshot!(replies.join("\n"), @r#"
    0 complete_reply: {"matches":["parrot"],"cursor_start":2,"cursor_end":4,"metadata":{"_jupyter_types_experimental":[{"text":"parrot","type":"instance","start":2,"end":4}]},"status":"ok"}
    1 inspect_reply: {"found":true,"data":{"text/plain":"a parrot"},"metadata":{},"status":"ok"}
    2 inspect_reply: {"found":true,"data":{"text/plain":"a parrot, at length"},"metadata":{},"status":"ok"}
    3 inspect_reply: {"found":false,"data":{},"metadata":{},"status":"ok"}
    4 is_complete_reply: {"status":"incomplete","indent":"  "}
    5 is_complete_reply: {"status":"complete","indent":""}
    "#);
}

#[test]
fn wrong_requests_are_answered_in_their_turn() {
    let wrong = UnknownMessage { msg_type: "history_request".into(), content: json!({ "wrong": "no" }) };
    insta::assert_snapshot!(lines(vec![wrong.into()]), @r#"
    IoPub 0 status: {"execution_state":"busy"}
    Shell 0 history_reply: {"status":"error","ename":"ProtocolError","evalue":"no","traceback":["ProtocolError: no"],"history":[]}
    IoPub 0 status: {"execution_state":"idle"}
    "#);
}

#[test]
fn what_is_unknown_is_closed_or_passed_over() {
    let open = CommOpen { comm_id: CommId("c1".into()), target_name: "widget".into(), ..CommOpen::default() };
    let unknown = UnknownMessage { msg_type: "make_coffee_request".into(), ..UnknownMessage::default() };
    let said = lines(vec![open.into(), unknown.into(), cell("1").into()]);
    assert!(said.contains(r#"IoPub 0 comm_close: {"comm_id":"c1","data":{}}"#), "{said}");
    assert!(said.contains(r#"Shell 2 execute_reply: {"status":"ok""#), "{said}");
}
