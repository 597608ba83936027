//! Prints the list of keys as the README has it: `cargo run --release -p longlens-tui --example keys`

use std::io::Write;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(longlens_tui::command::markdown().as_bytes())
}
