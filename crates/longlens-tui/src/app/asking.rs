//! Prompts that are asked for in dialogs: what these begin with, and what becomes of what was typed and not run.

use std::path::PathBuf;

use longlens_app::prompt::{DocumentAsk, PromptSource};
use longlens_eval::passkey::Chat;

use super::App;
use super::typing::MAX_TYPED;
use crate::dialogs::{Dialog, DocumentForm, Editor};

impl App {
    /// The form for a document, filled in with what was typed and not run, else with the document that is open.
    pub(super) fn document_dialog(&self) -> Dialog {
        let form = match &self.unasked {
            Some(ask) => DocumentForm::new(ask.clone()),
            None => DocumentForm::again(self.open_document()),
        };
        Dialog::Document(Box::new(form))
    }

    /// The document that is open and what is asked about it; no file where none is open. Where nobody said so, it is a chat if the
    /// model has a template for them.
    fn open_document(&self) -> DocumentAsk {
        let chat = self.model.has_chat_template.then(Chat::default);
        match self.prompt.waiting().or(self.prompt.key()) {
            Some(PromptSource::Document(ask)) => ask.clone(),
            Some(PromptSource::File(file)) => DocumentAsk { file: file.clone(), question: None, chat },
            _ => DocumentAsk { file: PathBuf::new(), question: None, chat },
        }
    }

    /// Keeps what was typed of a document and a question for the next time, where it says more than what is open.
    pub(super) fn keep_unasked(&mut self, ask: DocumentAsk) {
        self.unasked = Some(ask).filter(|ask| *ask != self.open_document());
    }

    /// Gives back what a prompt that cannot be built was made of, to be mended; a dialog that is open by now stays.
    pub(super) fn give_back(&mut self, source: &PromptSource) {
        let dialog = match source {
            PromptSource::Needle(ask) => Some(Dialog::needle(ask)),
            PromptSource::File(path) => Some(Dialog::open_file(&path.to_string_lossy())),
            PromptSource::Document(ask) => {
                self.unasked = Some(ask.clone());
                let mut form = DocumentForm::new(ask.clone());
                // the file is what was at fault, most of the time
                form.selected = 0;
                Some(Dialog::Document(Box::new(form)))
            }
            // its file is no text that could be mended
            PromptSource::Kept(_) => None,
            PromptSource::Text(_) | PromptSource::Chat(_) => {
                self.draft = Editor::of(source).filter(|editor| editor.text().len() <= MAX_TYPED);
                None
            }
        };
        self.dialog = self.dialog.take().or(dialog);
    }
}
