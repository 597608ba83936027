//! The text of a PDF, page by page.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pdf_extract::{Document, PlainTextOutput, output_doc_page};

use super::extract::{Extracted, Refused};

/// The text of every page. A page that the library cannot read, and one without text, is empty and named in a warning.
///
/// Errors: a file that is no PDF or damaged, one that asks for a password, one without any text.
pub fn read(bytes: &[u8]) -> Result<Extracted, Refused> {
    let damaged =
        |problem: String| (format!("it is no PDF that can be read: {problem}"), "fetch or save it again".to_owned());
    let loaded = catch_unwind(|| Document::load_mem(bytes)).map_err(|_| damaged("its structure is damaged".into()))?;
    let document = loaded.map_err(|error| damaged(error.to_string()))?;
    if document.is_encrypted() {
        // one that opens without a password was decrypted while it was loaded
        return Err(("it is encrypted".into(), "remove the password first, for example with qpdf".into()));
    }
    let numbers: Vec<u32> = document.get_pages().into_keys().collect();
    if numbers.is_empty() {
        return Err(damaged("it has no pages".into()));
    }
    let pages = numbers.iter().map(|number| page(&document, *number).map(|text| tidy(&text)));
    let pages: Vec<Option<String>> = pages.collect();
    let named = |holds: fn(&Option<String>) -> bool| -> Vec<String> {
        pages.iter().zip(&numbers).filter(|(page, _)| holds(page)).map(|(_, number)| number.to_string()).collect()
    };
    let unread = named(Option::is_none);
    let empty = named(|page| page.as_ref().is_some_and(String::is_empty));
    let texts: Vec<String> = pages.iter().map(|page| page.clone().unwrap_or_default()).collect();
    if texts.iter().all(String::is_empty) {
        let problem = match unread.len() {
            0 if texts.len() == 1 => "its one page has no text".to_owned(),
            0 => format!("none of its {} pages has text", texts.len()),
            _ => "none of its pages can be read".to_owned(),
        };
        return Err((
            problem,
            "pages that are pictures need a program that recognizes text, for example ocrmypdf".into(),
        ));
    }
    let told = [("could not be read and are left out", unread), ("have no text", empty)];
    let told = told.into_iter().filter(|(_, pages)| !pages.is_empty());
    let warnings = told.map(|(what, pages)| format!("these pages {what}: {}", pages.join(", "))).collect();
    Ok(Extracted { pages: texts, warnings })
}

/// The text of one page; nothing where the library fails or panics, which is of this page alone.
fn page(document: &Document, number: u32) -> Option<String> {
    let mut text = String::new();
    let read =
        catch_unwind(AssertUnwindSafe(|| output_doc_page(document, &mut PlainTextOutput::new(&mut text), number)));
    read.ok()?.ok().map(|()| text)
}

/// Text as it was before it was set: ligatures are letters, words that were divided at the end of a line are whole, and no line ends
/// in blanks.
fn tidy(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    for line in page.lines().map(str::trim) {
        let is_divided = text.strip_suffix(['-', '\u{ad}']).is_some_and(|word| word.ends_with(char::is_alphabetic));
        match () {
            () if is_divided && line.starts_with(char::is_lowercase) => drop(text.pop()),
            // a gap between paragraphs is one blank line, however high it was
            () if text.ends_with("\n\n") => {}
            () => text.push('\n'),
        }
        text.extend(line.chars().filter(|c| *c != '\0').flat_map(letters));
    }
    text.trim().to_owned()
}

/// A character, or the letters of a ligature.
fn letters(c: char) -> impl Iterator<Item = char> {
    const LIGATURES: [&str; 7] = ["ff", "fi", "fl", "ffi", "ffl", "st", "st"]; // U+FB00 and on
    let ligature = u32::from(c).checked_sub(0xfb00).and_then(|at| LIGATURES.get(at as usize));
    ligature.map_or("", |letters| letters).chars().chain(Some(c).filter(|_| ligature.is_none()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_whole_again() {
        let page = "\n\nThe \u{fb01}rst  \nhard-\ncoded lan\u{ad}\nguage, see 3-\n4 and A-\nB.\n\n\n\nNext\0";
        assert_eq!(tidy(page), "The first\nhardcoded language, see 3-\n4 and A-\nB.\n\nNext");
    }

    #[test]
    fn what_is_no_pdf_is_refused() {
        for bytes in [&b"%PDF-1.4\n"[..], b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF", b""] {
            let (problem, help) = read(bytes).unwrap_err();
            assert!(problem.starts_with("it is no PDF that can be read") && help.contains("again"), "{problem}");
        }
    }
}
