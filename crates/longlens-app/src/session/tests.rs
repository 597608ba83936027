use super::*;

fn session(clean: bool, text: &str) -> SavedSession {
    SavedSession {
        clean,
        saved: 0,
        pid: 0,
        start: Start { model: "embedded".into(), ..Start::default() },
        settings: Settings::default(),
        source: Some(PromptSource::Text(text.into())),
        runs: Runs::default(),
        steps: Vec::new(),
        selected: Some((1, 2, None)),
        grids: Vec::new(),
        chunk_len: None,
    }
}

/// A store below a folder of the test's, which is not made yet; all have the process of the test.
fn store(folder: &tempfile::TempDir) -> Store {
    Store::at(folder.path().join("state/longlens"))
}

/// A program that saved this and is over.
fn over(folder: &tempfile::TempDir, clean: bool, text: &str) {
    store(folder).save(session(clean, text)).unwrap();
}

fn newest(store: &Store) -> Option<String> {
    store.found().newest().map(|restored| restored.session.source.unwrap().to_string())
}

fn names(store: &Store) -> Vec<String> {
    let mut names: Vec<_> =
        store.files().map(|(path, _)| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn the_newest_crashed_session_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let me = store(&folder);
    assert!(me.found().newest().is_none() && !me.found().crashed());
    over(&folder, false, "older");
    over(&folder, false, "newer");
    over(&folder, true, "ended");
    for (left, crashed) in [("newer", true), ("older", true), ("ended", false)] {
        let found = me.found();
        let Restored { session, damage } = found.newest().unwrap();
        assert_eq!(damage, None);
        assert_eq!((session.source.clone(), found.crashed()), (Some(PromptSource::Text(left.into())), crashed));
        me.tidy(Some(&session));
    }
    assert!(me.found().newest().is_none());
    assert_eq!(names(&me), [""; 0], "locks go too");
}

#[test]
fn a_session_is_over_when_nobody_holds_its_lock() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, mut second) = (store(&folder), store(&folder));
    // started in the same nanosecond by processes of the same number, as in two containers
    second.started = first.started;
    first.save(session(false, "first")).unwrap();
    second.save(session(false, "second")).unwrap();
    let me = store(&folder);
    assert!(me.found().newest().is_none(), "both are alive");
    me.tidy(None);
    assert_eq!(names(&me).len(), 4, "nothing of theirs is touched");
    drop(second);
    assert_eq!(newest(&me), newest(&first), "each sees that the other is over");
    assert!(newest(&me).unwrap().contains("second"));
    first.save(session(true, "first")).unwrap();
    assert!(first.found().crashed() && newest(&first).unwrap().contains("second"), "never its own");
}

/// Changes the only session's file.
fn damage(folder: &tempfile::TempDir, change: impl Fn(&str) -> String) -> String {
    let path = store(folder).found().list[0].0.clone();
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, change(&whole)).unwrap();
    format!("damaged-{}", path.file_name().unwrap().to_str().unwrap())
}

#[test]
fn a_damaged_session_comes_back_as_far_as_it_reads_and_is_kept() {
    type Change = fn(&str) -> String;
    let cases: [(Change, &str); 5] = [
        (|whole| whole[..whole.find("\"runs\"").unwrap() + 12].to_owned(), "pinned runs"),
        (|whole| whole.replace("\"list\":[]", "\"list\":[{\"id\":1}]"), "pinned runs"),
        (|whole| whole.replace("\"max_tokens\":", "\"max_tokens\":-"), "some settings"),
        (|whole| whole.replace("\"grids\":[]", "\"grids\":7"), "grids"),
        (|whole| whole.replace("\"grids\"", "\u{0}"), "its end"),
    ];
    for (change, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        over(&folder, false, "a long prompt, \"quoted\", \\");
        let aside = damage(&folder, change);
        let me = store(&folder);
        let found = me.found();
        assert!(found.crashed());
        let Restored { session, damage } = found.newest().unwrap();
        assert_eq!(session.source, Some(PromptSource::Text("a long prompt, \"quoted\", \\".into())), "{expected}");
        let damage = damage.unwrap();
        assert!(damage.contains(expected) && damage.contains(&aside), "{damage}");
        me.tidy(Some(&session));
        assert!(me.folder.join(&aside).exists(), "{damage}");
        assert!(!me.found().crashed() && me.found().newest().is_none(), "{damage}");
    }
}

#[test]
fn what_was_a_number_elsewhere_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.sampling.seed = 77;
    store(&folder).save(SavedSession { settings, ..session(false, "p") }).unwrap();
    damage(&folder, |whole| whole.replace("\"prefill_chunk\":", "\"prefill_chunk\":\"x\",\"_\":"));
    let restored = store(&folder).found().newest().unwrap();
    assert_eq!(restored.session.settings.sampling.seed, 77);
}

#[test]
fn files_that_do_not_read_are_named_and_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    over(&folder, false, "whole");
    let me = store(&folder);
    let write = |name: &str, text: &str| fs::write(me.folder.join(name), text).unwrap();
    write("session-7-7.json", "\u{0}\u{0}\u{0}");
    write(".session-8-8.json.8-0.longlens.part", "");
    write("session-9-9.lock", "");
    write("session-10-10.json", &format!(r#"{{"clean":false,"saved":{},"pid":1}}"#, u64::MAX));
    write("notes.txt", "not ours");
    assert!(newest(&me).unwrap().contains("whole"), "a header without a session is passed over");
    let said = me.found().unreadable().unwrap();
    assert!(said.contains("damaged-session-7-7.json") && !said.contains("more"), "{said}");
    me.tidy(None);
    let names = names(&me);
    assert_eq!(names.len(), 3, "one header, one session and its lock: {names:?}");
    assert_eq!(fs::read(me.folder.join("damaged-session-7-7.json")).unwrap(), [0; 3]);
    assert!(me.folder.join("notes.txt").exists());
    assert_eq!(me.found().unreadable(), None);
}

#[test]
fn tidy_keeps_the_newest_of_each_kind() {
    let folder = tempfile::tempdir().unwrap();
    for at in 0..12 {
        over(&folder, false, &format!("crashed {at}"));
        over(&folder, true, &format!("ended {at}"));
    }
    let me = store(&folder);
    me.tidy(None);
    let list = me.found().list;
    let texts: Vec<_> = list.iter().map(|(path, _)| read::<SavedSession>(path).unwrap().source.unwrap()).collect();
    let expected = (4..12).rev().map(|at| format!("crashed {at}"));
    let expected = expected.chain((8..12).rev().map(|at| format!("ended {at}")));
    assert_eq!(texts, expected.map(PromptSource::Text).collect::<Vec<_>>());
    assert_eq!(names(&me).len(), 2 * (CRASHED_KEPT + ENDED_KEPT));
}

#[cfg(unix)]
#[test]
fn everything_is_the_users_alone_whatever_was_there() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let state = folder.path().join("state/longlens");
    fs::create_dir_all(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).unwrap();
    over(&folder, true, "earlier");
    assert_eq!(mode(&state), 0o700);
    let earlier: Vec<_> = fs::read_dir(&state).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(earlier.len(), 2);
    for path in &earlier {
        assert_eq!(mode(path), 0o600, "{path:?}");
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    over(&folder, true, "later");
    for file in fs::read_dir(&state).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{path:?}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_of_the_save() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("state"), "a file").unwrap();
    let mut me = store(&folder);
    assert!(me.found().newest().is_none());
    me.tidy(None);
    assert!(me.save(session(false, "lost")).is_err());
    fs::remove_file(folder.path().join("state")).unwrap();
    me.save(session(false, "kept")).unwrap();
}
