//! The thread of the interpreter: one request after the other.

use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use jupyter_protocol::{
    CommClose, CommInfoReply, CompleteReply, CompleteRequest, HistoryReply, InspectReply, InspectRequest,
    IsCompleteReply, JupyterMessage, JupyterMessageContent,
};
use longlens_plot::terminal::Depth;
use serde_json::{Map, Value, json};

use super::display::{Front, media};
use super::history::History;
use super::interrupts::Interrupts;
use super::outbox::{Outbox, busy, idle};
use super::{cursor, info, log, wire};
use crate::interpreter::{Candidate, Completeness, Interpreter};

mod execute;
#[cfg(test)]
mod tests;

/// Clients that are remembered as consoles.
const MOST_CONSOLES: usize = 1024;

/// An interpreter that answers Jupyter.
pub(super) struct Shell {
    interpreter: Box<dyn Interpreter>,
    outbox: Outbox,
    interrupts: Arc<Interrupts>,
    history: History,
    /// Clients, by their sessions, that asked whether a cell is whole: somebody types there line by line, as in a console, and no
    /// file of a notebook keeps what is shown.
    consoles: HashSet<String>,
    /// Requests that came while a cell ran into an error.
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    request: JupyterMessage,
    /// A cell before it failed, so it is not to run.
    aborted: bool,
}

impl Shell {
    /// Goes on counting where the interpreter is.
    pub(super) fn new(interpreter: Box<dyn Interpreter>, outbox: Outbox, interrupts: Arc<Interrupts>) -> Self {
        let history = History::new(interpreter.history());
        Self { interpreter, outbox, interrupts, history, consoles: HashSet::new(), waiting: VecDeque::new() }
    }

    /// Answers requests until no more can come, or the kernel ends.
    pub(super) fn run(mut self, requests: &Receiver<JupyterMessage>) {
        loop {
            let next = self.waiting.pop_front().or_else(|| {
                let request = requests.recv().ok()?;
                Some(Waiting { request, aborted: false })
            });
            let Some(Waiting { request, aborted }) = next else { return };
            // before clients hear that a cell runs, for from then on they may interrupt it
            let runs = matches!(request.content, JupyterMessageContent::ExecuteRequest(_))
                && !aborted
                && self.interrupts.begin(self.interpreter.cancel());
            self.outbox.put(busy(&request));
            let request = Rc::new(request);
            self.answer(&request, runs, requests);
            self.outbox.put(idle(&request));
        }
    }

    /// `runs`: whether a cell is to run, when the request is one.
    fn answer(&mut self, request: &Rc<JupyterMessage>, runs: bool, requests: &Receiver<JupyterMessage>) {
        match &request.content {
            JupyterMessageContent::ExecuteRequest(ask) if runs => self.execute(ask, request, requests),
            JupyterMessageContent::ExecuteRequest(_) => self.abort(request),
            JupyterMessageContent::KernelInfoRequest(_) => self.outbox.reply(info(), request),
            JupyterMessageContent::CompleteRequest(ask) => self.outbox.reply(self.complete(ask), request),
            JupyterMessageContent::InspectRequest(ask) => self.outbox.reply(self.inspect(ask), request),
            JupyterMessageContent::IsCompleteRequest(ask) => {
                if self.consoles.len() < MOST_CONSOLES {
                    self.consoles.insert(request.header.session.clone());
                }
                let answer = match self.interpreter.completeness(&ask.code) {
                    Completeness::Whole => IsCompleteReply::complete(),
                    Completeness::Open { indent } => IsCompleteReply::incomplete(indent),
                    Completeness::Wrong => IsCompleteReply::invalid(),
                };
                self.outbox.reply(answer, request);
            }
            JupyterMessageContent::HistoryRequest(ask) => {
                self.outbox.reply(HistoryReply::new(self.history.answer(ask)), request);
            }
            JupyterMessageContent::CommInfoRequest(_) => self.outbox.reply(CommInfoReply::default(), request),
            JupyterMessageContent::CommOpen(open) => {
                // no target is known here, and the protocol asks to close what one does not know
                let close = CommClose { comm_id: open.comm_id.clone(), data: Map::new() };
                self.outbox.publish(close, request);
            }
            // of a comm that was closed as soon as it was opened
            JupyterMessageContent::CommMsg(_) | JupyterMessageContent::CommClose(_) => {}
            other => match wire::refusal(request, self.history.newest()) {
                Some(refusal) => self.outbox.reply(refusal, request),
                None => log(&format!("ignored `{}` on the shell channel", other.message_type())),
            },
        }
    }

    /// Where the client of a request shows results.
    fn front(&self, request: &JupyterMessage) -> Front {
        let colours = Depth::of_terminal();
        if colours != Depth::Mono && self.consoles.contains(&request.header.session) {
            Front::Console(colours)
        } else {
            Front::Page
        }
    }

    fn complete(&self, ask: &CompleteRequest) -> CompleteReply {
        let CompleteRequest { code, cursor_pos } = ask;
        let found = self.interpreter.complete(code, cursor::byte(code, *cursor_pos));
        let start = cursor::code_point(code, found.replaces.start);
        let end = cursor::code_point(code, found.replaces.end);
        let kinds = found.candidates.iter().map(|Candidate { text, kind, .. }| {
            json!({ "text": text, "type": client_kind(kind), "start": start, "end": end })
        });
        let kinds = Value::Array(kinds.collect());
        CompleteReply {
            metadata: Map::from_iter([("_jupyter_types_experimental".to_owned(), kinds)]),
            matches: found.candidates.into_iter().map(|candidate| candidate.text).collect(),
            cursor_start: start,
            cursor_end: end,
            ..CompleteReply::default()
        }
    }

    fn inspect(&self, ask: &InspectRequest) -> InspectReply {
        let InspectRequest { code, cursor_pos, detail_level } = ask;
        let more = detail_level.unwrap_or(0) > 0;
        let known = self.interpreter.inspect(code, cursor::byte(code, *cursor_pos), more);
        known.map_or_else(InspectReply::default, |shown| InspectReply {
            found: true,
            data: media(&shown, Front::Page),
            ..InspectReply::default()
        })
    }
}

/// The word that clients have an icon for.
fn client_kind(kind: &'static str) -> &'static str {
    match kind {
        "variable" => "instance",
        "parameter" => "param",
        "file" => "path",
        other => other,
    }
}
