//! What the operations of a table do, on a few results of an experiment.

mod files;

use super::*;

fn row(cells: [Datum; 4]) -> Vec<Datum> {
    cells.into()
}

/// Two methods at two lengths, one of them measured twice, one not yet.
fn results() -> Table {
    let columns = ["method", "length", "loss", "found"].map(str::to_owned).to_vec();
    let rows = vec![
        row(["full".into(), 1024.into(), 2.5.into(), true.into()]),
        row(["full".into(), 2048.into(), 9.0.into(), false.into()]),
        row(["streaming".into(), 1024.into(), 2.75.into(), true.into()]),
        row(["streaming".into(), 2048.into(), Datum::Empty, false.into()]),
        row(["streaming".into(), 1024.into(), 2.25.into(), false.into()]),
    ];
    Table::new(columns, rows).unwrap()
}

fn words(table: &Table, column: &str) -> Vec<String> {
    table.column(column).unwrap().iter().map(ToString::to_string).collect()
}

fn text(table: &Table) -> String {
    table.to_text(20, 100)
}

#[test]
fn a_table_is_checked_when_it_is_made() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let error = Table::new(names(&["a", "b", "a"]), vec![]).unwrap_err();
    assert_eq!(error, TableError::DuplicateColumn { column: "a".to_owned() });
    let error = Table::new(names(&["a"]), vec![vec![1.into()], vec![]]).unwrap_err();
    assert_eq!(error.to_string(), "row 1 has 0 cells, but there are 1 columns");
    assert_eq!(Table::new(vec![], vec![vec![]]).unwrap(), Table::empty());
}

#[test]
fn records_need_not_agree() {
    let records = [
        vec![("a", 1.into())],
        vec![("b", "x".into()), ("a", 2.into())],
        vec![],
        vec![("a", 3.into()), ("a", 4.into())],
    ];
    insta::assert_snapshot!(text(&Table::from_records(records)), @"
    a  b
    1
    2  x

    4
    ");
    assert_eq!(Table::from_records([Vec::<(String, Datum)>::new()]), Table::empty());
}

#[test]
fn a_misspelt_column_is_named_with_the_nearest() {
    let error = results().select(&["lenght"]).unwrap_err();
    assert_eq!(error.to_string(), "there is no column `lenght`");
    assert_eq!(error.help().unwrap(), "did you mean `length`?");
    let error = results().sort(&["perplexity"], false).unwrap_err();
    assert_eq!(error.help().unwrap(), "the columns are `method`, `length`, `loss`, `found`");
    assert_eq!(Table::empty().column("a").unwrap_err().help().unwrap(), "the table has no columns");
    assert_eq!(Aggregation::parse("averag").unwrap_err().to_string(), "there is no aggregation `averag`");
    assert_eq!(Aggregation::parse("meen").unwrap_err().help().unwrap(), "did you mean `mean`?");
    for aggregation in Aggregation::ALL {
        assert_eq!(Aggregation::parse(aggregation.name()), Ok(aggregation));
    }
}

#[test]
fn columns_are_chosen_dropped_and_renamed() {
    let table = results();
    assert_eq!(table.select(&["loss", "method"]).unwrap().columns(), ["loss", "method"]);
    assert_eq!(table.drop(&["loss", "method"]).unwrap().columns(), ["length", "found"]);
    assert_eq!(
        table.rename(&[("loss", "length"), ("length", "loss")]).unwrap().columns(),
        ["method", "loss", "length", "found"]
    );
    assert!(matches!(table.rename(&[("loss", "length")]), Err(TableError::DuplicateColumn { .. })));
    assert!(matches!(table.select(&["loss", "loss"]), Err(TableError::DuplicateColumn { .. })));
    assert_eq!(table.drop(table.columns()).unwrap(), Table::empty());
}

#[test]
fn rows_are_chosen_and_ordered() {
    let table = results();
    let losses = |table: Table| words(&table, "loss");
    assert_eq!(losses(table.sort(&["loss"], false).unwrap()), ["2.25", "2.5", "2.75", "9.0", ""]);
    assert_eq!(losses(table.sort(&["loss"], true).unwrap()), ["9.0", "2.75", "2.5", "2.25", ""]);
    assert_eq!(
        losses(table.sort(&["length"], false).unwrap()),
        ["2.5", "2.75", "2.25", "9.0", ""],
        "equal rows keep their order"
    );
    assert_eq!(losses(table.sort(&["length"], true).unwrap()), ["9.0", "", "2.5", "2.75", "2.25"]);
    assert_eq!(losses(table.sort(&["found", "loss"], false).unwrap()), ["2.25", "9.0", "", "2.5", "2.75"]);
    assert_eq!(losses(table.head(2)), ["2.5", "9.0"]);
    assert_eq!(losses(table.tail(1)), ["2.25"]);
    assert_eq!((table.head(9), table.tail(9)), (table.clone(), table.clone()));
    assert_eq!(losses(table.take_rows(&[4, 0, 0]).unwrap()), ["2.25", "2.5", "2.5"]);
    assert_eq!(table.take_rows(&[5]).unwrap_err().to_string(), "there is no row 5: the table has 5 rows");
    assert_eq!(losses(table.filter_rows(&[false, true, false, true, false]).unwrap()), ["9.0", ""]);
    let error = table.filter_rows(&[true]).unwrap_err();
    assert_eq!(error.to_string(), "the filter has 1 values, but the table has 5 rows");
    assert_eq!(losses(table.unique(&["method", "length"]).unwrap()), ["2.5", "9.0", "2.75", ""]);
    assert_eq!(table.concat(&table).unique(&[""; 0]).unwrap(), table);
}

#[test]
fn columns_are_added_and_replaced() {
    let table = results().select(&["length"]).unwrap().head(2);
    let added = table.with_column("chunks", vec![8.into(), 16.into()]).unwrap();
    assert_eq!(words(&added, "chunks"), ["8", "16"]);
    let replaced = added.with_column("length", vec!["short".into(), "long".into()]).unwrap();
    assert_eq!(
        (replaced.columns(), words(&replaced, "length")),
        (added.columns(), vec!["short".to_owned(), "long".to_owned()])
    );
    let error = table.with_column("chunks", vec![]).unwrap_err();
    assert_eq!(error.to_string(), "column `chunks` has 0 values, but the table has 2 rows");
    assert_eq!(words(&Table::empty().with_column("a", vec![1.into()]).unwrap(), "a"), ["1"]);
}

#[test]
fn tables_stand_below_and_beside_each_other() {
    let table = results();
    let prices = Table::from_records([
        [("method", Datum::from("full")), ("found", 3.into())],
        [("method", Datum::from("streaming")), ("found", 1.into())],
        [("method", Datum::from("long_heads")), ("found", 2.into())],
    ]);
    insta::assert_snapshot!(text(&table.head(1).concat(&prices)), @"
    method      length  loss  found
    full          1024   2.5  true
    full                          3
    streaming                     1
    long_heads                    2
    ");
    let without_rows = Table::new(vec!["price".to_owned(), "loss".to_owned()], vec![]).unwrap();
    let parts = [&without_rows, &prices, &table, &Table::empty()];
    let together = Table::concat_all(parts);
    assert_eq!(together, parts.iter().fold(Table::empty(), |above, below| above.concat(below)));
    assert_eq!(together.columns(), ["price", "loss", "method", "found", "length"]);
    assert_eq!(together.n_rows(), prices.n_rows() + table.n_rows());
    insta::assert_snapshot!(text(&table.join(&prices, &["method"]).unwrap()), @"
    method     length  loss  found  found_right
    full         1024  2.50  true             3
    full         2048  9.00  false            3
    streaming    1024  2.75  true             1
    streaming    2048        false            1
    streaming    1024  2.25  false            1
    ");
    let nothing = Table::from_records([[("loss", Datum::Empty)]]);
    assert!(table.join(&nothing, &["loss"]).unwrap().is_empty(), "empty cells agree with nothing");
    let error = table.join(&prices, &["loss"]).unwrap_err();
    assert_eq!(error.help().unwrap(), "the columns are `method`, `found`");
    let long = Table::new(vec!["k".to_owned()], vec![vec![0.into()]; 20_000]).unwrap();
    assert!(matches!(long.join(&long, &["k"]), Err(TableError::TooLarge { n_rows: 400_000_000, .. })));
}

#[test]
fn groups_have_every_aggregation() {
    let summaries = Aggregation::ALL.map(|aggregation| Summary::new("loss", aggregation));
    insta::assert_snapshot!(text(&results().group(&["method"], &summaries).unwrap()), @"
    method     loss_count  loss_mean  loss_sum  loss_min  loss_max  loss_median  loss_std  loss_first
    full                2       5.75      11.5      2.50      9.00         5.75    4.5962        2.50
    streaming           2       2.50       5.0      2.25      2.75         2.50    0.3536        2.75
    … 1 column left out: loss_last
    ");
    insta::assert_snapshot!(text(&results().mean(&["method", "length"]).unwrap()), @"
    method     length  loss  found
    full         1024   2.5    1.0
    full         2048   9.0    0.0
    streaming    1024   2.5    0.5
    streaming    2048          0.0
    ");
    insta::assert_snapshot!(text(&results().count(&["method"]).unwrap()), @"
    method     n
    full       2
    streaming  3
    ");
    let error = results().group(&["length"], &[Summary::new("method", Aggregation::Mean)]).unwrap_err();
    assert_eq!(error.to_string(), "`full` in row 0 of column `method` is no number");
    let all = results().group(&[""; 0], &[Summary::new("method", Aggregation::Max).named("highest")]).unwrap();
    assert_eq!(words(&all, "highest"), ["streaming"]);
}

#[test]
fn what_is_not_a_number_stays_visible_in_summaries() {
    let column = |cells: Vec<Datum>| Table::empty().with_column("x", cells).unwrap();
    let summary = |cells: Vec<Datum>, aggregation| {
        let table = column(cells).group(&[""; 0], &[Summary::new("x", aggregation).named("y")]).unwrap();
        table.column("y").unwrap().remove(0)
    };
    for aggregation in
        [Aggregation::Mean, Aggregation::Sum, Aggregation::Min, Aggregation::Max, Aggregation::Median, Aggregation::Std]
    {
        let cell = summary(vec![1.0.into(), f64::NAN.into(), 3.0.into()], aggregation);
        assert_eq!(cell.to_string(), "NaN", "{aggregation:?}");
        assert_eq!(summary(vec![Datum::Empty], aggregation), Datum::Empty, "{aggregation:?}");
    }
    let sum = |cells: Vec<Datum>| format!("{:?}", summary(cells, Aggregation::Sum));
    assert_eq!(sum(vec![2.into(), true.into()]), "Int(3)");
    assert_eq!(sum(vec![2.into(), 0.5.into()]), "Real(2.5)");
    assert_eq!(sum(vec![i64::MAX.into(), 1.into()]), "Real(9.223372036854776e18)");
    assert_eq!(summary(vec![4.into(), 1.into(), 2.into(), 3.into()], Aggregation::Median), Datum::Real(2.5));
    assert_eq!(summary(vec![f64::INFINITY.into(), f64::INFINITY.into()], Aggregation::Median), f64::INFINITY.into());
}

#[test]
fn a_pivot_turns_rows_into_columns() {
    insta::assert_snapshot!(text(&results().pivot(&["method"], "length", "loss", Aggregation::Mean).unwrap()), @"
    method     1024  2048
    full        2.5   9.0
    streaming   2.5
    ");
    let clash = results().with_column("length", vec!["method".into(); 5]).unwrap();
    assert!(matches!(
        clash.pivot(&["method"], "length", "loss", Aggregation::Mean),
        Err(TableError::DuplicateColumn { .. })
    ));
}

#[test]
fn a_description_has_one_row_per_numeric_column() {
    insta::assert_snapshot!(text(&results().describe()), @"
    column  count      mean       std      min       25%       50%       75%     max
    length      5  1433.600  560.8679  1024.00  1024.000  1024.000  2048.000  2048.0
    loss        4     4.125    3.2564     2.25     2.438     2.625     4.312     9.0
    found       5     0.400    0.5477     0.00     0.000     0.000     1.000     1.0
    ");
    assert_eq!(Table::empty().describe().n_rows(), 0);
}

#[test]
fn numbers_stand_in_for_cells() {
    let table = results();
    assert_eq!(table.numbers("found").unwrap(), [1.0, 0.0, 1.0, 0.0, 0.0]);
    assert!(table.numbers("loss").unwrap()[3].is_nan());
    assert!(matches!(table.numbers("method"), Err(TableError::NotANumber { row: 0, .. })));
    assert_eq!(["method", "loss", "found"].map(|name| table.is_numeric(name).unwrap()), [false, true, true]);
}

#[test]
fn long_and_wide_tables_say_what_they_leave_out() {
    let rows =
        (0..100i64).map(|k| [("k", Datum::Int(k)), ("square", (k * k).into()), ("words", "many of them".into())]);
    let table = Table::from_records(rows);
    insta::assert_snapshot!(table.to_text(5, 14), @"
     k  square
     0       0
     1       1
     2       4
    … 95 rows lef…
    98    9604
    99    9801
    … 1 column le…
    ");
    assert!(table.to_text(100, 80).lines().count() == 101 && table.to_text(0, 80).contains("100 rows left out"));
    assert!(table.to_text(4, 3).lines().all(|line| line.chars().count() <= 3), "{}", table.to_text(4, 3));
    assert_eq!(text(&Table::empty()), "(no columns)");
    insta::assert_snapshot!(text(&table.head(0)), @"
    k  square  words
    (no rows)
    ");
}

#[test]
fn numbers_of_a_column_share_their_decimals() {
    let show =
        |cells: Vec<f64>| text(&Table::empty().with_column("x", cells.into_iter().map(Datum::Real).collect()).unwrap());
    insta::assert_snapshot!(show(vec![1.0, 123.456, -0.5, f64::NAN, f64::NEG_INFINITY, 0.0]), @"
        x
      1.0
    123.5
     -0.5
      NaN
     -inf
      0.0
    ");
    insta::assert_snapshot!(show(vec![0.123_456, 12.0, 1e-7]), @"
           x
      0.1235
     12.0000
    1.000e-7
    ");
    insta::assert_snapshot!(show(vec![1.5e-7, 0.0, 2e-5]), @"
           x
    1.500e-7
           0
    2.000e-5
    ");
    insta::assert_snapshot!(show(vec![1e300, 1.0]), @"
            x
    1.000e300
      1.000e0
    ");
}

#[test]
fn strange_texts_keep_their_line_and_their_columns() {
    let table = Table::from_records([
        [("名前", Datum::from("長い文脈")), ("n", 1.into())],
        [("名前", "x".repeat(90).into()), ("n", "none".into())],
        [("名前", "a\nb\u{1b}[31m<i>&".into()), ("n", 22.into())],
    ]);
    insta::assert_snapshot!(table.to_text(20, 60), @r#"
    名前                                                    n
    長い文脈                                                   1
    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…  none
    a\nb\u{1b}[31m<i>&                                        22
    "#);
    insta::assert_snapshot!(table.to_html(2), @r#"
    <table>
    <thead><tr><th style="text-align:left">名前</th><th style="text-align:left">n</th></tr></thead>
    <tbody>
    <tr><td style="text-align:left">長い文脈</td><td style="text-align:right">1</td></tr>
    <tr><td colspan="2">… 1 row left out</td></tr>
    <tr><td style="text-align:left">a<br>b�[31m&lt;i&gt;&amp;</td><td style="text-align:right">22</td></tr>
    </tbody>
    </table>
    "#);
    insta::assert_snapshot!(Table::empty().to_html(2), @"
    <table>
    <thead><tr></tr></thead>
    <tbody>
    </tbody>
    </table>
    ");
}
