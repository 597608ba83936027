//! A notebook as one page that needs no other file.
//!
//! A notebook may come from anywhere, so nothing in it runs. HTML in prose is shown as text; links lead to the web, a mail
//! address or a place nearby; images are those that lie in the notebook. HTML and SVG that a cell shows go into the page as
//! they are only if the caller says that the cell was just run, because then this program has made them; else HTML gives way
//! to the next form that the cell shows, and SVG becomes an image, in which scripts are dead. Above all that the page's own
//! policy forbids scripts, forms and anything from outside.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd};
use serde_json::Value;

use super::highlight::{self, escaped};
use super::{Cell, Kind, Notebook};

/// Whose the results of a cell are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// This program has made them just now.
    JustRun,
    /// They were read from a file.
    Unknown,
}

/// The page. Its title is the first heading, or `name` if there is none. Raw cells are for other programs and left out.
/// `just_run` are the indices of the cells whose results this program has made itself, as
/// [`Summary::ran`](crate::runner::Summary::ran) has them; those of all others may be anybody's.
pub fn page(notebook: &Notebook, name: &str, just_run: &[usize]) -> String {
    let title = title(notebook).unwrap_or_else(|| name.to_owned());
    let cells = notebook.cells.iter().enumerate().map(|(idx, cell)| {
        let trust = if just_run.contains(&idx) { Trust::JustRun } else { Trust::Unknown };
        section(cell, trust)
    });
    let cells: Vec<String> = cells.collect();
    let (title, cells) = (escaped(&title), cells.concat());
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{cells}</main>
</body>
</html>
"#
    )
}

/// The text of the first heading, if there is one.
pub fn title(notebook: &Notebook) -> Option<String> {
    let prose = notebook.cells.iter().filter(|cell| cell.kind == Kind::Markdown);
    let headings = prose.filter_map(|cell| {
        let events = parser(&cell.source).skip_while(|event| !matches!(event, Event::Start(Tag::Heading { .. })));
        let inside = events.take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_))));
        let texts = inside.filter_map(|event| match event {
            Event::Text(text) | Event::Code(text) => Some(text.into_string()),
            Event::SoftBreak | Event::HardBreak => Some(" ".into()),
            _ => None,
        });
        let text = texts.collect::<Vec<_>>().concat();
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    });
    headings.into_iter().next()
}

fn section(cell: &Cell, trust: Trust) -> String {
    match cell.kind {
        Kind::Markdown => format!("<section class=\"prose\">\n{}</section>\n", prose(cell)),
        Kind::Raw => String::new(),
        Kind::Code => {
            let count = cell.execution_count.map(|count| count.to_string()).unwrap_or_default();
            let code = highlight::html(&cell.source);
            let outputs: Vec<String> = cell.outputs.iter().map(|output| shown(output, trust)).collect();
            format!(
                "<section class=\"code\" data-count=\"{count}\">\n<pre><code>{code}</code></pre>\n{}</section>\n",
                outputs.concat()
            )
        }
    }
}

fn parser(source: &str) -> Parser<'_> {
    Parser::new_ext(source, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS)
}

fn prose(cell: &Cell) -> String {
    // whether each image that is open has become a link
    let mut linked = Vec::new();
    let events = parser(&cell.source).map(|event| match event {
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        Event::Start(Tag::HtmlBlock) => Event::Start(Tag::Paragraph),
        Event::End(TagEnd::HtmlBlock) => Event::End(TagEnd::Paragraph),
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Link { link_type, dest_url: safe_link(dest_url), title, id })
        }
        Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
            let image = image_inside(cell, &dest_url);
            linked.push(image.is_none());
            Event::Start(match image {
                Some(image) => Tag::Image { link_type, dest_url: image.into(), title, id },
                None => Tag::Link { link_type, dest_url: safe_link(dest_url), title, id },
            })
        }
        Event::End(TagEnd::Image) if linked.pop() == Some(true) => Event::End(TagEnd::Link),
        other => other,
    });
    let mut html = String::new();
    pulldown_cmark::html::push_html(&mut html, events);
    html
}

/// The link, or one to nowhere if its scheme might do more than open something.
fn safe_link(url: CowStr<'_>) -> CowStr<'_> {
    let is_safe = match url.find([':', '/', '?', '#']) {
        Some(end) if url[end..].starts_with(':') => {
            ["http", "https", "mailto"].iter().any(|scheme| url[..end].eq_ignore_ascii_case(scheme))
        }
        _ => true,
    };
    if is_safe { url } else { "#".into() }
}

/// An image that lies in the notebook: attached to the cell, or in the address itself.
fn image_inside(cell: &Cell, url: &str) -> Option<String> {
    if let Some(name) = url.strip_prefix("attachment:") {
        let forms = cell.rest.get("attachments")?.get(name)?.as_object()?;
        return forms.iter().find_map(|(media_type, data)| data_uri(media_type, data.as_str()?));
    }
    let (media_type, data) = url.strip_prefix("data:")?.split_once(";base64,")?;
    data_uri(media_type, data)
}

/// `None` unless the type is a picture's and the data are base64.
fn data_uri(media_type: &str, data: &str) -> Option<String> {
    let is_picture = ["image/png", "image/jpeg", "image/gif", "image/webp"].contains(&media_type);
    let data: String = data.split_ascii_whitespace().collect();
    let is_base64 = data.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
    (is_picture && is_base64).then(|| format!("data:{media_type};base64,{data}"))
}

fn shown(output: &Value, trust: Trust) -> String {
    let text_of = |key: &str| output[key].as_str().unwrap_or_default();
    match text_of("output_type") {
        "stream" => words(stream_class(text_of("name")), text_of("text")),
        "error" => {
            let lines = output["traceback"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let lines = lines.collect::<Vec<_>>().join("\n");
            let lines = if lines.is_empty() { format!("{}: {}", text_of("ename"), text_of("evalue")) } else { lines };
            format!("<pre class=\"error\">{}</pre>\n", plain(&lines))
        }
        "display_data" | "execute_result" => richest(&output["data"], trust),
        _ => String::new(),
    }
}

/// Characters of the longest line of a table: a longer one is of a text, and is broken.
const LONG: usize = 400;

fn words(class: &str, text: &str) -> String {
    let long = if text.lines().any(|line| line.chars().count() > LONG) { " long" } else { "" };
    format!("<pre class=\"{class}{long}\">{}</pre>\n", plain(text))
}

fn stream_class(name: &str) -> &'static str {
    if name == "stderr" { "stderr" } else { "stdout" }
}

/// The form that shows most; where HTML gives way to a picture, the text stands below it, for the two are perhaps a table and a
/// picture of it.
fn richest(data: &Value, trust: Trust) -> String {
    let form = |media_type: &str| data.get(media_type).and_then(Value::as_str);
    let text = || form("text/plain").map_or_else(String::new, |text| words("value", text));
    let alt = escaped(form("text/plain").unwrap_or_default());
    let image = |uri: String| {
        let below = form("text/html").map_or_else(String::new, |_| text());
        format!("<img src=\"{uri}\" alt=\"{alt}\">\n{below}")
    };
    // no script runs here, so what a frame would draw is shown as its picture
    let has_picture = form("image/png").is_some();
    let is_shown = |html: &&str| trust == Trust::JustRun && !(has_picture && html.starts_with("<iframe"));
    if let Some(html) = form("text/html").filter(is_shown) {
        return format!("<div class=\"shown\">{html}</div>\n");
    }
    if let Some(svg) = form("image/svg+xml") {
        return match trust {
            Trust::JustRun => format!("<div class=\"shown\">{}</div>\n", without_prolog(svg)),
            Trust::Unknown => image(format!("data:image/svg+xml;base64,{}", STANDARD.encode(svg))),
        };
    }
    let pictures = ["image/png", "image/jpeg", "image/gif", "image/webp"];
    if let Some(uri) = pictures.iter().find_map(|media_type| data_uri(media_type, form(media_type)?)) {
        return image(uri);
    }
    text()
}

/// An SVG file from `<svg` on: `<?xml …?>` means nothing inside a page.
fn without_prolog(svg: &str) -> &str {
    svg.find("<svg").map_or(svg, |start| &svg[start..])
}

/// Text without the colours of a terminal.
fn plain(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut bare = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|char| ('@'..='~').contains(&char)).map_or(part.len(), |end| end + 1);
        bare.push_str(&part[end..]);
    }
    escaped(&bare)
}

const STYLE: &str = include_str!("html/style.css");

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of_prose(source: &str) -> String {
        let mut notebook = Notebook::new();
        notebook.push(Kind::Markdown, source);
        prose(&notebook.cells[0])
    }

    fn of_output(output: Value, trust: Trust) -> String {
        let mut notebook = Notebook::new();
        notebook.push(Kind::Code, "1").outputs.push(output);
        page(&notebook, "a", if trust == Trust::JustRun { &[0] } else { &[] })
    }

    #[test]
    fn prose_cannot_run_anything() {
        let attacks = [
            "<script>alert(1)</script>",
            "a <img src=x onerror=alert(1)> b",
            "[a](javascript:alert(1))",
            "[a](java\tscript:alert(1))",
            "[a](<\u{1}javascript:alert(1)>)",
            "[a](JaVaScRiPt&colon;alert(1))",
            "[a](data:text/html,<script>alert(1)</script>)",
            "![a](javascript:alert(1))",
            "![a](data:image/svg+xml;base64,PHN2Zz4=)",
            "![a](attachment:\"onerror=alert(1))",
            "<svg/onload=alert(1)>",
            "<div>\n<script>\nalert(1)\n</script>\n</div>",
        ];
        for attack in attacks {
            let html = of_prose(attack);
            for sign in ["<script", "<svg", "<img", "<div", "href=\"java", "href=\"data", "src=\"java"] {
                assert!(!html.to_lowercase().contains(sign), "{attack}: {html}");
            }
        }
    }

    #[test]
    fn prose_keeps_what_is_harmless() {
        insta::assert_snapshot!(of_prose("# A *b*\n\n|x|y|\n|-|-|\n|1|2|\n\n[a](https://a.b/c?d:e) [b](c.md) ![d](e.png)"), @r#"
        <h1>A <em>b</em></h1>
        <table><thead><tr><th>x</th><th>y</th></tr></thead><tbody>
        <tr><td>1</td><td>2</td></tr>
        </tbody></table>
        <p><a href="https://a.b/c?d:e">a</a> <a href="c.md">b</a> <a href="e.png">d</a></p>
        "#);
    }

    #[test]
    fn images_in_the_notebook_are_shown() {
        let mut notebook = Notebook::new();
        let cell = notebook.push(Kind::Markdown, "![a](attachment:a.png)");
        cell.rest.insert("attachments".into(), json!({ "a.png": { "image/png": "iVBO\nRw==" } }));
        assert!(page(&notebook, "a", &[]).contains("src=\"data:image/png;base64,iVBORw==\""));
    }

    #[test]
    fn html_of_a_file_gives_way_to_text() {
        let output = json!({ "output_type": "display_data",
            "data": { "text/html": "<b onclick=x>1</b>", "text/plain": "<1>" } });
        assert!(of_output(output.clone(), Trust::JustRun).contains("<b onclick=x>1</b>"));
        let page = of_output(output, Trust::Unknown);
        assert!(!page.contains("onclick") && page.contains("<pre class=\"value\">&lt;1&gt;</pre>"));
    }

    #[test]
    fn a_table_that_gives_way_leaves_picture_and_text() {
        let output = json!({ "output_type": "execute_result",
            "data": { "text/html": "<table></table>", "image/png": "iVBORw==", "text/plain": "1  2" } });
        let page = of_output(output, Trust::Unknown);
        let [picture, text] = ["<img src=\"data:image/png;base64,iVBORw==\"", "<pre class=\"value\">1  2</pre>"];
        assert!(page.find(picture).unwrap() < page.find(text).unwrap(), "{page}");
        assert!(!page.contains("<table>"));
    }

    #[test]
    fn a_frame_that_needs_a_script_leaves_its_picture() {
        let output = json!({ "output_type": "execute_result",
            "data": { "text/html": "<iframe srcdoc=\"\"></iframe>", "image/png": "iVBORw==", "text/plain": "heads" } });
        let page = of_output(output, Trust::JustRun);
        assert!(page.contains("<img src=\"data:image/png;base64,iVBORw==\"") && !page.contains("<iframe"), "{page}");
    }

    #[test]
    fn a_cell_that_ran_vouches_for_itself_alone() {
        let mut notebook = Notebook::new();
        for text in ["first", "second"] {
            let html = format!("<b id={text}></b>");
            let data = json!({ "text/html": html, "text/plain": text });
            notebook.push(Kind::Code, text).outputs.push(json!({ "output_type": "display_data", "data": data }));
        }
        let page = page(&notebook, "a", &[1]);
        assert!(!page.contains("<b id=first>") && page.contains("<b id=second>"));
    }

    #[test]
    fn the_policy_forbids_what_leaves_the_page() {
        let page = page(&Notebook::new(), "a", &[]);
        for word in ["default-src 'none'", "form-action 'none'", "base-uri 'none'"] {
            assert!(page.contains(word), "{word}");
        }
    }

    #[test]
    fn svg_of_a_file_is_an_image() {
        let svg = "<?xml version=\"1.0\"?>\n<svg onload=\"x\"></svg>";
        let output = json!({ "output_type": "display_data", "data": { "image/svg+xml": svg, "text/plain": "\"a" } });
        let trusted = of_output(output.clone(), Trust::JustRun);
        assert!(trusted.contains("<div class=\"shown\"><svg onload=\"x\">"));
        let page = of_output(output, Trust::Unknown);
        assert!(
            !page.contains("<svg")
                && page.contains("<img src=\"data:image/svg+xml;base64,PD94")
                && page.contains("alt=\"&quot;a\"")
        );
    }

    #[test]
    fn data_that_is_no_base64_does_not_leave_its_attribute() {
        let output =
            json!({ "output_type": "display_data", "data": { "image/png": "\"onerror=\"x", "text/plain": "a" } });
        assert!(!of_output(output, Trust::Unknown).contains("onerror"));
    }

    #[test]
    fn the_title_is_the_first_heading() {
        let mut notebook = Notebook::new();
        notebook.push(Kind::Code, "1");
        notebook.push(Kind::Markdown, "```\n# no\n```");
        assert!(page(&notebook, "a<b", &[]).contains("<title>a&lt;b</title>"));
        notebook.push(Kind::Markdown, "text\n\n## Two `words`\n");
        assert!(page(&notebook, "a", &[]).contains("<title>Two words</title>"));
    }

    #[test]
    fn errors_and_streams_are_boxes_without_colours() {
        let error =
            json!({ "output_type": "error", "ename": "E", "evalue": "v", "traceback": ["\u{1b}[31mE: <v>\u{1b}[0m"] });
        assert!(of_output(error, Trust::JustRun).contains("<pre class=\"error\">E: &lt;v&gt;</pre>"));
        let stream = json!({ "output_type": "stream", "name": "stderr", "text": "<a>" });
        assert!(of_output(stream, Trust::JustRun).contains("<pre class=\"stderr\">&lt;a&gt;</pre>"));
    }
}
