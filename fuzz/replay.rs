//! The replay of the committed corpora, a part of the tests of each crate with fuzz targets.

type Property = fn(&[u8]);

/// The corpora of the fuzzers, `fuzz/corpus/TARGET`, each file through its target's property.
pub(crate) fn corpora(targets: &[(&str, Property)]) {
    for &(target, property) in targets {
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
