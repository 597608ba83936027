//! Every format gives back what it was given, and no bytes end the program.

use proptest::prelude::*;

use super::*;

/// Cells with their kinds, which equality alone does not tell apart.
fn exactly(table: &Table) -> String {
    format!("{table:?}")
}

fn column(name: &str, cells: impl IntoIterator<Item = Datum>) -> Table {
    Table::empty().with_column(name, cells.into_iter().collect()).unwrap()
}

/// One column of every kind, with everything that a file could get wrong.
fn strange() -> Table {
    let texts = ["plain", "comma, \"quote\"", "two\nlines\r\n", "naïve 長い 🦀", " spaces "].map(Datum::from);
    let reals = [0.1, f64::NAN, f64::NEG_INFINITY, -0.0, 1e300].map(Datum::from);
    let wholes = [Datum::Empty, 0.into(), i64::MIN.into(), i64::MAX.into(), Datum::Empty];
    let flags = [true.into(), false.into(), Datum::Empty, true.into(), false.into()];
    let table = column("text", texts).with_column("real, \"number\"", reals.into()).unwrap();
    let table = table.with_column("whole", wholes.into()).unwrap().with_column("ok?", flags.into()).unwrap();
    table.with_column("nothing", vec![Datum::Empty; 5]).unwrap()
}

/// A name, a way to write and a way to read.
type Format = (&'static str, fn(&Table) -> Vec<u8>, fn(&[u8]) -> Result<Table, TableError>);

const FORMATS: [Format; 4] = [
    ("CSV", |table| table.to_csv().unwrap(), Table::from_csv),
    ("JSON", Table::to_json, Table::from_json),
    ("JSON lines", Table::to_json_lines, Table::from_json_lines),
    ("Parquet", |table| table.to_parquet().unwrap(), Table::from_parquet),
];

#[test]
fn every_format_gives_back_strange_cells() {
    for (name, write, read) in FORMATS {
        assert_eq!(exactly(&read(&write(&strange())).unwrap()), exactly(&strange()), "{name}");
    }
}

#[test]
fn small_tables_come_back_too() {
    let no_rows = strange().head(0);
    for (name, write, read) in FORMATS {
        assert_eq!(read(&write(&Table::empty())).unwrap(), Table::empty(), "{name}");
        // JSON has no place for the names
        let expected = if name.starts_with("JSON") { Table::empty() } else { no_rows.clone() };
        assert_eq!(read(&write(&no_rows)).unwrap(), expected, "{name}");
        let one = column("", [Datum::Empty, 1.into(), Datum::Empty]);
        assert_eq!(read(&write(&one)).unwrap(), one, "{name}");
    }
}

#[test]
fn csv_has_no_types() {
    let table = column("x", ["12".into(), "".into(), "NaN".into(), 2.0.into(), "007".into()]);
    assert_eq!(String::from_utf8(table.to_csv().unwrap()).unwrap(), "x\n12\n\"\"\nNaN\n2.0\n007\n");
    let read = Table::from_csv(&table.to_csv().unwrap()).unwrap();
    let kinds = format!("{:?}", read.column("x").unwrap());
    assert_eq!(kinds, "[Int(12), Empty, Real(NaN), Real(2.0), Text(\"007\")]");
    assert_eq!(
        exactly(&Table::from_parquet(&column("x", ["12".into()]).to_parquet().unwrap()).unwrap()),
        exactly(&column("x", ["12".into()]))
    );
}

#[test]
fn json_of_others_becomes_a_table() {
    let table =
        Table::from_json(br#"[{"a": 1, "b": [1, {"c": null}]}, {"b": null, "d": 18446744073709551615}]"#).unwrap();
    insta::assert_snapshot!(table.to_text(9, 80), @r#"
    a  b               d
    1  [1,{"c":null}]
                       18446744073709551615
    "#);
    assert_eq!(Table::from_json_lines(b"{\"a\": 1}\r\n\n{\"a\": \"x\"}").unwrap().n_rows(), 2);
}

#[test]
fn mixed_columns_find_a_common_type_in_parquet() {
    let read = |cells: Vec<Datum>| exactly(&Table::from_parquet(&column("x", cells).to_parquet().unwrap()).unwrap());
    assert_eq!(read(vec![1.into(), 2.5.into()]), exactly(&column("x", [1.0.into(), 2.5.into()])));
    assert_eq!(
        read(vec![1.into(), true.into(), Datum::Empty]),
        exactly(&column("x", ["1".into(), "true".into(), Datum::Empty]))
    );
}

#[test]
fn errors_of_files_say_where() {
    let problem = |read: Result<Table, TableError>| read.unwrap_err().to_string();
    let csv = problem(Table::from_csv(b"a,b\n1,2\n3\n"));
    assert!(csv.starts_with("this is no table in CSV: ") && csv.contains("line: 3"), "{csv}");
    let json = problem(Table::from_json(b"[{\"a\": 1},\n 2]"));
    assert!(json.contains("line 2 column 2"), "{json}");
    let lines = problem(Table::from_json_lines(b"{\"a\": 1}\n{\"a\": }\n"));
    assert!(lines.starts_with("this is no table in JSON lines: line 2: "), "{lines}");
    assert!(problem(Table::from_parquet(b"PAR1")).starts_with("this is no table in Parquet: "));
    assert_eq!(Table::from_csv(b"a,a\n").unwrap_err(), TableError::DuplicateColumn { column: "a".to_owned() });
    assert!(problem(Table::from_csv(b"a\n\xFF\n")).contains("UTF-8"));
}

fn any_cell() -> impl Strategy<Value = Datum> {
    let text = ".{0,12}".prop_filter("words of their own", |text| !["NaN", "inf", "-inf"].contains(&text.as_str()));
    prop_oneof![
        Just(Datum::Empty),
        any::<bool>().prop_map(Datum::Bool),
        any::<i64>().prop_map(Datum::Int),
        any::<f64>().prop_map(Datum::Real),
        text.prop_map(Datum::Text),
    ]
}

/// The same cell, as far as a JSON parser without slow exact floats tells: to the last bit but one.
fn alike(a: &Datum, b: &Datum) -> bool {
    match (a, b) {
        (Datum::Real(a), Datum::Real(b)) if a.is_finite() => (a - b).abs() <= a.abs() * 4.0 * f64::EPSILON,
        _ => format!("{a:?}") == format!("{b:?}"),
    }
}

proptest! {
    #[test]
    fn json_gives_back_any_cells(cells in prop::collection::vec(any_cell(), 1..20)) {
        let table = column("x", cells);
        for (name, write, read) in &FORMATS[1..3] {
            let back = read(&write(&table)).unwrap();
            prop_assert!(back.n_rows() == table.n_rows() && table.rows().iter().zip(back.rows()).all(|(a, b)| alike(&a[0], &b[0])), "{}: {:?}", name, back);
        }
    }

    #[test]
    fn parquet_gives_back_columns_of_one_kind(reals in prop::collection::vec(any::<Option<f64>>(), 1..40), seed in any::<i64>()) {
        let wholes = (0..reals.len() as i64).map(|k| Datum::Int(seed.wrapping_mul(k)));
        let texts = reals.iter().map(|real| Datum::Text(format!("{real:?}")));
        let table = column("whole", wholes).with_column("text", texts.collect()).unwrap();
        let table = table.with_column("real", reals.iter().map(|real| (*real).into()).collect()).unwrap();
        let back = Table::from_parquet(&table.to_parquet().unwrap()).unwrap();
        prop_assert_eq!(&back, &table);
    }

    #[test]
    fn csv_gives_back_any_text_with_letters(texts in prop::collection::vec("\\PC{0,9}[g-m\"\n,]\\PC{0,9}", 1..20)) {
        let table = column("x", texts.into_iter().map(Datum::Text));
        prop_assert_eq!(Table::from_csv(&table.to_csv().unwrap()).unwrap(), table);
    }

    #[test]
    fn no_bytes_end_the_program(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for (_, _, read) in FORMATS {
            if let Ok(table) = read(&bytes) {
                table.to_text(5, 60);
            }
        }
        let framed = [b"PAR1", &bytes[..], &(bytes.len() as u32).to_le_bytes(), b"PAR1"].concat();
        let _ = Table::from_parquet(&framed);
    }

    #[test]
    fn damaged_files_are_refused_or_read(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        for (_, write, read) in FORMATS {
            let mut bytes = write(&strange());
            let place = at.index(bytes.len());
            bytes[place] = byte;
            let _ = read(&bytes);
            bytes.truncate(cut.index(bytes.len()));
            let _ = read(&bytes);
        }
    }
}
