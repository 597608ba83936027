//! Where Jupyter finds the kernel.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use longlens_app::write_whole;
use serde_json::{Value, json};

use super::KernelError;

/// The mark that Jupyter's launcher shows.
const LOGO: &str = include_str!("install/logo.svg");
/// How nbconvert writes a notebook as a script with its cells: `nbconvert --to script --template longlens`.
const SCRIPT: [(&str, &str); 2] = [
    ("conf.json", "{\"base_template\": \"script\", \"mimetypes\": {\"text/plain\": true}}\n"),
    ("script.j2", include_str!("install/script.j2")),
];
/// What every kernel of ours is started with, after the program.
const ARGUMENTS: [&str; 3] = ["kernel", "run", "{connection_file}"];

/// Whose kernels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The user's, for every Jupyter.
    User,
    /// Those of the Python environment that is active: `VIRTUAL_ENV`, else `CONDA_PREFIX`.
    SysPrefix,
    /// Those below `<prefix>/share/jupyter`.
    Prefix(PathBuf),
}

/// Tells Jupyter of this kernel, under `name`, to be started as `program kernel run {connection_file}` and the words of `flags`;
/// returns the folder. Beside it nbconvert gets a template for scripts.
///
/// Takes the place of a kernel of ours with that name, and refuses to take the place of another.
pub fn install(name: &str, place: &Place, program: &Path, flags: &[String]) -> Result<PathBuf, KernelError> {
    let folder = folder(name, place, &|variable| std::env::var_os(variable))?;
    install_in(&folder, name, program, flags)?;
    Ok(folder)
}

/// Takes the kernel away again and returns the folder that it was in; other kernels stay.
pub fn uninstall(name: &str, place: &Place) -> Result<PathBuf, KernelError> {
    let folder = folder(name, place, &|variable| std::env::var_os(variable))?;
    uninstall_from(&folder)?;
    remove_template(&folder)?;
    Ok(folder)
}

/// The line of words that Jupyter starts the kernel of a folder with.
pub fn command(folder: &Path) -> Option<String> {
    let specification: Value = serde_json::from_str(&fs::read_to_string(folder.join("kernel.json")).ok()?).ok()?;
    let words = specification["argv"].as_array()?.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?;
    Some(words.join(" "))
}

fn install_in(folder: &Path, name: &str, program: &Path, flags: &[String]) -> Result<(), KernelError> {
    if folder.join("kernel.json").exists() && !is_ours(folder) {
        return Err(KernelError::NotOurs { path: folder.into() });
    }
    let template = template_of(folder);
    for folder in [folder, &template] {
        fs::create_dir_all(folder).map_err(|cause| KernelError::File { what: "make", path: folder.into(), cause })?;
    }
    let write = |folder: &Path, name: &str, text: &str| {
        let path = folder.join(name);
        write_whole(&path, text.as_bytes()).map_err(|cause| KernelError::File { what: "write", path, cause })
    };
    SCRIPT.iter().try_for_each(|(name, text)| write(&template, name, text))?;
    write(folder, "logo-svg.svg", LOGO)?;
    // last, for it is what makes the folder a kernel
    write(folder, "kernel.json", &format!("{:#}\n", specification(name, program, flags)))
}

/// The folder of nbconvert's template, beside the folder of kernels that a kernel lies in.
fn template_of(kernel: &Path) -> PathBuf {
    let data = kernel.ancestors().nth(2).unwrap_or(kernel);
    data.join("nbconvert/templates/longlens")
}

/// Takes the template away with the last kernel of ours beside it.
fn remove_template(kernel: &Path) -> Result<(), KernelError> {
    let others = kernel.parent().and_then(|kernels| fs::read_dir(kernels).ok());
    if others.into_iter().flatten().flatten().any(|other| is_ours(&other.path())) {
        return Ok(());
    }
    let template = template_of(kernel);
    match fs::remove_dir_all(&template) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(KernelError::File { what: "remove", path: template, cause })
        }
        _ => Ok(()),
    }
}

fn uninstall_from(folder: &Path) -> Result<(), KernelError> {
    if !folder.join("kernel.json").exists() {
        return Err(KernelError::NotInstalled { path: folder.into() });
    }
    if !is_ours(folder) {
        return Err(KernelError::NotOurs { path: folder.into() });
    }
    fs::remove_dir_all(folder).map_err(|cause| KernelError::File { what: "remove", path: folder.into(), cause })
}

fn specification(name: &str, program: &Path, flags: &[String]) -> Value {
    let mut argv = vec![program.to_string_lossy().into_owned()];
    argv.extend(ARGUMENTS.map(str::to_owned));
    argv.extend_from_slice(flags);
    // a launcher shows this name alone
    let shown = if name == "longlens" { name.to_owned() } else { format!("longlens ({name})") };
    json!({
        "argv": argv,
        "display_name": shown,
        "language": "rhai",
        "interrupt_mode": "message",
        "metadata": { "debugger": false },
    })
}

/// Whether the kernel of a folder is started as ours is, by whatever program.
fn is_ours(folder: &Path) -> bool {
    let read = |text: String| serde_json::from_str::<Value>(&text).map_err(io::Error::from);
    let Ok(specification) = fs::read_to_string(folder.join("kernel.json")).and_then(read) else { return false };
    let arguments = specification["argv"].as_array().and_then(|argv| argv.get(1..));
    specification["language"] == "rhai"
        && arguments.is_some_and(|arguments| arguments.iter().take(ARGUMENTS.len()).eq(ARGUMENTS.iter()))
}

fn folder(name: &str, place: &Place, variable: &dyn Fn(&str) -> Option<OsString>) -> Result<PathBuf, KernelError> {
    let plain = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '.' | '_' | '-');
    if !name.starts_with(|first: char| first.is_ascii_alphanumeric()) || !name.chars().all(plain) {
        return Err(KernelError::Name { name: name.into() });
    }
    // an empty variable is as good as none
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = match place {
        Place::User => user_data(&variable)?,
        Place::SysPrefix => {
            let prefix = variable("VIRTUAL_ENV").or_else(|| variable("CONDA_PREFIX"));
            let looked = "neither VIRTUAL_ENV nor CONDA_PREFIX";
            prefix.ok_or(KernelError::NoFolder { looked })?.join("share/jupyter")
        }
        Place::Prefix(prefix) => prefix.join("share/jupyter"),
    };
    Ok(data.join("kernels").join(name))
}

/// Jupyter's data folder of this user.
fn user_data(variable: &dyn Fn(&str) -> Option<PathBuf>) -> Result<PathBuf, KernelError> {
    if let Some(data) = variable("JUPYTER_DATA_DIR") {
        return Ok(data);
    }
    if cfg!(windows) {
        let data = variable("APPDATA").ok_or(KernelError::NoFolder { looked: "APPDATA" })?;
        return Ok(data.join("jupyter"));
    }
    let home = || variable("HOME").ok_or(KernelError::NoFolder { looked: "HOME" });
    if cfg!(target_os = "macos") {
        return Ok(home()?.join("Library/Jupyter"));
    }
    match variable("XDG_DATA_HOME") {
        Some(data) => Ok(data.join("jupyter")),
        None => Ok(home()?.join(".local/share/jupyter")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn below<'a>(variables: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
    }

    #[test]
    fn a_kernel_is_put_where_jupyter_looks() {
        let user =
            |variables: &[(&str, &str)]| folder("longlens", &Place::User, &below(variables)).map_err(|e| e.to_string());
        let data =
            [("JUPYTER_DATA_DIR", "/data"), ("HOME", "/home/me"), ("XDG_DATA_HOME", "/xdg"), ("APPDATA", "/app")];
        assert_eq!(user(&data), Ok("/data/kernels/longlens".into()));
        if cfg!(target_os = "linux") {
            assert_eq!(user(&data[1..]), Ok("/xdg/jupyter/kernels/longlens".into()));
            assert_eq!(user(&data[1..2]), Ok("/home/me/.local/share/jupyter/kernels/longlens".into()));
            assert_eq!(
                user(&[("HOME", "")]).unwrap_err(),
                "HOME is not set, so it is not known where Jupyter looks for kernels"
            );
        }
        let python = [("CONDA_PREFIX", "/conda"), ("VIRTUAL_ENV", "/venv")];
        let active = |variables: &[(&str, &str)]| folder("a", &Place::SysPrefix, &below(variables));
        assert_eq!(active(&python).unwrap(), PathBuf::from("/venv/share/jupyter/kernels/a"));
        assert_eq!(active(&python[..1]).unwrap(), PathBuf::from("/conda/share/jupyter/kernels/a"));
        assert!(matches!(active(&[]), Err(KernelError::NoFolder { .. })));
    }

    #[test]
    fn names_stay_inside_the_folder() {
        for name in ["", ".", "..", "a/b", "../a", "a b", "é", "-a", "a\\b"] {
            let error = folder(name, &Place::Prefix("/p".into()), &|_| None).unwrap_err();
            assert!(matches!(error, KernelError::Name { .. }), "{name}: {error}");
        }
    }

    #[test]
    fn what_is_installed_can_be_taken_away() {
        let prefix = tempfile::tempdir().unwrap();
        let place = Place::Prefix(prefix.path().into());
        let folder = install("lens", &place, Path::new("/opt/longlens"), &[]).unwrap();
        assert_eq!(folder, prefix.path().join("share/jupyter/kernels/lens"));
        insta::assert_snapshot!(fs::read_to_string(folder.join("kernel.json")).unwrap(), @r#"
        {
          "argv": [
            "/opt/longlens",
            "kernel",
            "run",
            "{connection_file}"
          ],
          "display_name": "longlens (lens)",
          "language": "rhai",
          "interrupt_mode": "message",
          "metadata": {
            "debugger": false
          }
        }
        "#);
        assert!(folder.join("logo-svg.svg").exists());
        let template = prefix.path().join("share/jupyter/nbconvert/templates/longlens");
        assert!(template.join("script.j2").exists());
        let flags = ["--files=/data".to_owned(), "--overwrite".to_owned()];
        install("lens", &place, Path::new("/elsewhere/longlens"), &flags).unwrap();
        let written: Value = serde_json::from_slice(&fs::read(folder.join("kernel.json")).unwrap()).unwrap();
        let argv = ["/elsewhere/longlens", "kernel", "run", "{connection_file}", "--files=/data", "--overwrite"];
        assert_eq!(written["argv"], json!(argv));
        assert_eq!(command(&folder).unwrap(), argv.join(" "));
        install("other", &place, Path::new("/opt/longlens"), &[]).unwrap();
        assert_eq!(uninstall("lens", &place).unwrap(), folder);
        assert!(!folder.exists() && template.exists(), "another kernel is still there");
        uninstall("other", &place).unwrap();
        assert!(!template.exists());
        assert!(matches!(uninstall("lens", &place), Err(KernelError::NotInstalled { .. })));
    }

    #[test]
    fn other_kernels_are_left_alone() {
        let prefix = tempfile::tempdir().unwrap();
        let place = Place::Prefix(prefix.path().into());
        let folder = prefix.path().join("share/jupyter/kernels/python3");
        fs::create_dir_all(&folder).unwrap();
        for other in [r#"{"argv": ["python", "-m", "ipykernel"], "language": "python"}"#, "no json", "[]"] {
            fs::write(folder.join("kernel.json"), other).unwrap();
            let refused = install("python3", &place, Path::new("/opt/longlens"), &[]).unwrap_err();
            assert!(matches!(refused, KernelError::NotOurs { .. }), "{refused}");
            assert!(matches!(uninstall("python3", &place), Err(KernelError::NotOurs { .. })));
            assert_eq!(fs::read_to_string(folder.join("kernel.json")).unwrap(), other);
        }
    }
}
