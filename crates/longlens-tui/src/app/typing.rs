//! Keys: those of an open dialog or edit first, then the table's.

use std::path::PathBuf;

use longlens_app::prompt::PromptSource;
use longlens_app::steps::Step;
use longlens_app::worker::{Ask, PageAsk};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{App, Edit, Effect, Focus, Level};
use crate::command;
use crate::dialogs::{Dialog, Done, Editor};
use crate::export::{self, PAGE};
use crate::fields::{Field, FieldId};

impl App {
    pub(super) fn key(&mut self, key: KeyEvent) {
        if key.kind == KeyEventKind::Release {
            return;
        }
        if self.dialog.is_some() {
            return self.dialog_key(key);
        }
        if self.edit.is_some() && self.edit_key(key) {
            return;
        }
        if self.layout.focus() == Focus::Controls && starts_value(key) && self.takes_digits() {
            // a digit begins a value, though digits also choose views elsewhere
            if let KeyCode::Char(c) = key.code {
                return self.begin_edit(Some(c));
            }
        }
        if let Some(command) = command::of_key(key) {
            self.command(command);
        }
    }

    /// Whether a digit begins a value of the selected field: tasks have names.
    fn takes_digits(&self) -> bool {
        self.fields().get(self.field).is_some_and(|field| !field.is_word() && field.id != FieldId::GridTask)
    }

    /// Opens the selected field for typing; a word field goes to its next word instead.
    pub(super) fn begin_edit(&mut self, first: Option<char>) {
        let fields = self.fields();
        let Some(field) = fields.get(self.field) else { return };
        if field.is_word() {
            return self.nudge(self.field, true, false);
        }
        let text = first.map_or_else(|| field.value.clone(), String::from);
        self.edit = Some(Edit { field: self.field, text, verdict: self.verdict.clone() });
        self.judge_edit();
    }

    /// What the typed value would mean.
    fn judge_edit(&mut self) {
        let fields = self.fields();
        let Some(edit) = &self.edit else { return };
        let Some(field) = fields.get(edit.field) else { return };
        let typed = self.controls.with(field, &edit.text);
        let verdict = typed.and_then(|controls| controls.settings.check(&self.opened, self.n_prompt()));
        if let Some(edit) = &mut self.edit {
            edit.verdict = verdict;
        }
    }

    /// A key of the open edit; false when it is none of its.
    fn edit_key(&mut self, key: KeyEvent) -> bool {
        let fields = self.fields();
        let is_text = self.edit.as_ref().and_then(|edit| fields.get(edit.field)).is_some_and(Field::is_text);
        let most = if is_text { MAX_PARTS } else { 24 };
        let Some(edit) = &mut self.edit else { return false };
        match key.code {
            KeyCode::Esc => self.edit = None,
            KeyCode::Enter | KeyCode::Tab => self.take_edit(),
            KeyCode::Up | KeyCode::Down => {
                self.take_edit();
                return self.edit.is_some();
            }
            KeyCode::Backspace => {
                edit.text.pop();
                self.judge_edit();
            }
            KeyCode::Char('u') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                edit.text.clear();
                self.judge_edit();
            }
            KeyCode::Char(c) if !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => {
                // the letters of numbers and of `off`; other keys mean something else, and are not swallowed silently
                if !(is_text || c.is_ascii_digit() || "+-.eEkKof".contains(c)) {
                    self.log.say(Level::Warning, "a value is being typed: enter takes it, esc leaves it");
                    return true;
                }
                if edit.text.len() < most {
                    edit.text.push(c);
                }
                self.judge_edit();
            }
            _ => return key.modifiers.is_empty(),
        }
        true
    }

    /// Takes the typed value, where it is one. Values that are only impossible together are taken and shown as such, so
    /// that the other one can be changed too.
    pub(super) fn take_edit(&mut self) {
        let fields = self.fields();
        let Some(edit) = self.edit.take() else { return };
        let Some(field) = fields.get(edit.field) else { return };
        match self.controls.with(field, &edit.text) {
            Ok(controls) => self.apply(controls),
            Err(problem) => {
                self.fail(&problem);
                self.edit = Some(edit);
            }
        }
    }

    pub(super) fn paste(&mut self, text: &str) {
        // terminals send a carriage return where a line ends
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        match &mut self.dialog {
            // an editor would be slow with as much
            Some(Dialog::Text(_)) | None if text.len() > MAX_TYPED => {
                self.log.say(Level::Note, format!("{} characters pasted as the prompt", text.chars().count()));
                let source = match self.dialog.take() {
                    Some(Dialog::Text(editor)) => editor.source(text),
                    _ => PromptSource::Text(text),
                };
                self.build(source);
            }
            Some(dialog) => dialog.paste(&text),
            None if self.edit.is_some() => {
                if let Some(edit) = &mut self.edit {
                    edit.text.extend(text.chars().filter(|c| !c.is_control()).take(24));
                }
                self.judge_edit();
            }
            // pasted text is a prompt in the making
            None => self.dialog = Some(Dialog::Text(Box::new(Editor::new(&text)))),
        }
    }

    /// Closes the dialog; a prompt that was typed is kept for the next time.
    pub(super) fn close_dialog(&mut self) {
        match self.dialog.take() {
            Some(Dialog::Text(editor)) => self.draft = Some(*editor).filter(|editor| !editor.text().is_empty()),
            Some(Dialog::Document(form)) => self.keep_unasked(form.ask()),
            _ => (),
        }
    }

    fn dialog_key(&mut self, key: KeyEvent) {
        let Some(dialog) = &mut self.dialog else { return };
        let Some(done) = dialog.key(key) else { return };
        self.dialog_done(done);
    }

    /// What a dialog that closes, or a click in it, asks for.
    pub(super) fn dialog_done(&mut self, done: Done) {
        if done == Done::Closed {
            return self.close_dialog();
        }
        // a refused input stays open, so that it can be mended
        let open = self.dialog.take();
        match done {
            Done::Closed => (),
            Done::Command(command) => self.command(command),
            Done::Prompt(source) => {
                let is_empty = match &source {
                    PromptSource::Text(text) => text.is_empty(),
                    PromptSource::Chat(conversation) => conversation.messages.is_empty(),
                    _ => false,
                };
                if is_empty {
                    self.log.say(Level::Error, "the prompt is empty (give some text)");
                    self.dialog = open;
                    return;
                }
                match open {
                    Some(Dialog::Text(_)) => self.draft = None,
                    Some(Dialog::Document(_)) => self.unasked = None,
                    _ => (),
                }
                self.build(source);
            }
            Done::Refused(problem) => {
                self.fail(&problem);
                self.dialog = open;
            }
            Done::Rename(id, name) => {
                if let Some(run) = self.runs.get_mut(id) {
                    run.name = Some(name).filter(|name| !name.is_empty());
                    self.dirty = true;
                }
            }
            Done::Export(stem) => self.export(&stem),
            Done::SaveConfig(path) => {
                let text = export::config(self);
                self.work.add(Effect::Save(path, text.into_bytes()));
            }
            Done::Record(path) => {
                match (self.write_steps)(&path, &self.start, self.record.steps(), &self.opened.spec) {
                    Ok(text) => self.work.add(Effect::Save(path, text.into_bytes())),
                    Err(problem) => {
                        self.fail(&problem);
                        self.dialog = open;
                    }
                }
            }
            Done::Quit => self.quit(),
        }
    }

    fn export(&mut self, stem: &str) {
        match export::of_view(self, self.layout.active(), PathBuf::from(stem)) {
            Ok(export) => {
                let source = self.prompt.key().cloned();
                let (content, path) = (&export.content, export.path("png"));
                let step = Step::Picture(content.picture.clone(), content.settings.clone(), source, path);
                self.record.export();
                if let Some(page) = &content.page {
                    let id = self.work.number();
                    self.pages.insert(id, (export.path(PAGE), content.plot.clone()));
                    let (run, generated, of) = (page.run.clone(), page.generated.clone(), page.of.clone());
                    self.work.ask(Ask::Page(PageAsk { id, run, generated, of }));
                }
                self.work.add(Effect::Export(Box::new(export), Box::new(step)));
            }
            Err(problem) => self.fail(&problem),
        }
    }
}

/// Longest text that is typed or pasted into an editor, in bytes; longer ones become the prompt at once.
pub(super) const MAX_TYPED: usize = 100_000;
/// Longest text of a control that takes any, as parts of a method.
const MAX_PARTS: usize = 1000;

/// Whether a key begins a typed value.
fn starts_value(key: KeyEvent) -> bool {
    let plain = key.modifiers.is_empty();
    plain && matches!(key.code, KeyCode::Char(c) if c.is_ascii_digit() || c == '.')
}
