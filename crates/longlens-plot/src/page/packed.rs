//! Arrays and texts in few letters: numbers as bytes, compressed (zlib), in base64.
//!
//! Every packed thing is an object that says how to read it: `type`, `shape`, `data`, and the numbers that undo its rounding.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde_json::{Value, json};

/// Shares below this are stored as 0.
pub const FLOOR: f64 = 1e-6;
/// Codes of a share above 0.
const CODES: f64 = 254.0;
/// Most numbers that are stored as they are; longer arrays are rounded.
const EXACT: usize = 1 << 15;
/// The code of a number that is not known.
const UNKNOWN: u16 = u16::MAX;

/// Shares, 0 to 1, row-major in `shape`. Few are stored as they are. Of many each takes 8 bits: 0 where it is below [`FLOOR`], else a step of
/// a logarithmic scale up to 1, which is right to [`share_error`].
pub fn shares(shape: &[usize], shares: &[f32]) -> Value {
    if shares.len() <= EXACT { numbers(shape, shares) } else { coded_shares(shape, shares) }
}

/// Shares of 8 bits each, however few they are.
pub fn coded_shares(shape: &[usize], shares: &[f32]) -> Value {
    checked(shape, shares.len());
    let codes: Vec<u8> = shares.iter().map(|share| code(f64::from(*share))).collect();
    json!({ "type": "share8", "floor": FLOOR, "shape": shape, "data": squeezed(&codes) })
}

/// Numbers row-major in `shape`, NaN where one is not known. Few are stored as they are; of many each takes 16 bits, as a step between the
/// lowest and the highest.
pub fn numbers(shape: &[usize], numbers: &[f32]) -> Value {
    checked(shape, numbers.len());
    if numbers.len() <= EXACT {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        return json!({ "type": "f32", "shape": shape, "data": squeezed(&bytes) });
    }
    let finite = || numbers.iter().copied().filter(|number| number.is_finite()).map(f64::from);
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let (low, high) = if low <= high { (low, high) } else { (0.0, 0.0) };
    let step = (high - low) / f64::from(UNKNOWN - 1);
    let code = |number: f32| match f64::from(number) {
        number if !number.is_finite() => UNKNOWN,
        number if step > 0.0 => ((number - low) / step).round() as u16,
        _ => 0,
    };
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| code(*number).to_le_bytes()).collect();
    json!({ "type": "step16", "low": low, "step": step, "shape": shape, "data": squeezed(&bytes) })
}

/// Small whole numbers, as signs of flags.
pub fn bytes(shape: &[usize], bytes: &[u8]) -> Value {
    checked(shape, bytes.len());
    json!({ "type": "u8", "shape": shape, "data": squeezed(bytes) })
}

/// Whole numbers as they are, however many.
pub fn whole(numbers: &[u32]) -> Value {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    json!({ "type": "u32", "shape": [numbers.len()], "data": squeezed(&bytes) })
}

/// Numbers to their last bit, however many, NaN where one is not known.
pub fn exact(numbers: &[f64]) -> Value {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    json!({ "type": "f64", "shape": [numbers.len()], "data": squeezed(&bytes) })
}

/// Texts in their order: all in one, as UTF-8, and the bytes of each.
pub fn texts<T: AsRef<str>>(texts: &[T]) -> Value {
    let all: Vec<u8> = texts.iter().flat_map(|text| text.as_ref().bytes()).collect();
    let sizes: Vec<u8> = texts.iter().flat_map(|text| (text.as_ref().len() as u32).to_le_bytes()).collect();
    json!({ "type": "texts", "shape": [texts.len()], "data": squeezed(&all), "sizes": squeezed(&sizes) })
}

/// How far a stored share may be from the true one, as a share of it.
pub fn share_error() -> f64 {
    ((1.0 / FLOOR).ln() / (CODES - 1.0) / 2.0).exp() - 1.0
}

/// Letters that a packed thing takes in a file, nearly.
pub fn size(packed: &Value) -> usize {
    ["data", "sizes"].iter().filter_map(|name| packed[*name].as_str()).map(str::len).sum()
}

fn code(share: f64) -> u8 {
    if !share.is_finite() || share < FLOOR {
        return 0;
    }
    let place = (share.min(1.0) / FLOOR).ln() / (1.0 / FLOOR).ln();
    1 + (place * (CODES - 1.0)).round() as u8
}

fn checked(shape: &[usize], len: usize) {
    assert_eq!(shape.iter().product::<usize>(), len, "the shape {shape:?} holds the data");
}

fn squeezed(bytes: &[u8]) -> String {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("memory takes any bytes");
    STANDARD.encode(encoder.finish().expect("memory takes an end"))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::ZlibDecoder;

    use super::*;

    fn unpacked(packed: &Value, name: &str) -> Vec<u8> {
        let bytes = STANDARD.decode(packed[name].as_str().unwrap()).unwrap();
        let mut back = Vec::new();
        ZlibDecoder::new(&bytes[..]).read_to_end(&mut back).unwrap();
        back
    }

    /// As the script reads a code.
    fn share(code: u8) -> f64 {
        if code == 0 { 0.0 } else { FLOOR.powf(1.0 - f64::from(code - 1) / (CODES - 1.0)) }
    }

    #[test]
    fn shares_come_back_within_the_error_that_is_told() {
        let shares: Vec<f32> =
            (0..1000).map(|at| 10f32.powf(-7.0 * at as f32 / 999.0)).chain([0.0, f32::NAN]).collect();
        let packed = coded_shares(&[shares.len()], &shares);
        for (code, known) in unpacked(&packed, "data").into_iter().zip(&shares) {
            let (back, known) = (share(code), f64::from(*known));
            let is_right = if known.is_nan() || known < FLOOR {
                true
            } else {
                (back / known - 1.0).abs() <= share_error() * 1.0001
            };
            assert!(is_right, "{known} came back as {back}");
            assert!(!known.is_nan() || code == 0);
        }
        assert!(share_error() < 0.03, "{}", share_error());
        assert_eq!((share(255 - 1), code(1.0)), (1.0, 254));
    }

    #[test]
    fn few_numbers_are_exact_and_many_are_rounded_to_a_step() {
        let few = [0.1_f32, f32::NAN, -3.5];
        let bytes = unpacked(&numbers(&[3], &few), "data");
        assert!(bytes.chunks(4).zip(few).all(|(back, known)| back == known.to_le_bytes()));
        let many: Vec<f32> = (0..=EXACT).map(|at| if at == 7 { f32::NAN } else { (at as f32).sin() * 5.0 }).collect();
        let packed = numbers(&[many.len()], &many);
        let (low, step) = (packed["low"].as_f64().unwrap(), packed["step"].as_f64().unwrap());
        for (code, known) in unpacked(&packed, "data").chunks(2).zip(&many) {
            let code = u16::from_le_bytes([code[0], code[1]]);
            let back = if code == UNKNOWN { f64::NAN } else { low + step * f64::from(code) };
            assert!(known.is_nan() == back.is_nan() && (known.is_nan() || (back - f64::from(*known)).abs() <= step));
        }
        let same = numbers(&[EXACT + 1], &vec![2.5; EXACT + 1]);
        assert_eq!((same["low"].as_f64(), same["step"].as_f64()), (Some(2.5), Some(0.0)));
    }

    #[test]
    fn exact_numbers_stay_so_however_many() {
        let many: Vec<f64> = (0..=EXACT).map(|at| 1.0 / (at + 1) as f64).collect();
        let back = unpacked(&exact(&many), "data");
        assert!(back.chunks(8).zip(&many).all(|(back, known)| back == known.to_le_bytes()));
        assert_eq!(unpacked(&whole(&[7, u32::MAX]), "data"), [7, u32::MAX].map(u32::to_le_bytes).concat());
    }

    #[test]
    fn texts_keep_their_ends() {
        let packed = texts(&["", "né", "</script>"]);
        assert_eq!(unpacked(&packed, "data"), "né</script>".as_bytes());
        assert_eq!(unpacked(&packed, "sizes"), [0u32, 3, 9].map(u32::to_le_bytes).concat());
        assert!(size(&packed) > 0);
    }
}
