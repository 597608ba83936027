//! Word lists that come with the program, packed beside the code.
//!
//! `scripts/pack-words` writes them: sections that begin with a line `# name`, a word a line. Sections whose name ends in `shared` are
//! sorted, and a line is a letter that says how many characters it has in common with the word before (`A` is 0), and the rest of it.

use std::collections::HashMap;
use std::io::Read;

use flate2::read::GzDecoder;

/// The lists of a packed file, by name.
pub type Lists = HashMap<String, Vec<String>>;

/// Unpacks the lists of a file that comes with the program.
pub fn lists(packed: &[u8]) -> Lists {
    let mut text = String::new();
    GzDecoder::new(packed).read_to_string(&mut text).expect("the packed text is whole");
    let (mut lists, mut name, mut is_shared) = (Lists::new(), String::new(), false);
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("# ") {
            let shared = heading.strip_suffix(" shared");
            (name, is_shared) = (shared.unwrap_or(heading).to_owned(), shared.is_some());
            continue;
        }
        let words: &mut Vec<String> = lists.entry(name.clone()).or_default();
        let word = if is_shared { with_shared(words.last().map_or("", |word| word), line) } else { line.to_owned() };
        words.push(word);
    }
    lists
}

fn with_shared(before: &str, line: &str) -> String {
    let mut rest = line.chars();
    let n_shared = rest.next().map_or(0, |letter| u32::from(letter) - u32::from('A')) as usize;
    before.chars().take(n_shared).chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn words_take_what_they_share_from_the_one_before() {
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed
            .write_all("# plain\n##number## one\n. . \n# birds shared\nAheron\nEing\nAjalapeño\nHño\n".as_bytes())
            .unwrap();
        let lists = lists(&packed.finish().unwrap());
        assert_eq!(lists["plain"], ["##number## one", ". . "]);
        assert_eq!(lists["birds"], ["heron", "heroing", "jalapeño", "jalapeñño"]);
    }
}
