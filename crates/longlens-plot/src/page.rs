//! A view as one document that answers to mouse and keys: data, script and styles in one file, nothing fetched.
//!
//! Data are JSON, and large arrays in it are packed ([`packed`]): compressed bytes in base64, which the script unpacks. Whatever texts hold, it
//! stays data: JSON stands in an element that browsers neither run nor read as markup, with every `<` written as an escape, and the
//! script puts texts into the page as text alone. A content security policy forbids everything else.

use std::fmt::Write as _;

use serde_json::{Map, Value};

pub mod packed;

/// A document.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// What the browser's tab says.
    pub title: String,
    /// What the script reads: `kind` says which view it builds, the rest is that view's.
    pub data: Map<String, Value>,
}

/// A document of any script: what every page has around it.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    /// What the browser's tab says.
    pub title: &'a str,
    /// What stands there where no script runs.
    pub without_script: &'a str,
    /// Styles, one behind the other.
    pub styles: &'a [&'a str],
    /// Parts of one script, in the order in which they know each other.
    pub scripts: &'a [&'a str],
    /// What the script reads.
    pub data: &'a Map<String, Value>,
}

/// Small tools of scripts: elements, numbers, packed data, colours.
pub const TOOLS: &str = include_str!("page/tools.js");
/// What pages share: state and address, tooltip, canvas, pickers, tables.
pub const SHARED: &str = include_str!("page/shared.js");
/// Colours of both themes, and how elements look.
pub const STYLE: &str = include_str!("page/page.css");

/// The script of a view, in the order in which its parts know each other.
const SCRIPTS: &[&str] = &[
    TOOLS,
    SHARED,
    include_str!("page/profile.js"),
    include_str!("page/heads.js"),
    include_str!("page/map.js"),
    include_str!("page/lines.js"),
    include_str!("page/page.js"),
];

/// Nothing is fetched, whatever the data say; pictures stand in the file.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:";

impl Document<'_> {
    /// The text of the file; the same data give the same bytes.
    pub fn html(&self) -> String {
        let data = data_text(self.data);
        let (title, without_script) = (escaped(self.title), escaped(self.without_script));
        let (style, script) = (self.styles.concat(), self.scripts.concat());
        let mut html = String::with_capacity(script.len() + style.len() + data.len() + 1024);
        let _ = write!(
            html,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n\
             <main id=\"page\">{without_script}</main>\n<script type=\"application/json\" id=\"data\">{data}</script>\n\
             <script>\n{script}</script>\n</body>\n</html>\n"
        );
        html
    }
}

impl Page {
    /// The text of the file; the same data give the same bytes.
    pub fn html(&self) -> String {
        let document = Document {
            title: &self.title,
            without_script: "This page draws itself with a script. Where none runs, the same view is a picture (.png, .svg) and a \
                             table (.csv).",
            styles: &[STYLE],
            scripts: SCRIPTS,
            data: &self.data,
        };
        document.html()
    }

    /// The document inside another: a frame that may run its script and do nothing else, `height` pixels high.
    pub fn frame(&self, height: u32) -> String {
        let (title, document) = (escaped(&self.title), escaped(&self.html()));
        format!(
            "<iframe title=\"{title}\" sandbox=\"allow-scripts\" style=\"width:100%;height:{height}px;border:0\" srcdoc=\"{document}\"></iframe>"
        )
    }
}

/// JSON that cannot end the element it stands in.
fn data_text(data: &Map<String, Value>) -> String {
    let text = serde_json::to_string(data).expect("maps with names are JSON");
    // signs that end a script element, begin a comment, or that older scripts take for line ends, stand in texts alone
    text.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

/// A text as HTML shows it, between tags and in quotes.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn page(text: &str) -> Page {
        let data = json!({ "kind": "table", "text": text });
        Page { title: text.to_owned(), data: data.as_object().unwrap().clone() }
    }

    #[test]
    fn a_text_is_never_markup() {
        let hostile = "</script><img src=x onerror=alert(1)><!--<script>\u{2028}\"'&\u{202e}";
        let html = page(hostile).html();
        assert_eq!(html.matches("</script>").count(), 2, "the two elements that are meant");
        assert!(!html.contains("<img") && !html.contains("<!--"), "{html}");
        let (_, data) = html.split_once("id=\"data\">").unwrap();
        let (data, _) = data.split_once("</script>").unwrap();
        assert!(!data.contains('<') && !data.contains('\u{2028}'));
        assert_eq!(serde_json::from_str::<Value>(data).unwrap()["text"], hostile, "and nothing of it is lost");
    }

    #[test]
    fn a_frame_holds_the_whole_document() {
        let framed = page("a \"b\" & c").frame(640);
        let (_, inner) = framed.split_once("srcdoc=\"").unwrap();
        let inner = inner.split_once('"').unwrap().0;
        let back = inner.replace("&quot;", "\"").replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&");
        assert_eq!(back, page("a \"b\" & c").html());
        assert!(framed.contains("sandbox=\"allow-scripts\""), "no access to what is around it");
    }

    #[test]
    fn nothing_is_fetched() {
        let html = page("plain").html();
        for word in ["http://", "https://", "src=\"", "href=", "@import", "url("] {
            assert!(!html.contains(word), "{word}");
        }
    }
}
