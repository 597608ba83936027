//! Talking with a model on a terminal.

use super::common::{talking, words};
use super::screen::{Screen, dense};
use super::{NARROW, WIDE, folder, has_bar};

#[test]
fn questions_are_asked_for_and_answered_line_by_line() {
    let folder = folder();
    talking(&folder.path().join("talking"));
    for size in [WIDE, NARROW] {
        let args = words("chat --model talking --max-tokens 8 --out chat.json");
        let mut screen = Screen::start(folder.path(), &args, size, &[]);
        for (at, question) in ["The pass key is 48213.", "", "What is it?"].into_iter().enumerate() {
            screen.wait_for_times("> ", at + 1);
            screen.press(&format!("{question}\n"));
        }
        screen.wait_for_times("> ", 4);
        screen.press("\x04");
        let left = screen.end();
        assert_eq!(left.code, 0, "{}", left.text);
        assert!(!has_bar(&left.text), "a bar is left:\n{}", left.text);
        let written = std::fs::read_to_string(folder.path().join("chat.json")).unwrap();
        let written: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!(written["answers"].as_array().unwrap().len(), 2);
        for answer in written["answers"].as_array().unwrap() {
            let text = dense(answer["text"].as_str().unwrap());
            assert!(dense(&left.text).contains(&text), "{text:?} is not on the screen:\n{}", left.text);
        }
    }
}

#[test]
fn ctrl_c_ends_an_answer_and_keeps_what_was_said() {
    let folder = folder();
    talking(&folder.path().join("talking"));
    let args = words("chat --model talking --max-tokens 100000 --out chat.json");
    let mut screen = Screen::start(folder.path(), &args, WIDE, &[]);
    screen.wait_for("> ");
    screen.press("Tell me of the old tree.\n");
    std::thread::sleep(std::time::Duration::from_millis(700));
    screen.press("\x03");
    let left = screen.end();
    assert_eq!(left.code, 1, "{}", left.text);
    assert!(dense(&left.text).contains(&dense("stopping; what is finished is kept")), "{}", left.text);
    let written = std::fs::read_to_string(folder.path().join("chat.json")).unwrap();
    assert!(written.contains("Tell me of the old tree."), "{written}");
}

#[test]
fn a_prompt_in_the_template_shows_its_answer() {
    let folder = folder();
    talking(&folder.path().join("talking"));
    let args = ["generate", "--model", "talking", "--chat", "--prompt", "The pass key is 48213.", "--max-tokens", "12"];
    let left = Screen::run(folder.path(), &args, WIDE, &[]);
    assert_eq!(left.code, 0, "{}", left.text);
    assert!(left.text.contains(" + ") && !has_bar(&left.text), "{}", left.text);
}
