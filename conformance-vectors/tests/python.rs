//! The example testee in Python: another implementation, in another language, that must agree with ours on
//! every vector.

use std::path::PathBuf;

use conformance_vectors::exit::Exit;
use conformance_vectors::report::Report;
use conformance_vectors::runner::{Program, Runner, Target};
use conformance_vectors::{Policy, all};

fn run(policy: Policy, name: &str) -> Report {
    let testee = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testees/python/testee.py");
    let program = Program::new("python3").arg(testee).args(["--policy", name]);
    let vectors = all().expect("the vectors of this crate can be read");
    Runner::new(Target::Command(program)).expect_exact(policy).run(&vectors).expect("python3 runs the testee")
}

/// Under each policy the two implementations give the same answer to every vector: for the built-in codec,
/// the same is tested with the vectors themselves.
#[test]
fn it_does_exactly_what_its_policy_says() {
    for (policy, name) in [(Policy::Strict, "strict"), (Policy::Compatible, "compatible")] {
        let report = run(policy, name);
        assert_eq!(report.exit(), Exit::Passed, "{name}\n{}", report.text(false));
        let unexpected: Vec<_> = report
            .skip_reasons()
            .into_iter()
            .filter(|(reason, _)| {
                !reason.starts_with("the protocol has no operation for kind ")
                    && ![
                        "a note, nothing to run",
                        "the testee has no operation split or join",
                        "decode: not implemented",
                        "encode: not implemented",
                        "decode: not implemented; encode: not implemented",
                    ]
                    .contains(reason)
            })
            .collect();
        assert_eq!(unexpected, [], "{name}");
        assert!(report.total().passed > 2000, "{name}: {:?}", report.total());
    }
}
