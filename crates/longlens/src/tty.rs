//! What the terminal says of itself.

/// Whether the terminal says that it can neither move its cursor nor show colours.
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}
