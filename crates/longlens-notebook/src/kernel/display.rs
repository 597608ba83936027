//! What a cell says while it runs, as messages: text, things to look at, progress.

use std::rc::Rc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jupyter_protocol::{
    ClearOutput, DisplayData, JupyterMessage, Media, MediaType, StreamContent, Transient, UpdateDisplayData,
};
use longlens_app::pace;
use longlens_core::printable::printable;
use longlens_plot::terminal::{Depth, cut};
use uuid::Uuid;

use super::outbox::Outbox;
use crate::document::escaped;
use crate::interpreter::{Output, Progress};
use crate::repl::half_blocks;
use crate::shown::Shown;

/// Steps shorter than this show no progress.
const WORTH_SHOWING: f64 = 0.4;
/// A picture of progress is replaced this seldom at most.
const BETWEEN: Duration = Duration::from_millis(200);
/// Characters of a bar in plain text.
const BAR: usize = 24;

/// Columns of a picture of half blocks: a console does not say how wide it is.
const COLUMNS: usize = 80;

/// Where a client shows results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Front {
    /// On a page, or in the file of a notebook.
    Page,
    /// Between the lines of a terminal, perhaps: pictures are there in half blocks of these colours too.
    Console(Depth),
}

/// Publishes what one cell says. All its steps share one picture of progress, which goes when the cell is done.
pub(super) struct Published {
    outbox: Outbox,
    request: Rc<JupyterMessage>,
    front: Front,
    /// Whether the cell said anything else.
    has_said: bool,
    /// The picture of progress, and when it was last replaced.
    picture: Option<(String, Instant)>,
}

impl Published {
    /// For the cell of this request.
    pub(super) fn new(outbox: Outbox, request: Rc<JupyterMessage>, front: Front) -> Self {
        Self { outbox, request, front, has_said: false, picture: None }
    }

    /// Takes the picture of progress away, if there is one. A cell's outputs can be taken back only all together; beside others it
    /// becomes one without any form, which no client shows.
    pub(super) fn finish(&mut self) {
        if self.clear_line() {
            return;
        }
        let Some((display_id, _)) = self.picture.take() else { return };
        if self.has_said {
            self.outbox.publish(UpdateDisplayData::new(Media::new(Vec::new()), &display_id), &self.request);
        } else {
            self.outbox.publish(ClearOutput { wait: false }, &self.request);
        }
    }
}

impl Published {
    /// Takes back a console's line of progress, which other words would stand behind; whether this is a console.
    fn clear_line(&mut self) -> bool {
        let is_console = matches!(self.front, Front::Console(_));
        if is_console && self.picture.take().is_some() {
            self.outbox.publish(StreamContent::stdout(CLEARED), &self.request);
        }
        is_console
    }
}

/// Goes back to the start of a terminal's line, and blanks it.
const CLEARED: &str = "\r\u{1b}[K";

impl Output for Published {
    fn print(&mut self, text: &str) {
        if !text.is_empty() {
            self.clear_line();
            self.has_said = true;
            // clients on a terminal hand on what they get
            self.outbox.publish(StreamContent::stdout(&printable(text)), &self.request);
        }
    }

    fn show(&mut self, shown: &Shown) {
        let (picture, shown) = shown.clone().parts();
        self.clear_line();
        self.has_said = true;
        for shown in picture.iter().chain([&shown]) {
            self.outbox.publish(display(shown, self.front), &self.request);
        }
    }

    fn progress(&mut self, progress: Option<&Progress>) {
        let Some(progress) = progress else { return };
        let now = Instant::now();
        let is_due = match &self.picture {
            None => progress.seconds >= WORTH_SHOWING,
            Some((_, at)) => now.duration_since(*at) >= BETWEEN,
        };
        if !is_due {
            return;
        }
        let known = self.picture.take().map(|(display_id, _)| display_id);
        let display_id = known.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
        if matches!(self.front, Front::Console(_)) {
            let line = cut(&printable(&words(progress)), COLUMNS - 1);
            self.outbox.publish(StreamContent::stdout(&format!("{CLEARED}{line}")), &self.request);
        } else if known.is_some() {
            self.outbox.publish(UpdateDisplayData::new(under_way(progress), &display_id), &self.request);
        } else {
            let mut display = DisplayData::new(under_way(progress));
            display.transient = Some(Transient { display_id: Some(display_id.clone()) });
            self.outbox.publish(display, &self.request);
        }
        self.picture = Some((display_id, now));
    }
}

/// A thing to look at.
pub(super) fn display(shown: &Shown, front: Front) -> DisplayData {
    DisplayData { metadata: shown.metadata(), ..DisplayData::new(media(shown, front)) }
}

/// Every form that a thing has, by media type.
pub(super) fn media(shown: &Shown, front: Front) -> Media {
    let drawn = shown.clone().draw();
    // of a figure that cannot be drawn the text is left
    let shown = drawn.as_ref().unwrap_or(shown);
    let mut text = printable(&shown.text).into_owned();
    if let (Front::Console(colours), Some(figure)) = (front, &shown.figure)
        && let Ok(blocks) = half_blocks(figure.as_ref(), COLUMNS, colours)
    {
        text = format!("{text}\n{}", blocks.trim_end());
    }
    let mut forms = vec![MediaType::Plain(text)];
    forms.extend(shown.html.clone().or_else(|| shown.frame.clone()).map(MediaType::Html));
    forms.extend(shown.png.as_ref().map(|png| MediaType::Png(STANDARD.encode(png))));
    forms.extend(shown.svg.clone().map(MediaType::Svg));
    Media::new(forms)
}

fn under_way(progress: &Progress) -> Media {
    let Progress { label, done, total, .. } = progress;
    let html = (*total > 0).then(|| {
        format!(r#"{} <progress value="{done}" max="{total}"></progress> {}"#, escaped(label), numbers(progress))
    });
    both(&words(progress), html.as_deref())
}

/// How far a step is, with a bar where its end is known.
fn words(progress: &Progress) -> String {
    let Progress { label, done, total, .. } = progress;
    if *total == 0 {
        return format!("{label}: {}", numbers(progress));
    }
    let n_full = ((*done as f64 / *total as f64).min(1.0) * BAR as f64) as usize;
    format!("{label} {}{} {}", "━".repeat(n_full), "╌".repeat(BAR - n_full), numbers(progress))
}

fn numbers(progress: &Progress) -> String {
    let Progress { done, total, seconds, before, .. } = progress;
    if *total == 0 {
        return format!("{done} in {seconds:.1} s");
    }
    let share = (*done as f64 / *total as f64).min(1.0);
    let (n_new, n_left) = (done.saturating_sub(*before), total.saturating_sub(*done));
    let left = seconds * n_left as f64 / n_new.max(1) as f64;
    let left = if n_new == 0 { String::new() } else { format!(", {} left", pace::text(left)) };
    let seconds = if *seconds < 60.0 { format!("{seconds:.1} s") } else { pace::text(*seconds) };
    format!("{:.0} % in {seconds}{left}", (share * 100.0).floor())
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
        Progress { label: label.into(), done, total, seconds, before: 0 }
    }

    fn published() -> (Published, Receiver<Outgoing>) {
        published_on(Front::Page)
    }

    fn published_on(front: Front) -> (Published, Receiver<Outgoing>) {
        let (sender, receiver) = queue();
        let request: JupyterMessage = ExecuteRequest::new("1".into()).into();
        (Published::new(Outbox::new(sender), Rc::new(request), front), receiver)
    }

    /// Kind and plain text of every message so far.
    fn said(receiver: &mut Receiver<Outgoing>) -> Vec<String> {
        let mut said = Vec::new();
        while let Ok(Outgoing::Message(_, message)) = receiver.try_recv() {
            let media = match &message.content {
                JupyterMessageContent::DisplayData(display) => display.data.clone(),
                JupyterMessageContent::UpdateDisplayData(update) => update.data.clone(),
                JupyterMessageContent::ClearOutput(_) => Media::new(Vec::new()),
                JupyterMessageContent::StreamContent(stream) => Media::new(vec![MediaType::Plain(stream.text.clone())]),
                _ => panic!("{message:?}"),
            };
            let text = match media.content.first() {
                Some(MediaType::Plain(text)) => text,
                None => "",
                Some(_) => panic!("{media:?}"),
            };
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
    fn long_steps_show_seldom_and_leave_nothing() {
        let (mut published, mut receiver) = published();
        for done in 1..=100 {
            published.progress(Some(&progress("prefill", done, 100, 0.4 + done as f64)));
        }
        published.progress(None);
        published.finish();
        let said = said(&mut receiver);
        assert_eq!(said.len(), 2, "{said:?}");
        assert_eq!(said[0], "display_data: prefill ╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌ 1 % in 1.4 s, 2 min 10 s left");
        assert_eq!(said[1], "clear_output: ");
    }

    #[test]
    fn progress_goes_alone_where_the_cell_said_something_else() {
        let (mut published, mut receiver) = published();
        published.progress(Some(&progress("prefill", 1, 2, 0.5)));
        published.progress(None);
        published.print("words\n");
        published.progress(Some(&progress("generate", 0, 0, 0.5)));
        published.finish();
        assert_eq!(said(&mut receiver)[1..], ["stream: words\n", "update_display_data: "]);
    }

    #[test]
    fn a_console_shows_progress_in_a_line_that_it_takes_back() {
        let (mut published, mut receiver) = published_on(Front::Console(Depth::True));
        published.progress(Some(&progress("prefill", 1, 2, 0.5)));
        published.print("words\n");
        published.progress(Some(&progress("generate", 0, 0, 0.5)));
        published.finish();
        let clear = format!("stream: {CLEARED}");
        let bar = "prefill ━━━━━━━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌ 50 % in 0.5 s, 1 s left";
        let expected = [
            format!("{clear}{bar}"),
            clear.clone(),
            "stream: words\n".into(),
            format!("{clear}generate: 0 in 0.5 s"),
            clear.clone(),
        ];
        assert_eq!(said(&mut receiver), expected);
    }

    #[test]
    fn a_console_gets_pictures_in_half_blocks() {
        let figure = longlens_plot::plots::HeatMap {
            x_labels: vec!["a".into()],
            y_labels: vec!["b".into()],
            values: vec![vec![1.0]],
            ..longlens_plot::plots::HeatMap::default()
        };
        let shown = Shown::figure("a picture", std::sync::Arc::new(figure));
        let text = |front| match &media(&shown, front).content[0] {
            MediaType::Plain(text) => text.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(text(Front::Page), "a picture");
        let blocks = text(Front::Console(Depth::True));
        assert!(blocks.starts_with("a picture\n") && blocks.contains("\u{1b}["), "{blocks:?}");
    }

    #[test]
    fn every_form_is_sent() {
        let shown = Shown {
            text: "<map>".into(),
            html: Some("<b>map</b>".into()),
            png: Some(vec![137, 80, 78, 71]),
            ..Shown::default()
        };
        let media = serde_json::to_value(media(&shown, Front::Page)).unwrap();
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
