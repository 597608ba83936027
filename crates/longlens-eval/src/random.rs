//! The random numbers of the evaluation scripts: Python's `random` and NumPy's `numpy.random`, number for number.
//!
//! Both draw from a Mersenne twister (Matsumoto and Nishimura, 1998) and differ in how they seed it and in what they make of its
//! outputs. Scripts that draw prompts, keys and places from them can so be repeated to the byte.

mod numpy;
mod python;
#[cfg(test)]
mod tests;
mod twister;

pub use numpy::NumPy;
pub use python::Python;
pub use twister::MersenneTwister;
