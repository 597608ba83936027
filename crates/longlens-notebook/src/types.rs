//! What types are called in the language.

/// A type's name without its path.
pub fn plain_type(name: &str) -> &str {
    if name.contains("ImmutableString") {
        // an argument that may be any kind of text
        return "string";
    }
    match name.rsplit("::").next().unwrap_or(name) {
        "ImmutableString" | "String" | "&str" => "string",
        "i64" => "int",
        "f64" => "float",
        "FnPtr" => "function",
        "Array" => "array",
        "Map" => "map",
        "Dynamic" => "any",
        other => other,
    }
}

/// A type's name with its article.
pub fn a_type(name: &str) -> String {
    let kind = plain_type(name);
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u', 'E']) { "an" } else { "a" };
    format!("{article} {kind}")
}
