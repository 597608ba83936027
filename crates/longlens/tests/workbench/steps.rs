//! What the workbench writes of settings and steps is run by the same program.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::folder;
use crate::pty::Pty;

/// The program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_longlens");

#[test]
fn settings_and_steps_are_files_that_the_commands_take() {
    let folder = folder();
    let mut pty = Pty::start(folder.path(), &["--needle", "300:0.5", "--method", "self_extend"]);
    pty.wait_for("key found");
    pty.press("s");
    pty.wait_for("save the settings as");
    pty.press("\r");
    pty.wait_for("wrote longlens.toml");
    save_steps(&mut pty, "steps.sh");
    pty.quit();

    let said = done(longlens(folder.path()).args(["generate", "--config", "longlens.toml"]));
    let (text, note) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(note.contains("self_extend:"), "{note}");

    // the script says what the workbench said
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = vec![Path::new(PROGRAM).parent().unwrap().to_owned()];
    folders.extend(std::env::split_paths(&path));
    let mut shell = Command::new("sh");
    shell.arg("steps.sh").current_dir(folder.path()).env("PATH", std::env::join_paths(folders).unwrap());
    assert_eq!(String::from_utf8_lossy(&done(&mut shell).stdout).trim(), text.trim());
}

#[test]
fn steps_are_a_notebook_that_runs() {
    let folder = folder();
    let mut pty = Pty::start(folder.path(), &["--needle", "300:0.5"]);
    let is_over = |screen: &str| screen.split("output").nth(1).is_some_and(|output| output.contains("max_tokens"));
    pty.wait("the first run", is_over);
    // a grid of one cell: the three fields above the last are its longest prompt, its depths and its trials
    pty.press("\x1b[F\x1b[A\x1b[A\x1b[A1\r\x1b[B1\r\x1b[B1\r");
    pty.press("g");
    pty.wait_for("the grid of full is done");
    // the run is kept, so that the next one is compared with it; digits are views again at the first field
    pty.press("P\x1b[HL");
    pty.wait("the run under another method", |screen| {
        screen.contains("longlens-tiny  long_heads") && !screen.contains("the run before") && is_over(screen)
    });
    let views = ["chunks", "attention", "positions", "grid", "loss", "layers", "compare", "distance"];
    let picture = |view: &str| folder.path().join(format!("longlens-{view}-1.png"));
    let mut exported = Vec::new();
    for (view, key) in views.iter().zip(["1", "2", "3", "4", "5", "6", "7", "9"]) {
        pty.press(key);
        export(&mut pty, folder.path(), &format!("longlens-{view}-1.png"));
        exported.push(std::fs::read(picture(view)).unwrap());
        std::fs::remove_file(picture(view)).unwrap();
    }
    // a prompt with everything that a literal must escape
    let typed = "It's \"quoted\" \\ ${not} `so`\n// %%\né 鍵";
    pty.press(&format!("\x1b[200~{typed}\x1b[201~"));
    pty.wait_for("ctrl-s or f2 runs it");
    pty.press("\x13");
    pty.wait("the typed prompt's run", |screen| screen.contains("36 tokens") && is_over(screen));
    // until the run is there the one before is shown, and a run is a step once it is there
    let since = Instant::now();
    let (name, mut cells) = loop {
        let name = format!("steps-{}.rhai", since.elapsed().as_micros());
        save_steps(&mut pty, &name);
        let cells = std::fs::read_to_string(folder.path().join(&name)).unwrap();
        if cells.contains("let p2 = ") {
            break (name, cells);
        }
        assert!(since.elapsed() < Duration::from_secs(30), "the typed prompt's run is no step:\n{cells}");
        std::thread::sleep(Duration::from_millis(50));
    };
    pty.quit();

    let path = folder.path().join(&name);
    assert!(!cells.contains("is left out"), "{cells}");
    cells.push_str("\n// %%\n");
    cells.push_str(&["print(p2.tokens == prompt(", &format!("{typed:?}"), ").tokens);\n"].concat());
    std::fs::write(&path, &cells).unwrap();
    let ran = done(longlens(folder.path()).args(["notebook", "run", &name]));
    let n_cells = cells.matches("\n// %%\n").count();
    let note = String::from_utf8_lossy(&ran.stderr);
    assert!(note.contains(&format!("{n_cells} of {n_cells} cells run")) && n_cells == 13, "{note}");
    for (view, exported) in views.iter().zip(exported) {
        let bytes = std::fs::read(picture(view)).unwrap();
        assert!(bytes.starts_with(b"\x89PNG"), "{view} is drawn again");
        // a map also holds the text that was generated, and the others are named by what was done in the workbench
        if ["chunks", "positions", "grid", "layers", "distance"].contains(view) {
            assert!(bytes == exported, "{view} is another picture");
        }
    }
    let notebook = std::fs::read_to_string(path.with_extension("ipynb")).unwrap();
    assert!(notebook.contains("\"true\\n\""), "the typed prompt is the same: {cells}");
}

/// Writes the view to the file that is offered. What a view needs is computed when it is shown, so there may be nothing to write yet, and
/// then it is asked for again. Only the file tells: the line that refuses may be replaced at once by one about the view before, whose page
/// is written later than its picture.
fn export(pty: &mut Pty, folder: &Path, name: &str) {
    let (since, file) = (Instant::now(), folder.join(name));
    while !file.exists() {
        pty.press("e");
        pty.wait_for("export the view as");
        pty.press("\r");
        let asked = Instant::now();
        while !file.exists() && asked.elapsed() < Duration::from_secs(3) {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(since.elapsed() < Duration::from_secs(30), "{name} is never written:\n{}", pty.screen());
    }
    pty.wait("the window is gone", |screen| !screen.contains("export the view as"));
}

/// Writes the steps so far to a file.
fn save_steps(pty: &mut Pty, name: &str) {
    pty.press("\x12");
    pty.wait_for("save the steps as");
    pty.press(&format!("\x15{name}\r"));
    pty.wait_for(&format!("wrote {name}"));
}

fn longlens(folder: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.current_dir(folder);
    command
}

/// What a command that succeeds says.
fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
