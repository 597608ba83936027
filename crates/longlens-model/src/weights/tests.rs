//! Every kind of request, against tensors whose numbers say where they stand.

use burn_flex::{Flex, FlexDevice};
use longlens_kernel::linear::cpu::Packed;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tempfile::TempDir;

use super::*;
use crate::source::Source;

/// One layer: a fused tensor of three matrices, one of them in another order, norms of every kind, and three experts.
struct Sample {
    n_stored: usize,
}

struct Built<M, V> {
    query: M,
    key: M,
    gamma: V,
    norm: LayerNorm<V>,
    plain: LayerNorm<V>,
    experts: Vec<M>,
}

/// Row `r` of the matrix is stored as this one.
fn swapped(row: usize) -> usize {
    row ^ 1
}

impl Blueprint for Sample {
    type Model<M, V> = Built<M, V>;

    fn build<P: Parameters>(&self, from: &mut P) -> Built<P::Matrix, P::Vector> {
        let fused = |rows| Linear::new("model.layers.0.qkv", [rows, 3]).bias(true);
        Built {
            query: from.matrix(fused(4).part_of(self.n_stored, 0)),
            key: from.matrix(fused(2).part_of(self.n_stored, 4).stored_as(&swapped)),
            gamma: from.norm_weight("model.layers.0.norm", 3, 1.0),
            norm: from.layer_norm("model.norm", 3, true),
            plain: from.layer_norm("model.other_norm", 3, false),
            experts: from.experts(3, 2, |from, expert| {
                from.matrix(Linear::new(&format!("model.layers.0.experts.{expert}"), [2, 3]))
            }),
        }
    }
}

/// Number `n` of a tensor is `base + n`.
fn saved() -> (TempDir, WeightFiles) {
    let shapes = [
        ("model.layers.0.qkv.weight", vec![6, 3], 100.0),
        ("model.layers.0.qkv.bias", vec![6], 200.0),
        ("model.layers.0.norm.weight", vec![3], 300.0),
        ("model.norm.weight", vec![3], 400.0),
        ("model.norm.bias", vec![3], 500.0),
        ("model.other_norm.weight", vec![3], 600.0),
        ("model.layers.0.experts.0.weight", vec![2, 3], 700.0),
        ("model.layers.0.experts.1.weight", vec![2, 3], 800.0),
        ("model.layers.0.experts.2.weight", vec![2, 3], 900.0),
    ];
    let tensors: Vec<_> = shapes
        .into_iter()
        .map(|(name, shape, base): (_, Vec<usize>, f32)| {
            let n: usize = shape.iter().product();
            (name, shape, (0..n).flat_map(|at| (base + at as f32).to_le_bytes()).collect::<Vec<u8>>())
        })
        .collect();
    let views =
        tensors.iter().map(|(name, shape, bytes)| (*name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    let folder = tempfile::tempdir().unwrap();
    safetensors::serialize_to_file(views, None, &folder.path().join("model.safetensors")).unwrap();
    let files = WeightFiles::open(&Source::folder(folder.path())).unwrap();
    (folder, files)
}

fn numbers<const D: usize>(tensor: &Tensor<Flex, D>) -> Vec<f32> {
    tensor.to_data().into_vec().unwrap()
}

/// Rows of a matrix, and what its products add to zero.
fn rows(matrix: &Packed) -> (Vec<f32>, Vec<f32>) {
    let [d_out, d_in] = matrix.shape();
    let rows = matrix.rows(&(0..d_out as u32).collect::<Vec<_>>());
    (numbers(&rows), numbers(&matrix.product(Tensor::zeros([1, d_in], &FlexDevice))))
}

fn count(from: u16, n: usize) -> Vec<f32> {
    (0..n).map(|at| f32::from(from) + at as f32).collect()
}

#[test]
fn requests_find_their_rows_and_offsets() {
    let (_folder, files) = saved();
    let (built, report) = load::<Flex, _>(&Sample { n_stored: 6 }, &files, Storage::F32, &FlexDevice).unwrap();
    assert_eq!(rows(&built.query), (count(100, 12), count(200, 4)));
    assert_eq!(rows(&built.key), ([count(115, 3), count(112, 3)].concat(), vec![205.0, 204.0]));
    assert_eq!(numbers(&built.gamma), count(301, 3));
    assert_eq!((numbers(&built.norm.weight), numbers(&built.norm.bias.unwrap())), (count(400, 3), count(500, 3)));
    assert_eq!((numbers(&built.plain.weight), built.plain.bias.is_none()), (count(600, 3), true));
    let experts: Vec<_> = built.experts.iter().map(|expert| rows(expert).0).collect();
    assert_eq!(experts, [count(700, 6), count(800, 6), count(900, 6)]);
    assert_eq!((report.n_tensors, report.n_parameters, report.unused), (9, 54, vec![]));
}

#[test]
fn random_weights_answer_the_same_requests() {
    let built = random::<Flex, _>(&Sample { n_stored: 6 }, 1, Storage::F32, &FlexDevice).unwrap();
    assert_eq!((built.query.shape(), built.key.shape(), built.experts.len()), ([4, 3], [2, 3], 3));
    assert_ne!(rows(&built.experts[0]), rows(&built.experts[1]));
    let vectors = [&built.gamma, &built.norm.weight, &built.plain.weight, &built.norm.bias.unwrap()].map(numbers);
    assert_eq!(vectors, [vec![1.0; 3], vec![1.0; 3], vec![1.0; 3], vec![0.0; 3]]);
}

#[test]
fn a_fused_tensor_is_checked_whole_and_once() {
    let (_folder, files) = saved();
    let Err(OpenError::Weights { problems, .. }) = check(&Sample { n_stored: 7 }, &files) else { panic!("accepted") };
    let said: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "`model.layers.0.qkv.weight` has shape [6, 3], but the config needs [7, 3]",
            "`model.layers.0.qkv.bias` has shape [6], but the config needs [7]"
        ]
    );
}

#[test]
fn a_token_meets_the_experts_that_it_uses_and_matrices_alone_are_kept_in_fewer_bits() {
    let counts = Counts::of(&Sample { n_stored: 6 });
    assert_eq!((counts.n_parameters, counts.in_matrices, counts.layers), (54, 36, 18 + 2 * 6));
    for (storage, bytes) in [(Storage::F32, 216), (Storage::Bf16, 144), (Storage::Q8, 40 + 72), (Storage::Q4, 22 + 72)]
    {
        assert_eq!(counts.bytes(storage), bytes, "{storage}");
    }
}
