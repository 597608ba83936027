//! Draws a frame of the workbench on a scripted model: `cargo run --example frame -- 120x40 out.png KEY...`

#[path = "../tests/common/mod.rs"]
mod common;

use longlens_tui::theme::{Depth, Theme};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (size, path) = (args.first().map_or("120x40", String::as_str), args.get(1).map_or("frame.png", String::as_str));
    let (width, height) = size.split_once('x').expect("the size is written 120x40");
    let mut rig = common::Rig::ready();
    rig.app.theme = Theme {
        depth: match std::env::var("DEPTH").as_deref() {
            Ok("256") => Depth::Ansi256,
            Ok("16") => Depth::Ansi16,
            Ok("0") => Depth::Mono,
            _ => Depth::True,
        },
        ..rig.app.theme
    };
    rig.frame(width.parse().unwrap(), height.parse().unwrap());
    for key in &args[2.min(args.len())..] {
        match key.strip_prefix("text:") {
            Some(text) => rig.type_text(text),
            None => rig.keys(key),
        }
    }
    let buffer = rig.frame(width.parse().unwrap(), height.parse().unwrap());
    let screen = longlens_tui::shot::screen(&buffer, rig.app.theme, None);
    longlens_plot::save(&screen, path).unwrap();
}
