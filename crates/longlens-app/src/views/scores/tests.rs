use longlens_eval::evaluate::{Answer, Outcome};
use longlens_eval::generate::StopReason;
use longlens_eval::scorers::Mode;
use longlens_plot::Canvas;

use super::*;

/// A sample under a method, at a length and a depth, which was answered rightly or not.
fn record(method: &str, length: usize, depth: Option<f64>, part: Option<&str>, id: usize, hit: bool) -> Record {
    let answer = Answer {
        output: "7".into(),
        extracted: None,
        n_generated: 1,
        stop: StopReason::MaxTokens,
        scorer: "ruler_all".into(),
        scale: 1.0,
        faithful: json!(hit),
        fixed: json!(hit),
        seconds_to_first_token: 0.1,
    };
    Record {
        key: format!("{method} {length} {id}"),
        copy_of: None,
        task: "niah_single_1".into(),
        setting: format!("niah_single_1:length={length},samples=4"),
        task_version: 1,
        id: format!("{length} {id}"),
        part: part.map(str::to_owned),
        length: Some(length),
        depth,
        run: RunRecord {
            model: "a-model".into(),
            method: method.into(),
            rope: "none".into(),
            dtype: "f32".into(),
            trained_context: 256,
            n_prompt: length,
            ..RunRecord::default()
        },
        content: "c0ffee".into(),
        device: "cpu".into(),
        mode: Mode::Faithful,
        template: "off".into(),
        prompt_sha256: format!("{length} {id}"),
        n_prompt: length,
        n_shared: 0,
        n_truncated: 0,
        limit: None,
        answers: vec!["7".into()],
        outcome: Outcome::Answered(Box::new(answer)),
        seconds: 0.5,
        attended: None,
        finished: id as u64,
    }
}

/// Four samples at each of two lengths: at even depths, or at depths of their own.
fn samples(method: &str, is_even: bool) -> Vec<Record> {
    let one = |length: usize, id: usize| {
        let depth = if is_even { (id % 2) as f64 } else { ((id + 1) * (id + 1) * length) as f64 / 9973.0 };
        record(method, length, Some(depth), None, id + 1, id != 1 || length < 512)
    };
    [256, 512].into_iter().flat_map(|length| (0..4).map(move |id| one(length, id))).collect()
}

fn drawn(plot: &Plot) -> String {
    Canvas::default().to_svg_string(plot.figure.as_ref()).unwrap()
}

#[test]
fn even_depths_are_rows_and_depths_of_their_own_are_none() {
    let even = samples("full", true);
    let own = samples("full", false);
    let of = |records: &[Record]| grid(&records.iter().collect::<Vec<_>>());
    let (grid, other) = (of(&even), of(&own));
    assert_eq!(grid.rows, [GridRow::Depth(0.0), GridRow::Depth(1.0)]);
    assert_eq!(grid.lengths, [Some(256), Some(512)]);
    let scores: Vec<(f64, usize)> = grid.cells.iter().flatten().map(|cell| (cell.score, cell.n)).collect();
    assert_eq!(scores, [(100.0, 2), (100.0, 2), (100.0, 2), (50.0, 2)], "row-major by depth and length");
    assert_eq!(other.rows, [GridRow::All]);
    let scores: Vec<(f64, usize)> = other.cells.iter().flatten().map(|cell| (cell.score, cell.n)).collect();
    assert_eq!(scores, [(100.0, 4), (75.0, 4)]);
    let short: Vec<Record> = own.iter().filter(|record| record.length == Some(256)).cloned().collect();
    assert_eq!(of(&short).rows, [GridRow::All], "also of one length");
    let short: Vec<Record> = even[..5].to_vec();
    assert_eq!(of(&short).rows.len(), 2, "also as long as some samples are missing");
    let svg = drawn(&super::scores(&even, Palette::default()).unwrap());
    assert!(svg.contains("Score by length and depth"));
    let svg = drawn(&super::scores(&own, Palette::default()).unwrap());
    assert!(svg.contains("% of a perfect answer") && svg.contains("trained"));
}

#[test]
fn a_depth_without_samples_is_an_empty_cell() {
    let mut records = samples("full", true);
    records.retain(|record| record.length == Some(256) || record.depth != Some(1.0));
    let grid = grid(&records.iter().collect::<Vec<_>>());
    let filled: Vec<bool> = grid.cells.iter().map(Option::is_some).collect();
    assert_eq!(filled, [true, true, true, false]);
}

#[test]
fn parts_are_rows_and_stand_below_all_of_the_task() {
    let records: Vec<Record> =
        (0..4).map(|id| record("full", 256, None, Some(["0-4k", "4-8k"][id % 2]), id, id < 3)).collect();
    let grid = grid(&records.iter().collect::<Vec<_>>());
    assert_eq!(grid.rows, [GridRow::Part("0-4k".into()), GridRow::Part("4-8k".into())]);
    let plot = super::scores(&records, Palette::default()).unwrap();
    let table = plot.table().unwrap();
    let parts: Vec<(String, String, String)> =
        table.rows.iter().map(|row| (row[3].to_string(), row[7].to_string(), row[8].to_string())).collect();
    let right = [("", "4", "75"), ("0-4k", "2", "100"), ("4-8k", "2", "50")];
    assert_eq!(parts, right.map(|(part, n, score)| (part.to_owned(), n.to_owned(), score.to_owned())));
    assert!(drawn(&plot).contains("4-8k"), "a bar of each part");
}

#[test]
fn the_table_has_the_numbers_of_the_summary() {
    let mut records = samples("full", false);
    records.extend(samples("dual_chunk", false));
    let plot = super::scores(&records, Palette::default()).unwrap();
    let (table, summary) = (plot.table().unwrap(), summarize(&records));
    assert_eq!((table.rows.len(), plot.n_rows()), (summary.rows.len(), summary.rows.len()));
    for row in &summary.rows {
        let told = table
            .rows
            .iter()
            .find(|told| told[5].to_string() == row.method && told[2].to_string() == row.length.unwrap().to_string());
        let told: Vec<String> = told.unwrap()[7..11].iter().map(ToString::to_string).collect();
        let right = [row.n as f64, row.score, row.interval.0, row.interval.1].map(|number| number.to_string());
        assert_eq!(told, right);
    }
    assert!(plot.text.contains("2 methods: 16 samples"), "{}", plot.text);
    assert_eq!(plot.arrays[0].name, "score");
}

#[test]
fn several_tasks_are_a_map_of_tasks_by_methods() {
    let mut records = samples("full", true);
    records.extend(samples("full", true).into_iter().map(|record| Record {
        task: "ruler_vt".into(),
        setting: "ruler_vt:length=256".into(),
        ..record
    }));
    let svg = drawn(&super::scores(&records, Palette::default()).unwrap());
    assert!(svg.contains("ruler_vt") && svg.contains("niah_single_1") && svg.contains("full 512"), "{svg}");
    assert!(super::scores(&[], Palette::default()).is_none());
}

#[test]
fn depths_of_a_heat_map_are_rows_of_its_table() {
    let mut records = samples("full", true);
    records.extend(samples("dual_chunk", true));
    let plot = super::scores(&records, Palette::default()).unwrap();
    let table = plot.table().unwrap();
    let rows: Vec<String> = table
        .rows
        .iter()
        .map(|row| [5, 2, 4, 7, 8].map(|column| row[column].to_string()).join(" "))
        .filter(|row| row.starts_with("full"))
        .collect();
    let right = [
        "full 256  4 100",
        "full 256 0 2 100",
        "full 256 1 2 100",
        "full 512  4 75",
        "full 512 0 2 100",
        "full 512 1 2 50",
    ];
    assert_eq!(rows, right);
    assert_eq!((table.rows.len(), plot.n_rows()), (12, 12));
    let depth = plot.arrays.iter().find(|array| array.name == "depth").unwrap();
    assert_eq!(depth.shape, [12]);
    // depths of their own, of which there is no heat map, are no rows
    let plot = super::scores(&self::samples("full", false), Palette::default()).unwrap();
    assert_eq!(plot.table().unwrap().rows.len(), 2);
}

#[test]
fn lines_through_the_same_points_are_one() {
    let mut records = samples("full", false);
    records.extend(samples("dual_chunk", false));
    records
        .extend(samples("streaming", false).into_iter().map(|record| Record { outcome: record_of(false), ..record }));
    let svg = drawn(&super::scores(&records, Palette::default()).unwrap());
    assert!(svg.contains("full = dual_chunk") && svg.contains(">streaming<"), "{svg}");
    assert!(svg.contains("with 95 % intervals"));
}

#[test]
fn perplexities_are_no_rows_of_a_map_and_stand_in_its_table() {
    let mut records = samples("full", true);
    let loss = || Outcome::Measured { mean_nll: 2.0, n_scored: 100, by_position: Vec::new() };
    records.push(Record {
        task: "perplexity".into(),
        setting: "perplexity:length=256".into(),
        depth: None,
        outcome: loss(),
        ..record("full", 256, None, None, 9, true)
    });
    records.extend(samples("full", false).into_iter().map(|record| Record {
        task: "ruler_vt".into(),
        setting: "ruler_vt:length=256".into(),
        ..record
    }));
    let plot = super::scores(&records, Palette::default()).unwrap();
    let svg = drawn(&plot);
    assert!(svg.contains("ruler_vt") && !svg.contains("perplexity"), "{svg}");
    assert!(plot.text.contains("perplexities are in the table alone"), "{}", plot.text);
    assert!(plot.table().unwrap().rows.iter().any(|row| row[1].to_string() == "perplexity"));
}

#[test]
fn a_picture_of_what_was_passed_over_says_why_there_is_none() {
    let records: Vec<Record> =
        samples("full", true).into_iter().map(|record| Record { outcome: Outcome::Skipped, ..record }).collect();
    let plot = super::scores(&records, Palette::default()).unwrap();
    let error = Canvas::default().to_svg_string(plot.figure.as_ref()).unwrap_err().to_string();
    assert!(error.contains("every sample was passed over as too long"), "{error}");
    assert_eq!(plot.table().unwrap().rows.len(), 2);
}

/// An answer that is right or wrong.
fn record_of(hit: bool) -> Outcome {
    record("full", 256, None, None, 0, hit).outcome
}
