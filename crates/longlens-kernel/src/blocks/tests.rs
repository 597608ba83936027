use super::*;

/// `<TYPE>.raw` and `<TYPE>.values`, made with the `gguf` package of Python: random blocks and what they stand for.
const GOLDEN: &[u8] = include_bytes!("../../../../fixtures/golden/blocks.safetensors");

/// A tensor's bytes.
fn golden(name: &str) -> &'static [u8] {
    let n = u64::from_le_bytes(GOLDEN[..8].try_into().unwrap()) as usize;
    let header = std::str::from_utf8(&GOLDEN[8..8 + n]).unwrap();
    let entry = &header[header.find(&format!("\"{name}\"")).unwrap_or_else(|| panic!("`{name}`"))..];
    let offsets = entry.split_once("\"data_offsets\":[").unwrap().1.split_once(']').unwrap().0;
    let (start, end) = offsets.split_once(',').unwrap();
    &GOLDEN[8 + n + start.parse::<usize>().unwrap()..8 + n + end.parse::<usize>().unwrap()]
}

#[test]
fn blocks_stand_for_the_numbers_of_ggml() {
    for kind in BlockType::ALL.into_iter().filter(|kind| *kind != BlockType::F32) {
        let raw = golden(&format!("{kind}.raw"));
        let values = golden(&format!("{kind}.values")).chunks_exact(4);
        let values: Vec<f32> = values.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
        let mut decoded = vec![f32::NAN; values.len()];
        kind.decode(raw, &mut decoded);
        assert!(raw.len() >= 2 * kind.bytes() && values.iter().any(|x| *x != 0.0), "{kind}");
        for (at, (decoded, value)) in decoded.iter().zip(&values).enumerate() {
            assert_eq!(decoded.to_bits(), value.to_bits(), "{kind}, weight {at}: {decoded} for {value}");
        }
    }
}

#[test]
fn numbers_are_rounded_to_the_blocks_of_the_reference() {
    let numbers: Vec<f32> =
        golden("written.numbers").chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    for kind in BlockType::WRITTEN.into_iter().filter(|kind| *kind != BlockType::F32) {
        let (expected, mut blocks) = (golden(&format!("{kind}.written")), Vec::new());
        kind.encode(&numbers, &mut blocks);
        assert_eq!(blocks.len(), expected.len(), "{kind}");
        for (at, (ours, theirs)) in blocks.chunks(kind.bytes()).zip(expected.chunks(kind.bytes())).enumerate() {
            assert_eq!(ours, theirs, "{kind}, block {at}");
        }
        // what blocks stand for rounds to the same blocks
        let mut decoded = vec![0.0; numbers.len()];
        kind.decode(&blocks, &mut decoded);
        let mut again = Vec::new();
        kind.encode(&decoded, &mut again);
        let same = again.chunks(kind.bytes()).zip(blocks.chunks(kind.bytes())).filter(|(a, b)| a == b).count();
        assert!(same * 10 >= 9 * (blocks.len() / kind.bytes()), "{kind}: {same} blocks come back");
    }
}

#[test]
fn every_half_is_the_number_it_stands_for() {
    for bits in 0..=u16::MAX {
        let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023) / 1024.0);
        let size = match exponent {
            0 => fraction * 2f64.powi(-14),
            31 if fraction == 0.0 => f64::INFINITY,
            31 => f64::NAN,
            _ => (1.0 + fraction) * 2f64.powi(exponent - 15),
        };
        let expected = if bits & 0x8000 == 0 { size } else { -size };
        let number = f64::from(half(bits));
        assert!(number.is_nan() == expected.is_nan(), "{bits:#x}: {number} for {expected}");
        assert!(expected.is_nan() || number.to_bits() == expected.to_bits(), "{bits:#x}: {number} for {expected}");
    }
}

#[test]
fn numbers_and_names_are_those_of_ggml() {
    assert_eq!(BlockType::of_gguf(12), Some(BlockType::Q4K));
    assert_eq!(BlockType::of_gguf(9), None); // for activations only
    let described = BlockType::ALL.map(|kind| format!("{} {kind} {}", kind.gguf(), kind.bits())).join(", ");
    assert_eq!(
        described,
        "0 F32 32, 1 F16 16, 30 BF16 16, 2 Q4_0 4.5, 3 Q4_1 5, 6 Q5_0 5.5, 7 Q5_1 6, 8 Q8_0 8.5, 10 Q2_K 2.625, \
         11 Q3_K 3.4375, 12 Q4_K 4.5, 13 Q5_K 5.5, 14 Q6_K 6.5625, 20 IQ4_NL 4.5, 23 IQ4_XS 4.25"
    );
}

#[test]
fn rows_are_whole_blocks() {
    assert_eq!(BlockType::Q4_1.row_bytes(96), Some(60));
    assert_eq!(BlockType::Q4K.row_bytes(96), None);
    assert_eq!(BlockType::F32.row_bytes(usize::MAX), None);
}

#[test]
fn blocks_with_numbers_that_are_not_finite_are_known() {
    for kind in BlockType::ALL {
        let good = vec![0u8; 3 * kind.bytes()];
        assert!(kind.is_finite(&good), "{kind}");
        let mut decoded = vec![0.0; 3 * kind.weights()];
        // the bytes that make any weight infinite are those it looks at
        for at in kind.bytes()..2 * kind.bytes() {
            let mut bad = good.iter().map(|_| 0x11).collect::<Vec<u8>>();
            bad[at] = 0x7F;
            bad[at - 1] |= 0x80;
            kind.decode(&bad, &mut decoded);
            assert_eq!(kind.is_finite(&bad), decoded.iter().all(|x| x.is_finite()), "{kind}, byte {at}");
        }
    }
}
