//! What every command does.

use longlens_app::prompt::{NeedleAsk, PromptSource};
use longlens_app::runs::{RunId, RunState};
use longlens_app::settings::Swap;
use longlens_core::methods::{METHODS, Method};
use longlens_core::setting::SettingError;

use super::typing::MAX_TYPED;
use super::{App, Effect, Focus, Level, TokenColor};
use crate::command::Command;
use crate::dialogs::{Dialog, Editor};
use crate::fields::FieldId;
use crate::panes::VIEWS;
use crate::panes::compare::CompareView;
use crate::panes::grid::GridView;
use crate::view::{Arrows, Step, View};

/// Numbers of exported files that are looked through.
const MAX_TRIED: usize = 1000;
/// Lines of a page of output.
const PAGE: usize = 8;
/// Tokens of a far step in the token strip.
const FAR: usize = 16;

impl App {
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Method(at) => self.choose_method(at),
            Command::SwapMode => self.toggle_swap(),
            Command::Rerun => {
                self.start_run();
                self.again.extend(self.current.as_ref().map(|run| run.id));
            }
            Command::Cancel => self.cancel(),
            Command::Undo => self.travel(true),
            Command::Redo => self.travel(false),
            Command::Needle => self.dialog = Some(Dialog::needle(&self.needle_ask())),
            Command::AskDocument => self.dialog = Some(self.document_dialog()),
            Command::OpenFile => self.dialog = Some(Dialog::open_file("")),
            Command::TypeText => self.dialog = Some(Dialog::Text(Box::new(self.editor()))),
            Command::NextQuery => self.step_query(1),
            Command::PreviousQuery => self.step_query(-1),
            Command::FarNextQuery => self.step_query(FAR as i64),
            Command::FarPreviousQuery => self.step_query(-(FAR as i64)),
            Command::DefaultQuery => self.select(|controls| controls.query = None),
            Command::BestHead => self.best_head(),
            Command::HeadOrder => self.next_order(),
            Command::SwitchHead => {
                let (layer, head) = (self.controls.layer, self.controls.head);
                self.change_heads(|method| method.toggled(layer, head));
            }
            Command::WholeHeads => self.change_heads(|method| method.with_interventions("")),
            Command::NextHead => self.step_head(0, 1),
            Command::PreviousHead => self.step_head(0, -1),
            Command::NextLayer => self.step_head(1, 0),
            Command::PreviousLayer => self.step_head(-1, 0),
            Command::View(at) => {
                if let Some(view) = VIEWS.get(at) {
                    self.show(*view);
                }
            }
            Command::Split => self.toggle_split(),
            Command::NextPane => self.step_focus(1),
            Command::PreviousPane => self.step_focus(-1),
            Command::ZoomIn => self.zoom(0.5, None),
            Command::ZoomOut => self.zoom(2.0, None),
            Command::ZoomReset => {
                self.zoom.reset();
                self.inspect();
            }
            Command::LogScale => self.zoom.log = !self.zoom.log,
            Command::MaxPooling => self.zoom.max = !self.zoom.max,
            Command::TokenColor => {
                self.token_color = match self.token_color {
                    TokenColor::Loss => TokenColor::Attention,
                    TokenColor::Attention => TokenColor::Loss,
                }
            }
            Command::Log => (self.show_log, self.scroll) = (!self.show_log, 0),
            Command::Grid => {
                self.toggle_grid();
                if !self.layout.shows(&GridView) {
                    self.show(&GridView);
                }
            }
            Command::Pin => self.pin(),
            Command::Rename => {
                if let Some(run) = self.selected_run() {
                    self.dialog = Some(Dialog::rename(run));
                }
            }
            Command::Compare => self.mark(),
            Command::Forget => self.forget(),
            Command::Restore => self.restore(),
            Command::Export => self.dialog = Some(Dialog::export(&self.export_name())),
            Command::SaveConfig => self.dialog = Some(Dialog::save_config()),
            Command::Record => self.dialog = Some(Dialog::record()),
            Command::Palette => self.dialog = Some(Dialog::palette()),
            Command::Help => self.dialog = Some(Dialog::Help { scroll: 0 }),
            Command::Theme => self.theme.name = self.theme.name.next(),
            Command::Images => self.images = !self.images,
            Command::Mouse => {
                self.mouse = !self.mouse;
                self.work.add(Effect::Mouse(self.mouse));
                let text =
                    if self.mouse { "the mouse works here again" } else { "the mouse selects text in the terminal" };
                self.log.say(Level::Note, text);
            }
            Command::Quit if self.is_working() => self.dialog = Some(Dialog::ConfirmQuit),
            Command::Quit => self.quit(),
            Command::Up => self.move_by(-1, 0, false),
            Command::Down => self.move_by(1, 0, false),
            Command::Left => self.move_by(0, -1, false),
            Command::Right => self.move_by(0, 1, false),
            Command::FarLeft => self.move_by(0, -1, true),
            Command::FarRight => self.move_by(0, 1, true),
            Command::PageUp => self.page(-1),
            Command::PageDown => self.page(1),
            Command::First => self.jump(false),
            Command::Last => self.jump(true),
            Command::Enter => self.enter(),
            Command::Back => self.back(),
        }
    }

    /// Whether something that takes long would be lost.
    fn is_working(&self) -> bool {
        self.work.is_busy() && self.opening == super::Opening::Done
    }

    fn choose_method(&mut self, at: usize) {
        let Some(method) = METHODS.get(at) else { return };
        let name = method.info.name;
        let known = self.methods.get(name).cloned().or_else(|| Method::parse(name).ok());
        // heads that are changed stay so under another method
        let changes = self.controls.settings.method.interventions_text();
        if let Some(method) = known.and_then(|method| method.with_interventions(&changes).ok()) {
            let mut controls = self.controls.clone();
            controls.settings.method = method;
            self.apply(controls);
        }
    }

    /// Changes what the method does in some heads.
    fn change_heads(&mut self, change: impl FnOnce(Method) -> Result<Method, SettingError>) {
        let mut controls = self.controls.clone();
        match change(controls.settings.method.clone()) {
            Ok(method) => controls.settings.method = method,
            Err(error) => return self.fail(&error.into()),
        }
        let changed = controls.settings.method.interventions_text();
        let said = if changed.is_empty() { "no head is changed".to_owned() } else { format!("heads: {changed}") };
        self.apply(controls);
        self.log.say(Level::Note, said);
    }

    fn toggle_swap(&mut self) {
        let mut controls = self.controls.clone();
        controls.settings.swap = match controls.settings.swap {
            Swap::RePrefill => Swap::ReuseKv,
            Swap::ReuseKv => Swap::RePrefill,
        };
        self.apply(controls);
    }

    fn cancel(&mut self) {
        if self.opening == super::Opening::Waiting {
            // loading a model cannot be stopped half way, and nothing else is lost
            self.dialog = Some(Dialog::ConfirmQuit);
        } else if self.work.is_busy() {
            self.work.add(Effect::Cancel);
            self.grids.stop();
            // of a run that still waits the worker has nothing to tell
            if let Some(run) = self.run().filter(|run| run.state == RunState::Running).map(|run| run.id) {
                self.end_run(run, RunState::Cancelled);
            }
            self.drop_waiting();
            self.log.say(Level::Note, "cancelled");
        } else {
            self.dialog = Some(Dialog::ConfirmQuit);
        }
    }

    /// What was asked and will not be answered can be asked again.
    pub(super) fn drop_waiting(&mut self) {
        self.prompt.cancel();
        self.heads.cancel();
        self.map.cancel();
        self.plots.cancel();
        self.difference.cancel();
    }

    /// Undo, or redo.
    fn travel(&mut self, back: bool) {
        let (mut found, mut now) = (None, self.controls.clone());
        // values that were impossible together ran nothing, and nobody wants them back
        while let Some(controls) = self.undo.travel(back, &now) {
            now = controls.clone();
            let is_possible = controls.settings.check(&self.opened, self.n_prompt()).is_ok();
            found = Some(controls);
            if is_possible {
                break;
            }
        }
        let Some(controls) = found else {
            let text = if back { "nothing to undo" } else { "nothing to redo" };
            return self.log.say(Level::Note, text);
        };
        // what is looked at is no change of parameters
        let controls = crate::fields::Controls {
            layer: self.controls.layer,
            head: self.controls.head,
            query: self.controls.query,
            chunk_len: self.controls.chunk_len,
            ..controls
        };
        let before = std::mem::replace(&mut self.controls, controls);
        self.edit = None;
        self.settled(before.settings != self.controls.settings);
    }

    /// Changes what is looked at.
    pub(super) fn select(&mut self, change: impl FnOnce(&mut crate::fields::Controls)) {
        let mut controls = self.controls.clone();
        change(&mut controls);
        self.apply(controls);
    }

    pub(super) fn step_query(&mut self, by: i64) {
        let last = self.n_fed().saturating_sub(1);
        let query = (self.query() as i64 + by).clamp(0, last as i64) as usize;
        self.select(|controls| controls.query = Some(query));
    }

    pub(super) fn step_head(&mut self, layers: i64, heads: i64) {
        let selected = self.head_after(layers, heads);
        self.seeks_head = false;
        self.select(|controls| (controls.layer, controls.head) = selected);
    }

    /// Shows a view in the focused pane.
    pub(super) fn show(&mut self, view: &'static dyn View) {
        self.layout.show(view);
        self.inspect();
    }

    fn toggle_split(&mut self) {
        self.layout.toggle_split();
        self.inspect();
    }

    fn step_focus(&mut self, by: i64) {
        self.layout.step_focus(by);
        self.edit = None;
    }

    fn move_by(&mut self, down: i64, right: i64, far: bool) {
        match self.layout.focus() {
            Focus::Controls if down != 0 => {
                let last = self.fields().len() as i64 - 1;
                self.field = (self.field as i64 + down).clamp(0, last) as usize;
            }
            Focus::Controls => self.nudge(self.field, right > 0, far),
            Focus::History => self.step_history(down),
            Focus::Tokens => self.step_query(if far { FAR as i64 * right } else { right + down * FAR as i64 }),
            Focus::Output => self.scroll = (self.scroll as i64 - down).max(0) as usize,
            Focus::View(pane) => self.move_view(pane, Arrows { down, right, far }),
        }
    }

    /// Lets the view of a pane say what the arrows mean.
    fn move_view(&mut self, pane: usize, arrows: Arrows) {
        match self.layout.shown()[pane].step(self, arrows) {
            Step::Query(by) => self.step_query(by),
            Step::Head(layer, head) => {
                self.seeks_head = false;
                self.select(|controls| (controls.layer, controls.head) = (layer, head));
            }
            Step::Pan(down, right) => self.pan(down, right),
            Step::Grid(by) => self.grids.step(by),
            Step::Run(by) => self.step_history(by),
        }
    }

    fn step_history(&mut self, down: i64) {
        let last = self.runs.list.len().saturating_sub(1) as i64;
        self.history = (self.history as i64 + down).clamp(0, last) as usize;
    }

    /// One step of a field.
    pub(super) fn nudge(&mut self, field: usize, up: bool, far: bool) {
        let fields = self.fields();
        let Some(field) = fields.get(field) else { return };
        if let Some(controls) = self.controls.nudged(field, up, far, &self.around()) {
            if field.id == FieldId::Method {
                // the parameters that this method had last
                let name = controls.settings.method.name();
                return self.choose_method(METHODS.iter().position(|method| method.info.name == name).unwrap_or(0));
            }
            self.apply(controls);
        }
    }

    fn page(&mut self, down: i64) {
        match self.layout.focus() {
            Focus::Controls => {
                let last = self.fields().len() as i64 - 1;
                self.field = (self.field as i64 + down * PAGE as i64).clamp(0, last) as usize;
            }
            Focus::History => self.step_history(down * PAGE as i64),
            Focus::Tokens => self.step_query(down * 8 * FAR as i64),
            Focus::Output => self.scroll = (self.scroll as i64 - down * PAGE as i64).max(0) as usize,
            Focus::View(pane) => self.move_view(pane, Arrows { down: down * PAGE as i64, right: 0, far: false }),
        }
    }

    fn jump(&mut self, last: bool) {
        match self.layout.focus() {
            Focus::Controls => self.field = if last { self.fields().len().saturating_sub(1) } else { 0 },
            Focus::History => self.step_history(if last { i64::MAX / 2 } else { i64::MIN / 2 }),
            Focus::Tokens | Focus::View(_) => {
                let query = if last { self.n_fed().saturating_sub(1) } else { 0 };
                self.select(|controls| controls.query = Some(query));
            }
            Focus::Output => self.scroll = if last { 0 } else { usize::MAX / 4 },
        }
    }

    fn enter(&mut self) {
        match self.layout.focus() {
            Focus::Controls => self.begin_edit(None),
            Focus::History => self.restore(),
            Focus::View(pane) => {
                let next = self.layout.shown()[pane].enter();
                if let Some(view) = next.filter(|view| self.layout.pane_of(*view).is_none_or(|shown| shown == pane)) {
                    self.show(view);
                }
            }
            Focus::Tokens | Focus::Output => (),
        }
    }

    fn back(&mut self) {
        if self.edit.take().is_some() {
            return;
        }
        if self.zoom.window().is_some() && matches!(self.layout.focus(), Focus::View(_)) {
            return self.command(Command::ZoomReset);
        }
        self.layout.focus_on(Focus::Controls);
    }

    fn pin(&mut self) {
        let Some(id) = self.chosen_run() else { return };
        if let Some(run) = self.runs.get_mut(id) {
            run.pinned = !run.pinned;
            let text = format!("{} {}", if run.pinned { "pinned" } else { "no longer pinned:" }, run.title());
            self.log.say(Level::Note, text);
        }
        self.dirty = true;
        self.inspect();
    }

    /// The run that commands are about: the selected one.
    fn chosen_run(&self) -> Option<RunId> {
        self.selected_run().map(|run| run.id)
    }

    fn mark(&mut self) {
        let Some(id) = self.chosen_run() else { return };
        let marked = &mut self.marked;
        if let Some(at) = marked.iter().position(|known| *known == id) {
            marked.remove(at);
        } else {
            if marked.len() == 2 {
                marked.remove(0);
            }
            marked.push(id);
        }
        if self.marked.len() == 2 && !self.layout.shows(&CompareView) {
            // the keys stay with the history
            let focus = self.layout.focus();
            self.show(&CompareView);
            self.layout.focus_on(focus);
        }
        self.inspect();
    }

    fn forget(&mut self) {
        let Some(id) = self.chosen_run() else { return };
        let is_newest = self.current.as_ref().is_some_and(|current| current.id == id);
        let Some(run) = self.runs.get(id) else { return };
        if run.pinned || is_newest {
            let why = if run.pinned { "it is pinned" } else { "it is what is shown" };
            return self.log.say(Level::Warning, format!("this run is not forgotten: {why}"));
        }
        self.runs.list.retain(|run| run.id != id);
        self.marked.retain(|marked| *marked != id);
        self.step_history(0);
        self.dirty = true;
    }

    fn restore(&mut self) {
        let Some(run) = self.selected_run() else { return };
        let (settings, source, base) = (run.settings.clone(), run.source.clone(), run.base.clone());
        let is_same_prompt = self.prompt.key() == Some(&source);
        let controls = crate::fields::Controls { settings, ..self.controls.clone() };
        self.edit = None;
        if is_same_prompt {
            // a swap is computed on the same cache again
            self.base = base.or(self.base.take());
            if controls == self.controls {
                self.start_run();
            } else {
                self.apply(controls);
            }
            return;
        }
        // the run follows when its prompt is built
        self.restored_base = base;
        let before = std::mem::replace(&mut self.controls, controls);
        self.undo.remember(before);
        self.judge();
        self.build(source);
    }

    /// The needle prompt that the builder begins with.
    fn needle_ask(&self) -> NeedleAsk {
        match self.prompt.key() {
            Some(PromptSource::Needle(ask)) => ask.clone(),
            _ => self.first_needle(),
        }
    }

    /// What the prompt editor begins with: what was typed and not run, else the prompt, if it is not too long to type in.
    fn editor(&self) -> Editor {
        let prompt = || self.prompt.key().and_then(Editor::of).filter(|editor| editor.text().len() <= MAX_TYPED);
        self.draft.clone().or_else(prompt).unwrap_or_else(|| Editor::new(""))
    }

    /// What exported files are called.
    fn export_name(&self) -> String {
        let view = self.layout.active().name().to_lowercase();
        // the first number that no file has yet
        let name = |at: usize| format!("longlens-{view}-{at}");
        let is_free = |at: &usize| !std::path::Path::new(&name(*at)).with_extension("png").exists();
        name((1..=self.record.n_exported() + MAX_TRIED).find(is_free).unwrap_or(self.record.n_exported() + 1))
    }
}
