use burn_flex::{Flex, FlexDevice};
use burn_tensor::{Tensor, TensorData};
use proptest::prelude::*;

use super::cpu::Packed;
use super::*;
use crate::cpu::simd::{Arch, arches, name};

/// Numbers between -1 and 1.
fn random(seed: usize, n: usize) -> Vec<f32> {
    let mut state = seed as u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn tensor(numbers: Vec<f32>, shape: [usize; 2]) -> Tensor<Flex, 2> {
    Tensor::from_data(TensorData::new(numbers, shape), &FlexDevice)
}

fn numbers<const D: usize>(t: Tensor<Flex, D>) -> Vec<f32> {
    t.into_data().into_vec().unwrap()
}

fn pack(arch: Arch, weights: &[f32], [d_out, d_in]: [usize; 2], bias: Option<Vec<f32>>, storage: Storage) -> Packed {
    let rows = &|first: usize, out: &mut [f32]| out.copy_from_slice(&weights[first * d_in..][..out.len()]);
    Packed::new(arch, &Weights { d_out, d_in, rows, bias }, storage)
}

/// Every way, blocks of files included.
fn every() -> impl Iterator<Item = Storage> {
    let kinds = BlockType::ALL.into_iter().filter(|kind| !matches!(kind, BlockType::F32 | BlockType::Bf16));
    Storage::ALL.into_iter().chain(kinds.map(Storage::Blocks))
}

/// Blocks of random bits, with scales from 2^-9 to 1 of either sign.
fn blocks(kind: BlockType, seed: usize, n_weights: usize) -> Vec<u8> {
    let n = n_weights / kind.weights();
    let mut bytes: Vec<u8> = random(seed, n * kind.bytes()).iter().map(|x| x.to_bits().to_le_bytes()[1]).collect();
    for block in bytes.chunks_exact_mut(kind.bytes()) {
        if matches!(kind, BlockType::F32 | BlockType::Bf16) {
            block[kind.bytes() - 1] &= 0xBF; // below 2
        }
        for at in kind.halves() {
            block[at + 1] = block[at + 1] & 0x83 | (6 + block[*at] % 9) << 2;
        }
    }
    bytes
}

/// A matrix of random blocks, and the numbers that they stand for.
fn stored(
    arch: Arch,
    kind: BlockType,
    seed: usize,
    [d_out, d_in]: [usize; 2],
    bias: Option<Vec<f32>>,
) -> (Packed, Vec<f32>) {
    let bytes = blocks(kind, seed, d_out * d_in);
    let mut numbers = vec![f32::NAN; d_out * d_in];
    kind.decode(&bytes, &mut numbers);
    let row_bytes = kind.row_bytes(d_in).unwrap();
    let rows = &|first: usize, out: &mut [u8]| out.copy_from_slice(&bytes[first * row_bytes..][..out.len()]);
    (Packed::stored(arch, &StoredWeights { kind, d_out, d_in, rows, bias }), numbers)
}

/// Random weights, kept in some way.
fn any(arch: Arch, seed: usize, [d_out, d_in]: [usize; 2], bias: Option<Vec<f32>>, storage: Storage) -> Packed {
    match storage {
        Storage::Blocks(kind) => stored(arch, kind, seed, [d_out, d_in], bias).0,
        _ => pack(arch, &random(seed, d_out * d_in), [d_out, d_in], bias, storage),
    }
}

/// The next number of inputs that is whole blocks of a file.
fn whole(d_in: usize, storage: Storage) -> usize {
    if let Storage::Blocks(kind) = storage { d_in.next_multiple_of(kind.weights()) } else { d_in }
}

/// Products with and without a bias and a residual, against sums in f64 of the weights as they are stored.
fn check(arch: Arch, [n_rows, d_out, d_in]: [usize; 3], storage: Storage, bias: bool) {
    let d_in = whole(d_in, storage);
    let case = format!("{}, {n_rows} x {d_in} x {d_out}, {storage}, bias: {bias}", name(arch));
    let x = random(1, n_rows * d_in);
    let bias = bias.then(|| random(3, d_out));
    let residual = random(4, n_rows * d_out);
    let matrix = any(arch, 2, [d_out, d_in], bias.clone(), storage);
    let stored = numbers(matrix.rows(&(0..d_out as u32).collect::<Vec<_>>()));

    let plain = numbers(matrix.product(tensor(x.clone(), [n_rows, d_in])));
    let added = matrix.product_add(tensor(x.clone(), [n_rows, d_in]), tensor(residual.clone(), [n_rows, d_out]));
    let added = numbers(added);
    assert_eq!((plain.len(), added.len()), (n_rows * d_out, n_rows * d_out), "{case}");
    for (row, x) in x.chunks(d_in).enumerate() {
        for (output, weights) in stored.chunks(d_in).enumerate() {
            let bias = f64::from(bias.as_ref().map_or(0.0, |bias| bias[output]));
            let (mut sum, mut size) = (bias, bias.abs() + 1e-30);
            for (x, weight) in x.iter().zip(weights) {
                let product = f64::from(*x) * f64::from(*weight);
                sum += product;
                size += product.abs();
            }
            let at = row * d_out + output;
            let residual = f64::from(residual[at]);
            let off = (f64::from(plain[at]) - sum).abs() / size;
            assert!(off <= 2e-6, "{case}: row {row}, output {output}: {} for {sum}, {off:e}", plain[at]);
            let off = (f64::from(added[at]) - sum - residual).abs() / (size + residual.abs());
            assert!(off <= 2e-6, "{case}: row {row}, output {output}, residual: {off:e}");
        }
    }
}

#[test]
fn products_are_the_sums_on_ragged_sizes() {
    // around and between tiles: rows of the inner loop, vectors of outputs, blocks and tiles of inputs
    let sizes =
        [[1, 1, 1], [1, 100, 64], [2, 17, 33], [3, 40, 96], [4, 7, 31], [5, 66, 32], [6, 64, 256], [7, 65, 257]];
    let large = [[13, 129, 600], [50, 48, 300], [12, 16, 1], [400, 20, 40]];
    for arch in arches() {
        for sizes in sizes.into_iter().chain(large) {
            for storage in every() {
                check(arch, sizes, storage, false);
                check(arch, sizes, storage, true);
            }
        }
    }
}

#[test]
fn products_of_many_threads_are_the_sums() {
    for arch in arches() {
        for storage in every() {
            check(arch, [1, 1100, 1024], storage, false);
            check(arch, [40, 520, 640], storage, true);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn products_are_the_sums(
        n_rows in 1..20usize, d_out in 1..100usize, d_in in 1..300usize, at in 0..17usize, bias: bool,
    ) {
        for arch in arches() {
            check(arch, [n_rows, d_out, d_in], every().nth(at).unwrap(), bias);
        }
    }

    #[test]
    fn stored_weights_keep_their_bounds(len in 1..100usize, seed: usize, size in -30..30i32, offset in -2.0..2.0f32) {
        let weights: Vec<f32> = random(seed, len).iter().map(|x| (x + offset) * (size as f32).exp2()).collect();
        for arch in arches() {
            for storage in Storage::ALL {
                let stored = numbers(pack(arch, &weights, [1, len], None, storage).rows(&[0]));
                for (stored, weights) in stored.chunks(32).zip(weights.chunks(32)) {
                    let (min, max) = weights.iter().fold((f32::MAX, f32::MIN), |(min, max), x| (min.min(*x), max.max(*x)));
                    for (stored, weight) in stored.iter().zip(weights) {
                        let bound = match storage {
                            Storage::F32 | Storage::Blocks(_) => 0.0,
                            Storage::Bf16 => weight.abs() / 256.0,
                            Storage::Q8 => max.max(-min) / 254.0 * 1.0003,
                            // a minimum as bf16 widens the range
                            Storage::Q4 => (max - min + min.abs() / 128.0) / 30.0 * 1.008,
                        };
                        prop_assert!((stored - weight).abs() <= bound, "{storage}: {stored} for {weight} in {min}..{max}");
                        if storage == Storage::Q4 && min <= 0.0 && max >= 0.0 {
                            prop_assert!((stored - weight).abs() <= (max - min) / 29.0);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn blocks_of_files_keep_every_weight() {
    for (arch, kind) in arches().into_iter().flat_map(|arch| BlockType::ALL.map(|kind| (arch, kind))) {
        // one block, an odd number of them, and more rows than a panel
        for (d_out, n_blocks) in [(1, 1), (19, 3), (40, 8)] {
            let d_in = n_blocks * kind.weights();
            let (matrix, numbers_of_file) = stored(arch, kind, 21 + d_out, [d_out, d_in], None);
            let rows: Vec<u32> = (0..d_out as u32).collect();
            assert_eq!(numbers(matrix.rows(&rows)), numbers_of_file, "{kind}, {}", name(arch));
        }
    }
}

#[test]
fn scales_of_files_may_have_any_size() {
    for (arch, kind) in arches().into_iter().flat_map(|arch| BlockType::ALL.map(|kind| (arch, kind))) {
        for half in [0x0000u16, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF] {
            let mut bytes = blocks(kind, 22, kind.weights());
            for at in kind.halves() {
                bytes[*at..*at + 2].copy_from_slice(&half.to_le_bytes());
            }
            let mut expected = vec![f32::NAN; kind.weights()];
            kind.decode(&bytes, &mut expected);
            let rows = &|_: usize, out: &mut [u8]| out.copy_from_slice(&bytes);
            let weights = StoredWeights { kind, d_out: 1, d_in: kind.weights(), rows, bias: None };
            let found = numbers(Packed::stored(arch, &weights).rows(&[0]));
            assert_eq!(found, expected, "{kind}, scale {half:#x}, {}", name(arch));
        }
    }
}

#[test]
fn blocks_take_little_more_memory_than_the_file() {
    for kind in BlockType::ALL {
        let (d_out, d_in) = (576, 1536);
        let (matrix, _) = stored(crate::cpu::simd::arch(), kind, 23, [d_out, d_in], None);
        let (kept, in_file) = (matrix.bytes(), kind.row_bytes(d_in).unwrap() * d_out);
        assert!(kept >= in_file && kept * 50 <= in_file * 51, "{kind}: {kept} bytes for {in_file}");
    }
}

#[test]
fn blocks_become_numbers_elsewhere_and_other_forms() {
    let kind = BlockType::Q5K;
    let bytes = blocks(kind, 24, 6 * 256);
    let rows = &|first: usize, out: &mut [u8]| out.copy_from_slice(&bytes[first * 176..][..out.len()]);
    let weights = StoredWeights { kind, d_out: 6, d_in: 256, rows, bias: Some(random(25, 6)) };
    let (plain, packed) =
        (<Dense<Flex> as Matrix<Flex>>::pack_stored(&weights, &FlexDevice), Packed::pack_stored(&weights, &FlexDevice));
    assert_eq!(numbers(plain.rows(&[5, 0])), numbers(packed.rows(&[5, 0])));
    let x = tensor(random(26, 3 * 256), [3, 256]);
    let tolerance = burn_tensor::Tolerance::<f32>::absolute(0.02);
    plain.product(x.clone()).into_data().assert_approx_eq::<f32>(&packed.product(x).into_data(), tolerance);
    let eight = weights.as_numbers(|weights| Packed::pack(weights, Storage::Q8, &FlexDevice));
    let (exact, rounded) = (numbers(packed.rows(&[3])), numbers(eight.rows(&[3])));
    let largest = exact.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
    assert!(exact.iter().zip(&rounded).all(|(a, b)| (a - b).abs() <= largest / 250.0));
}

#[test]
fn zeros_and_blocks_of_one_number_stay_what_they_are() {
    for storage in Storage::ALL {
        for number in [0.0f32, 0.5, -3.0, 1e-38, -1e-44] {
            let weights = vec![number; 40];
            let stored = numbers(pack(crate::cpu::simd::arch(), &weights, [1, 40], None, storage).rows(&[0]));
            let off = stored.iter().map(|x| (x - number).abs()).fold(0.0, f32::max);
            assert!(off <= number.abs() / 250.0 + 1e-38, "{storage}: {number} became {}", stored[0]);
        }
    }
}

#[test]
fn the_largest_weights_stay_finite() {
    for storage in Storage::ALL {
        let weights = [storage.limit(), -storage.limit(), 1.0];
        for arch in arches() {
            let matrix = pack(arch, &weights, [1, 3], None, storage);
            assert!(numbers(matrix.rows(&[0])).iter().all(|x| x.is_finite()), "{storage}");
            let product = numbers(matrix.product(tensor(vec![0.5, 0.0, 0.0], [1, 3])));
            assert!((product[0] / storage.limit() - 0.5).abs() < 0.02, "{storage}: {}", product[0]);
        }
    }
}

#[test]
fn bf16_keeps_signs_and_what_is_not_a_number() {
    let bits = [0xFFFF_FFFFu32, 0xFFFF_8000, 0xFF80_0001, 0x7FFF_FFFF, 0x7F80_0001, 0xFF80_0000, 0x7F80_0000];
    let weights = bits.map(f32::from_bits);
    for arch in arches() {
        let stored = numbers(pack(arch, &weights, [1, bits.len()], None, Storage::Bf16).rows(&[0]));
        for (stored, weight) in stored.iter().zip(weights) {
            let kind = |x: f32| (x.is_nan(), x.is_infinite(), x.is_sign_negative());
            assert_eq!(kind(*stored), kind(weight), "{:#x}", weight.to_bits());
        }
    }
}

#[test]
fn all_instruction_sets_store_the_same_weights() {
    let weights = random(5, 50 * 70);
    for storage in Storage::ALL {
        let rows = |arch| numbers(pack(arch, &weights, [50, 70], None, storage).rows(&[49, 0, 17]));
        let all: Vec<_> = arches().into_iter().map(rows).collect();
        assert!(all.iter().all(|one| *one == all[0]), "{storage}");
        assert_eq!(storage == Storage::F32, all[0][..70] == weights[49 * 70..]);
    }
}

#[test]
fn what_is_not_a_number_stays_in_its_row() {
    for arch in arches() {
        for (n_rows, storage) in [1, 3, 5, 9, 14].into_iter().flat_map(|n| every().map(move |storage| (n, storage))) {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let (d_out, d_in) = (37, whole(300, storage));
                let matrix = any(arch, 6, [d_out, d_in], None, storage);
                let mut x = random(7, n_rows * d_in);
                x[(n_rows - 1) * d_in + 271] = bad;
                for (row, out) in numbers(matrix.product(tensor(x, [n_rows, d_in]))).chunks(d_out).enumerate() {
                    assert!(out.iter().all(|y| y.is_finite() == (row + 1 < n_rows)), "{n_rows} rows, {storage}, {bad}");
                }
            }
        }
    }
}

#[test]
fn rows_are_read_where_they_lie() {
    for arch in arches() {
        for n_rows in [1, 4, 30] {
            let (d_out, d_in) = (70, 64);
            let matrix = pack(arch, &random(8, d_out * d_in), [d_out, d_in], None, Storage::F32);
            let wide = tensor(random(9, (n_rows + 3) * 100), [n_rows + 3, 100]);
            let columns = wide.clone().slice([2..n_rows + 2, 20..84]);
            let turned = wide.slice([0..n_rows, 0..d_in]).transpose().mul_scalar(1.0).transpose();
            for x in [columns, turned] {
                let plain = tensor(numbers(x.clone()), [n_rows, d_in]);
                let expected = numbers(matrix.product(plain));
                assert_eq!(numbers(matrix.product(x)), expected);
            }
        }
    }
}

#[test]
fn several_matrices_share_their_rows() {
    for arch in arches() {
        for n_rows in [1, 8] {
            let x = tensor(random(10, n_rows * 40), [n_rows, 40]);
            let one = pack(arch, &random(11, 40 * 40), [40, 40], None, Storage::Q8);
            let other = pack(arch, &random(12, 9 * 40), [9, 40], Some(random(13, 9)), Storage::F32);
            let both = Packed::products([&one, &other], x.clone()).map(numbers);
            assert_eq!(both, [numbers(one.product(x.clone())), numbers(other.product(x))]);
            // blocks of several lengths
            let x = tensor(random(27, n_rows * 96), [n_rows, 96]);
            let [one, other] = [BlockType::Q4_0, BlockType::Q4_1].map(|kind| stored(arch, kind, 28, [20, 96], None).0);
            let both = Packed::products([&one, &other], x.clone()).map(numbers);
            assert_eq!(both, [numbers(one.product(x.clone())), numbers(other.product(x))]);
        }
    }
}

#[test]
fn a_residual_that_nobody_else_holds_is_written_in_place() {
    let start = |t: &Tensor<Flex, 2>| t.clone().into_primitive().tensor().bytes().as_ptr();
    let matrix = pack(crate::cpu::simd::arch(), &random(14, 96), [12, 8], None, Storage::F32);
    for n_rows in [1, 10] {
        let (x, residual) = (tensor(random(15, n_rows * 8), [n_rows, 8]), tensor(vec![1.0; n_rows * 12], [n_rows, 12]));
        let (place, held) = (start(&residual), residual.clone());
        let copied = matrix.product_add(x.clone(), residual);
        assert_ne!(start(&copied), place);
        assert_eq!(numbers(held.clone()), vec![1.0; n_rows * 12]);
        let written = matrix.product_add(x, held);
        assert_eq!(start(&written), place);
        assert_eq!(numbers(written), numbers(copied));
        // nor is a part of a larger tensor overwritten
        let all = random(20, (n_rows + 1) * 12);
        let large = tensor(all.clone(), [n_rows + 1, 12]);
        let part = large.clone().slice([1..n_rows + 1]);
        let zeros = tensor(vec![0.0; n_rows * 8], [n_rows, 8]);
        assert_eq!(numbers(matrix.product_add(zeros, part)), all[12..]);
        assert_eq!(numbers(large), all);
    }
}

#[test]
fn a_plain_tensor_gives_the_same() {
    let (weights, bias) = (random(16, 30 * 20), random(17, 30));
    let rows = &|first: usize, out: &mut [f32]| out.copy_from_slice(&weights[first * 20..][..out.len()]);
    let weights = Weights { d_out: 30, d_in: 20, rows, bias: Some(bias) };
    let (plain, packed) =
        (Dense::<Flex>::pack(&weights, Storage::F32, &FlexDevice), Packed::pack(&weights, Storage::F32, &FlexDevice));
    assert_eq!((Matrix::<Flex>::shape(&plain), packed.shape()), ([30, 20], [30, 20]));
    let (x, residual) = (tensor(random(18, 7 * 20), [7, 20]), tensor(random(19, 7 * 30), [7, 30]));
    let tolerance = burn_tensor::Tolerance::<f32>::absolute(1e-5);
    let close =
        |a: Tensor<Flex, 2>, b: Tensor<Flex, 2>| a.into_data().assert_approx_eq::<f32>(&b.into_data(), tolerance);
    close(plain.product(x.clone()), packed.product(x.clone()));
    close(plain.product_add(x.clone(), residual.clone()), packed.product_add(x, residual));
    close(plain.rows(&[3, 29, 3]), packed.rows(&[3, 29, 3]));
}

#[test]
fn a_plain_tensor_takes_f32_only() {
    assert_eq!(<Dense<Flex> as Matrix<Flex>>::check(Storage::F32), Ok(()));
    let error = <Dense<Flex> as Matrix<Flex>>::check(Storage::Q8).unwrap_err();
    assert_eq!(error.to_string(), "weights are kept as q8 on the processor only");
}

#[test]
fn text_forms_are_read_back() {
    for storage in Storage::ALL {
        assert_eq!(storage.to_string().parse(), Ok(storage));
    }
    assert_eq!("q5".parse::<Storage>(), Err("one of f32, bf16, q8, q4".into()));
    assert_eq!(Storage::ALL.map(|storage| storage.bytes(64)), [256, 128, 72, 40]);
    assert_eq!(Storage::ALL.map(|storage| format!("{}", storage.bits())), ["32", "16", "9", "5"]);
    let of_file = Storage::Blocks(BlockType::Q6K);
    assert_eq!(
        format!("{} bytes, {} bits, {of_file}", of_file.bytes(512), of_file.bits()),
        "420 bytes, 6.5625 bits, Q6_K"
    );
}
