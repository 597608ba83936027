//! Time that a frame takes.

fn main() {
    divan::main();
}
