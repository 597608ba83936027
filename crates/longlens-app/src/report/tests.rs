use std::sync::LazyLock;

use longlens_core::trace::RunRecord;
use longlens_eval::evaluate::{Answer, Attended, Outcome, Passage, Record, summarize};
use longlens_eval::generate::StopReason;
use longlens_eval::scorers::Mode;
use serde_json::{Value, json};

use super::*;
use crate::sweep::Axes;

/// A sample of a task under a method.
fn record(task: &str, setting: &str, method: &str, id: usize, value: &Value) -> Record {
    let answer = Answer {
        output: "The pass key is 12345.".into(),
        extracted: Some("12345".into()),
        n_generated: 6,
        stop: StopReason::MaxTokens,
        scorer: "passkey_text".into(),
        scale: 1.0,
        faithful: value.clone(),
        fixed: value.clone(),
        seconds_to_first_token: 0.25,
    };
    Record {
        key: format!("{task}{setting}{method}{id}"),
        copy_of: None,
        task: task.into(),
        setting: setting.into(),
        task_version: 1,
        id: id.to_string(),
        part: None,
        length: Some(512),
        depth: Some(0.25 * (id % 5) as f64),
        run: RunRecord {
            model: "a-model".into(),
            method: method.into(),
            rope: "none".into(),
            dtype: "f16".into(),
            kernel_path: "cpu, avx512".into(),
            mode: "re-prefill".into(),
            version: "0.1.0".into(),
            n_prompt: 500,
            trained_context: 256,
            layer_windows: None,
            warnings: vec!["its config says nothing of a theta".into()],
        },
        content: "c0ffee".into(),
        device: "cpu".into(),
        mode: Mode::Faithful,
        template: "off".into(),
        prompt_sha256: format!("{:064x}", id + 1),
        n_prompt: 500,
        n_shared: 100,
        n_truncated: 0,
        limit: None,
        answers: vec!["12345".into()],
        outcome: Outcome::Answered(Box::new(answer)),
        seconds: 0.5,
        attended: None,
        finished: 1_700_000_000 + id as u64,
    }
}

fn hits(task: &str, method: &str, hits: &[bool]) -> Vec<Record> {
    let setting = format!("{task}:length=512,samples=9");
    hits.iter().enumerate().map(|(id, hit)| record(task, &setting, method, id, &json!(hit))).collect()
}

#[test]
fn numbers_are_those_of_the_summary() {
    let mut records = hits("passkey", "full", &[true, false, true, true, false, false, false, true]);
    records.extend(hits("passkey", "dual_chunk", &[true; 8]));
    records.extend(hits("needle", "full", &[true; 3]));
    let (tables, summary) = (tables(&records), summarize(&records));
    assert_eq!(tables.subjects.iter().map(|subject| &*subject.name).collect::<Vec<_>>(), ["full", "dual_chunk"]);
    assert_eq!(tables.tasks.iter().map(|table| &*table.name).collect::<Vec<_>>(), ["passkey", "needle"]);
    for row in &summary.rows {
        let table = tables.tasks.iter().find(|table| table.name == row.setting).unwrap();
        let subject = tables.subjects.iter().position(|subject| subject.method == row.method).unwrap();
        let cell = table.under("run").cells[subject][0].as_ref().unwrap();
        assert_eq!((cell.score, cell.interval, cell.n), (row.score, row.interval, row.n));
        assert_eq!((cell.n_at_limit, cell.n_empty, cell.seconds), (row.n_at_limit, row.n_empty, row.seconds));
    }
    let [passkey, needle] = &tables.tasks[..] else { panic!("two tables") };
    assert_eq!(needle.under("run").cells[1][0], None, "a method that was not run has no cell");
    let [against] = &passkey.under("run").differences[..] else { panic!("one pair") };
    let found = &against.difference;
    assert_eq!((against.subject, against.reference, found.difference), (1, 0, 50.0));
    assert_eq!((found.n, found.n_better, found.n_worse, found.is_sure), (8, 4, 0, false), "four samples differ");
}

#[test]
fn the_last_of_a_sample_counts() {
    let mut records = hits("passkey", "full", &[false, false]);
    let mut again = hits("passkey", "full", &[true])[0].clone();
    (again.key, again.finished) = ("again".into(), 2_000_000_000);
    records.push(again);
    let tables = tables(&records);
    let cell = tables.tasks[0].under("run").cells[0][0].as_ref().unwrap();
    assert_eq!((cell.n, cell.score), (2, 50.0));
}

#[test]
fn modes_are_shown_where_they_differ() {
    let mut records = hits("passkey", "full", &[false; 4]);
    assert_eq!(tables(&records).tasks[0].scores.keys().collect::<Vec<_>>(), [&"run"]);
    let Outcome::Answered(answer) = &mut records[0].outcome else { panic!("it is answered") };
    answer.fixed = json!(true);
    let Outcome::Answered(answer) = &mut records[1].outcome else { panic!("it is answered") };
    answer.faithful = json!({ "error": "IndexError" });
    let tables = tables(&records);
    let score = |mode: &str| {
        let cell = tables.tasks[0].under(mode).cells[0][0].clone().unwrap();
        (cell.score, cell.n_errors)
    };
    assert_eq!((score("run"), score("faithful"), score("fixed")), ((0.0, 1), (0.0, 1), (25.0, 0)));
}

#[test]
fn an_earlier_version_of_a_task_is_another_task() {
    let mut records = hits("niah_single_1", "full", &[false, false]);
    let mut old = hits("niah_single_1", "full", &[true, true]);
    for record in &mut old {
        (record.key, record.task_version) = (format!("old {}", record.key), 0);
    }
    records.extend(old);
    records.extend(hits("niah_single_2", "full", &[true, true]));
    let tables = tables(&records);
    let told = |table: &Table| {
        let cell = table.under("run").cells[0][0].as_ref().unwrap();
        (table.name.clone(), cell.score, cell.n)
    };
    assert_eq!(
        tables.tasks.iter().map(told).collect::<Vec<_>>(),
        [
            ("niah_single_1".into(), 0.0, 2),
            ("niah_single_1 (version 0 of the task)".into(), 100.0, 2),
            ("niah_single_2".into(), 100.0, 2),
        ]
    );
    assert_eq!(told(&tables.families[0]), ("ruler: mean of all tasks".into(), 50.0, 4));
    assert_eq!(tables.place_of(&records[0]).unwrap().0, 0);
    assert_eq!(tables.place_of(&records[2]).unwrap().0, 1);
}

#[test]
fn a_task_with_two_settings_is_one_task_of_a_mean() {
    let of = |task: &str, seed: usize, length: usize, hit: bool| {
        let one = record(task, &format!("{task}:length={length},seed={seed}"), "full", seed, &json!(hit));
        Record { length: Some(length), ..one }
    };
    let records =
        [of("niah_single_1", 1, 512, false), of("niah_single_1", 2, 700, true), of("niah_single_2", 1, 512, true)];
    let tables = tables(&records);
    let cells = &tables.families[0].under("run").cells[0];
    let told: Vec<_> = cells.iter().map(|cell| cell.as_ref().map(|cell| (cell.score, cell.n_tasks)).unwrap()).collect();
    assert_eq!(told, [(50.0, 2), (100.0, 1)]);
}

#[test]
fn families_are_means_over_tasks() {
    let mut records = hits("niah_single_1", "full", &[true; 9]);
    records.extend(hits("niah_single_2", "full", &[true, false]));
    records.extend(hits("ruler_vt", "full", &[false; 3]));
    records.extend(hits("ruler_vt", "dual_chunk", &[true; 3]));
    let tables = tables(&records);
    let named = |name: &str| tables.families.iter().find(|table| table.name == name).unwrap();
    let all = named("ruler: mean of all tasks");
    assert_eq!((all.tasks.len(), all.n_of), (3, 13));
    let cell = all.under("run").cells[0][0].as_ref().unwrap();
    assert_eq!(
        (cell.score.round(), cell.n, cell.n_tasks),
        (50.0, 14, 3),
        "a task counts once, however many samples it has"
    );
    let other = all.under("run").cells[1][0].as_ref().unwrap();
    assert_eq!((other.score, other.n_tasks), (100.0, 1), "and one without samples is told");
    let [against] = &all.under("run").differences[..] else { panic!("one pair") };
    assert_eq!((against.difference.difference, against.difference.n), (100.0, 3), "on the task that both have");
    let retrieval = named("ruler: mean of retrieval (NIAH)");
    assert_eq!((retrieval.under("run").cells[0][0].as_ref().unwrap().score, retrieval.n_of), (75.0, 8));
    assert_eq!(tables.families.len(), 2, "of the other categories there is one task or none");
}

#[test]
fn longbench_is_the_mean_of_its_categories() {
    let all = |name: &str, score: f64| -> Vec<Record> {
        let mut one = record(name, name, "full", 0, &json!(score));
        (one.length, one.depth) = (None, None);
        vec![one]
    };
    // the README's numbers of Llama-2-7B-chat: 24.9 and 22.5 in two categories
    let scores = [("narrativeqa", 0.187), ("qasper", 0.192), ("multifieldqa_en", 0.368), ("hotpotqa", 0.254)];
    let records: Vec<Record> =
        scores.iter().flat_map(|(name, score)| all(&format!("longbench_{name}"), *score)).collect();
    let tables = tables(&records);
    let score = |at: usize| tables.families[at].under("run").cells[0][0].as_ref().unwrap().score;
    let names: Vec<&str> = tables.families.iter().map(|table| &*table.name).collect();
    assert_eq!(names[..2], ["longbench: mean of all tasks", "longbench: mean of 2 of 6 English categories"]);
    assert!((score(0) - 25.025).abs() < 1e-9 && (score(1) - f64::midpoint(24.9, 25.4)).abs() < 1e-9);
}

#[test]
fn a_place_holds_the_mean_of_its_samples() {
    let mut records = hits("passkey", "full", &[true, false, true, true, false, false, false, false, true, true]);
    let tables = tables(&records);
    let grids = grids(&records, &tables);
    let [grid] = &grids[..] else { panic!("one grid") };
    let cells: Vec<(f64, f64, usize)> = grid.cells["run"].iter().map(|cell| (cell.depth, cell.score, cell.n)).collect();
    let right = [(0.0, 50.0, 2), (0.25, 0.0, 2), (0.5, 50.0, 2), (0.75, 100.0, 2), (1.0, 50.0, 2)];
    assert_eq!(cells, right);
    // depths that are all different become tenths
    let one = records[0].clone();
    records =
        (0..100).map(|at| Record { depth: Some(f64::from(at) / 99.0), id: at.to_string(), ..one.clone() }).collect();
    let depths: Vec<(f64, usize)> = super::grids(&records, &super::tables(&records))[0].cells["run"]
        .iter()
        .map(|cell| (cell.depth, cell.n))
        .collect();
    assert_eq!((depths.len(), depths[0]), (10, (0.05, 10)));
}

#[test]
fn losses_by_position_are_means_over_tokens() {
    let measured = |id: usize, by_position: Vec<(usize, f64, usize)>| {
        let mut one = record("perplexity", "perplexity:length=8", "full", id, &json!(true));
        one.outcome = Outcome::Measured { mean_nll: 1.0, n_scored: 7, by_position };
        one
    };
    let records = [measured(0, vec![(1, 3.0, 1), (2, 1.0, 2)]), measured(1, vec![(1, 5.0, 1), (2, 4.0, 1)])];
    let found = positions(&records, &tables(&records));
    assert_eq!(found[0].losses, [(1, 4.0, 2), (2, 2.0, 3)]);
    let table = &tables(&records).tasks[0];
    let cell = table.under("run").cells[0][0].as_ref().unwrap();
    assert!((cell.score - 1f64.exp()).abs() < 1e-12 && table.scorer == "perplexity" && cell.n_scored == 14);
}

fn attended(heads: Vec<Vec<f32>>, texts: &[String]) -> Attended {
    let passage = |(at, text): (usize, &String)| Passage {
        tokens: (48 * at, 48 * at + 48),
        mass: 0.5 / (at + 1) as f32,
        text: text.clone(),
    };
    Attended { evidence: vec![(96, 120)], heads, passages: texts.iter().enumerate().map(passage).collect() }
}

#[test]
fn heads_are_means_over_samples_right_and_wrong() {
    let mut records = hits("passkey", "full", &[true, false, true]);
    for (record, share) in records.iter_mut().zip([0.9, 0.3, 0.6]) {
        record.attended = Some(attended(vec![vec![0.1, share], vec![0.0, 0.2]], &[]));
    }
    let found = attention(&records, &tables(&records));
    let [of] = &found[..] else { panic!("one task and method") };
    assert_eq!((of.n, of.n_layers, of.n_heads), (3, 2, 2));
    assert!((of.means[1] - 0.6).abs() < 1e-6 && (of.means[0] - 0.1).abs() < 1e-6);
    let top = of.top[0];
    assert_eq!((top.layer, top.head), (0, 1));
    assert!((top.of_hits.unwrap() - 0.75).abs() < 1e-6 && (top.of_misses.unwrap() - 0.3).abs() < 1e-6);
}

#[test]
fn published_numbers_stand_beside_the_same_model_alone() {
    let of_model = |model: &str| -> Vec<Record> {
        let all = hits("passkey_longheads", "long_heads", &[true; 4]).into_iter();
        all.map(|mut record| {
            (record.run.model, record.length) = (model.to_owned(), Some(16_384));
            record
        })
        .collect()
    };
    let records = of_model("Llama-2-7b-hf");
    let found = beside(&records, &tables(&records));
    let one = found
        .fitting
        .iter()
        .find(|one| one.published.method == "LongHeads" && one.published.length == Some(16_384))
        .unwrap();
    assert_eq!((one.published.value, one.fit), (94.0, longlens_eval::published::Fit::Model));
    assert_eq!(one.ours, [beside::Ours { list: "tasks", table: 0, subject: 0, column: 0 }]);
    assert!(
        found.others.is_empty() && found.fitting.iter().any(|one| one.ours.is_empty()),
        "other lengths have none of ours"
    );
    assert!(
        found.protocol[0].iter().any(|said| said.starts_with("samples is 9, by itself it is 50")),
        "{:?}",
        found.protocol
    );
    let records = of_model("SmolLM2-135M");
    let found = beside(&records, &tables(&records));
    assert!(found.fitting.is_empty() && found.others.len() == 7);
}

#[test]
fn a_sweep_file_asks_for_the_same_units() {
    let mut records = hits("passkey", "full", &[true; 2]);
    records.extend(hits("passkey", "dual_chunk", &[true; 2]));
    for record in &mut records {
        record.run.model = "longlens-tiny".into();
    }
    let units = |records: &[Record]| -> Vec<(String, String)> {
        let table: toml::Table = sweep_file("mine", records).parse().unwrap();
        let units = Axes::of(&table).unwrap().units().unwrap();
        units.iter().map(|unit| (unit.task.to_string(), unit.settings.method.to_string())).collect()
    };
    let setting = "passkey:length=512,samples=9";
    let of = |setting: &str, method: &str| (setting.to_owned(), method.to_owned());
    assert_eq!(units(&records), [of(setting, "full"), of(setting, "dual_chunk")]);
    // what is no combination of lists is written out
    records.push(record("needle", "needle:length=1024", "full", 0, &json!(true)));
    assert_eq!(units(&records)[2], of("needle:length=1024", "full"));
    assert_eq!(units(&records).len(), 3);
    // a limit that samples met, and that others did not; answers with attention and without
    let options = |records: &[Record]| -> Vec<(Option<usize>, bool)> {
        let table: toml::Table = sweep_file("mine", records).parse().unwrap();
        let units = Axes::of(&table).unwrap().units().unwrap();
        units.iter().map(|unit| (unit.options.limit, unit.options.attention)).collect()
    };
    let mut records = hits("passkey", "full", &[true; 2]);
    (records[0].limit, records[0].n_prompt, records[1].n_prompt) = (Some(300), 290, 200);
    assert_eq!(options(&records), [(Some(300), false)]);
    records[1].n_prompt = 500;
    assert_eq!(options(&records), [(Some(300), false), (None, false)]);
    records[1].n_prompt = 200;
    records[1].attended = Some(Attended { evidence: Vec::new(), heads: Vec::new(), passages: Vec::new() });
    assert_eq!(options(&records), [(Some(300), false), (Some(300), true)]);
}

#[test]
fn totals_and_origins_name_all_that_computed() {
    let mut records = hits("passkey", "full", &[true; 4]);
    records[3].run.kernel_path = "cpu, avx2".into();
    let totals = totals(&records);
    assert_eq!((totals.n_samples, totals.n_tokens, totals.n_shared, totals.factor), (4, 2000, 400, 1.25));
    assert_eq!((totals.first, totals.last, totals.seconds), (1_700_000_000, 1_700_000_003, 2.0));
    let found: Vec<(String, usize)> = origins(&records).into_iter().map(|of| (of.kernel_path, of.n)).collect();
    assert_eq!(found, [("cpu, avx512".into(), 3), ("cpu, avx2".into(), 1)]);
    // what was computed for another setting is counted there
    records[0].copy_of = Some("of another".into());
    assert_eq!((super::totals(&records).n_samples, super::totals(&records).n_tokens), (3, 1500));
}

fn html(records: &[Record]) -> String {
    Report { name: "a <b>report</b>", records, theme: None }.html()
}

#[test]
fn hostile_texts_stay_data() {
    let hostile = "</script><img src=x onerror=alert(1)><!--<script>";
    let mut records = hits("passkey", "full", &[true; 2]);
    for record in &mut records {
        let Outcome::Answered(answer) = &mut record.outcome else { panic!("it is answered") };
        answer.output = hostile.into();
        record.run.model = hostile.into();
        record.id = format!("{hostile}{}", record.id);
        record.setting = format!("passkey:file={hostile}");
        record.answers = vec![hostile.into()];
    }
    let html = html(&records);
    assert_eq!(html.matches("</script>").count(), 2, "the two elements that are meant");
    assert!(!html.contains("<img") && !html.contains("<!--"));
    assert!(html.contains("<title>a &lt;b&gt;report&lt;/b&gt; · longlens report</title>"));
    // the name of drawings' elements is no address
    let html = html.replace("http://www.w3.org/2000/svg", "");
    for word in ["http://", "https://", "src=\"", "href=", "@import", "url("] {
        assert!(!html.contains(word), "{word}");
    }
}

/// So many words of novels from some place on.
fn prose(seed: u64, n_words: usize) -> String {
    static WORDS: LazyLock<Vec<&str>> =
        LazyLock::new(|| longlens_eval::tasks::haystack::built_in().split_whitespace().collect());
    let start = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) % (WORDS.len() - n_words) as u64;
    WORDS[start as usize..start as usize + n_words].join(" ")
}

#[test]
fn ten_thousand_samples_make_a_page_that_mail_takes() {
    let methods = ["full", "self_extend", "dual_chunk", "long_heads"];
    let of = |at: usize| {
        let (method, id) = (methods[at % 4], at / 4);
        let mut one = record(
            "niah_single_2",
            &format!("niah_single_2:length={}", 4096 << (id % 5)),
            method,
            id,
            &json!(at.is_multiple_of(3)),
        );
        one.length = Some(4096 << (id % 5));
        let Outcome::Answered(answer) = &mut one.outcome else { panic!("it is answered") };
        answer.output = prose(at as u64 + 1, 40);
        let texts: Vec<String> = (0..5).map(|passage| prose((5 * id + passage + 99) as u64, 36)).collect();
        one.attended = Some(attended(vec![vec![0.125; 8]; 8], &texts));
        one
    };
    let records: Vec<Record> = (0..10_000).map(of).collect();
    let report = Report { name: "many", records: &records, theme: None };
    let data = report.data();
    assert_eq!(data["samples"]["n"], 10_000, "all of them are there");
    let size = report.html().len();
    assert!(size < 10_000_000, "{size} bytes");
    let stored: Vec<&str> = data["samples"]["stored"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(stored.len(), 1, "nothing of typical samples is cut: {stored:?}");
}

#[test]
fn what_has_no_room_is_cut_and_said() {
    let mut records = hits("passkey", "full", &[true; 12]);
    for (at, record) in records.iter_mut().enumerate() {
        let Outcome::Answered(answer) = &mut record.outcome else { panic!("it is answered") };
        // digits that do not compress
        let numbers =
            (0..120_000_u64).map(|place| (place + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15 ^ (at as u64)).to_string());
        answer.output = numbers.collect();
    }
    let data = Report { name: "long", records: &records, theme: None }.data();
    assert_eq!(data["samples"]["n"], 12);
    let stored = data["samples"]["stored"].to_string();
    assert!(stored.contains("Answers are cut to 8000 letters") && stored.contains("12 are longer"), "{stored}");
}

#[test]
fn subjects_are_told_apart_by_what_differs() {
    let with = |change: fn(&mut Record)| {
        let mut one = hits("passkey", "full", &[true]).swap_remove(0);
        change(&mut one);
        one
    };
    let records = [
        with(|_| ()),
        with(|one| one.run.rope = "linear:factor=2".into()),
        with(|one| one.device = "cuda".into()),
        with(|one| one.content = "beef1234".into()),
    ];
    let names: Vec<String> = tables(&records).subjects.into_iter().map(|subject| subject.name).collect();
    assert_eq!(
        names,
        [
            "full · rope none · cpu · c0ffee",
            "full · rope linear:factor=2 · cpu",
            "full · rope none · cuda",
            "full · rope none · cpu · beef1234"
        ]
    );
}

#[test]
fn parts_stand_beside_the_whole() {
    let mut records = hits("longbench_e_qasper", "full", &[true, false, true, true]);
    for (record, part) in records.iter_mut().zip(["0-4k", "0-4k", "4-8k", "4-8k"]) {
        (record.length, record.part) = (None, Some(part.into()));
    }
    let table = &tables(&records).tasks[0];
    let parts: Vec<Option<&str>> = table.columns.iter().map(|column| column.part.as_deref()).collect();
    assert_eq!(parts, [None, Some("0-4k"), Some("4-8k")]);
    let scores: Vec<f64> = table.under("run").cells[0].iter().map(|cell| cell.as_ref().unwrap().score).collect();
    assert_eq!(scores, [75.0, 50.0, 100.0]);
}
