//! The codec of this project as a testee, for a runner to start:
//!
//! ```text
//! cargo run --example testee            compatible
//! cargo run --example testee -- strict
//! ```

use std::env;
use std::io::{self, BufWriter};

use conformance_vectors::Policy;
use conformance_vectors::testee::serve;

fn main() -> io::Result<()> {
    let strict = env::args().nth(1).is_some_and(|policy| policy == "strict");
    let policy = if strict { Policy::Strict } else { Policy::Compatible };
    serve(policy, io::stdin().lock(), BufWriter::new(io::stdout().lock()))
}
