#!/usr/bin/env bash
# Installs whatever the tests need and runs them all. On a new machine some minutes, mostly compiling.
#
#   FUZZ_SECONDS=N  how long each fuzz target runs (default 10); fuzz/run is for longer runs
#   FIXP_SEED=N     the seed of the property tests (default: a fixed one, printed)
set -euo pipefail
cd "$(dirname "$0")"

# Nothing is built twice here, and what incremental builds keep takes gigabytes.
export CARGO_INCREMENTAL=0

step() { printf '\n== %s\n' "$*"; }

step "what the tests need"
need() { # program, Debian package
    command -v "$1" >/dev/null && return
    echo "installing $2"
    local sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    $sudo apt-get install -qq -y --no-install-recommends "$2" >/dev/null
}
need cc gcc
need python3 python3
need valgrind valgrind
need ip iproute2 # the test of two hosts in network namespaces
rustc --version
rustc +nightly --version 2>/dev/null || rustup toolchain install --profile minimal nightly # for libFuzzer
cargo fuzz --version 2>/dev/null || cargo install --quiet --locked cargo-fuzz

step "form, lints, documentation"
cargo fmt --all --check
cargo clippy --quiet --workspace --all-targets --all-features -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --all-features --no-deps

step "the oldest compiler that is promised"
msrv=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
if rustc --version | grep -q "^rustc $msrv\."; then
    cargo=cargo
else
    rustup run "$msrv" rustc --version 2>/dev/null || rustup toolchain install --profile minimal "$msrv"
    cargo="rustup run $msrv cargo"
fi
CARGO_TARGET_DIR=target/msrv $cargo check --quiet --workspace --all-features --locked

step "the codec with each feature alone"
for feature in "" nom serde zlib rpc-lexst1 rpc-laxcus6 arbitrary proptest; do
    cargo clippy --quiet -p fixp-codec --no-default-features --features "$feature" -- -D warnings
done

step "the transport with each feature alone"
for feature in "" config tower; do
    cargo clippy --quiet -p fixp-transport --no-default-features --features "$feature" -- -D warnings
done

step "remote calls with each feature alone"
for feature in "" tower lexst1 laxcus6; do
    cargo clippy --quiet -p fixp-rpc --no-default-features --features "$feature" -- -D warnings
done

step "tests"
cargo test --workspace --all-features --locked

step "the conformance suite, by our codec and by the Python testee"
cargo build --quiet --release --locked -p fixp-cli
target/release/fixp conformance
echo
echo "with the strict policy:"
target/release/fixp conformance --policy strict | tail -n 1
echo
echo "over a compiled testee, in under 2 s:"
timeout 2 target/release/fixp conformance --testee "target/release/fixp testee" | tail -n 1
echo
echo "over the Python testee:"
target/release/fixp conformance --testee "python3 conformance-vectors/testees/python/testee.py" | tail -n 1

step "an entity is never touched: instructions counted by callgrind"
./fixp-codec/tests/instructions.sh

step "fuzzing, ${FUZZ_SECONDS:-10} s a target"
fuzz/run "${FUZZ_SECONDS:-10}"

step "all passed"
