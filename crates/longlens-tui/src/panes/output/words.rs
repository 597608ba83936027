//! Words and numbers as panes write them.

use std::ops::Range;

use ratatui::text::Span;

/// Where the lines of a text lie that are at most `width` cells long, broken between words where there are any.
pub fn wrap(text: &str, width: u16) -> Vec<Range<usize>> {
    let width = usize::from(width.max(1));
    let mut lines = Vec::new();
    let (mut start, mut taken, mut blank) = (0, 0, None);
    for (at, c) in text.char_indices() {
        if c == '\n' {
            lines.push(start..at);
            (start, taken, blank) = (at + 1, 0, None);
            continue;
        }
        let cells = cells(c);
        if c == ' ' && taken + cells > width {
            // the blank that the line ends with takes no room
            lines.push(start..at);
            (start, taken, blank) = (at + 1, 0, None);
            continue;
        }
        while taken + cells > width && at > start {
            let (end, next) = blank.take().map_or((at, at), |blank| (blank, blank + 1));
            lines.push(start..end);
            start = next;
            taken = text[start..at].chars().map(self::cells).sum();
        }
        if c == ' ' && at > start {
            blank = Some(at);
        }
        taken += cells;
    }
    lines.push(start..text.len());
    lines
}

fn cells(c: char) -> usize {
    if c.is_ascii() { usize::from(!c.is_ascii_control()) } else { Span::raw(&*c.encode_utf8(&mut [0; 4])).width() }
}

/// `12,345`.
pub fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Tokens a second: whole ones where there are many.
pub fn rate(speed: f64) -> String {
    if speed < 10.0 { format!("{speed:.1}") } else { count(speed.round() as usize) }
}

/// `0.4 ms`, `0.02 s`, `12.3 s`.
pub fn seconds(time: f64) -> String {
    match time {
        ..0.01 => format!("{:.1} ms", time * 1e3),
        ..10.0 => format!("{time:.2} s"),
        _ => format!("{time:.1} s"),
    }
}

/// A text that ends in `…` where it is too long.
pub fn shortened(text: &str, width: u16) -> String {
    if Span::raw(text).width() <= usize::from(width) {
        return text.to_owned();
    }
    let mut taken = 1;
    let fits = |c: &char| {
        taken += cells(*c);
        taken <= usize::from(width)
    };
    text.chars().take_while(fits).chain((width > 0).then_some('…')).collect()
}

/// What a mean loss in nats means as a perplexity.
pub fn perplexity(loss: f64) -> String {
    match loss.exp() {
        ..10.0 => format!("{:.2}", loss.exp()),
        ..1e6 => format!("{:.0}", loss.exp()),
        _ => "over 1e6".to_owned(),
    }
}

/// Tokens as they are said: `256`, `4k`, `1M`.
pub fn tokens(n: usize) -> String {
    match n {
        0 => "0".to_owned(),
        _ if n.is_multiple_of(1 << 20) => format!("{}M", n >> 20),
        _ if n.is_multiple_of(1 << 10) => format!("{}k", n >> 10),
        _ => n.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        let lines = |text: &str, width| -> Vec<String> {
            wrap(text, width).into_iter().map(|place| text[place].to_owned()).collect()
        };
        assert_eq!(lines("the quick fox", 9), ["the quick", "fox"]);
        assert_eq!(lines("the quick fox", 8), ["the", "quick", "fox"]);
        assert_eq!(lines("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(lines("a\n\nb", 5), ["a", "", "b"]);
        assert_eq!(lines("日本語", 4), ["日本", "語"]);
        assert_eq!(lines("", 0), [""]);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0004, 0.02, 12.34].map(seconds), ["0.4 ms", "0.02 s", "12.3 s"]);
        assert_eq!([3.12, 51_200.0].map(rate), ["3.1", "51,200"]);
        assert_eq!([0, 256, 1024, 1536, 1 << 20].map(tokens), ["0", "256", "1k", "1536", "1M"]);
        assert_eq!([4, 3, 1, 0].map(|width| shortened("four", width)), ["four", "fo…", "…", ""]);
        assert_eq!([4, 3, 2].map(|width| shortened("漢字", width)), ["漢字", "漢…", "…"]);
        assert_eq!([1.0, 5.0, 19.0].map(perplexity), ["2.72", "148", "over 1e6"]);
    }
}
