use super::*;
use crate::canvas::Canvas;
use crate::scene::Shape;

fn map(values: Vec<Vec<f64>>) -> HeatMap {
    let labels = |n: usize, prefix: &str| (0..n).map(|k| format!("{prefix}{k}")).collect();
    HeatMap {
        title: "Chunk size against window".to_owned(),
        x_name: "window".to_owned(),
        y_name: "chunk size".to_owned(),
        x_labels: labels(values.first().map_or(0, Vec::len), "x"),
        y_labels: labels(values.len(), "y"),
        values,
        value_name: "loss (nats)".to_owned(),
        ..HeatMap::default()
    }
}

fn svg(map: &HeatMap) -> String {
    Canvas::default().to_svg_string(map).unwrap()
}

/// The color near a corner of a cell, away from its text.
fn corner(map: &HeatMap, row: usize, column: usize) -> Rgb {
    let cell = map.scene(map.size()).unwrap().panels[0].cell(row, column);
    Canvas::default().to_rgb(map).unwrap().at(cell.x0 as u32 + 5, cell.y1 as u32 - 5)
}

#[test]
fn cells_have_the_color_of_their_value() {
    let values = vec![vec![1.0, 2.0], vec![3.0, -3.0]];
    let plain = map(values.clone());
    let palette = Palette::default();
    assert_eq!([corner(&plain, 1, 0), corner(&plain, 1, 1)], [palette.at(1.0), palette.at(0.0)]);
    let signed = HeatMap { scale: HeatScale::Diverging, ..map(values) };
    let expected = [1.0, -1.0, 1.0 / 3.0].map(color::diverging);
    assert_eq!([corner(&signed, 1, 0), corner(&signed, 1, 1), corner(&signed, 0, 0)], expected);
    let fixed = HeatMap { range: Some((2.0, 0.0)), ..plain };
    assert_eq!([corner(&fixed, 0, 0), corner(&fixed, 1, 0)], [palette.at(0.5), palette.at(1.0)]);
    assert!(svg(&fixed).contains("beyond the color bar"));
}

#[test]
fn cells_say_their_value_where_it_fits_and_empty_ones_are_hatched() {
    let words = |values: Vec<Vec<f64>>| {
        let map = map(values);
        let texts = map.scene(map.size()).unwrap().shapes.into_iter().filter_map(|shape| match shape {
            Shape::Text(text) if [13.0, 12.0].contains(&text.size) && !text.turned => Some(text.text),
            _ => None,
        });
        texts.filter(|text| !text.contains("value")).take(3).collect::<Vec<_>>()
    };
    assert_eq!(words(vec![vec![1.0, 0.25, -0.001]]), ["1.00", "0.25", "0.00"]);
    assert_eq!(words(vec![vec![12.0, 3.0, 100.0]]), ["12", "3", "100"]);
    assert_eq!(words(vec![vec![f64::NEG_INFINITY, 3.0, 1e9]]), ["-∞", "3", "1×10⁹"]);
    let empty = map(vec![vec![1.0, f64::NAN]]);
    assert!(svg(&empty).contains("no value") && !svg(&map(vec![vec![1.0, 2.0]])).contains("no value"));
    let crowded = map(vec![vec![0.125; 400]; 3]);
    assert!(svg(&crowded).matches(">0.125<").count() <= 1, "the color bar alone may say it");
}

#[test]
fn contradictions_and_nothing_are_errors() {
    let scene = |map: &HeatMap| map.scene(map.size()).unwrap_err();
    assert!(matches!(scene(&map(vec![])), PlotError::NoData { .. }));
    assert!(matches!(scene(&map(vec![vec![], vec![]])), PlotError::NoData { .. }));
    assert!(matches!(scene(&map(vec![vec![f64::NAN; 3]; 2])), PlotError::NoData { .. }));
    let ragged = map(vec![vec![1.0, 2.0], vec![3.0]]);
    let error = scene(&ragged).to_string();
    assert_eq!(error, "values in a row of a heat map (one per x label): expected 2, got 1");
    let short = HeatMap { y_labels: vec![], ..map(vec![vec![1.0]]) };
    assert!(matches!(scene(&short), PlotError::Shape { expected: 0, found: 1, .. }));
}

#[test]
fn any_values_have_a_picture() {
    let corners = [0.0, -0.0, 5.0, 1e-320, -1e308, f64::MAX, f64::INFINITY, f64::NEG_INFINITY, 1.0, 1.0 + f64::EPSILON];
    for first in corners {
        for second in corners.into_iter().chain([f64::NAN]) {
            for scale in [HeatScale::default(), HeatScale::Diverging] {
                for range in [None, Some((first, second)), Some((1.0, 1.0))] {
                    let map = HeatMap { scale, range, ..map(vec![vec![first], vec![second]]) };
                    let scene = map.scene((320, 240)).unwrap();
                    assert!(scene.panels[0].area.width() > 0.0);
                }
            }
        }
    }
    let long = HeatMap { x_labels: vec!["a long name ".repeat(20)], ..map(vec![vec![1.0]]) };
    for size in [(320, 240), (2000, 300)] {
        Canvas { size: Some(size), scale: 1.0 }.to_rgb(&long).unwrap();
    }
}
