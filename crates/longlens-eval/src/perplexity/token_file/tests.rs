use proptest::prelude::*;

use super::*;

fn bytes(ids: &[u32], format: TokenFormat) -> Vec<u8> {
    ids.iter().flat_map(|id| u64::from(*id).to_le_bytes()[..format.width()].to_vec()).collect()
}

fn read(bytes: &[u8], vocab_size: usize, format: Option<TokenFormat>) -> Result<Vec<u32>, String> {
    let read = token_file(Path::new("FILE"), bytes, vocab_size, format);
    read.map(|file| file.documents.concat()).map_err(|error| format!("{error} | {}", error.help().unwrap_or_default()))
}

fn npy(kind: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.bytes().chain(data.iter().copied()));
    file
}

#[test]
fn formats_are_told_apart() {
    for (ids, vocab_size) in [
        ((0..40).map(|n| n * 7 % 300).collect::<Vec<u32>>(), 300),
        ((1..41).map(|n| n * 1999 % 32_000).collect(), 32_000),
        ((1..41).map(|n| n * 3571 % 128_256).collect(), 128_256),
        ((1..2050).map(|n| n * n % 499).collect(), 128_256),
    ] {
        for format in TokenFormat::ALL {
            if format == TokenFormat::U16 && ids.iter().any(|id| *id > 65_535) {
                continue;
            }
            let read = read(&bytes(&ids, format), vocab_size, None);
            assert_eq!(read.as_ref(), Ok(&ids), "{format:?} {vocab_size}");
        }
    }
}

#[test]
fn what_can_be_both_is_refused_until_somebody_says() {
    let file = bytes(&[5, 0, 7, 0], TokenFormat::U16);
    insta::assert_snapshot!(read(&file, 300, None).unwrap_err(), @"FILE makes sense as u16 and as u32 | say which with `token_format`: u16, u32 or i64");
    assert_eq!(read(&file, 300, Some(TokenFormat::U16)).unwrap(), [5, 0, 7, 0]);
    assert_eq!(read(&file, 300, Some(TokenFormat::U32)).unwrap(), [5, 7]);
    assert!(read(&[0; 64], 300, None).unwrap_err().starts_with("FILE makes sense as u16 and as u32 and as i64"));
    insta::assert_snapshot!("u8".parse::<TokenFormat>().unwrap_err(), @"token_format = `u8` is not one of u16, u32, i64");
}

#[test]
fn numbers_that_are_cut_short_are_not_read_as_narrower_ones() {
    let ids: Vec<u32> = (1..41).map(|n| n * 3571 % 128_256).collect();
    assert!(ids.iter().any(|id| *id > 65_535));
    for (format, vocab_size, cut) in
        [(TokenFormat::U32, 128_256, 2), (TokenFormat::I64, 128_256, 4), (TokenFormat::U32, 100_000, 0)]
    {
        let file = bytes(&ids, format);
        let said = read(&file[..file.len() - cut], vocab_size, None).unwrap_err();
        assert!(said.contains("every second id is below 16") && said.contains("`token_format`"), "{said}");
    }
    let file = bytes(&ids, TokenFormat::U32);
    insta::assert_snapshot!(read(&file[..158], 128_256, None).unwrap_err().split(" | ").next().unwrap(), @"FILE: read as u16, every second id is below 16, as in no text; it looks like u32 cut short, 2 bytes into a number");
    insta::assert_snapshot!(read(&file, 100_000, None).unwrap_err().split(" | ").next().unwrap(), @"FILE: read as u16, every second id is below 16, as in no text; read as u32, token 103559 at position 28 is outside the vocabulary of 100000");
    assert_eq!(read(&file[..158], 128_256, Some(TokenFormat::U16)).unwrap().len(), 79, "who says so gets it");
}

#[test]
fn the_format_that_was_read_is_told() {
    let ids: Vec<u32> = (1..41).map(|n| n * 7 % 300).collect();
    let format = |bytes: &[u8]| token_file(Path::new("FILE"), bytes, 300, None).unwrap().format;
    for of in TokenFormat::ALL {
        assert_eq!(format(&bytes(&ids, of)), of.name());
    }
    assert_eq!((format(b"\xef\xbb\xbf[1, 2]"), format(&npy("<u2", "1,", &[1, 0]))), ("JSON", "npy"));
    for none in [b"[]".to_vec(), npy("<u2", "0,", &[])] {
        let said = read(&none, 300, None).unwrap_err();
        assert_eq!(said, "FILE: it holds no tokens | name a file with token ids");
    }
}

#[test]
fn ids_and_sizes_are_checked() {
    assert_eq!(read(&[1, 0, 43, 1], 300, None).unwrap(), [1, 299]);
    insta::assert_snapshot!(read(&[1, 0, 2], 300, None).unwrap_err(), @"FILE: its 3 bytes are no whole number of 16-bit tokens | the file was made with another tokenizer, is cut short, or is not a token file");
    insta::assert_snapshot!(read(&[1, 0, 44, 1], 300, None).unwrap_err(), @"FILE: read as u16, token 300 at position 1 is outside the vocabulary of 300; read as u32, token 19660801 at position 0 is outside the vocabulary of 300 | the file was made with another tokenizer, is cut short, or is not a token file");
    let padded = [1i64, 2, -100].map(i64::to_le_bytes).concat();
    insta::assert_snapshot!(read(&padded, 300, Some(TokenFormat::I64)).unwrap_err(), @"FILE: read as i64, token -100 at position 2 is outside the vocabulary of 300 | the file was made with another tokenizer, is cut short, or is not a token file");
    assert!(read(b"", 300, None).unwrap_err().starts_with("FILE: it holds no tokens"));
}

#[test]
fn what_is_no_token_file_is_named() {
    let say = |bytes: &[u8]| read(bytes, 128_256, None).unwrap_err();
    insta::assert_snapshot!(say(b"It was the best of times."), @"FILE: it holds text, not token ids | give text as `file`, or say with `token_format` how these are ids");
    insta::assert_snapshot!(say(b"PK\x03\x04 and so on"), @"FILE: it is a zip archive (.npz, .pt), not a token file | give a file of ids as numbers of 16, 32 or 64 bits, .npy or JSON; text is given as `file`");
    let mut random = 1u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 40) as u8
    })
    .take(8192)
    .collect();
    let said = say(&noise);
    assert!(said.contains("ids are different, as in no text"), "{said}");
}

#[test]
fn json_and_numpy_are_read() {
    assert_eq!(read(b"[1, 2, 299]", 300, None).unwrap(), [1, 2, 299]);
    assert_eq!(read(br#"{"input_ids": [[1, 2, 299]]}"#, 300, None).unwrap(), [1, 2, 299]);
    insta::assert_snapshot!(read(b"[1, 2, 300]", 300, None).unwrap_err().split(" | ").next().unwrap(), @"FILE: token 300 at position 2 is outside the vocabulary of 300");
    let ids = [1u32, 2, 299];
    for (kind, format) in [("<u2", TokenFormat::U16), ("<u4", TokenFormat::U32), ("<i8", TokenFormat::I64)] {
        for shape in ["3,", "1, 3"] {
            assert_eq!(read(&npy(kind, shape, &bytes(&ids, format)), 300, None).unwrap(), ids, "{kind}");
        }
    }
    let say = |file: &[u8]| read(file, 300, None).unwrap_err().split(" | ").next().unwrap().to_owned();
    insta::assert_snapshot!(say(&npy("<f4", "3,", &[0; 12])), @"FILE: its numbers are `<f4`, not whole numbers lowest byte first");
    insta::assert_snapshot!(say(&npy("<u2", "1, 2, 3", &[0; 12])), @"FILE: its shape (1, 2, 3) is not one of rows");
    insta::assert_snapshot!(say(&npy("<u2", "3,", &[0; 5])), @"FILE: 3 numbers of 2 bytes are not the 5 bytes it has");
    insta::assert_snapshot!(say(b"\x93NUMPY\x01"), @"FILE: its header is cut short");
}

#[test]
fn rows_are_documents() {
    let documents = |file: &[u8]| token_file(Path::new("FILE"), file, 300, None).map(|file| file.documents);
    let rows = vec![vec![1, 2, 3], vec![4, 5, 6]];
    for text in
        ["[[1, 2, 3], [4, 5, 6]]", "{\"input_ids\": [[1, 2, 3], [4, 5, 6]]}", "[1, 2, 3]\n{\"tokens\": [4, 5, 6]}\n"]
    {
        assert_eq!(documents(text.as_bytes()).unwrap(), rows, "{text}");
    }
    assert_eq!(documents(&npy("<u4", "2, 3", &bytes(&[1, 2, 3, 4, 5, 6], TokenFormat::U32))).unwrap(), rows);
    let say = |text: &str| documents(text.as_bytes()).unwrap_err().to_string();
    assert!(
        say("[[1, 2], [3, 999]]").contains("row 2: token 999 at position 1 is outside"),
        "{}",
        say("[[1, 2], [3, 999]]")
    );
    assert!(say("[1, 2]\n[3, \"x\"]\n").contains("value 2: the text \"x\" at position 1 is no token id"));
}

proptest! {
    #[test]
    fn any_bytes_are_ids_of_the_vocabulary_or_refused(bytes: Vec<u8>, vocab_size in 1..200_000usize, which in 0..4usize) {
        if let Ok(ids) = read(&bytes, vocab_size, TokenFormat::ALL.get(which).copied()) {
            prop_assert!(!ids.is_empty() && ids.iter().all(|id| (*id as usize) < vocab_size));
        }
    }

    #[test]
    fn any_header_of_numpy_is_read_or_refused(kind in "[<>|][a-z][0-9]?", shape in "[0-9, ]{0,24}", data: Vec<u8>, cut in 0..80usize) {
        let file = npy(&kind, &shape, &data);
        let _ = read(&file, 300, None);
        let _ = read(&file[..cut.min(file.len())], 300, None);
    }
}
