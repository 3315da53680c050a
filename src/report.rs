//! How results are shown: tables, trees, sizes, JUnit.
//!
//! Facts in, text out; only [`out`] touches standard output.

pub mod junit;
pub mod out;
pub mod table;
pub mod tree;
pub mod units;
