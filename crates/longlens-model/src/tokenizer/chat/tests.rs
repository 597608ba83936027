use longlens_core::lens::Message;
use serde_json::{Value as Json, json};

use super::*;
use crate::source::Source;

/// A template of a real model and what transformers makes of conversations with it.
#[derive(serde::Deserialize)]
struct Family {
    name: String,
    template: String,
    special_tokens: Map<String, Json>,
    chats: Vec<Chat>,
}

#[derive(serde::Deserialize)]
struct Chat {
    name: String,
    messages: Vec<Message>,
    add_generation_prompt: bool,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    error: Option<String>,
}

#[test]
fn real_templates_render_as_in_transformers() {
    let families: Vec<Family> = include_str!("../../../../../fixtures/chat/families.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut n_chats = 0;
    for family in families {
        let template = ChatTemplate::new("chat_template.jinja", &family.template, family.special_tokens);
        for chat in family.chats {
            let conversation =
                Conversation { add_generation_prompt: chat.add_generation_prompt, ..Conversation::new(chat.messages) };
            let rendered = template.render(&conversation);
            let place = format!("{} {} {}", family.name, chat.name, chat.add_generation_prompt);
            n_chats += 1;
            match (rendered, chat.text, chat.error) {
                (Ok(text), Some(expected), None) => assert_eq!(text, expected, "{place}"),
                (Err(error), None, Some(expected)) => {
                    let said = expected.trim_start_matches("TemplateError: ");
                    let told = format!("chat_template.jinja: the chat template refuses the conversation: {said}");
                    assert_eq!(error.to_string(), told, "{place}");
                }
                (rendered, text, error) => panic!("{place}: {rendered:?}, not {text:?} or {error:?}"),
            }
        }
    }
    assert_eq!(n_chats, 240);
}

/// What a template makes of "hi".
fn of(template: &str) -> Result<String, String> {
    let special = [("bos_token".to_owned(), json!("<s>"))].into_iter().collect();
    let mut conversation = Conversation::new([Message::user("hi <é>")]);
    conversation.variables.insert("deep".into(), json!({"b": [1, 2.5, null, true], "a": {}, "z": "é<"}));
    ChatTemplate::new("T", template, special).render(&conversation).map_err(|error| error.to_string())
}

#[test]
fn what_transformers_adds_to_jinja_is_there() {
    for (template, expected) in [
        ("{{ bos_token }}{{ messages[0].content.upper() }}\n", "<s>HI <É>"),
        // a block leaves neither its line nor what stands before it on the line
        ("a\n   {% if true %}\nb\n   {% endif %}\nc\n\n", "a\nb\nc\n"),
        ("{{ deep | tojson }}", r#"{"b": [1, 2.5, null, true], "a": {}, "z": "é<"}"#),
        ("{{ deep | tojson(sort_keys=true) }}", r#"{"a": {}, "b": [1, 2.5, null, true], "z": "é<"}"#),
        ("{{ {'x': []} | tojson(indent=2) }}", "{\n  \"x\": []\n}"),
        ("{{ [1, {'x': 2}] | tojson(indent=4) }}", "[\n    1,\n    {\n        \"x\": 2\n    }\n]"),
        ("{{ 'é😀' | tojson(ensure_ascii=true) }}", r#""\u00e9\ud83d\ude00""#),
        ("{{ [1, 2] | tojson(separators=(',', ':')) }}", "[1,2]"),
        ("{{ strftime_now('%d %b %Y, %A') }}", "26 Jul 2024, Friday"),
        (
            "{% for x in range(9) %}{% if x == 1 %}{% continue %}{% endif %}{% if x == 4 %}{% break %}{% endif %}{{ x }}{% endfor %}",
            "023",
        ),
        ("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}", "1"),
        ("{% generation %}{{ 'x' }}{% endgeneration %}{%- generation -%} y {%- endgeneration -%}", "xy"),
        ("{{ none }} {{ true }} {{ tools is none }} {{ messages[::-1] | length }}", "None True True 1"),
        ("{{ ' a b '.strip().split(' ') | join('+') }}{{ 'abc'.startswith('ab') }}", "a+bTrue"),
        ("{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join('') }}", "hi <é>"),
        ("{% macro say(x) %}[{{ x }}]{% endmacro %}{{ say('a') }}", "[a]"),
    ] {
        assert_eq!(of(template).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn faults_name_the_place_and_the_line() {
    for (template, expected) in [
        ("a\n{% if %}", "T: line 2 of the chat template: "),
        ("a\n\n{{ messages[0].content.frobnicate() }}", "T: line 3 of the chat template: "),
        ("{{ raise_exception('only two') }}", "T: the chat template refuses the conversation: only two"),
        ("{{ strftime_now('%Q') }}", "T: line 1 of the chat template: strftime_now cannot write `%Q`"),
        ("{% include 'x' %}", "T: line 1 of the chat template: "),
    ] {
        let said = of(template).unwrap_err();
        assert!(said.starts_with(expected), "{template}: {said}");
    }
    let mut conversation = Conversation::new([Message::user("x")]);
    conversation.date = "yesterday".into();
    let said = ChatTemplate::new("T", "x", Map::new()).render(&conversation).unwrap_err().to_string();
    assert_eq!(said, "the date `yesterday` is no day of the calendar");
}

#[test]
fn what_never_ends_or_grows_without_end_is_stopped() {
    let endless = "T: its chat template takes more steps or memory than a conversation needs: it may never end";
    let started = std::time::Instant::now();
    for template in [
        "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}",
        "{% set ns = namespace(s='x') %}{% for a in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
        "{% set ns = namespace(s=['x']) %}{% for a in range(30) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}",
        "{% set s = 'x' * 90000000 %}{{ s }}{{ s }}{{ s }}",
        "{% set ns = namespace(s='aaaaaaaa') %}{% for a in range(60) %}{% set ns.s = ns.s | replace('a', ns.s) %}{% endfor %}",
        "{% set ns = namespace(s='aaaaaaaa') %}{% for a in range(60) %}{% set ns.s = ns.s.replace('a', ns.s) %}{% endfor %}",
        "{% set ns = namespace(s='aaaaaaaa') %}{% for a in range(60) %}{% set ns.s = ns.s | tojson %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{% set s = 'x' * 1000000 %}{% set l = [s] * 100000 %}{{ l }}",
        "{% set s = 'x' * 1000000 %}{% set l = [s] * 100000 %}{{ ''.join(l) }}",
        "{% set s = 'x' * 1000000 %}{% set l = [s] * 100000 %}{{ l | join }}",
        "{% set s = 'x' * 1000000 %}{% set l = [s] * 100000 %}{{ l | tojson }}",
        "{{ '{:>900000000}'.format(1) }}",
        "{{ '%900000000d' | format(1) }}",
        "{% set l = ['x' * 1000000] * 100000 %}{{ l ~ '' }}",
        "{% set l = ['x' * 1000000] * 100000 %}{{ 1 ~ l }}",
        "{{ ['x' * 1000000] * 100000 ~ '' }}",
        "{{ (['x' * 1000000] * 100000) in 'x' }}",
        "{% set l = ['x' * 1000000] * 100000 %}{{ l | upper }}",
        "{% set l = ['x' * 1000000] * 100000 %}{{ 'x' | replace('x', l) }}",
        "{% set l = ['x' * 1000000] * 100000 %}{{ ['a', 'b'] | join(l) }}",
        "{% set l = ['x' * 1000000] * 100000 %}{{ raise_exception(l) }}",
        "{% set l = ['x' * 1000000] * 100000 %}{{ [1] | select(l) | list }}",
        "{% set l = ['x' * 1000000] * 100000 %}{{ [1] | rejectattr(l) | list }}",
        "{% set l = ['x' * 1000000] * 100000 %}{{ strftime_now(l) }}",
        "{% set ns = namespace(s=['x']) %}{% for a in range(40) %}{% set ns.s = (ns.s + ns.s) | list %}{% endfor %}",
        "{% set ns = namespace(s=['']) %}{% for a in range(40) %}{% set ns.s = (ns.s + ns.s) | sort %}{% endfor %}",
        "{% set s = ' ' * 60000000 %}{% for a in range(9) %}{% set t = s.split(' ') %}{% endfor %}",
        "{% set s = ' ' * 16000000 %}{% for a in range(9) %}{% set t = s | split(' ') %}{% endfor %}",
    ] {
        let said = of(template).unwrap_err();
        assert_eq!(said, endless, "{template}");
    }
    let recursive = "{% macro again(x) %}{{ again(x) }}{{ again(x) }}{% endmacro %}{{ again(1) }}";
    assert!(of(recursive).is_err());
    let nested = "{% set ns = namespace(s=[]) %}{% for a in range(90000) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s | tojson }}";
    assert!(of(nested).is_err());
    assert!(of(&"{% if true %}".repeat(10_000)).is_err());
    assert!(of(&format!("{{{{ {} }}}}", "(".repeat(100_000))).is_err());
    assert!(of(&"x".repeat(MAX_LEN + 1)).unwrap_err().contains("1024 KiB"));
    assert!(started.elapsed().as_secs() < 60);
}

#[test]
fn templates_are_found_where_checkpoints_keep_them() {
    let folder = tempfile::tempdir().unwrap();
    let source = Source::folder(folder.path());
    let write = |file: &str, text: &str| std::fs::write(folder.path().join(file), text).unwrap();
    let found = || find(&source).unwrap().map(|template| template.render(&Conversation::new([])).unwrap());
    assert_eq!(found(), None);
    write("tokenizer_config.json", r#"{"chat_template": "{{ bos_token }}1", "bos_token": {"content": "<s>"}}"#);
    assert_eq!(found().unwrap(), "<s>1");
    let list = json!([{"name": "tool_use", "template": "2"}, {"name": "default", "template": "{{ bos_token }}3"}]);
    write("tokenizer_config.json", &json!({"chat_template": list, "tokenizer_class": "LlamaTokenizer"}).to_string());
    assert_eq!(found().unwrap(), "<s>3");
    write("chat_template.json", r#"{"chat_template": "4"}"#);
    assert_eq!(found().unwrap(), "4");
    write("chat_template.jinja", "5");
    assert_eq!(found().unwrap(), "5");
    std::fs::write(folder.path().join("chat_template.jinja"), b"ok\xff").unwrap();
    let said = find(&source).unwrap_err().to_string();
    assert!(said.ends_with("chat_template.jinja cannot be read: byte 2 is not UTF-8"), "{said}");
}
