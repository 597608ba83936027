//! What ARCHITECTURE.md and the README say of the code holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use longlens_core::methods::INFOS;
use longlens_core::rope::SCALINGS;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Rows of the tables below a heading, as cells without their padding.
fn rows(text: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, after) = text.split_once(heading).unwrap_or_else(|| panic!("no heading `{heading}`"));
    let section = after.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// Names in backticks.
fn names(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn crates_import_what_the_table_allows() {
    let table = rows(&read("ARCHITECTURE.md"), "## Crates");
    let full = |name: &str| if name.starts_with("longlens") { name.to_owned() } else { format!("longlens-{name}") };
    let all: BTreeSet<String> = table.iter().map(|row| names(&row[0])[0].to_owned()).collect();
    let allowed: BTreeMap<String, BTreeSet<String>> = table
        .iter()
        .map(|row| {
            let imports = match row[2].as_str() {
                "nothing" => BTreeSet::new(),
                "everything" => all.clone(),
                list => list.split(", ").map(full).collect(),
            };
            (names(&row[0])[0].to_owned(), imports)
        })
        .collect();
    for folder in fs::read_dir(root().join("crates")).unwrap() {
        let folder = folder.unwrap().path();
        let manifest: toml::Table = fs::read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap();
        let name = manifest["package"]["name"].as_str().unwrap();
        let imports = manifest.get("dependencies").and_then(|table| table.as_table()).into_iter().flatten();
        let imports: BTreeSet<String> =
            imports.map(|(name, _)| name.clone()).filter(|name| name.starts_with("longlens")).collect();
        let allowed = allowed.get(name).unwrap_or_else(|| panic!("ARCHITECTURE.md has no row for {name}"));
        assert!(imports.is_subset(allowed), "{name} imports {imports:?}, the table allows {allowed:?}");
    }
}

/// Lines of code, without comments and without what follows the first test module, of every source file of a crate.
fn code(krate: &str) -> Vec<(PathBuf, usize, String)> {
    let mut lines = Vec::new();
    let mut folders = vec![root().join("crates").join(krate).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
                let text = fs::read_to_string(&path).unwrap();
                let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
                let numbered = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
                lines.extend(numbered.map(|(at, line)| (path.clone(), at + 1, line.to_owned())));
            }
        }
    }
    lines
}

#[test]
fn nothing_below_the_faces_names_a_method() {
    for krate in ["longlens-core", "longlens-kernel", "longlens-model", "longlens-eval", "longlens-plot"] {
        for (path, at, line) in code(krate) {
            // `sliding_window` is a field of config.json, too, prompts of papers are called as their methods, and `string` is a
            // filter of chat templates
            let folders = ["methods", "config", "families", "templates.rs", "chat"];
            let is_theirs = path.components().any(|part| folders.iter().any(|folder| part.as_os_str() == *folder));
            let named =
                INFOS.iter().find(|info| ['"', ':'].iter().any(|end| line.contains(&format!("\"{}{end}", info.name))));
            // `full` is what everything else is compared with: the catalog gives it by name
            let named = named.filter(|info| !is_theirs && info.name != "full");
            assert!(named.is_none(), "{}:{at} names `{}`: {line}", path.display(), named.unwrap().name);
        }
    }
}

/// Crates whose errors are read in every face: what one of them calls a setting, the others call otherwise.
const BELOW: [&str; 5] = ["longlens-core", "longlens-kernel", "longlens-model", "longlens-eval", "longlens-plot"];

#[test]
fn nothing_below_the_faces_names_a_flag_or_a_command() {
    for krate in BELOW {
        for (path, at, line) in code(krate) {
            let text = line.split('"').skip(1).step_by(2).collect::<Vec<_>>().join(" ");
            let flag = text.split(|c: char| c.is_whitespace() || c == '`').find(|word| {
                word.strip_prefix("--").is_some_and(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
            });
            assert!(flag.is_none(), "{}:{at} names the flag {}: {line}", path.display(), flag.unwrap());
            assert!(!text.contains("`longlens "), "{}:{at} names a command: {line}", path.display());
        }
    }
}

#[test]
fn no_family_is_named_outside_its_file() {
    // names of other programs' architectures, which refusals list, and of tokenizers' rules in GGUF files
    let folders = ["families", "elsewhere", "elsewhere.rs", "families.rs", "pieces"];
    let families = fs::read_dir(root().join("crates/longlens-model/src/families")).unwrap();
    let families: Vec<String> = families
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    assert!(families.contains(&"llama".to_owned()));
    for krate in BELOW.into_iter().chain(["longlens-app", "longlens-tui", "longlens-notebook", "longlens"]) {
        for (path, at, line) in code(krate) {
            let is_theirs = path.components().any(|part| folders.iter().any(|folder| part.as_os_str() == *folder));
            let named = families
                .iter()
                .find(|name| line.contains(&format!("\"{name}\"")) || line.contains(&format!("{name}::")));
            assert!(is_theirs || named.is_none(), "{}:{at} names `{}`: {line}", path.display(), named.unwrap());
        }
    }
}

/// For every module at the top of a crate the others that it uses. Tests may use anything.
fn imports(krate: &str) -> BTreeMap<String, BTreeSet<String>> {
    let source = root().join("crates").join(krate).join("src");
    let module = |path: &Path| {
        let first = path.strip_prefix(&source).unwrap().components().next().unwrap();
        Path::new(first.as_os_str()).file_stem().unwrap().to_string_lossy().into_owned()
    };
    let mut texts: BTreeMap<PathBuf, String> = BTreeMap::new();
    for (path, _, line) in code(krate) {
        texts.entry(path).or_default().extend([line.as_str(), "\n"]);
    }
    let modules: BTreeSet<String> = texts.keys().map(|path| module(path)).collect();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in &texts {
        let from = module(path);
        for rest in text.split("crate::").skip(1) {
            let named = if let Some(list) = rest.strip_prefix('{') { list.split('}').next().unwrap() } else { rest };
            let is_list = rest.starts_with('{');
            let names = named.split(',').take(if is_list { usize::MAX } else { 1 });
            for name in names {
                let end = name.trim().find(|c: char| !(c.is_alphanumeric() || c == '_'));
                let name = &name.trim()[..end.unwrap_or(name.trim().len())];
                if modules.contains(name) && name != from && from != "lib" && from != "main" {
                    edges.entry(from.clone()).or_default().insert(name.to_owned());
                }
            }
        }
    }
    edges
}

/// Modules that are written in terms of each other: a registry and what it lists, and what both are made of.
const TOGETHER: [(&str, &[&str]); 3] = [
    ("longlens-core", &["rope", "ropes", "setting", "spec"]),
    ("longlens-kernel", &["cpu", "rotary"]),
    ("longlens-model", &["config", "families"]),
];

#[test]
fn modules_of_a_crate_import_in_one_direction() {
    // state, panes and files of the terminal workbench are written in terms of each other
    for krate in BELOW.into_iter().chain(["longlens-app", "longlens-notebook", "longlens"]) {
        let edges = imports(krate);
        assert!(krate == "longlens-eval" || edges.len() > 3, "{krate}: {edges:?}");
        // modules that lead nowhere go, then those that led to these alone, and so on; a circle, and what leads to it, stays
        let mut left = edges;
        loop {
            let is_end = |to: &BTreeSet<String>| to.iter().all(|to| !left.contains_key(to));
            let ends: Vec<String> = left.iter().filter(|(_, to)| is_end(to)).map(|(from, _)| from.clone()).collect();
            if ends.is_empty() {
                break;
            }
            for end in &ends {
                left.remove(end);
            }
        }
        // and so from the other side: what nobody in the circle leads to only leads there
        while let Some(start) = left.keys().find(|from| !left.values().any(|to| to.contains(*from))).cloned() {
            left.remove(&start);
        }
        let known = TOGETHER.iter().find(|(known, _)| *known == krate).map_or(&[][..], |(_, modules)| modules);
        let found: Vec<&str> = left.keys().map(String::as_str).collect();
        assert_eq!(found, known, "{krate} has modules that use each other");
    }
}

#[test]
fn the_readme_lists_every_method_and_scaling_with_its_parameters() {
    let table = rows(&read("README.md"), "\n## Methods");
    for info in INFOS.iter().chain(SCALINGS.iter()) {
        let row = table.iter().find(|row| names(&row[0]).contains(&info.name));
        let row = row.unwrap_or_else(|| panic!("the README's tables have no row for `{}`", info.name));
        let cells = row.join(" ");
        let is_param = |name: &&str| info.params.iter().any(|param| param.name == *name);
        let listed = names(&cells).into_iter().filter(is_param).map(str::to_owned);
        let expected: Vec<String> = info.params.iter().map(|param| param.name.to_owned()).collect();
        let mut seen = BTreeSet::new();
        let listed: Vec<String> = listed.filter(|name| seen.insert(name.clone())).collect();
        assert_eq!(listed, expected, "parameters of `{}`", info.name);
    }
    let known: Vec<&str> = INFOS.iter().chain(SCALINGS.iter()).map(|info| info.name).collect();
    for name in table.iter().flat_map(|row| names(&row[0])) {
        assert!(known.contains(&name), "the README lists `{name}`, which there is not");
    }
}

#[test]
fn the_readme_names_every_view() {
    let text = read("README.md");
    for view in longlens_app::views::TRACE_VIEWS {
        let name = view.info().name;
        assert!(text.contains(&format!("`{name}`")), "the README does not name the view `{name}`");
    }
}

#[test]
fn files_that_architecture_names_are_there() {
    let text = read("ARCHITECTURE.md");
    for name in text.split('`').skip(1).step_by(2) {
        let is_source = Path::new(name).extension().is_some_and(|end| end == "rs");
        let is_file = is_source && name.contains('/') && !name.contains(['<', '{', '*']);
        if is_file {
            let found = [name.to_owned(), format!("crates/{name}")].iter().any(|path| root().join(path).exists());
            let found = found || inside_a_crate(name);
            assert!(found, "ARCHITECTURE.md names {name}, which is not there");
        }
    }
}

/// Whether some crate has this file in its folder, or below its `src`.
fn inside_a_crate(name: &str) -> bool {
    fs::read_dir(root().join("crates")).unwrap().any(|folder| {
        let folder = folder.unwrap().path();
        folder.join(name).exists() || folder.join("src").join(name).exists()
    })
}
