//! The conformance kit of FIXP, the *Free Information eXchange Protocol* of the Laxcus big-data system.
//!
//! *What every implementation must do*, as data: vectors of bytes and values, most of them recorded from the
//! programs that speak FIXP, each with the rules of docs/SPEC.md it tests and a map of its bytes. And a
//! runner that holds an implementation in any language to them.
//!
//! # Using the vectors in a test
//!
//! ```
//! for vector in conformance_vectors::all().expect("the vectors of this crate can be read") {
//!     // vector.hex, vector.value, vector.class ...
//!     # assert!(!vector.id.is_empty());
//! }
//! ```
//!
//! # Judging an implementation
//!
//! The implementation is a program that speaks the testee protocol (see [`protocol`]) over its standard input
//! and output:
//!
//! ```no_run
//! use conformance_vectors::runner::{Program, Runner, Target};
//!
//! let vectors = conformance_vectors::all()?;
//! let report = Runner::new(Target::Command(Program::new("python3").arg("testee.py"))).run(&vectors)?;
//! print!("{}", report.text(false));
//! std::process::exit(report.exit().code().into());
//! # #[allow(unreachable_code)]
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Making one's own implementation a testee
//!
//! Copy the Python testee beside the vectors, or in Rust see [`testee`].

mod answerer;
mod calls;
pub mod check;
mod codec;
mod compare;
pub mod exit;
mod judge;
pub mod known;
mod lines;
pub mod load;
mod process;
pub mod protocol;
pub mod report;
pub mod runner;
pub mod select;
pub mod testee;
pub mod vector;
pub mod verdict;

pub use fixp_codec::Policy;
pub use load::{LoadError, all, files, parse};
pub use vector::{Class, Kind, Vector};

/// The examples of the README compile. (Those of the repository's are compiled by `fixp-transport`.)
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
