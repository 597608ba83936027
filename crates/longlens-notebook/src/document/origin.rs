//! Which script a notebook was made from.
//!
//! `a.rhai` keeps its results in `a.ipynb`, which nobody named. So it replaces that file only where nothing is lost that
//! somebody wrote there: its cells are those of the script, or of the script as it was when a run wrote them.

use std::path::Path;

use serde_json::Value;

use super::parameters::note;
use super::{Cell, DocumentError, INJECTED, Kind, Notebook};
use crate::hash::hash64;

impl Notebook {
    /// Notes in the metadata that the cells are those of a script, which is known by its file name.
    pub fn note_script(&mut self, script: &Path) {
        let mark = self.mark_of(script);
        note(self, "longlens", "script", mark.into());
    }

    /// Refuses a notebook with a cell that neither stands in the script nor stood there when [`Notebook::note_script`] was
    /// called, and one that cannot be told to be of this language although it holds results. `cells` are those of `script`.
    pub fn check_made_from(&self, script: &Path, cells: &Notebook) -> Result<(), DocumentError> {
        self.check_replaceable()?;
        let own = self.metadata.get("longlens").and_then(|own| own.get("script")).and_then(Value::as_str);
        if own == Some(&self.mark_of(script)) {
            return Ok(());
        }
        let known =
            |cell: &Cell| cells.cells.iter().any(|other| other.kind == cell.kind && other.source == cell.source);
        let strange = self.cells.iter().position(|cell| is_written(cell) && !known(cell));
        match strange {
            Some(idx) => {
                let what = match self.cells[idx].kind {
                    Kind::Code => "code",
                    Kind::Markdown => "prose",
                    Kind::Raw => "text",
                };
                Err(DocumentError::NotOfScript { cell: idx + 1, what, script: script.to_owned() })
            }
            None => Ok(()),
        }
    }

    /// A hash of a script's name and of the cells that somebody wrote.
    fn mark_of(&self, script: &Path) -> String {
        let name = script.file_name().unwrap_or_default().to_string_lossy();
        let written = self.cells.iter().filter(|cell| is_written(cell));
        let mark = written.fold(hash64([name.as_bytes()]), |before, cell| {
            hash64([&before.to_le_bytes(), cell.kind.name().as_bytes(), cell.source.as_bytes()])
        });
        format!("{mark:016x}")
    }
}

/// Whether somebody wrote something in a cell: parameters that a run set are not.
fn is_written(cell: &Cell) -> bool {
    !cell.has_tag(INJECTED) && !cell.source.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(notebook: &Notebook, script: &str) -> Result<(), String> {
        let checked = notebook.check_made_from(Path::new("dir/a.rhai"), &Notebook::from_text(script));
        checked.map_err(|error| error.to_string())
    }

    #[test]
    fn a_notebook_is_of_a_script_as_it_is_or_was() {
        let script = "// %%\n1\n// %% [markdown]\n// prose\n";
        let mut notebook = Notebook::from_text(script);
        assert_eq!(check(&notebook, script), Ok(()));
        let fresh = check(&notebook, "// %%\n2\n");
        assert_eq!(fresh, Err("its cell 1 holds code that is not in dir/a.rhai".into()));

        notebook.note_script(Path::new("a.rhai"));
        assert_eq!(check(&notebook, "// %%\n2\n"), Ok(()), "the script has changed since");
        notebook.push(Kind::Code, "let n = 2;").metadata.insert("tags".into(), serde_json::json!([INJECTED]));
        notebook.push(Kind::Code, " \n");
        assert_eq!(check(&notebook, "// %%\n2\n"), Ok(()), "parameters and empty cells are nobody's work");
        assert!(notebook.check_made_from(Path::new("b.rhai"), &Notebook::from_text("2")).is_err(), "of another script");

        notebook.push(Kind::Markdown, "what I found");
        assert!(check(&notebook, "// %%\n2\n").is_err(), "somebody has written since");
        assert_eq!(check(&notebook, script), Err("its cell 5 holds prose that is not in dir/a.rhai".into()));
    }
}
