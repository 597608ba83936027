use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::*;

const MOST: u64 = 1 << 20;

/// A folder whose name does not begin with a dot, as those of `tempdir` do.
fn plain_folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("cells").tempdir().unwrap()
}

/// A folder to work in, with a file above it that is none of the cells' business.
fn bench() -> (tempfile::TempDir, PathBuf) {
    let outer = plain_folder();
    let root = outer.path().join("work");
    fs::create_dir_all(root.join("in")).unwrap();
    fs::write(outer.path().join("secret"), "x").unwrap();
    (outer, root)
}

#[test]
fn files_stay_in_the_working_directory() {
    let (outer, root) = bench();
    let files = Files::below(&root);
    let real = root.canonicalize().unwrap();
    let absolute = real.join("d").to_str().unwrap().to_owned();
    for (name, path) in
        [("a.csv", "a.csv"), ("in/new/b.csv", "in/new/b.csv"), ("in/../c", "c"), (&*absolute, "d"), ("./e", "e")]
    {
        assert_eq!(files.save(name, b"1", false), Ok(false), "{name}");
        assert_eq!(fs::read(root.join(path)).unwrap(), b"1", "{name}");
        assert_eq!(files.read(name, MOST).unwrap(), b"1", "{name}");
        assert_eq!(files.shown(name), if name == "in/../c" { name } else { path }, "{name}");
    }
    for name in ["../secret", "in/../../secret", "/etc/passwd", "nowhere/../../secret", "..", "/", "../work/a.csv"] {
        assert!(files.read(name, MOST).is_err() && files.save(name, b"", false).is_err(), "{name}");
    }
    for name in ["", " ", "in", ".", "in/", "a\0b"] {
        assert!(files.save(name, b"", false).is_err(), "{name}");
    }
    assert!(!root.join("nowhere").exists());
    assert!(files.list("..").is_err() && files.list("/").is_err() && files.list("nowhere").is_err());
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink(outer.path(), root.join("out")).unwrap();
        symlink(outer.path().join("later"), root.join("dangling")).unwrap();
        symlink("../../secret", root.join("in/up")).unwrap();
        symlink("in", root.join("inside")).unwrap();
        symlink(real.join("in"), root.join("absolute")).unwrap();
        symlink("round", root.join("round")).unwrap();
        for name in ["out/secret", "out/new", "dangling", "in/up", "inside/up", "round", "round/a"] {
            assert!(files.read(name, MOST).is_err() && files.save(name, b"y", false).is_err(), "{name}");
        }
        assert_eq!(files.save("inside/f", b"2", false), Ok(false), "links inside are followed");
        assert_eq!(files.read("absolute/f", MOST).unwrap(), b"2");
        assert_eq!(fs::read(outer.path().join("secret")).unwrap(), b"x");
        assert!(!outer.path().join("later").exists());
    }
    let files = Files::below(&root).anywhere();
    assert_eq!(files.read("../secret", MOST).unwrap(), b"x");
    assert_eq!(files.save(outer.path().join("new/far").to_str().unwrap(), b"3", false), Ok(false));
    assert_eq!(fs::read(outer.path().join("new/far")).unwrap(), b"3");
}

#[test]
fn hidden_files_are_not_touched() {
    let (_outer, root) = bench();
    fs::create_dir_all(root.join(".git")).unwrap();
    fs::write(root.join(".git/config"), "theirs").unwrap();
    let files = Files::below(&root);
    let mut names = vec![
        ".git/config",
        ".bashrc",
        ".ssh/authorized_keys",
        "in/.env",
        "in/../.git/config",
        "./.new/a",
        "...",
        ".git",
    ];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(".git", root.join("plain")).unwrap();
        std::os::unix::fs::symlink(".git/config", root.join("config")).unwrap();
        names.extend(["plain/config", "config", "plain/hooks/post-checkout"]);
    }
    for name in names {
        for told in [
            files.read(name, MOST).unwrap_err(),
            files.save(name, b"", true).unwrap_err(),
            files.replace(name, b"").unwrap_err(),
            files.add_line(name, "").unwrap_err(),
        ] {
            assert!(told.message.contains("hidden"), "{name}: {}", told.message);
            assert!(told.help.is_some_and(|help| help.contains("--allow-outside")), "{name}");
        }
    }
    assert!(files.list(".").unwrap().iter().all(|(name, _)| !name.starts_with('.')));
    assert_eq!(fs::read(root.join(".git/config")).unwrap(), b"theirs");
    assert!(!root.join(".bashrc").exists() && !root.join(".new").exists());
    let files = Files::below(&root).anywhere();
    assert_eq!(files.read(".git/config", MOST).unwrap(), b"theirs");
    assert!(files.list(".").unwrap().iter().any(|(name, _)| name == ".git"));
}

#[test]
fn what_cells_did_not_write_stays() {
    let (_outer, root) = bench();
    let record = root.join("in/record");
    let session = || Files::below(&root).remembered_in(Some(record.clone()));
    let files = session();
    fs::write(root.join("theirs.csv"), "1").unwrap();
    fs::write(root.join("Makefile"), "all:").unwrap();
    fs::write(root.join("theirs.json"), "{}").unwrap();
    for (name, overwrite, how) in [
        ("theirs.csv", false, "overwrite: true"),
        ("Makefile", false, "--overwrite"),
        ("Makefile", true, "--overwrite"),
        ("theirs.json", true, "--overwrite"),
    ] {
        let told = files.save(name, b"ours", overwrite).unwrap_err();
        assert!(told.message.contains("stays as it is") && told.help.unwrap().contains(how), "{name}");
    }
    assert_eq!(fs::read(root.join("Makefile")).unwrap(), b"all:");
    assert_eq!(files.save("theirs.csv", b"2", true), Ok(true), "said, and told");
    assert_eq!(files.save("theirs.csv", b"3", false), Ok(false), "it is ours from then on");
    // a notebook that runs again, in this session and in the next
    assert_eq!(files.save("ours.json", b"1", false), Ok(false));
    assert_eq!(files.save("ours.json", b"2", false), Ok(false));
    assert_eq!(session().save("ours.json", b"3", false), Ok(false));
    // unless somebody worked on it meanwhile
    fs::write(root.join("ours.json"), "edited").unwrap();
    assert!(session().save("ours.json", b"4", false).is_err());
    assert_eq!(fs::read(root.join("ours.json")).unwrap(), b"edited");
    assert!(Files::below(&root).save("theirs.csv", b"5", false).is_err(), "without a record nothing is known");
    assert_eq!(session().overwriting().save("Makefile", b"5", false), Ok(false));
    assert!(fs::read_dir(&root).unwrap().all(|entry| !entry.unwrap().file_name().to_string_lossy().ends_with(".part")));
}

#[test]
fn the_home_folder_and_what_is_above_it_are_no_working_directory() {
    let home = std::env::home_dir().unwrap();
    for root in [home.clone(), PathBuf::from("/")].into_iter().chain(home.parent().map(Path::to_owned)) {
        let files = Files::below(&root);
        for told in [files.read("anything", MOST).unwrap_err(), files.list(".").unwrap_err()] {
            assert!(told.message.contains("cells touch no files of"), "{}", told.message);
            assert!(told.help.unwrap().contains("--files FOLDER"));
        }
        assert!(Files::below(&root).named().list(".").is_ok());
    }
}

#[test]
fn nothing_is_written_where_a_hidden_folder_is_the_root_by_chance() {
    let outer = plain_folder();
    for root in [".ssh", ".git/hooks", ".config/autostart/deep"].map(|name| outer.path().join(name)) {
        fs::create_dir_all(&root).unwrap();
        fs::write(root.join("known"), "theirs").unwrap();
        let files = Files::below(&root);
        for told in [
            files.save("authorized_keys", b"ours", true).unwrap_err(),
            files.save("new/a.csv", b"ours", true).unwrap_err(),
            files.replace("known", b"ours").unwrap_err(),
            files.add_line("known", "ours").unwrap_err(),
            Files::below(&root).overwriting().save("known", b"ours", true).unwrap_err(),
        ] {
            assert!(told.message.contains("hidden") && told.help.unwrap().contains("--files"), "{}", told.message);
        }
        assert_eq!(files.read("known", MOST).unwrap(), b"theirs", "what is there may be read");
        assert_eq!(fs::read_dir(&root).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file()).count(), 1);
        assert!(!root.join("new").exists());
        assert_eq!(Files::below(&root).named().save("a.csv", b"1", false), Ok(false));
        assert_eq!(Files::below(&root).anywhere().save("b.csv", b"1", false), Ok(false));
    }
    #[cfg(unix)]
    {
        // a plain name for a hidden folder is no way in
        std::os::unix::fs::symlink(outer.path().join(".ssh"), outer.path().join("keys")).unwrap();
        assert!(Files::below(outer.path().join("keys")).save("c.csv", b"", false).is_err());
    }
}

/// Another program makes the same files at the same time: whoever is first keeps them.
#[test]
fn a_file_that_came_to_be_meanwhile_stays() {
    let (_outer, root) = bench();
    let place = |name: &str| Files::below(&root).place(name, true).unwrap().unwrap();
    let new = place("new.csv");
    fs::write(root.join("new.csv"), "theirs").unwrap();
    assert_eq!(new.put(b"ours", false).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(root.join("new.csv")).unwrap(), b"theirs");
    new.put(b"ours", true).unwrap();
    assert_eq!(fs::read(root.join("new.csv")).unwrap(), b"ours");
    let files = Files::below(&root);
    std::thread::scope(|scope| {
        let theirs = scope.spawn(|| {
            let is_first = |at: &usize| {
                let file = fs::OpenOptions::new().write(true).create_new(true).open(root.join(format!("{at}.csv")));
                file.and_then(|mut file| file.write_all(b"theirs")).is_ok()
            };
            (0..400).filter(is_first).collect::<Vec<_>>()
        });
        let ours: Vec<_> = (0..400).filter(|at| files.save(&format!("{at}.csv"), b"ours", false).is_ok()).collect();
        for at in theirs.join().unwrap() {
            assert_eq!(fs::read(root.join(format!("{at}.csv"))).unwrap(), b"theirs", "{at}");
            assert!(!ours.contains(&at), "{at}");
        }
    });
    assert!(fs::read_dir(&root).unwrap().all(|entry| !entry.unwrap().file_name().to_string_lossy().contains(".part")));
}

#[cfg(unix)]
#[test]
fn what_never_ends_is_not_read() {
    let (_outer, root) = bench();
    let socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    fs::write(root.join("large"), vec![0; 100]).unwrap();
    let files = Files::below(&root);
    assert!(files.read("socket", MOST).unwrap_err().message.contains("is no file"));
    assert!(files.save("socket", b"", true).unwrap_err().message.contains("is no file"));
    assert!(files.read("large", 99).unwrap_err().message.contains("too large"));
    assert_eq!(files.read("large", 100).unwrap().len(), 100);
    assert_eq!(files.read_if_there("nothing", 1), Ok(None));
    drop(socket);
    assert!(Files::below("/").anywhere().read("dev/zero", MOST).unwrap_err().message.contains("is no file"));
}

#[cfg(unix)]
#[test]
fn permissions_stay() {
    use std::os::unix::fs::PermissionsExt;
    let (_outer, root) = bench();
    let files = Files::below(&root);
    files.save("a.csv", b"1", false).unwrap();
    fs::set_permissions(root.join("a.csv"), fs::Permissions::from_mode(0o600)).unwrap();
    files.save("a.csv", b"2", false).unwrap();
    assert_eq!(fs::metadata(root.join("a.csv")).unwrap().permissions().mode() & 0o777, 0o600);
}

/// Another thread swaps a folder for a link that leads outside, again and again, while cells save, append and list.
#[cfg(unix)]
#[test]
fn links_that_are_swapped_in_lead_nowhere() {
    let (outer, root) = bench();
    let target = outer.path().join("target");
    fs::create_dir_all(&target).unwrap();
    fs::create_dir_all(root.join("aside")).unwrap();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // a name of its own for each round: cells make the folder anew where it is missing
            for round in 0.. {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                let aside = root.join(format!("aside/{round}"));
                let _ = fs::rename(root.join("in"), &aside);
                let _ = std::os::unix::fs::symlink(&target, root.join("in"));
                let _ = fs::remove_file(root.join("in"));
                let _ = fs::rename(&aside, root.join("in"));
            }
        });
        let files = Files::below(&root);
        let mut n_written = 0;
        for at in 0..3000 {
            n_written += usize::from(files.save(&format!("in/{}.csv", at % 7), b"1", true).is_ok());
            let _ = files.add_line("in/lines.jsonl", "{}");
            let _ = files.replace("in/deep/er.txt", b"2");
            if let Ok(names) = files.list("in") {
                assert!(names.iter().all(|(name, _)| !name.starts_with("secret")));
            }
        }
        ended.store(true, Ordering::Relaxed);
        assert!(n_written > 0, "some tries meet the folder");
    });
    let left: Vec<_> = fs::read_dir(&target).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

proptest! {
    #[test]
    fn no_name_leads_outside(parts in prop::collection::vec("\\.{0,3}|[a-c]|link|up|[^/]{0,6}", 0..6), absolute in any::<bool>()) {
        let (outer, root) = bench();
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("..", root.join("up")).unwrap();
            std::os::unix::fs::symlink(outer.path(), root.join("in/link")).unwrap();
            std::os::unix::fs::symlink("in", root.join("link")).unwrap();
        }
        let name = format!("{}{}", if absolute { "/" } else { "" }, parts.join("/"));
        let files = Files::below(&root);
        let _ = (files.save(&name, b"y", true), files.read(&name, MOST), files.list(&name), files.add_line(&name, "z"));
        let names: Vec<_> = fs::read_dir(outer.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        prop_assert_eq!(names.len(), 2, "{}: {:?}", name, names);
        prop_assert_eq!(fs::read(outer.path().join("secret")).unwrap(), b"x");
        for entry in fs::read_dir(&root).unwrap() {
            prop_assert!(!entry.unwrap().file_name().to_string_lossy().starts_with('.'));
        }
    }
}

#[cfg(unix)]
#[test]
fn a_link_to_another_kind_of_file_is_not_written_through() {
    let (_outer, root) = bench();
    fs::write(root.join("run.sh"), "true").unwrap();
    std::os::unix::fs::symlink("run.sh", root.join("notes.csv")).unwrap();
    std::os::unix::fs::symlink("later.csv", root.join("other.csv")).unwrap();
    let files = Files::below(&root).overwriting();
    let told = files.save("notes.csv", b"touch x", true).unwrap_err();
    assert_eq!(told.message, "`notes.csv` is a link to `run.sh`, another kind of file");
    assert!(files.replace("notes.csv", b"touch x").is_err() && files.add_line("notes.csv", "touch x").is_err());
    assert_eq!(fs::read(root.join("run.sh")).unwrap(), b"true");
    std::os::unix::fs::symlink("package.json", root.join("notes.json")).unwrap();
    let told = files.save("notes.json", b"{}", false).unwrap_err();
    assert!(
        told.message.contains("leads to `package.json`, from which other programs take orders"),
        "{}",
        told.message
    );
    assert_eq!(files.save("other.csv", b"n", false), Ok(false));
    assert_eq!(fs::read(root.join("later.csv")).unwrap(), b"n");
}
