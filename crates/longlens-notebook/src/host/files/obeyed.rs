//! Files that other programs take orders from.

/// Names of files with such endings that other programs obey when they start in the folder: package managers, build tools,
/// editors, notebooks, assistants.
const OBEYED: [&str; 43] = [
    "agents.md",
    "angular.json",
    "apt.txt",
    "babel.json",
    "biome.json",
    "bower.json",
    "claude.md",
    "cmakelists.txt",
    "cmakepresets.json",
    "cmakeuserpresets.json",
    "codecov.json",
    "composer.json",
    "conanfile.txt",
    "copilot-instructions.md",
    "deno.json",
    "devcontainer.json",
    "dockerfile.txt",
    "firebase.json",
    "gemini.md",
    "global.json",
    "kernel.json",
    "launch.json",
    "lefthook.json",
    "lerna.json",
    "manifest.json",
    "mcp.json",
    "meson_options.txt",
    "nodemon.json",
    "now.json",
    "npm-shrinkwrap.json",
    "nx.json",
    "opencode.json",
    "project.json",
    "renovate.json",
    "rush.json",
    "settings.json",
    "skill.md",
    "tasks.json",
    "turbo.json",
    "vcpkg.json",
    "vercel.json",
    "wrangler.json",
    "workspace.json",
];
/// What such names begin with, contain, or end in, for families of them.
const OBEYED_STARTS: [&str; 6] = ["jupyter", "package.", "package-", "tsconfig", "jsconfig", "appsettings"];
const OBEYED_PARTS: [&str; 2] = ["requirements", "constraints"];
const OBEYED_ENDS: [&str; 3] = [".config.json", "rc.json", "lock.json"];

/// Whether a file of this path, in lower case, is one that other programs look for: of data and pictures none is.
pub(crate) fn is_obeyed(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    let (file, folder) = (parts.next().unwrap_or(path), parts.next().unwrap_or(""));
    let ending = file.rsplit_once('.').map_or("", |(_, ending)| ending);
    let is_read = ["json", "txt", "md", "rhai", "tex"].contains(&ending);
    let is_named = OBEYED.contains(&file)
        || OBEYED_STARTS.iter().any(|start| file.starts_with(start))
        || OBEYED_ENDS.iter().any(|end| file.ends_with(end));
    // lists of requirements may be kept in a folder of that name
    let is_list = |name: &str| OBEYED_PARTS.iter().any(|part| name.contains(part));
    is_read && (is_named || ending == "txt" && (is_list(file) || is_list(folder)))
}
