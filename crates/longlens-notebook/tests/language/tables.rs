//! Tables in the language.

use crate::common::rig;
use crate::{error, transcript};

#[test]
fn every_operation() {
    let mut rig = rig();
    insta::assert_snapshot!(transcript(&mut rig, &[
        "let t = table(#{ m: [\"a\", \"é日本\", \"a\"], n: [3, 1, 2], loss: [1.5, (), 2.5] }); t",
        "table([#{ a: 1, b: 2 }, #{ b: 3, c: true }])",
        "t.filter(|row| row.n > 1)",
        "t.sort(\"n\").column(\"n\")",
        "t.sort_down([\"m\", \"n\"])",
        "t.group(\"m\", #{ loss: [\"mean\", \"count\"], n: \"max\" })",
        "t.mean(\"m\")",
        "t.mean_of(\"n\")",
        "t.count(\"m\")",
        "t.pivot(\"n\", \"m\", \"loss\")",
        "t.pivot(\"m\", \"n\", \"loss\", \"max\")",
        "t.select([\"n\", \"m\"])",
        "t.drop_columns(\"loss\")",
        "t.rename(#{ n: \"tokens\" }).columns",
        "t.with_column(\"twice\", |row| row.n * 2).with_column(\"k\", [1, 2, 3])",
        "t.head(1).len() + t.tail(2).len() + t.head(99).len()",
        "t.unique(\"m\")",
        "t.join(table(#{ m: [\"a\"], x: [9] }), \"m\")",
        "t + table(#{ n: [7], z: [8] })",
        "t.describe()",
        "[t[0].n, t[-1].n, t[\"n\"]]",
        "let sum = 0; for row in t { sum += row.n; } sum",
        "t.rows()[1]",
        "t.to_csv()",
        "t.to_json()",
        "t.filter(|row| false)",
        "table([])",
        "print(t)",
        "`${t}`",
        "passkey(#{ lengths: [200], depths: [0.5], trials: 2 })",
        "accuracy(passkey(#{ lengths: [200], depths: [0.5], trials: 2 }))",
        "passkey(#{ lengths: [200], depths: [0.5] }).protocol",
    ]), @r#"
    > let t = table(#{ m: ["a", "é日本", "a"], n: [3, 1, 2], loss: [1.5, (), 2.5] }); t
    loss  m      n
     1.5  a      3
          é日本  1
     2.5  a      2
    > table([#{ a: 1, b: 2 }, #{ b: 3, c: true }])
    a  b     c
    1  2
       3  true
    > t.filter(|row| row.n > 1)
    loss  m  n
     1.5  a  3
     2.5  a  2
    > t.sort("n").column("n")
    [1, 2, 3]
    > t.sort_down(["m", "n"])
    loss  m      n
          é日本  1
     1.5  a      3
     2.5  a      2
    > t.group("m", #{ loss: ["mean", "count"], n: "max" })
    m      loss_mean  loss_count  n_max
    a            2.0           2      3
    é日本                      0      1
    > t.mean("m")
    m      loss    n
    a       2.0  2.5
    é日本        1.0
    > t.mean_of("n")
    2.0
    > t.count("m")
    m      n
    a      2
    é日本  1
    > t.pivot("n", "m", "loss")
    n    a  é日本
    3  1.5
    1
    2  2.5
    > t.pivot("m", "n", "loss", "max")
    m        3  1    2
    a      1.5     2.5
    é日本
    > t.select(["n", "m"])
    n  m
    3  a
    1  é日本
    2  a
    > t.drop_columns("loss")
    m      n
    a      3
    é日本  1
    a      2
    > t.rename(#{ n: "tokens" }).columns
    ["loss", "m", "tokens"]
    > t.with_column("twice", |row| row.n * 2).with_column("k", [1, 2, 3])
    loss  m      n  twice  k
     1.5  a      3      6  1
          é日本  1      2  2
     2.5  a      2      4  3
    > t.head(1).len() + t.tail(2).len() + t.head(99).len()
    6
    > t.unique("m")
    loss  m      n
     1.5  a      3
          é日本  1
    > t.join(table(#{ m: ["a"], x: [9] }), "m")
    loss  m  n  x
     1.5  a  3  9
     2.5  a  2  9
    > t + table(#{ n: [7], z: [8] })
    loss  m      n  z
     1.5  a      3
          é日本  1
     2.5  a      2
                 7  8
    > t.describe()
    column  count  mean     std  min   25%  50%   75%  max
    loss        2   2.0  0.7071  1.5  1.75  2.0  2.25  2.5
    n           3   2.0  1.0000  1.0  1.50  2.0  2.50  3.0
    > [t[0].n, t[-1].n, t["n"]]
    [3, 2, [3, 1, 2]]
    > let sum = 0; for row in t { sum += row.n; } sum
    6
    > t.rows()[1]
    #{loss: (), m: "é日本", n: 1}
    > t.to_csv()
    loss,m,n
    1.5,a,3
    ,é日本,1
    2.5,a,2
    > t.to_json()
    [
    {"loss":1.5,"m":"a","n":3},
    {"loss":null,"m":"é日本","n":1},
    {"loss":2.5,"m":"a","n":2}
    ]
    > t.filter(|row| false)
    loss  m  n
    (no rows)
    > table([])
    (no columns)
    > print(t)
    loss  m      n
     1.5  a      3
          é日本  1
     2.5  a      2
    > `${t}`
    table of 3 rows, 3 columns
    > passkey(#{ lengths: [200], depths: [0.5], trials: 2 })
    method  length  depth  trials  found  accuracy     low  high
    full       200    0.5       2      2       1.0  0.3424   1.0
    passkey grid: template longlens, 2 prompts per cell, seed 0; greedy, as many tokens as the answer has, hits on exact tokens
    > accuracy(passkey(#{ lengths: [200], depths: [0.5], trials: 2 }))
    1.0
    > passkey(#{ lengths: [200], depths: [0.5] }).protocol
    passkey grid: template longlens, 1 prompt per cell, seed 0; greedy, as many tokens as the answer has, hits on exact tokens
    "#);
}

#[test]
fn questions_that_tables_cannot_answer() {
    let mut rig = rig();
    rig.run("let t = table(#{ m: [\"a\", \"b\"], n: [1, 2] });").unwrap();
    let told = [
        "table(5)",
        "table([1])",
        "table(#{ a: 1 })",
        "t.sort(5)",
        "t.mean_of(\"m\")",
        "t.pivot(\"n\", \"m\", \"m\")",
        "t.pivot(\"n\", \"m\", \"n\", \"meen\")",
        "t.head(-1)",
        "t[2]",
        "t[-3]",
        "t.filter(|row| false)[0]",
        "t.join(table(#{ x: [1] }), \"m\")",
        "t.rename(#{ x: \"y\" })",
        "t.rename(#{ m: \"n\" })",
        "t.with_column(\"x\", [1])",
        "t.with_column(\"x\", 1)",
        "t.drop_columns(\"x\")",
        "t.group(\"m\", #{ n: 5 })",
        "t + 1",
        "t.nothing",
        "accuracy(t)",
    ]
    .map(|cell| format!("{cell}\n    {}", error(&mut rig, cell)))
    .join("\n");
    insta::assert_snapshot!(told, @r#"
    table(5)
        Error: what a table is made of must be a list of maps, or a map of lists, not the number 5 [1: table]
    table([1])
        Error: every row of a table must be a map, not the number 1 [1: table]
    table(#{ a: 1 })
        Error: column `a` must be a list of cells, not the number 1 [1: table]
    t.sort(5)
        Error: the columns must be a name or a list of names, not the number 5 [1: sort]
    t.mean_of("m")
        Error: `a` in row 0 of column `m` is no number [1: mean_of] (leave out the rows without numbers, or use `count`, `min`, `max`, `first` or `last`)
    t.pivot("n", "m", "m")
        Error: `a` in row 0 of column `m` is no number [1: pivot] (leave out the rows without numbers, or use `count`, `min`, `max`, `first` or `last`)
    t.pivot("n", "m", "n", "meen")
        Error: there is no aggregation `meen` [1: pivot] (did you mean `mean`?)
    t.head(-1)
        Error: rows -1 is not a whole number of at least 0 [1: head] (give a larger one)
    t[2]
        Error: row 2 does not exist [1: [] (they go from -2 to 1)
    t[-3]
        Error: row -3 does not exist [1: [] (they go from -2 to 1)
    t.filter(|row| false)[0]
        Error: the table has no rows [1: [] (check what was filtered out)
    t.join(table(#{ x: [1] }), "m")
        Error: there is no column `m` [1: join] (did you mean `x`?)
    t.rename(#{ x: "y" })
        Error: there is no column `x` [1: rename] (did you mean `m`?)
    t.rename(#{ m: "n" })
        Error: two columns would be called `n` [1: rename] (rename one of them)
    t.with_column("x", [1])
        Error: column `x` has 1 values, but the table has 2 rows [1: with_column]
    t.with_column("x", 1)
        Error: the new column must be a list of cells or a function of the row, not the number 1 [1: with_column]
    t.drop_columns("x")
        Error: there is no column `x` [1: drop_columns] (did you mean `m`?)
    t.group("m", #{ n: 5 })
        Error: what is asked of `n` must be a text or a list of them, not the number 5 [1: group]
    t + 1
        TypeError: `+` does not work on Table and int [1: +] (both sides must be of kinds that the operator knows; texts and numbers are converted with `to_int`, `to_float`, `to_string`)
    t.nothing
        Error: there is no column `nothing` [1: .] (the columns are `m`, `n`)
    accuracy(t)
        Error: there is no column `found` [1: accuracy] (the columns are `m`, `n`)
    "#);
}

#[test]
fn tables_come_back_as_they_were_saved() {
    let mut rig = rig();
    rig.run("let t = table(#{ text: [\"a,\\\"b\\\"\\nc\", \"é日本🦀\", \"\"], n: [1, -2, 3], real: [0.1, 1e300, -0.5], flag: [true, false, true] });").unwrap();
    for ending in ["csv", "json", "jsonl", "parquet"] {
        let cell = format!(
            "save(t, \"in/t.{ending}\"); let back = load(\"in/t.{ending}\"); back.filter(|row| row.n != 3).to_json() == t.filter(|row| row.n != 3).to_json()"
        );
        assert_eq!(rig.say(&cell), "true", "{ending}");
    }
    assert_eq!(rig.say("save(t, \"t.txt\"); load(\"t.txt\").contains(\"日本\")"), "true");
    assert_eq!(
        rig.say("save(#{ a: [1, 2.5, ()], \"é\": \"x\" }, \"m.json\"); load(\"m.json\")"),
        "#{a: [1, 2.5, ()], \"é\": \"x\"}"
    );
    assert_eq!(rig.say("save(\"wörter\", \"w.md\"); load(\"w.md\")"), "wörter");
}

#[test]
fn pictures_and_arrays_are_what_their_ending_says() {
    let mut rig = rig();
    rig
        .run("let p = needle(200, 0.5); let t = trace(p, \"long_heads:chunk_len=16,attention_len=64\"); let r = run(p, full());")
        .unwrap();
    for (value, endings) in [
        ("chunks(t)", &["png", "svg", "npz", "html"][..]),
        ("chunks(t, 1)", &["png", "svg", "npz"]),
        ("attention(t, 1, 2)", &["png", "svg", "npz", "html"]),
        ("interactive(layers(t))", &["png", "npz", "html"]),
        ("positions(full(), 64)", &["png", "svg", "npz"]),
        ("losses([r], 4)", &["png", "svg", "npz", "html"]),
        ("t", &["png", "svg"]),
        ("retrieval_heads(t)", &["png", "svg"]),
        ("passkey(#{ lengths: [200], depths: [0.5] })", &["png", "svg"]),
        ("perplexity(#{ lengths: [16, 32] })", &["png", "svg"]),
        ("compare(r, r)", &["png", "svg"]),
        ("plot(table(#{ x: [1, 2], y: [3, ()] }), #{ x: \"x\", y: \"y\" })", &["png", "svg"]),
        (
            "heatmap(table(#{ x: [1, 2], y: [3, 4], v: [0.5, ()] }), #{ x: \"x\", y: \"y\", value: \"v\" })",
            &["png", "svg"],
        ),
    ] {
        for ending in endings {
            rig.run(&format!("save({value}, \"a.{ending}\");")).unwrap_or_else(|error| panic!("{value}: {error}"));
            let bytes = std::fs::read(rig.folder.path().join(format!("a.{ending}"))).unwrap();
            let magic: &[u8] = match *ending {
                "png" => b"\x89PNG\r\n",
                "svg" => b"<svg",
                "html" => b"<!doctype html>",
                _ => b"PK\x03\x04",
            };
            assert!(bytes.starts_with(magic), "{value} as {ending}: {:?}", &bytes[..8]);
        }
    }
}

#[test]
fn columns_without_cells_are_columns() {
    let mut rig = rig();
    insta::assert_snapshot!(transcript(&mut rig, &[
        "table(#{ a: [], b: [] })",
        "table(#{ a: [], b: [1, 2] })",
        "table(#{ a: [1, 2], b: [1], c: [1, 2] })",
    ]), @"
    > table(#{ a: [], b: [] })
    a  b
    (no rows)
    > table(#{ a: [], b: [1, 2] })
    Error: the columns are not equally long: `a` has 0, `b` has 2
      |
    1 | table(#{ a: [], b: [1, 2] })
      | ^^^^^
    help: give every column a cell per row
    > table(#{ a: [1, 2], b: [1], c: [1, 2] })
    Error: the columns are not equally long: `a` has 2, `b` has 1, `c` has 2
      |
    1 | table(#{ a: [1, 2], b: [1], c: [1, 2] })
      | ^^^^^
    help: give every column a cell per row
    ");
}

#[test]
fn tables_together_keep_what_they_share() {
    let mut rig = rig();
    rig.run("let grid = |length| passkey(#{ lengths: [length], depths: [0.5], methods: [full(), streaming()] }); let t = grid.call(200);").unwrap();
    assert_eq!(rig.say("t.records.len()"), "2");
    assert_eq!(rig.say("let both = t + t; both.records == t.records && both.protocol == t.protocol"), "true");
    assert_eq!(rig.say("(t + table(#{ a: [1] })).protocol"), "");
}

#[test]
fn a_band_has_two_sides() {
    let mut rig = rig();
    rig.run("let t = table(#{ x: [1, 2], y: [3, 4], l: [2, 3], h: [4, 5] });").unwrap();
    let told = ["low: \"l\"", "high: \"h\""]
        .map(|side| error(&mut rig, &format!("plot(t, #{{ x: \"x\", y: \"y\", {side} }})")))
        .join("\n");
    insta::assert_snapshot!(told, @"
    Error: a band needs `low` and `high`, and there is only `low` [1: plot] (name a column as `high` too, or leave out `low`)
    Error: a band needs `low` and `high`, and there is only `high` [1: plot] (name a column as `low` too, or leave out `high`)
    ");
    rig.run("plot(t, #{ x: \"x\", y: \"y\", low: \"l\", high: \"h\" })").unwrap();
}

#[test]
fn ids_that_are_too_long_for_numbers_stay_apart() {
    let mut rig = rig();
    let root = rig.folder.path().to_owned();
    let (one, two) = ("12345678901234567891", "12345678901234567892");
    std::fs::write(root.join("t.csv"), format!("id\n{one}\n{two}\n")).unwrap();
    std::fs::write(root.join("t.jsonl"), format!("{{\"id\": {one}}}\n{{\"id\": {two}}}\n")).unwrap();
    std::fs::write(root.join("t.json"), format!("{{\"ids\": [{one}, {two}]}}")).unwrap();
    for cell in ["load(\"t.csv\").column(\"id\")", "load(\"t.jsonl\").column(\"id\")", "load(\"t.json\").ids"] {
        assert_eq!(rig.say(cell), format!("[\"{one}\", \"{two}\"]"), "{cell}");
    }
}

#[test]
fn a_mean_is_of_the_cells_that_are_there() {
    let mut rig = rig();
    rig.say("let t = table(#{ a: [1, 2, (), 4], b: [\"x\", \"x\", \"y\", \"y\"] });");
    let mean = rig.say("mean_of(t, \"a\")");
    assert!(mean.starts_with("2.33333"), "{mean}");
    assert_eq!(rig.say("t.mean(\"b\").column(\"a\")"), "[1.5, 4.0]");
}

#[test]
fn a_table_in_another_encoding_says_how_to_convert_it() {
    let mut rig = rig();
    std::fs::write(rig.folder.path().join("latin.csv"), b"name\ncaf\xe9\n").unwrap();
    let told = error(&mut rig, "load(\"latin.csv\")");
    assert!(told.contains("byte 0xe9 in line 2, column 4") && told.contains("iconv -f ISO-8859-1"), "{told}");
}

#[test]
fn a_cell_of_a_table_holds_all_of_a_list() {
    let mut rig = rig();
    rig.say("let s = \"\"; s.pad(20_000, \"x\"); let n = []; n.pad(500, 7);");
    rig.say("save(table([#{ a: [s], n: n }]), \"t.json\")");
    let text = std::fs::read_to_string(rig.folder.path().join("t.json")).unwrap();
    assert_eq!((text.matches('x').count(), text.matches('7').count(), text.contains('…')), (20_000, 500, false));
}
