//! Arrays as a `.npz` file, which `numpy.load` reads.

use std::io::{self, Cursor};

use npyz::WriterBuilder;
use npyz::npz::NpzWriter;
use npyz::zip::DateTime;
use npyz::zip::write::FileOptions;

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

/// The bytes of a `.npz` file with these arrays, and what they are in the array `about` (UTF-8 bytes).
pub fn bytes(arrays: &[Array], about: &str) -> io::Result<Vec<u8>> {
    let mut file = Cursor::new(Vec::new());
    // the same arrays are the same bytes, whenever they are written
    let options = FileOptions::default().last_modified_time(DateTime::default());
    {
        let mut npz = NpzWriter::new(&mut file);
        for array in arrays {
            let shape: Vec<u64> = array.shape.iter().map(|n| *n as u64).collect();
            let mut writer = npz.array(&array.name, options)?.default_dtype().shape(&shape).begin_nd()?;
            writer.extend(array.data.iter().copied())?;
            writer.finish()?;
        }
        let mut writer = npz.array("about", options)?.default_dtype().shape(&[about.len() as u64]).begin_nd()?;
        writer.extend(about.bytes())?;
        writer.finish()?;
    }
    Ok(file.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let arrays = [Array::new("map", &[2, 3], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.5]), Array::list("nll", vec![1.5])];
        let bytes = bytes(&arrays, "full").unwrap();
        let mut npz = npyz::npz::NpzArchive::new(Cursor::new(bytes)).unwrap();
        let map = npz.by_name("map").unwrap().unwrap();
        assert_eq!(map.shape(), [2, 3]);
        assert_eq!(map.into_vec::<f32>().unwrap(), arrays[0].data);
        let about = npz.by_name("about").unwrap().unwrap();
        assert_eq!(about.into_vec::<u8>().unwrap(), b"full");
    }
}
