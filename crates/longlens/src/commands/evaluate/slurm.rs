//! A sweep as a job array of Slurm: every task of the array runs its part of the sweep and keeps samples in one folder.
//!
//! Parts are decided by the sweep alone, so a task that is requeued or submitted again goes on where it was cut short, and whatever is
//! submitted twice is run once.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use longlens_app::write_whole;

use crate::args::SubmitArgs;
use crate::failure::Failure;
use crate::terminal::Terminal;

/// What is submitted.
pub struct Submission<'a> {
    /// The sweep's name.
    pub name: &'a str,
    /// Its file.
    pub file: &'a Path,
    /// Where samples are kept, on a file system that all machines share.
    pub out: &'a Path,
    /// Axes that were set on the command line.
    pub set: &'a [String],
}

/// Writes the array's script beside the results, and submits it unless that is not wanted.
pub fn submit(terminal: &Terminal, args: &SubmitArgs, submission: &Submission<'_>) -> Result<(), Failure> {
    check(&args.sbatch)?;
    let absolute = |path: &Path| std::path::absolute(path).map_err(|error| Failure::io("find", path, &error));
    let (file, out) = (absolute(submission.file)?, absolute(submission.out)?);
    let program =
        std::env::current_exe().map_err(|error| Failure::failed(format!("cannot find the program: {error}"), None))?;
    let folder = out.join("slurm");
    let script = script(args, submission, &program, &file, &out);
    if args.dry_run {
        return terminal.say(script.trim_end());
    }
    std::fs::create_dir_all(&folder).map_err(|error| Failure::io("make", &folder, &error))?;
    let path = folder.join(format!("{}.sbatch", word(submission.name)));
    write_whole(&path, script.as_bytes()).map_err(|error| Failure::io("write", &path, &error))?;
    let ran = Command::new("sbatch").arg("--parsable").arg(&path).output();
    let output = ran.map_err(|error| {
        Failure::failed(
            format!("cannot start sbatch: {error}"),
            Some(format!("submit it where Slurm is: sbatch {}", path.display())),
        )
    })?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if !output.status.success() {
        let said = said(&output.stderr);
        let why = if said.is_empty() { output.status.to_string() } else { said };
        return Err(Failure::failed(
            format!("sbatch refused {}: {why}", path.display()),
            Some("options of the cluster are given with --sbatch, as --sbatch=--partition=gpu".to_owned()),
        ));
    }
    let job = said(&output.stdout);
    terminal.result(&serde_json::json!({ "job": job, "script": path.display().to_string(), "tasks": args.jobs }))?;
    terminal.say(format_args!("submitted job array {job} of {} tasks: {}", args.jobs, path.display()))?;
    terminal.note(format_args!(
        "samples are kept in {}; submit again what was killed, and only what is missing runs",
        out.display()
    ))
}

/// Refuses options that would make the script another one than it says.
fn check(options: &[String]) -> Result<(), Failure> {
    for option in options {
        let name = option.split(['=', ' ']).next().unwrap_or_default();
        if ["--array", "-a"].contains(&name) {
            let help = "say how many tasks with --jobs, and how many at once with --at-once".to_owned();
            return Err(Failure::usage(format!("`{option}` would leave parts of the sweep out"), help));
        }
        if option.contains(char::is_control) {
            let help = "give one option, as --sbatch=--partition=gpu".to_owned();
            return Err(Failure::usage("an option for sbatch has a line end or another control character", help));
        }
    }
    Ok(())
}

fn script(args: &SubmitArgs, submission: &Submission<'_>, program: &Path, file: &Path, out: &Path) -> String {
    let log: PathBuf = out.join("slurm").join("%A_%a.log");
    let at_once = args.at_once.map_or(String::new(), |n| format!("%{n}"));
    let mut text = String::from("#!/bin/bash\n");
    let _ = writeln!(text, "#SBATCH --job-name={}", word(submission.name));
    let _ = writeln!(text, "#SBATCH --array=1-{}{at_once}", args.jobs);
    // a task that is preempted or whose machine fails goes on where it was, in the same log
    text.push_str("#SBATCH --requeue\n#SBATCH --open-mode=append\n");
    let _ = writeln!(text, "#SBATCH --output={}", quoted(&log.to_string_lossy()));
    for option in &args.sbatch {
        let _ = writeln!(text, "#SBATCH {option}");
    }
    let set: Vec<String> = submission.set.iter().map(|set| format!(" --set {}", quoted(set))).collect();
    let _ = writeln!(
        text,
        "exec {} sweep {} --out {}{} --shard \"$SLURM_ARRAY_TASK_ID/{}\"",
        quoted(&program.to_string_lossy()),
        quoted(&file.to_string_lossy()),
        quoted(&out.to_string_lossy()),
        set.concat(),
        args.jobs
    );
    text
}

/// A name as a job or a file may have it.
fn word(name: &str) -> String {
    let word: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect();
    if word.is_empty() { "sweep".to_owned() } else { word }
}

/// A text as a word of the shell.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-=,:%+@".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_runs_each_part_of_the_sweep() {
        let args = SubmitArgs {
            file: "sweep.toml".into(),
            slurm: true,
            jobs: 8,
            at_once: Some(2),
            sbatch: vec!["--partition=gpu".into(), "--gpus=1".into()],
            set: Vec::new(),
            out: None,
            dry_run: false,
            json: false,
        };
        let set = ["method=full;self_extend".to_owned()];
        let submission =
            Submission { name: "my sweep", file: Path::new("/s/a b.toml"), out: Path::new("/r"), set: &set };
        let text = script(&args, &submission, Path::new("/bin/longlens"), submission.file, submission.out);
        insta::assert_snapshot!(text, @r#"
        #!/bin/bash
        #SBATCH --job-name=my_sweep
        #SBATCH --array=1-8%2
        #SBATCH --requeue
        #SBATCH --open-mode=append
        #SBATCH --output=/r/slurm/%A_%a.log
        #SBATCH --partition=gpu
        #SBATCH --gpus=1
        exec /bin/longlens sweep '/s/a b.toml' --out /r --set 'method=full;self_extend' --shard "$SLURM_ARRAY_TASK_ID/8"
        "#);
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
