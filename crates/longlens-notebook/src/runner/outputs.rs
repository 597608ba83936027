//! What a cell says and shows, as the notebook format keeps it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::SharedWatch;
use crate::interpreter::{CellError, Output, Progress};
use crate::shown::Shown;

/// Collects a cell's outputs, and passes them on to whom watches.
pub struct Collector {
    outputs: Vec<Value>,
    watch: SharedWatch,
    /// Passes on nothing but progress.
    silent: bool,
}

impl Collector {
    /// Nothing collected yet.
    pub fn new(watch: SharedWatch, silent: bool) -> Self {
        Self { outputs: Vec::new(), watch, silent }
    }

    /// Adds the value of the cell.
    pub fn value(&mut self, shown: &Shown, execution_count: i64) {
        if !self.silent {
            self.watch.borrow_mut().shows(shown);
        }
        self.outputs.extend(value(shown, execution_count));
    }

    /// Adds the error that ended the cell.
    pub fn error(&mut self, error: &CellError) {
        self.outputs.push(json!({
            "output_type": "error",
            "ename": error.name,
            "evalue": error.message,
            "traceback": error.lines(),
        }));
    }

    /// All outputs, in order.
    pub fn take(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.outputs)
    }
}

impl Output for Collector {
    fn print(&mut self, text: &str) {
        if !self.silent {
            self.watch.borrow_mut().prints(text);
        }
        let last = self.outputs.last_mut().filter(|output| output["output_type"] == "stream");
        match last.and_then(|output| output.get_mut("text")) {
            Some(Value::String(before)) => before.push_str(text),
            _ if text.is_empty() => {}
            _ => self.outputs.push(json!({ "output_type": "stream", "name": "stdout", "text": text })),
        }
    }

    fn show(&mut self, shown: &Shown) {
        if !self.silent {
            self.watch.borrow_mut().shows(shown);
        }
        self.outputs.extend(displays(shown));
    }

    fn progress(&mut self, progress: Option<&Progress>) {
        self.watch.borrow_mut().progress(progress);
    }
}

/// The value of a cell as outputs: the picture of a table before it.
pub fn value(shown: &Shown, execution_count: i64) -> Vec<Value> {
    let (picture, shown) = shown.clone().parts();
    let result = json!({
        "output_type": "execute_result",
        "data": bundle(&shown),
        "metadata": shown.metadata(),
        "execution_count": execution_count,
    });
    picture.as_ref().map(display).into_iter().chain([result]).collect()
}

/// Something that a cell shows as outputs: the picture of a table before it.
pub fn displays(shown: &Shown) -> Vec<Value> {
    let (picture, shown) = shown.clone().parts();
    picture.iter().chain([&shown]).map(display).collect()
}

fn display(shown: &Shown) -> Value {
    json!({ "output_type": "display_data", "data": bundle(shown), "metadata": shown.metadata() })
}

/// A thing in all its forms, by media type. A figure that nobody has drawn yet is drawn here.
fn bundle(shown: &Shown) -> Value {
    let shown = &match shown.clone().draw() {
        Ok(drawn) => drawn,
        Err(error) => Shown { text: format!("{}\n(no picture: {error})", shown.text), ..shown.clone() },
    };
    let mut forms = Map::new();
    forms.insert("text/plain".into(), shown.text.as_str().into());
    if let Some(html) = shown.html.as_ref().or(shown.frame.as_ref()) {
        forms.insert("text/html".into(), html.as_str().into());
    }
    if let Some(png) = &shown.png {
        forms.insert("image/png".into(), STANDARD.encode(png).into());
    }
    if let Some(svg) = &shown.svg {
        forms.insert("image/svg+xml".into(), svg.as_str().into());
    }
    Value::Object(forms)
}
