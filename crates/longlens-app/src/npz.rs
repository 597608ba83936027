//! Arrays as a `.npz` file, which `numpy.load` reads.

use std::io::{self, Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{DateTime, ZipWriter};

/// A named array of numbers, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Its name in the file.
    pub name: String,
    /// Its shape; the product is the count of `data`.
    pub shape: Vec<usize>,
    /// The numbers.
    pub data: Vec<f32>,
}

impl Array {
    /// An array; panics when the shape does not hold the data.
    pub fn new(name: impl Into<String>, shape: &[usize], data: Vec<f32>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "the shape {shape:?} holds the data");
        Self { name: name.into(), shape: shape.to_vec(), data }
    }

    /// A list of numbers.
    pub fn list(name: impl Into<String>, data: Vec<f32>) -> Self {
        Self::new(name, &[data.len()], data)
    }
}

/// The bytes of a `.npz` file with these arrays, and what they are in the array `about` (UTF-8 bytes). The same arrays
/// make the same bytes: every entry is dated 1980-01-01, where zip's calendar begins.
pub fn bytes(arrays: &[Array], about: &str) -> io::Result<Vec<u8>> {
    let options = SimpleFileOptions::default().last_modified_time(DateTime::default());
    let mut npz = ZipWriter::new(Cursor::new(Vec::new()));
    for array in arrays {
        npz.start_file(format!("{}.npy", array.name), options)?;
        npz.write_all(&header("<f4", &array.shape))?;
        npz.write_all(&array.data.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())?;
    }
    npz.start_file("about.npy", options)?;
    npz.write_all(&header("|u1", &[about.len()]))?;
    npz.write_all(about.as_bytes())?;
    Ok(npz.finish()?.into_inner())
}

/// What stands before the numbers of one array: version 1.0 of the `.npy` format (numpy.lib.format), row-major.
fn header(dtype: &str, shape: &[usize]) -> Vec<u8> {
    // a tuple of one has a comma as well
    let shape: Vec<String> = shape.iter().map(|n| format!("{n},")).collect();
    let fields = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({}), }}", shape.join(" "));
    // magic, version and length take 10 bytes; with the line's end the numbers start at a multiple of 64
    let n_bytes = (10 + fields.len() + 1).next_multiple_of(64) - 10;
    let len = u16::try_from(n_bytes).expect("a shape is a few numbers");
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend(len.to_le_bytes());
    header.extend(format!("{fields:<width$}\n", width = n_bytes - 1).bytes());
    header
}

#[cfg(test)]
mod tests {
    use npyz::{NpyFile, Order};
    use zip::ZipArchive;

    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let arrays = [Array::new("map", &[2, 3], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.5]), Array::list("nll", vec![1.5])];
        let bytes = bytes(&arrays, "full").unwrap();
        let mut npz = ZipArchive::new(Cursor::new(bytes)).unwrap();
        let map = NpyFile::new(npz.by_name("map.npy").unwrap()).unwrap();
        assert_eq!(map.shape(), [2, 3]);
        assert_eq!(map.into_vec::<f32>().unwrap(), arrays[0].data);
        let nll = NpyFile::new(npz.by_name("nll.npy").unwrap()).unwrap();
        assert_eq!((nll.shape(), nll.order()), (&[1][..], Order::C));
        assert_eq!(nll.into_vec::<f32>().unwrap(), arrays[1].data);
        let about = NpyFile::new(npz.by_name("about.npy").unwrap()).unwrap();
        assert_eq!(about.into_vec::<u8>().unwrap(), b"full");
    }

    #[test]
    fn no_entry_says_when_it_was_written() {
        let bytes = bytes(&[Array::list("nll", vec![1.5])], "full").unwrap();
        let mut npz = ZipArchive::new(Cursor::new(bytes)).unwrap();
        for index in 0..npz.len() {
            let entry = npz.by_index(index).unwrap();
            assert_eq!(entry.last_modified(), Some(DateTime::default()), "{}", entry.name());
            assert_eq!(entry.extra_data(), Some(&[][..]), "{}", entry.name());
        }
    }

    #[test]
    fn numbers_start_at_a_multiple_of_64() {
        for n_dims in 0..40 {
            assert_eq!(header("<f4", &vec![7; n_dims]).len() % 64, 0, "{n_dims}");
        }
        assert!(header("<f4", &[3]).ends_with(b" \n"));
    }
}
