//! What a person waits for between a key and its frame: `App::update`, then a whole frame of 200 x 60 cells.
//!
//! `cargo bench -p longlens-tui`. A frame should take less than 8 ms, so that keys that repeat are never behind.

#[path = "../tests/common/mod.rs"]
mod common;

use divan::{Bencher, black_box};
use longlens_app::prompt::{NeedleAsk, PromptSource};
use longlens_app::runs::RunState;
use longlens_tui::app::{Action, Layout, Options};
use longlens_tui::keys;
use longlens_tui::panes::VIEWS;
use longlens_tui::screen;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use common::Rig;

/// Columns and rows of a large terminal.
const SIZE: (u16, u16) = (200, 60);

fn main() {
    divan::main();
}

/// 2 layers × 4 heads after 512 tokens, with two runs and a grid.
fn small() -> Rig {
    let mut rig = Rig::ready();
    rig.keys("P long_heads ) > > g");
    rig
}

/// 8 layers × 8 heads after 2048 tokens, with two runs.
fn large() -> Rig {
    let lens = common::lens().with_model(|info| {
        (info.spec.n_layers, info.spec.n_heads, info.spec.n_kv_heads) = (8, 8, 8);
    });
    let needle = NeedleAsk { length: 2048, ..NeedleAsk::default() };
    let mut rig = Rig::with(Options { prompt: Some(PromptSource::Needle(needle)), ..common::options() }, lens);
    rig.settle();
    rig.keys("P long_heads");
    assert!(rig.app.run().is_some_and(|run| run.state == RunState::Done), "{:?}", rig.app.log);
    rig
}

/// All views but some.
fn names(without: &[&str]) -> Vec<&'static str> {
    VIEWS.iter().map(|view| view.name()).filter(|name| !without.contains(name)).collect()
}

/// Draws a view again and again, as the terminal's loop does.
fn draw(bencher: Bencher<'_, '_>, mut rig: Rig, name: &str, cell_pixels: Option<(u16, u16)>) {
    let at = VIEWS.iter().position(|view| view.name() == name).unwrap();
    rig.keys(&(at + 1).to_string());
    rig.frame(SIZE.0, SIZE.1);
    let mut buffer = Buffer::empty(Rect::new(0, 0, SIZE.0, SIZE.1));
    bencher.bench_local(|| {
        buffer.reset();
        black_box(screen::draw(&rig.app, black_box(&mut buffer), cell_pixels));
    });
}

#[divan::bench(args = names(&[]))]
fn frame(bencher: Bencher<'_, '_>, name: &str) {
    draw(bencher, small(), name, None);
}

/// Without the grid, which is the same for every model.
#[divan::bench(args = names(&["Grid"]))]
fn frame_of_64_heads(bencher: Bencher<'_, '_>, name: &str) {
    draw(bencher, large(), name, None);
}

/// Where the terminal shows real images, of 8 x 16 pixels a cell.
#[divan::bench(args = ["Attention", "Positions", "Compare"])]
fn frame_with_images(bencher: Bencher<'_, '_>, name: &str) {
    draw(bencher, large(), name, Some((8, 16)));
}

/// A key and the one that takes it back: another head, another query, another method, another field.
#[divan::bench(args = ["> <", "{ }", "long_heads full", "down up"])]
fn update(bencher: Bencher<'_, '_>, keys: &str) {
    let mut rig = large();
    rig.app.layout = Layout::new(rig.app.layout.shown()[0], None);
    let mut keys = keys.split(' ').map(|key| keys::parse(common::method_key(key).unwrap_or(key)).unwrap()).cycle();
    bencher.bench_local(|| black_box(rig.app.update(Action::Key(keys.next().unwrap()))));
}
