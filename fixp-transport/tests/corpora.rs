//! The corpora of the fuzzers are replayed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fixp_transport::properties;

/// The corpora of the fuzzers, `fuzz/corpus/TARGET`, each file through its target's property.
#[test]
fn corpora_of_the_fuzzers() {
    for (target, property) in properties::TARGETS {
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
        let files =
            std::fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
        let mut count = 0;
        for file in files {
            let file = file.unwrap().path();
            eprintln!("{}", file.display());
            property(&std::fs::read(file).unwrap());
            count += 1;
        }
        assert!(count > 20, "the corpus of {target} has {count} files");
    }
}
