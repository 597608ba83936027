//! What holds on any ground and at any width: legends with all their entries below the plot, and dark pages that stay readable.

use std::sync::Arc;

use longlens_plot::color::ColorScale;
use longlens_plot::plots::attention_map::{AttentionMap, Pooling};
use longlens_plot::plots::loss_curve::{LossCurve, LossSeries};
use longlens_plot::plots::perplexity::{Perplexity, PerplexityPoint, PerplexitySeries};
use longlens_plot::plots::speed::{Speed, SpeedPoint, SpeedSeries};
use longlens_plot::scene::{Scene, Shape, Text};
use longlens_plot::{Canvas, Figure, Ground, Heading};

const N: usize = 10;

/// A long name that no other one begins with.
fn name(at: usize) -> String {
    format!("{at}-long_heads:chunk_len={},attention_len=4096,begin_len=4096,variant=consistent,query_block=8", 16 << at)
}

/// A figure of each kind that has a line for each of ten methods.
fn many_lines() -> [Arc<dyn Figure>; 3] {
    let heading = Heading { title: "ten methods".into(), subtitle: "tiny · f32".into() };
    let value = |at: usize, n: usize| 5.0 + at as f64 + n as f64 / 1000.0;
    let lengths = [256, 512, 1024, 2048];
    let point = |at: usize| {
        let of = |n_tokens| PerplexityPoint { n_tokens, perplexity: value(at, n_tokens), n_scored: 5000 };
        PerplexitySeries { name: name(at), points: lengths.map(of).to_vec() }
    };
    let speed = |at: usize| {
        let of = |n_tokens| SpeedPoint { n_tokens, tokens_per_s: value(at, n_tokens) };
        SpeedSeries { name: name(at), is_decode: false, points: lengths.map(of).to_vec() }
    };
    let loss = |at: usize| LossSeries { name: name(at), nll: (0..99).map(|n| value(at, n) as f32).collect() };
    [
        Arc::new(Perplexity {
            heading: heading.clone(),
            trained_context: 512,
            series: (0..N).map(point).collect(),
            cap: None,
        }),
        Arc::new(Speed { heading: heading.clone(), series: (0..N).map(speed).collect() }),
        Arc::new(LossCurve { heading, trained_context: 64, series: (0..N).map(loss).collect(), smooth: 1 }),
    ]
}

fn texts(scene: &Scene) -> impl Iterator<Item = &Text> {
    scene.shapes.iter().filter_map(|shape| if let Shape::Text(text) = shape { Some(text) } else { None })
}

#[test]
fn legends_keep_every_entry_below_the_plot_at_any_width() {
    for figure in many_lines() {
        for width in (400..=1600).step_by(100) {
            for height in [480, figure.size().1] {
                let scene = figure.scene((width, height)).unwrap();
                let plot = scene.panels[0].area;
                assert!(plot.height() >= 60.0, "{width} x {height}: {} high", plot.height());
                let below: String =
                    texts(&scene).filter(|text| text.at.1 > plot.y1).map(|text| text.text.as_str()).collect();
                for at in 0..N {
                    assert!(below.contains(&name(at)), "{width} x {height} lost {at}: {below}");
                }
                let page = f64::from(height);
                assert!(texts(&scene).all(|text| (0.0..=page).contains(&text.at.1)), "{width} x {height}");
            }
        }
    }
}

#[test]
fn a_dark_page_has_light_ink_and_the_same_amounts() {
    let words = ["the", "cat", "sat"].map(str::to_owned).to_vec();
    let map = AttentionMap {
        heading: Heading { title: "full".into(), subtitle: "tiny".into() },
        layer: 0,
        head: 0,
        is_off: false,
        n_tokens: 3,
        origin: (0, 0),
        stride: 1,
        side: 3,
        cells: vec![1.0, 0.0, 0.0, 0.5, 0.5, 0.0, 0.2, 0.3, 0.5],
        pooling: Pooling::Mean,
        scale: ColorScale::Linear,
        needle: Some(1..2),
        query: Some(2),
        words: [words.clone(), words],
    };
    let light: Arc<dyn Figure> = Arc::new(map);
    let dark = Ground::Dark.under(light.clone());
    let [light, dark] = [light, dark].map(|figure| {
        let scene = figure.scene(figure.size()).unwrap();
        (Canvas::default().to_rgb(figure.as_ref()).unwrap(), scene)
    });
    let luma = |pixels: &longlens_plot::Pixels, (x, y): (f64, f64)| u32::from(pixels.at(x as u32, y as u32).1);
    assert!(luma(&light.0, (3.0, 3.0)) > 250 && luma(&dark.0, (3.0, 3.0)) < 40);
    // a cell has the color of its amount on both
    let cell = light.1.panels[0].cell(1, 0).center();
    assert_eq!(light.0.at(cell.0 as u32, cell.1 as u32), dark.0.at(cell.0 as u32, cell.1 as u32));
    let inks = |scene: &Scene| texts(scene).map(|text| text.color.1).collect::<Vec<_>>();
    assert!(inks(&light.1).iter().all(|green| *green < 200), "{:?}", inks(&light.1));
    assert!(inks(&dark.1).iter().all(|green| *green > 80), "{:?}", inks(&dark.1));
}
