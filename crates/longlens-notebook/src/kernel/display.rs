//! What a cell says while it runs, as messages: text, things to look at, progress.

use std::rc::Rc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jupyter_protocol::{DisplayData, JupyterMessage, Media, MediaType, StreamContent, Transient, UpdateDisplayData};
use longlens_core::printable::printable;
use uuid::Uuid;

use super::outbox::Outbox;
use crate::document::escaped;
use crate::interpreter::{Output, Progress};
use crate::shown::Shown;

/// Steps shorter than this show no progress.
const WORTH_SHOWING: f64 = 0.4;
/// A picture of progress is replaced this seldom at most.
const BETWEEN: Duration = Duration::from_millis(200);
/// Characters of a bar in plain text.
const BAR: usize = 24;

/// Publishes what one cell says. All its steps share one picture of progress: a saved notebook keeps it.
pub(super) struct Published {
    outbox: Outbox,
    request: Rc<JupyterMessage>,
    /// The newest step, as far as it came.
    step: Option<Progress>,
    /// The picture of progress, and when it was last replaced.
    picture: Option<(String, Instant)>,
}

impl Published {
    /// For the cell of this request.
    pub(super) fn new(outbox: Outbox, request: Rc<JupyterMessage>) -> Self {
        Self { outbox, request, step: None, picture: None }
    }

    /// Says how far the last step came, where progress was shown.
    pub(super) fn finish(&mut self) {
        if let (Some(progress), Some((display_id, _))) = (self.step.take(), self.picture.take()) {
            self.outbox.publish(UpdateDisplayData::new(finished(&progress), &display_id), &self.request);
        }
    }
}

impl Output for Published {
    fn print(&mut self, text: &str) {
        if !text.is_empty() {
            // clients on a terminal hand on what they get
            self.outbox.publish(StreamContent::stdout(&printable(text)), &self.request);
        }
    }

    fn show(&mut self, shown: &Shown) {
        let (picture, shown) = shown.clone().parts();
        for shown in picture.iter().chain([&shown]) {
            self.outbox.publish(DisplayData::new(media(shown)), &self.request);
        }
    }

    fn progress(&mut self, progress: Option<&Progress>) {
        let Some(progress) = progress else { return };
        self.step = Some(progress.clone());
        let now = Instant::now();
        match &mut self.picture {
            None if progress.seconds >= WORTH_SHOWING => {
                let display_id = Uuid::new_v4().to_string();
                let mut display = DisplayData::new(under_way(progress));
                display.transient = Some(Transient { display_id: Some(display_id.clone()) });
                self.picture = Some((display_id, now));
                self.outbox.publish(display, &self.request);
            }
            Some((display_id, at)) if now.duration_since(*at) >= BETWEEN => {
                *at = now;
                self.outbox.publish(UpdateDisplayData::new(under_way(progress), display_id), &self.request);
            }
            _ => {}
        }
    }
}

/// Every form that a thing has, by media type.
pub(super) fn media(shown: &Shown) -> Media {
    let drawn = shown.clone().draw();
    // of a figure that cannot be drawn the text is left
    let shown = drawn.as_ref().unwrap_or(shown);
    let mut forms = vec![MediaType::Plain(printable(&shown.text).into_owned())];
    forms.extend(shown.html.clone().map(MediaType::Html));
    forms.extend(shown.png.as_ref().map(|png| MediaType::Png(STANDARD.encode(png))));
    Media::new(forms)
}

fn under_way(progress: &Progress) -> Media {
    let Progress { label, done, total, seconds } = progress;
    if *total == 0 {
        return both(&format!("{label}: {done} in {seconds:.1} s"), None);
    }
    let share = (*done as f64 / *total as f64).min(1.0);
    let left = if *done == 0 { String::new() } else { format!(", {:.1} s left", seconds / share - seconds) };
    let numbers = format!("{done} of {total} in {seconds:.1} s{left}");
    let n_full = (share * BAR as f64) as usize;
    let bar = format!("{}{}", "━".repeat(n_full), "╌".repeat(BAR - n_full));
    let html = format!(r#"{} <progress value="{done}" max="{total}"></progress> {numbers}"#, escaped(label));
    both(&format!("{label} {bar} {numbers}"), Some(&html))
}

fn finished(progress: &Progress) -> Media {
    let Progress { label, done, total, seconds } = progress;
    let of = if *total == 0 { String::new() } else { format!(" of {total}") };
    both(&format!("{label}: {done}{of} in {seconds:.1} s"), None)
}

/// Text, and the HTML of a line: given, or the text itself.
fn both(text: &str, html: Option<&str>) -> Media {
    let html = html.map_or_else(|| escaped(text), str::to_owned);
    Media::new(vec![MediaType::Plain(text.into()), MediaType::Html(format!("<div>{html}</div>"))])
}

#[cfg(test)]
mod tests {
    use jupyter_protocol::{ExecuteRequest, JupyterMessageContent};
    use tokio::sync::mpsc::Receiver;

    use super::*;
    use crate::kernel::outbox::{Outgoing, queue};

    fn progress(label: &str, done: usize, total: usize, seconds: f64) -> Progress {
        Progress { label: label.into(), done, total, seconds }
    }

    fn published() -> (Published, Receiver<Outgoing>) {
        let (sender, receiver) = queue();
        let request: JupyterMessage = ExecuteRequest::new("1".into()).into();
        (Published::new(Outbox::new(sender), Rc::new(request)), receiver)
    }

    /// Kind and plain text of every message so far.
    fn said(receiver: &mut Receiver<Outgoing>) -> Vec<String> {
        let mut said = Vec::new();
        while let Ok(Outgoing::Message(_, message)) = receiver.try_recv() {
            let media = match &message.content {
                JupyterMessageContent::DisplayData(display) => &display.data,
                JupyterMessageContent::UpdateDisplayData(update) => &update.data,
                _ => panic!("{message:?}"),
            };
            let Some(MediaType::Plain(text)) = media.content.first() else { panic!("{media:?}") };
            said.push(format!("{}: {text}", message.header.msg_type));
        }
        said
    }

    #[test]
    fn short_steps_show_nothing() {
        let (mut published, mut receiver) = published();
        published.progress(Some(&progress("prefill", 0, 4, 0.0)));
        published.progress(Some(&progress("prefill", 4, 4, 0.39)));
        published.progress(None);
        assert_eq!(said(&mut receiver), [] as [&str; 0]);
    }

    #[test]
    fn long_steps_show_seldom_and_end_with_the_last_word() {
        let (mut published, mut receiver) = published();
        for done in 1..=100 {
            published.progress(Some(&progress("prefill", done, 100, 0.4 + done as f64)));
        }
        published.progress(None);
        published.finish();
        let said = said(&mut receiver);
        assert_eq!(said.len(), 2, "{said:?}");
        assert_eq!(said[0], "display_data: prefill ╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌ 1 of 100 in 1.4 s, 138.6 s left");
        assert_eq!(said[1], "update_display_data: prefill: 100 of 100 in 100.4 s");
    }

    #[test]
    fn steps_share_one_picture() {
        let (mut published, mut receiver) = published();
        published.progress(Some(&progress("prefill", 1, 2, 0.5)));
        published.progress(None);
        published.progress(Some(&progress("generate", 0, 0, 0.5)));
        published.finish();
        assert_eq!(said(&mut receiver)[1..], ["update_display_data: generate: 0 in 0.5 s"]);
    }

    #[test]
    fn every_form_is_sent() {
        let shown = Shown {
            text: "<map>".into(),
            html: Some("<b>map</b>".into()),
            png: Some(vec![137, 80, 78, 71]),
            ..Shown::default()
        };
        let media = serde_json::to_value(media(&shown)).unwrap();
        assert_eq!(
            media,
            serde_json::json!({
                "text/plain": "<map>",
                "text/html": "<b>map</b>",
                "image/png": "iVBORw==",
            })
        );
    }
}
