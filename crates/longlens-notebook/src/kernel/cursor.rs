//! Cursor positions: Jupyter counts code points, the interpreter bytes.

/// The byte where code point `cursor` of `code` begins; its end when the cursor is beyond it.
pub(super) fn byte(code: &str, cursor: usize) -> usize {
    code.char_indices().nth(cursor).map_or(code.len(), |(byte, _)| byte)
}

/// Code points of `code` that begin before byte `byte`.
pub(super) fn code_point(code: &str, byte: usize) -> usize {
    code.char_indices().take_while(|&(start, _)| start < byte).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn code_points_are_neither_bytes_nor_utf16() {
        let code = "é😀x";
        assert_eq!([0, 1, 2, 3, 4].map(|cursor| byte(code, cursor)), [0, 2, 6, 7, 7]);
        assert_eq!([0, 2, 6, 7, 99].map(|byte| code_point(code, byte)), [0, 1, 2, 3, 3]);
    }

    proptest! {
        #[test]
        fn there_and_back(code in "\\PC{0,20}", cursor in 0..30usize) {
            let byte = byte(&code, cursor);
            prop_assert!(code.is_char_boundary(byte));
            prop_assert_eq!(code_point(&code, byte), cursor.min(code.chars().count()));
        }
    }
}
