#!/usr/bin/env bash
# Greylisting with ten million triplets in the embedded store: decisions a second, their latency, memory and disk. Writes
# target/bench/greylist.jsonl. Takes some 3 GB of disk in $TMPDIR and, with ten million, some minutes.
# Variables: TRIPLETS (10000000), ROUND (200000: decisions of each later round), AT_ONCE (64), THREADS (2).
. "$(dirname "$0")/lib.sh"

(cd "$REPO" && cargo build --release -q -p gatepost-bench)
results=$OUT/greylist.jsonl
: >"$results"
"$BENCH" --threads "${THREADS:-2}" greylist --triplets "${TRIPLETS:-10000000}" --round "${ROUND:-200000}" \
    --at-once "${AT_ONCE:-64}" --folder "$RUN" --results "$results"
