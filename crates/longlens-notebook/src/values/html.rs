//! HTML that cells write: what it may hold, and its text where no page shows it.
//!
//! What stays is written anew from its tokens: elements and attributes of lists, all text escaped, every element closed. So nothing in
//! it runs, loads anything, lies over the page around it, or ends an element of that page.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};

use crate::document::escaped;
use crate::shown::Shown;

/// A piece of HTML in which nothing runs and nothing is loaded.
#[derive(Clone)]
pub struct Html {
    html: Rc<str>,
    text: Rc<str>,
}

/// Elements of prose, tables and drawings.
const ELEMENTS: &[&str] = &[
    "a",
    "abbr",
    "b",
    "blockquote",
    "br",
    "caption",
    "circle",
    "code",
    "col",
    "colgroup",
    "dd",
    "del",
    "details",
    "div",
    "dl",
    "dt",
    "ellipse",
    "em",
    "figcaption",
    "figure",
    "g",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "img",
    "ins",
    "kbd",
    "li",
    "line",
    "mark",
    "meter",
    "ol",
    "p",
    "path",
    "polygon",
    "polyline",
    "pre",
    "progress",
    "q",
    "rect",
    "s",
    "samp",
    "section",
    "small",
    "span",
    "strong",
    "sub",
    "summary",
    "sup",
    "svg",
    "table",
    "tbody",
    "td",
    "text",
    "tfoot",
    "th",
    "thead",
    "tr",
    "tspan",
    "u",
    "ul",
    "var",
    "wbr",
];
/// Elements that hold nothing.
const VOID: &[&str] = &["br", "col", "hr", "img", "wbr"];
/// Elements whose contents are no HTML, and go with them.
const RAW: &[&str] =
    &["script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes", "noscript", "template"];
/// Elements that end where another of the same kind begins.
const FOLLOWING: &[&str] = &["p", "li", "td", "th", "tr", "dt", "dd"];
/// Elements that end a line of text.
const BLOCKS: &[&str] = &[
    "p",
    "div",
    "section",
    "table",
    "tr",
    "li",
    "ul",
    "ol",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "pre",
    "blockquote",
    "details",
    "summary",
    "figcaption",
    "caption",
    "dt",
    "dd",
];
/// Attributes of any element; as the tokenizer has them, in small letters. None of them names a place to load from.
const ATTRIBUTES: &[&str] = &[
    "colspan",
    "cx",
    "cy",
    "d",
    "dominant-baseline",
    "dx",
    "dy",
    "fill",
    "fill-opacity",
    "fill-rule",
    "font-family",
    "font-size",
    "font-weight",
    "height",
    "max",
    "min",
    "opacity",
    "open",
    "points",
    "preserveaspectratio",
    "r",
    "rowspan",
    "rx",
    "ry",
    "stroke",
    "stroke-dasharray",
    "stroke-linecap",
    "stroke-linejoin",
    "stroke-opacity",
    "stroke-width",
    "text-anchor",
    "title",
    "transform",
    "value",
    "viewbox",
    "width",
    "x",
    "x1",
    "x2",
    "y",
    "y1",
    "y2",
];
/// Properties of styles: colours, sizes and places in a line; nothing lies over the page around it.
const STYLES: &[&str] = &[
    "align-items",
    "background",
    "background-color",
    "border",
    "border-bottom",
    "border-collapse",
    "border-left",
    "border-radius",
    "color",
    "display",
    "flex-wrap",
    "font",
    "font-family",
    "font-size",
    "font-style",
    "font-weight",
    "gap",
    "height",
    "justify-content",
    "letter-spacing",
    "line-height",
    "margin",
    "margin-bottom",
    "margin-left",
    "margin-right",
    "margin-top",
    "max-height",
    "max-width",
    "min-width",
    "opacity",
    "overflow-x",
    "padding",
    "text-align",
    "text-decoration",
    "vertical-align",
    "white-space",
    "width",
];
/// Elements in each other; deeper ones leave their text.
const DEEPEST: usize = 256;

impl Html {
    /// Bytes of a text at most.
    pub const MOST: usize = 4 << 20;

    /// What of a text nobody can be harmed by.
    pub fn of(text: &str) -> Self {
        let input = BufferQueue::default();
        input.push_back(StrTendril::from(text));
        let tokenizer = Tokenizer::new(Cleaned::default(), TokenizerOpts::default());
        // it stops for scripts alone, which are none here
        let _ = tokenizer.feed(&input);
        tokenizer.end();
        let written = tokenizer.sink.written.take();
        let lines: Vec<&str> = written.text.lines().map(str::trim_end).collect();
        Self { html: written.html.into(), text: lines.join("\n").trim().into() }
    }

    /// What a reader sees of it, a line for every block.
    pub fn text(&self) -> String {
        if self.text.is_empty() { "(HTML without text)".into() } else { self.text.to_string() }
    }

    /// In a page as it is, elsewhere its text.
    pub fn shown(&self) -> Shown {
        Shown { html: Some(self.html.to_string()), ..Shown::text(self.text()) }
    }
}

/// Takes tokens and writes what may stay.
#[derive(Default)]
struct Cleaned {
    written: RefCell<Written>,
    /// An element whose contents go with it is open.
    skips: Cell<bool>,
}

#[derive(Default)]
struct Written {
    html: String,
    text: String,
    /// Elements that are open.
    open: Vec<String>,
}

impl TokenSink for Cleaned {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut written = self.written.borrow_mut();
        match token {
            Token::TagToken(tag) if tag.kind == TagKind::StartTag => {
                if self.skips.get() {
                    return TokenSinkResult::Continue;
                }
                if &*tag.name == "plaintext" {
                    self.skips.set(true);
                    return TokenSinkResult::Plaintext;
                }
                if RAW.contains(&&*tag.name) {
                    self.skips.set(true);
                    return TokenSinkResult::RawData(RawKind::Rawtext);
                }
                written.begin(&tag);
            }
            Token::TagToken(tag) => {
                if self.skips.get() {
                    // of raw contents the tokenizer gives no other tag than their end
                    self.skips.set(!RAW.contains(&&*tag.name));
                } else {
                    written.end(&tag.name);
                }
            }
            Token::CharacterTokens(text) if !self.skips.get() => {
                written.html.push_str(&escaped(&text));
                written.text.push_str(&text);
            }
            Token::EOFToken => written.close(0),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

impl Written {
    fn begin(&mut self, tag: &Tag) {
        let name = &*tag.name;
        if !ELEMENTS.contains(&name) || self.open.len() >= DEEPEST {
            return;
        }
        if FOLLOWING.contains(&name) && self.open.last().is_some_and(|open| open == name) {
            self.close(self.open.len() - 1);
        }
        self.html.extend(["<", name]);
        for attribute in &tag.attrs {
            let value = kept(name, &attribute.name.local, &attribute.value);
            if let Some(value) = value {
                self.html.extend([" ", &*attribute.name.local, "=\"", &escaped(&value), "\""]);
            }
        }
        self.html.push('>');
        if name == "br" {
            self.text.push('\n');
        }
        if !VOID.contains(&name) {
            self.open.push(name.to_owned());
            if tag.self_closing {
                self.close(self.open.len() - 1);
            }
        }
    }

    fn end(&mut self, name: &str) {
        if let Some(at) = self.open.iter().rposition(|open| open == name) {
            self.close(at);
        }
    }

    /// Closes elements until so many are open.
    fn close(&mut self, n_open: usize) {
        for name in self.open.drain(n_open..).rev() {
            self.html.extend(["</", &name, ">"]);
            if ["td", "th"].contains(&&*name) {
                self.text.push_str("  ");
            } else if BLOCKS.contains(&&*name) && !self.text.is_empty() && !self.text.ends_with('\n') {
                self.text.push('\n');
            }
        }
    }
}

/// What of an attribute's value may stay.
fn kept(element: &str, name: &str, value: &str) -> Option<String> {
    let plain = value.trim().to_ascii_lowercase();
    match name {
        "href" if element == "a" => {
            ["http://", "https://", "mailto:", "#"].iter().any(|start| plain.starts_with(start)).then(|| value.into())
        }
        "src" if element == "img" => plain.starts_with("data:image/").then(|| value.into()),
        "alt" if element == "img" => Some(value.into()),
        "style" => Some(style(value)).filter(|style| !style.is_empty()),
        // a colour may be a place to load from
        _ => (ATTRIBUTES.contains(&name) && !plain.contains("url(")).then(|| value.into()),
    }
}

/// The declarations of a style that may stay.
fn style(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " #%.,()+-/'!".contains(c);
    let declaration = |declaration: &str| {
        let (name, value) = declaration.split_once(':')?;
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        let lower = value.to_ascii_lowercase();
        // nothing is loaded, and nothing moved over what stands beside it
        let is_harmless =
            value.chars().all(is_plain) && !["url", "image", "src"].iter().any(|word| lower.contains(word));
        let is_negative = lower.starts_with('-') || [" -", "(-", ",-"].iter().any(|sign| lower.contains(sign));
        (STYLES.contains(&&*name) && is_harmless && !is_negative).then(|| format!("{name}:{value}"))
    };
    text.split(';').filter_map(declaration).collect::<Vec<_>>().join(";")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_in_it_runs_or_loads() {
        let attacks = [
            "<script>alert(1)</script>",
            "<script>a</script >alert(1)<script",
            "<img src=x onerror=alert(1)>",
            "<img src=https://else.where/a.png>",
            "<svg onload=alert(1)><script>alert(1)</script></svg>",
            "<svg><image href='https://else.where/a.png'/><use href='https://else.where/a.svg#a'/></svg>",
            "<svg><style><img src=x onerror=alert(1)></style></svg>",
            "<a href='javascript:alert(1)'>a</a>",
            "<a href=' JaVa\nscript:alert(1)'>a</a>",
            "<a href='data:text/html,<script>alert(1)</script>'>a</a>",
            "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
            "<meta http-equiv=refresh content='0;url=https://else.where'>",
            "<form action=https://else.where><input name=a onfocus=alert(1) autofocus></form>",
            "<style>* { background: url(https://else.where) }</style>",
            "<b style='background: url(https://else.where)'>a</b>",
            "<b style='background: \\75rl(https://else.where)'>a</b>",
            "<b style='position: fixed; inset: 0'>a</b>",
            "<rect fill='url(https://else.where)'/>",
            "<base href=https://else.where><object data=x></object><link rel=stylesheet href=x>",
            "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
            "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
            "<b title='\"><script>alert(1)</script>'>a</b>",
            "<!--><script>alert(1)</script>-->",
            "<plaintext><script>alert(1)</script>",
        ];
        for attack in attacks {
            let html = Html::of(attack).html.to_lowercase();
            let signs = [
                "<script",
                "onerror=",
                "onload=",
                "onfocus=",
                "href=\"java",
                "href=\" java",
                "href=\"data",
                "else.where",
            ];
            for sign in signs.iter().chain(&[
                "<iframe",
                "<meta",
                "<form",
                "<style",
                "position",
                "data:text",
                "<base",
                "<object",
                "<link",
            ]) {
                assert!(!html.contains(sign), "{attack}: {html}");
            }
        }
    }

    #[test]
    fn what_is_harmless_stays() {
        for kept in [
            r#"<b style="color:teal">a</b>"#,
            r#"<span style="background-color:rgb(1 2 3);padding:0.1em" title="0.3">word</span>"#,
            r#"<table><tbody><tr><td colspan="2">1</td></tr></tbody></table>"#,
            r#"<svg viewbox="0 0 9 9"><path d="M0 0L9 9" stroke="red"></path></svg>"#,
            r#"<img src="data:image/png;base64,iVBORw==">"#,
            "<details><summary>more</summary>x</details>",
            r#"<a href="https://example.org">a</a> &lt;b&gt; &amp; c"#,
        ] {
            assert_eq!(&*Html::of(kept).html, kept);
        }
    }

    #[test]
    fn it_ends_nothing_that_it_did_not_begin() {
        assert_eq!(&*Html::of("a</div></section><p>b").html, "a<p>b</p>");
        assert_eq!(
            &*Html::of("<ul><li>a<li>b</ul><rect x=1 />").html,
            "<ul><li>a</li><li>b</li></ul><rect x=\"1\"></rect>"
        );
        assert_eq!(&*Html::of("<b>a<i>b</b>c</i>").html, "<b>a<i>b</i></b>c");
    }

    #[test]
    fn a_terminal_shows_its_text() {
        let text = |html: &str| Html::of(html).text();
        assert_eq!(text("<h2>Two</h2><p>a &lt; <b>b</b> &amp; c</p>"), "Two\na < b & c");
        assert_eq!(text("<table><tr><td>1</td><td>2</td></tr><tr><td>3</td><td>4</td></tr></table>"), "1  2\n3  4");
        assert_eq!(text("one<br>two"), "one\ntwo");
        assert_eq!(Html::of("<svg viewBox='0 0 1 1'></svg>").shown().text, "(HTML without text)");
    }

    proptest! {
        #[test]
        fn what_is_clean_stays_as_it_is(parts in prop::collection::vec(
            prop::sample::select(vec!["<b>", "</b>", "<p>", "<svg>", "<script>", "</script>", "<style>", "</style>", "x", "<", ">", "\"", "'", "&", "&lt;", "<!--", "-->", "<a href='", "style=", "</table>", "<td>", "<![CDATA[", "]]>", "/"]), 0..24))
        {
            let once = Html::of(&parts.concat());
            prop_assert_eq!(&Html::of(&once.html).html, &once.html);
        }
    }
}
