//! A notebook takes back what the text form had left behind.

use serde_json::{Map, Value};

use super::text::OF_RUNS;
use super::{Cell, Kind, Notebook};

/// How many cells have what a file held for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Merged {
    /// Cells whose results were taken over.
    pub n_kept: usize,
    /// Cells of the earlier notebook whose results fit no cell any more: their code has changed, or they are gone.
    pub n_lost: usize,
}

impl Notebook {
    /// Takes over what an earlier form of this notebook holds and text does not: results of cells with the same id and code,
    /// attachments of cells with the same id, and what the file says about itself where this one says nothing.
    pub fn take_back(&mut self, earlier: &Notebook) -> Merged {
        let mut kept = Merged::default();
        for cell in &mut self.cells {
            let Some(before) = earlier.cells.iter().find(|other| other.id == cell.id && other.kind == cell.kind) else {
                continue;
            };
            fill(&mut cell.rest, &before.rest);
            if before.source != cell.source {
                continue;
            }
            kept.n_kept += usize::from(has_results(before));
            cell.outputs.clone_from(&before.outputs);
            cell.execution_count = before.execution_count;
            let of_runs = before.metadata.iter().filter(|(key, _)| OF_RUNS.contains(&key.as_str()));
            cell.metadata.extend(of_runs.map(|(key, value)| (key.clone(), value.clone())));
        }
        fill(&mut self.metadata, &earlier.metadata);
        fill(&mut self.rest, &earlier.rest);
        kept.n_lost = earlier.cells.iter().filter(|cell| has_results(cell)).count() - kept.n_kept;
        kept
    }
}

fn has_results(cell: &Cell) -> bool {
    cell.kind == Kind::Code && (!cell.outputs.is_empty() || cell.execution_count.is_some())
}

/// Adds the entries whose keys are not there.
fn fill(map: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (key, value) in more {
        if !map.contains_key(key) {
            map.insert(key.clone(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ran(sources: &[&str]) -> Notebook {
        let mut notebook = Notebook::new();
        for source in sources {
            let cell = notebook.push(Kind::Code, *source);
            cell.outputs.push(json!({ "output_type": "stream", "name": "stdout", "text": source }));
            cell.execution_count = Some(1);
            cell.metadata.insert("longlens".into(), json!({ "done": "1" }));
        }
        notebook
    }

    #[test]
    fn what_text_leaves_behind_comes_back() {
        let mut before = ran(&["a", "b"]);
        let prose = before.push(Kind::Markdown, "![x](attachment:x.png)");
        prose.rest.insert("attachments".into(), json!({ "x.png": { "image/png": "AA==" } }));
        before.metadata.insert("authors".into(), json!(["me"]));
        before.metadata.insert("papermill".into(), json!({ "parameters": { "n": 1 } }));
        let mut after = Notebook::from_text(&before.to_text());
        assert_ne!(after, before);
        assert_eq!(after.take_back(&before), Merged { n_kept: 2, n_lost: 0 });
        assert_eq!(after, before);
    }

    #[test]
    fn results_of_other_code_do_not() {
        let mut before = ran(&["a", "b", "c"]);
        before.cells[1].id = "named".into();
        let text = before.to_text().replace("\nb\n", "\nb2\n").replace("\nc\n", "\n");
        let mut after = Notebook::from_text(&text);
        assert_eq!(after.take_back(&before), Merged { n_kept: 1, n_lost: 2 });
        assert_eq!((after.cells[1].id.as_str(), after.cells[1].source.as_str()), ("named", "b2"));
        assert!(after.cells[1].outputs.is_empty() && after.cells[1].metadata.is_empty());
    }
}
