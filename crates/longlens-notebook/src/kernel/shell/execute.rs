//! A cell that is run for a client.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

use jupyter_protocol::{
    ErrorOutput, ExecuteInput, ExecuteReply, ExecuteRequest, ExecuteResult, ExecutionCount, ExpressionResult,
    JupyterMessage, JupyterMessageContent, ReplyError, ReplyStatus, Transient,
};
use longlens_core::printable::printable;
use longlens_plot::terminal::Depth;
use serde_json::Map;

use super::{Shell, Waiting};
use crate::document::papermill;
use crate::interpreter::{CellError, Nobody, Out};
use crate::kernel::display::{Front, Published, display, media};
use crate::repl::painted;
use crate::shown::Shown;

/// After an error, how long to look for cells that the client had sent with the one that failed: they are under way.
const UNDER_WAY: Duration = Duration::from_millis(20);

impl Shell {
    /// Runs the cell, publishes what comes of it and replies. Interrupts may come from before it until its reply.
    pub(super) fn execute(
        &mut self,
        ask: &ExecuteRequest,
        request: &Rc<JupyterMessage>,
        requests: &Receiver<JupyterMessage>,
    ) {
        let blank = ask.code.trim().is_empty();
        let code = papermill::translate(&ask.code);
        // what the client does not count the interpreter does not count either: their numbers stay the same
        let stored = ask.store_history && !ask.silent && !blank && code.is_ok();
        let number = if stored { self.history.push(&ask.code) } else { self.history.newest() };
        let execution_count = ExecutionCount::new(number);
        let front = self.front(request);
        if !ask.silent {
            self.outbox.publish(ExecuteInput { code: ask.code.clone(), execution_count }, request);
        }

        let ran = code.and_then(|code| match (blank, ask.silent) {
            (true, _) => Ok(None),
            (false, true) => self.interpreter.aside(&code, &Nobody::out()),
            (false, false) => self.run_cell(&code, stored, request, front),
        });
        let mut reply =
            ExecuteReply { execution_count, user_expressions: Some(HashMap::new()), ..ExecuteReply::default() };
        match ran {
            Ok(value) => {
                if let Some(value) = value.filter(|_| !ask.silent) {
                    if stored {
                        self.history.set_output(&value.text);
                    }
                    let (picture, value) = value.parts();
                    if let Some(picture) = picture {
                        self.outbox.publish(display(&picture, front), request);
                    }
                    let mut result = ExecuteResult::new(execution_count, media(&value, front));
                    result.metadata = value.metadata();
                    // an object by the protocol, even when there is nothing in it
                    result.transient = Some(Transient::default());
                    self.outbox.publish(result, request);
                }
                reply.user_expressions = Some(self.evaluate(ask));
            }
            Err(error) => {
                let error = client_error(error);
                if !ask.silent {
                    let ReplyError { ename, evalue, traceback } = error.clone();
                    self.outbox.publish(ErrorOutput { ename, evalue, traceback }, request);
                }
                reply.status = ReplyStatus::Error;
                reply.error = Some(Box::new(error));
                if ask.stop_on_error {
                    self.abort_waiting(requests);
                }
            }
        }
        self.interrupts.end();
        self.outbox.reply(reply, request);
    }

    /// Replies for a cell that is not run: one before it failed, or the kernel ends.
    pub(super) fn abort(&self, request: &JupyterMessage) {
        let reply = ExecuteReply {
            status: ReplyStatus::Aborted,
            execution_count: ExecutionCount::new(self.history.newest()),
            user_expressions: Some(HashMap::new()),
            ..ExecuteReply::default()
        };
        self.outbox.reply(reply, request);
    }

    fn run_cell(
        &mut self,
        code: &str,
        counts: bool,
        request: &Rc<JupyterMessage>,
        front: Front,
    ) -> Result<Option<Shown>, CellError> {
        let published = Published::new(self.outbox.clone(), Rc::clone(request), front);
        let published = Rc::new(RefCell::new(published));
        let out: Out = published.clone();
        let ran = if counts { self.interpreter.run(code, &out) } else { self.interpreter.aside(code, &out) };
        published.borrow_mut().finish();
        ran
    }

    /// Values of the expressions that a client wants beside the cell's own.
    fn evaluate(&mut self, ask: &ExecuteRequest) -> HashMap<String, ExpressionResult> {
        let expressions = ask.user_expressions.iter().flatten();
        expressions.map(|(name, expression)| (name.clone(), self.evaluate_one(expression))).collect()
    }

    fn evaluate_one(&mut self, expression: &str) -> ExpressionResult {
        match self.interpreter.aside(expression, &Nobody::out()) {
            Ok(value) => {
                ExpressionResult::Ok { data: media(&value.unwrap_or_default(), Front::Page), metadata: Map::new() }
            }
            Err(error) => {
                let ReplyError { ename, evalue, traceback } = client_error(error);
                ExpressionResult::Error { ename, evalue, traceback }
            }
        }
    }

    /// Cells that came before the client could know of the error are not run; it is told after this. What else came is
    /// answered in its turn.
    fn abort_waiting(&mut self, requests: &Receiver<JupyterMessage>) {
        thread::sleep(UNDER_WAY);
        self.waiting.extend(requests.try_iter().map(|request| Waiting { request, aborted: false }));
        for waiting in &mut self.waiting {
            waiting.aborted = matches!(waiting.request.content, JupyterMessageContent::ExecuteRequest(_));
        }
    }
}

fn client_error(error: CellError) -> ReplyError {
    // clients on a terminal hand on what they get
    let shown = |text: String| printable(&text).into_owned();
    // pages and terminals colour it alike; `NO_COLOR` says that nobody wants that
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let traceback = painted(&error, if plain { Depth::Mono } else { Depth::Ansi16 });
    ReplyError { traceback, ename: error.name, evalue: shown(error.message) }
}
