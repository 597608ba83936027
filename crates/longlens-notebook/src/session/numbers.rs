//! Functions of numbers that the language has for floats alone, for whole numbers too: `sqrt(2)` is what it is anywhere. And `log` of one
//! number is the natural logarithm, as in Python and its libraries: Rhai's own has the base 10, and nobody would notice.

use rhai::{Engine, FLOAT, INT};

/// A function of one number, and one of two.
type OfOne = fn(FLOAT) -> FLOAT;
type OfTwo = fn(FLOAT, FLOAT) -> FLOAT;

/// Functions of one number.
const OF_ONE: [(&str, OfOne); 20] = [
    ("sqrt", FLOAT::sqrt),
    ("exp", FLOAT::exp),
    ("ln", FLOAT::ln),
    ("log", FLOAT::ln),
    ("log10", FLOAT::log10),
    ("log2", FLOAT::log2),
    ("sin", FLOAT::sin),
    ("cos", FLOAT::cos),
    ("tan", FLOAT::tan),
    ("sinh", FLOAT::sinh),
    ("cosh", FLOAT::cosh),
    ("tanh", FLOAT::tanh),
    ("asin", FLOAT::asin),
    ("acos", FLOAT::acos),
    ("atan", FLOAT::atan),
    ("asinh", FLOAT::asinh),
    ("acosh", FLOAT::acosh),
    ("atanh", FLOAT::atanh),
    ("to_radians", FLOAT::to_radians),
    ("to_degrees", FLOAT::to_degrees),
];
/// Functions of two numbers.
const OF_TWO: [(&str, OfTwo); 3] = [("log", FLOAT::log), ("atan", FLOAT::atan2), ("hypot", FLOAT::hypot)];
/// What a whole number is as it stands.
const AS_IT_IS: [&str; 4] = ["floor", "ceiling", "round", "int"];

/// Teaches an engine all of them.
pub fn register(engine: &mut Engine) {
    for (name, of) in OF_ONE {
        engine.register_fn(name, move |x: INT| of(x as FLOAT));
    }
    for (name, of) in OF_TWO {
        engine.register_fn(name, move |x: INT, y: INT| of(x as FLOAT, y as FLOAT));
        engine.register_fn(name, move |x: INT, y: FLOAT| of(x as FLOAT, y));
        engine.register_fn(name, move |x: FLOAT, y: INT| of(x, y as FLOAT));
    }
    for name in AS_IT_IS {
        engine.register_fn(name, |x: INT| x);
    }
    engine.register_fn("fraction", |_: INT| 0.0);
    engine.register_fn("is_nan", |_: INT| false);
    engine.register_fn("is_infinite", |_: INT| false);
    engine.register_fn("is_finite", |_: INT| true);
}
