use super::*;
use crate::canvas::Canvas;
use crate::scene::{Point, Shape};

fn series(name: &str, points: &[(f64, f64)]) -> LineSeries {
    LineSeries { name: name.to_owned(), points: points.iter().map(|(x, y)| LinePoint::new(*x, *y)).collect() }
}

fn plot(points: &[(f64, f64)]) -> LinePlot {
    LinePlot {
        title: "Loss by length".to_owned(),
        x: Axis::new("length (tokens)"),
        y: Axis::new("loss (nats)"),
        series: vec![series("full", points)],
        ..LinePlot::default()
    }
}

fn scene(plot: &LinePlot) -> Scene {
    plot.scene(plot.size()).unwrap()
}

fn svg(plot: &LinePlot) -> String {
    Canvas::default().to_svg_string(plot).unwrap()
}

/// Lines inside the data area as thick as those of the series.
fn drawn(plot: &LinePlot) -> Vec<Vec<Point>> {
    let scene = scene(plot);
    let area = scene.panels[0].area;
    let lines = scene.shapes.into_iter().filter_map(|shape| match shape {
        Shape::Line { points, width, .. } if (width - 2.0).abs() < 1e-9 && points[0].1 < area.y1 => Some(points),
        _ => None,
    });
    lines.collect()
}

#[test]
fn a_missing_value_leaves_a_gap() {
    let lines = drawn(&plot(&[(4.0, 1.0), (1.0, 1.0), (2.0, 2.0), (3.0, f64::NAN), (5.0, 3.0)]));
    assert_eq!(lines.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
    assert!(lines[0][0].0 < lines[0][1].0 && lines[0][0].1 > lines[0][1].1, "{lines:?}");
}

#[test]
fn a_log_axis_keeps_ratios_equal_and_says_what_it_leaves_out() {
    let mut plot = plot(&[(1024.0, 1.0), (2048.0, 10.0), (4096.0, 100.0), (0.0, 5.0), (512.0, -1.0)]);
    plot.x.scale = Scale::Log2;
    plot.y.scale = Scale::Log10;
    let line = drawn(&plot).into_iter().max_by_key(Vec::len).unwrap();
    let (first, second) =
        ((line[1].0 - line[0].0, line[0].1 - line[1].1), (line[2].0 - line[1].0, line[1].1 - line[2].1));
    assert!((first.0 - second.0).abs() < 1e-6 && (first.1 - second.1).abs() < 1e-6, "{line:?}");
    let svg = svg(&plot);
    for text in
        [">1024<", ">4096<", ">100<", "length (tokens) (log₂ scale)", "loss (nats) (log scale)", "2 points not shown"]
    {
        assert!(svg.contains(text), "{text}");
    }
}

#[test]
fn names_stand_where_numbers_would() {
    let categories = ["full", "streaming", "self_extend:group_size=4"].map(str::to_owned).to_vec();
    for kind in [Kind::Line, Kind::Scatter, Kind::Bar] {
        let plot = LinePlot { kind, categories: categories.clone(), ..plot(&[(0.0, 1.0), (1.0, 4.0), (2.0, -2.0)]) };
        assert!(svg(&plot).contains(">streaming<"), "{kind:?}");
    }
    let wrong = LinePlot { categories, ..plot(&[(0.0, 1.0), (3.0, 1.0)]) };
    assert!(matches!(wrong.scene((1000, 650)), Err(PlotError::Shape { expected: 3, found: 3, .. })));
}

#[test]
fn no_reference_runs_through_the_value_of_a_bar() {
    let mut plot = LinePlot { kind: Kind::Bar, ..plot(&[(0.0, 2.0), (1.0, 4.25), (2.0, 1.0)]) };
    plot.references = vec![Reference { is_vertical: true, at: 1.0, label: "needle".to_owned() }];
    let shapes = scene(&plot).shapes;
    let value = shapes.iter().position(|shape| matches!(shape, Shape::Text(text) if text.text == "4.25")).unwrap();
    let Shape::Text(text) = &shapes[value] else { unreachable!() };
    let covers = |shape: &Shape| match shape {
        Shape::Rect { area, fill } => {
            *fill == color::WHITE
                && area.x0 < text.at.0
                && text.at.0 < area.x1
                && area.y0 < text.at.1
                && text.at.1 < area.y1
        }
        _ => false,
    };
    assert!(covers(&shapes[value - 1]), "{:?}", shapes[value - 1]);
    let later = &shapes[value..];
    assert!(!later.iter().any(|shape| matches!(shape, Shape::Line { color, .. } if *color == color::ALARM)));
}

#[test]
fn bars_stand_on_nothing_and_reach_their_value() {
    let plot = LinePlot { kind: Kind::Bar, ..plot(&[(128.0, 2.0), (4096.0, 4.0), (512.0, -1.0)]) };
    let bars: Vec<_> = (scene(&plot).shapes.into_iter())
        .filter_map(|shape| match shape {
            Shape::Rect { area, fill } if fill == color::distinct(0) && area.width() > 20.0 => Some(area),
            _ => None,
        })
        .collect();
    assert_eq!(bars.len(), 3);
    assert!((bars[1].height() - 2.0 * bars[0].height()).abs() < 1e-6, "{bars:?}");
    assert!((bars[0].y1 - bars[2].y0).abs() < 1e-6 && bars[0].x1 < bars[2].x0 && bars[2].x1 < bars[1].x0, "{bars:?}");
    assert!(svg(&plot).contains(">4096<"));
}

#[test]
fn bands_references_and_many_series_are_told_in_words() {
    let mut plot = plot(&[(1.0, 2.0), (2.0, 3.0)]);
    plot.series = (0..10).map(|k| series(&format!("run {k}"), &[(1.0, f64::from(k)), (2.0, 3.0)])).collect();
    plot.series[0].points[0].band = Some((1.0, 2.5));
    plot.references = vec![
        Reference { is_vertical: true, at: 1.5, label: "trained context 1.5".to_owned() },
        Reference { is_vertical: false, at: 20.0, label: "chance".to_owned() },
        Reference { is_vertical: false, at: f64::NAN, label: "nowhere".to_owned() },
    ];
    let text = svg(&plot);
    for word in ["run 9", "trained context 1.5", "chance", "shaded: from low to high"] {
        assert!(text.contains(word), "{word}");
    }
    assert!(!text.contains("nowhere"));
    // the ninth series has the color of the first, but dashes
    let of_color = |scene: &Scene| {
        let line = |shape: &&Shape| matches!(shape, Shape::Line { color, width, .. } if *color == color::distinct(0) && (*width - 2.0).abs() < 1e-9);
        scene.shapes.iter().filter(line).count()
    };
    assert!(of_color(&scene(&plot)) > 10);
    plot.series.truncate(8);
    assert_eq!(of_color(&scene(&plot)), 2, "the line and its sample");
}

#[test]
fn nothing_to_draw_is_an_error() {
    let cases: [&[(f64, f64)]; 4] = [&[], &[(f64::NAN, 1.0)], &[(1.0, f64::NAN)], &[(f64::INFINITY, 1.0)]];
    for points in cases {
        for kind in [Kind::Line, Kind::Scatter, Kind::Bar] {
            let error = LinePlot { kind, ..plot(points) }.scene((1000, 650)).unwrap_err();
            assert!(matches!(error, PlotError::NoData { .. }), "{error}");
        }
    }
    let mut log = plot(&[(1.0, -1.0)]);
    log.y.scale = Scale::Log10;
    assert!(matches!(log.scene((1000, 650)), Err(PlotError::NoData { .. })));
    assert!(matches!(LinePlot::default().scene((1000, 650)), Err(PlotError::NoData { .. })));
}

/// Numbers that look random, the awkward ones among them.
fn awkward(seed: &mut u64) -> f64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let bits = *seed >> 33;
    let small = (bits >> 8) as f64 / 1e4;
    match bits % 16 {
        0 => f64::NAN,
        1 => f64::INFINITY,
        2 => f64::NEG_INFINITY,
        3 => 0.0,
        4 => f64::MAX,
        5 => -1e300,
        6 => 1e-320,
        7 => 1.0,
        8 => 1.0 + f64::EPSILON,
        9 => -small,
        10 => 1e9 + small / 1e6,
        _ => small,
    }
}

#[test]
fn any_numbers_have_a_picture_or_an_error() {
    let mut seed = 1;
    let mut n_drawn = 0;
    for case in 0..3000usize {
        let kind = [Kind::Line, Kind::Scatter, Kind::Bar][case % 3];
        let scale = |at: usize| [Scale::Linear, Scale::Log2, Scale::Log10][at % 3];
        let mut plot = LinePlot { kind, ..LinePlot::default() };
        (plot.x.scale, plot.y.scale) = (scale(case / 3), scale(case / 9));
        for idx in 0..case % 4 {
            let point = |seed: &mut u64| {
                let band = (case % 5 == 0).then(|| (awkward(seed), awkward(seed)));
                LinePoint { x: awkward(seed), y: awkward(seed), band }
            };
            let points = (0..case % 7).map(|_| point(&mut seed)).collect();
            plot.series.push(LineSeries { name: format!("series {idx}"), points });
        }
        let line = |is_vertical, seed: &mut u64| Reference { is_vertical, at: awkward(seed), label: "here".to_owned() };
        plot.references = vec![line(true, &mut seed), line(false, &mut seed)];
        let size = if case % 2 == 0 { (320, 240) } else { plot.size() };
        match plot.scene(size) {
            Ok(scene) => {
                let area = scene.panels[0].area;
                assert!(area.width() > 0.0 && area.height() > 0.0 && area.x1 <= f64::from(size.0), "{plot:?} {area:?}");
                let is_placed = |(x, y): &Point| x.is_finite() && y.is_finite();
                let lines = scene.shapes.iter().filter_map(|shape| match shape {
                    Shape::Line { points, .. } | Shape::Polygon { points, .. } => Some(points),
                    _ => None,
                });
                assert!(lines.flatten().all(is_placed), "{plot:?}");
                if n_drawn % 10 == 0 {
                    Canvas { size: Some(size), scale: 0.5 }.to_rgb(&plot).unwrap();
                }
                n_drawn += 1;
            }
            Err(error) => assert!(matches!(error, PlotError::NoData { .. }), "{error}"),
        }
    }
    assert!(n_drawn > 1000, "{n_drawn}");
}

#[test]
fn very_long_series_stay_small() {
    let points: Vec<_> = (0..200_000).map(|k| (f64::from(k), f64::from(k % 977))).collect();
    for kind in [Kind::Line, Kind::Scatter] {
        let long = LinePlot { kind, ..plot(&points) };
        let n: usize = (scene(&long).shapes.iter())
            .map(|shape| if let Shape::Line { points, .. } = shape { points.len() } else { 1 })
            .sum();
        assert!(n < 200_000, "{kind:?}: {n}");
    }
    assert!(drawn(&plot(&points))[0].len() < 5000);
}
