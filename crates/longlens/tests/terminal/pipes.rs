//! Outputs that take nothing: readers that left, disks that are full.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::{Ran, Sandbox, words};

/// Commands that write files, and the files.
const WRITERS: [(&str, &[&str]); 8] = [
    (
        "passkey --lengths 128 --depths 0.5 --trials 1 --out made",
        &["made/passkey.json", "made/passkey.png", "made/passkey.svg"],
    ),
    ("perplexity --lengths 64,128 --out made", &["made/perplexity.json", "made/perplexity.png", "made/perplexity.svg"]),
    ("positions --out made.png", &["made.png"]),
    ("chunks --needle 300 --out made.svg", &["made.svg"]),
    ("attention --needle 300 --out made.png", &["made.png"]),
    ("generate --needle 100 --max-tokens 30 --out made.json", &["made.json"]),
    ("bench --lengths 32 --phase prefill --repeat 1 --out made.png", &["made.png"]),
    ("demo --up-to 1 --trials 1 --out made", &["made/summary.json", "made/passkey.png", "made/perplexity.svg"]),
];

/// Both, and with `--json`.
fn lines(line: &str) -> [String; 2] {
    [line.to_owned(), format!("{line} --json")]
}

#[test]
fn files_are_written_though_nobody_reads() {
    for (line, files) in WRITERS {
        for line in lines(line) {
            let sandbox = Sandbox::new();
            let mut command = sandbox.command(&words(&line));
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            drop(child.stdout.take());
            let ran = Ran::from(child.wait_with_output().unwrap());
            assert_eq!(ran.code, Some(0), "longlens {line}: {}", ran.stderr);
            assert!(!ran.stderr.contains("cannot write"), "longlens {line}: {}", ran.stderr);
            for file in files {
                assert!(!sandbox.read(file).is_empty(), "longlens {line}: {file}");
            }
        }
    }
}

#[test]
fn files_are_written_though_nobody_hears_notes() {
    for (line, files) in WRITERS {
        let sandbox = Sandbox::new();
        let mut command = sandbox.command(&words(line));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stderr.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "longlens {line}");
        assert!(!output.stdout.is_empty(), "longlens {line}");
        for file in files {
            assert!(!sandbox.read(file).is_empty(), "longlens {line}: {file}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_and_loses_no_file() {
    for (line, files) in WRITERS {
        for line in lines(line) {
            let sandbox = Sandbox::new();
            let full = File::options().write(true).open("/dev/full").unwrap();
            let ran = Ran::from(sandbox.command(&words(&line)).stdout(full).stderr(Stdio::piped()).output().unwrap());
            assert_eq!(ran.code, Some(1), "longlens {line}: {}", ran.stderr);
            assert!(ran.stderr.contains("cannot write the output: No space left"), "longlens {line}: {}", ran.stderr);
            for file in files {
                assert!(!sandbox.read(file).is_empty(), "longlens {line}: {file}");
            }
        }
    }
    let sandbox = Sandbox::new();
    std::os::unix::fs::symlink("/dev/full", sandbox.path("full.svg")).unwrap();
    let ran = sandbox.run(&words("positions --out full.svg"));
    assert!(ran.code == Some(1) && ran.stderr.contains("full.svg"), "{}", ran.stderr);
    assert!(sandbox.path("full.svg").is_symlink());
}

#[test]
fn cells_of_a_script_run_though_nobody_reads() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["repl"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let cells = "// %%\nfor n in 0..100 { print(n); }\n// %%\nsave(\"kept\", \"kept.txt\")\n";
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), cells.as_bytes()).unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(sandbox.read("kept.txt"), b"kept");
}

#[test]
fn a_file_that_must_not_be_replaced_is_not() {
    let sandbox = Sandbox::new();
    sandbox.write("mine.svg", "mine");
    let mut mode = std::fs::metadata(sandbox.path("mine.svg")).unwrap().permissions();
    mode.set_readonly(true);
    std::fs::set_permissions(sandbox.path("mine.svg"), mode).unwrap();
    let ran = sandbox.run(&words("positions --out mine.svg"));
    assert!(ran.code == Some(1) && ran.stderr.contains("mine.svg"), "{}", ran.stderr);
    assert_eq!(sandbox.read("mine.svg"), b"mine");
}

/// A run that was killed leaves a part, and the next run in the folder clears it away.
#[test]
fn parts_of_killed_runs_go() {
    if !Path::new("/proc/self").exists() {
        return; // nobody tells which processes run
    }
    let sandbox = Sandbox::new();
    let mut gone = Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let part = format!(".other.png.{}-3.longlens.part", gone.id());
    sandbox.write(&part, "half");
    sandbox.done("positions --out here.svg");
    assert!(!sandbox.path(&part).exists() && sandbox.path("here.svg").exists());
}
