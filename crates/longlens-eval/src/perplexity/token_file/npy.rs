//! `.npy`: one array, as `numpy.save` writes it.

/// What begins such a file.
const MAGIC: &[u8] = b"\x93NUMPY";

/// The whole numbers of every row; `None` where this is no such file, an error where it holds something else.
pub fn numbers(bytes: &[u8]) -> Option<Result<Vec<Vec<i64>>, String>> {
    bytes.strip_prefix(MAGIC).map(read)
}

fn read(rest: &[u8]) -> Result<Vec<Vec<i64>>, String> {
    let cut = || "its header is cut short".to_owned();
    let (version, rest) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
    let (header_len, rest) = match version[0] {
        1 => rest.split_first_chunk::<2>().map(|(len, rest)| (usize::from(u16::from_le_bytes(*len)), rest)),
        _ => rest.split_first_chunk::<4>().map(|(len, rest)| (u32::from_le_bytes(*len) as usize, rest)),
    }
    .ok_or_else(cut)?;
    let (header, data) = rest.split_at_checked(header_len).ok_or_else(cut)?;
    let header = String::from_utf8_lossy(header);
    let kind = field(&header, "descr").and_then(|text| text.split('\'').nth(1)).unwrap_or_default();
    let shape = field(&header, "shape").and_then(|text| text.split(['(', ')']).nth(1)).unwrap_or_default();
    let sizes: Option<Vec<usize>> =
        shape.split(',').map(str::trim).filter(|size| !size.is_empty()).map(|size| size.parse().ok()).collect();
    let (n_rows, n_columns) = match sizes.as_deref() {
        // a column is a row that was not laid flat
        Some([n] | [n, 1]) => (1, *n),
        Some([rows, n]) => (*rows, *n),
        _ => return Err(format!("its shape ({}) is not one of rows", shape.chars().take(40).collect::<String>())),
    };
    let in_columns = field(&header, "fortran_order").is_some_and(|said| said.trim_start().starts_with("True"));
    if in_columns && n_rows > 1 && n_columns > 1 {
        return Err("its numbers stand column by column (`numpy.ascontiguousarray` puts them row by row)".to_owned());
    }
    let n_numbers = n_rows.checked_mul(n_columns).ok_or("its shape is no shape")?;
    let number: fn(&[u8]) -> i64 = match kind {
        "|u1" => |bytes| bytes[0].into(),
        "|i1" => |bytes| bytes[0].cast_signed().into(),
        "<i2" => |bytes| i16::from_le_bytes([bytes[0], bytes[1]]).into(),
        "<u2" => |bytes| u16::from_le_bytes([bytes[0], bytes[1]]).into(),
        "<u4" => |bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]).into(),
        "<i4" => |bytes| i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]).into(),
        "<i8" | "<u8" => |bytes| i64::from_le_bytes(std::array::from_fn(|at| bytes[at])),
        other => {
            let other: String = other.chars().take(20).collect();
            return Err(format!("its numbers are `{}`, not whole numbers lowest byte first", other.escape_debug()));
        }
    };
    let width = usize::from(kind.as_bytes()[2] - b'0');
    if n_numbers.checked_mul(width) != Some(data.len()) {
        return Err(format!("{n_numbers} numbers of {width} bytes are not the {} bytes it has", data.len()));
    }
    let numbers: Vec<i64> = data.chunks_exact(width).map(number).collect();
    Ok(if n_columns == 0 { Vec::new() } else { numbers.chunks(n_columns).map(<[i64]>::to_vec).collect() })
}

/// What stands behind a name in the header, a literal of Python.
fn field<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = header.split_once(&format!("'{name}':"))?;
    Some(after)
}
