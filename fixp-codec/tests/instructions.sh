#!/bin/sh
# Shows that decoding never touches the entity: a packet with one of 64 bytes and a packet with one of
# 64 KiB take the same number of instructions. Counted by callgrind inside the decode function alone.
#
# exit 0: the same; 1: not the same; 2: it could not be counted; 77: there is no valgrind here.
set -eu
cd "$(dirname "$0")/.."

if ! command -v valgrind >/dev/null; then
    echo "skipped: no valgrind"
    exit 77
fi

cargo build --quiet --release --locked --example instructions || exit 2
program=${CARGO_TARGET_DIR:-../target}/release/examples/instructions

# count POLICY ENTITY LENGTH: the instructions of one decode of a packet whose entity has so many bytes
# and whose CONTENT_LENGTH takes so many.
count() {
    found=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='*decode_counted*' \
        "$program" "$@" 2>&1 | sed -n 's/.*Collected : *\([0-9][0-9]*\).*/\1/p')
    if [ -z "$found" ] || [ "$found" -eq 0 ]; then
        echo "callgrind counted nothing for: $*" >&2
        return 1
    fi
    echo "$found"
}

status=0
# same POLICY ENTITY ENTITY: both lengths in three bytes, so that the heads differ in nothing but the number.
same() {
    small=$(count "$1" "$2" 3) || exit 2
    large=$(count "$1" "$3" 3) || exit 2
    verdict=same
    if [ "$small" -ne "$large" ]; then
        verdict="NOT THE SAME"
        status=1
    fi
    printf '%-11s entity of %7s bytes: %5s instructions; of %7s bytes: %5s; difference %s: %s\n' \
        "$1" "$2" "$small" "$3" "$large" "$((large - small))" "$verdict"
}

# 64 in three bytes is `40 00 00`, padded; a compatible reader takes it (SPEC 4.2).
same compatible 64 65536
# A strict reader does not, so it is shown the shortest and the longest number of three bytes.
same strict 65536 16777215

# As a writer would write it: 64 takes one byte and 65536 three. The number is read by another branch,
# so a few instructions may differ either way; none of them is about the entity.
small=$(count compatible 64 1) || exit 2
large=$(count compatible 65536 3) || exit 2
printf 'canonical   entity of %7s bytes: %5s instructions; of %7s bytes: %5s; difference %s: the longer number\n' \
    64 "$small" 65536 "$large" "$((large - small))"
if [ "$((large - small))" -gt 16 ] || [ "$((small - large))" -gt 16 ]; then
    echo "NOT just the longer number"
    status=1
fi
exit "$status"
