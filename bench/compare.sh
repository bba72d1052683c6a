#!/usr/bin/env bash
# gatepost and its peers on the same messages in one run, on this machine. Writes target/bench/compare.md and .json.
# Variables: ROUNDS (3): the peers take turns so many times, the best of them counts. MANY (0): so many messages are
# sent to one gatepost to see its memory afterwards. GATEPOST_CONCURRENCY, PEERS.
. "$(dirname "$0")/lib.sh"
. "$REPO/bench/peers/clamd.sh"
. "$REPO/bench/peers/clamsmtp.sh"
. "$REPO/bench/peers/amavis.sh"
. "$REPO/bench/gatepost.sh"

ROUNDS=${ROUNDS:-3}
MANY=${MANY:-0}
PEERS=${PEERS:-relay gatepost-none gatepost-embedded gatepost clamsmtp amavis}

need_bench
case "$PEERS" in *gatepost*) need_gatepost ;; esac
: >"$OUT/results.jsonl"
start_sink
start_clamd

# load NAME PORT PID [ARGUMENTS]: the corpus with what all runs share.
load() {
    local name=$1 port=$2 pid=$3
    shift 3
    measure "$name" "$port" "$pid" --corpus "$CORPUS" "$@" >/dev/null
}

# half_of NAME: half of the most messages a second that NAME reached so far.
half_of() {
    python3 "$REPO/bench/report.py" half "$1" "$OUT/results.jsonl"
}

one_round() {
    local peer concurrency
    for peer in $PEERS; do
        case $peer in
        relay)
            start_relay "$SINK_PORT"
            load relay "$RELAY_PORT" "$RELAY_PID" --messages 20000 --warmup 500 --concurrency 16 --pipelining
            stop "$RELAY_PID"
            ;;
        gatepost-none | gatepost-embedded | gatepost)
            local kind=${peer#gatepost}
            kind=${kind#-}
            for concurrency in ${GATEPOST_CONCURRENCY:-16}; do
                start_gatepost "${kind:-full}" "$SINK_PORT" "$CLAMD_SOCKET"
                load "$peer" "$GATEPOST_PORT" "$GATEPOST_PID" --messages 12092 --warmup 500 --concurrency "$concurrency" --pipelining
                stop "$GATEPOST_PID"
            done
            ;;
        clamsmtp)
            # It waits for delayed acknowledgements, so it needs many connections to show what it can do.
            for concurrency in 16 32 64; do
                start_clamsmtp "$SINK_PORT" "$CLAMD_SOCKET"
                load clamsmtp "$CLAMSMTP_PORT" "$CLAMSMTP_PID" --messages 6046 --warmup 200 --concurrency "$concurrency"
                stop "$CLAMSMTP_PID"
            done
            ;;
        amavis)
            start_amavis "$SINK_PORT" "$CLAMD_SOCKET"
            load amavis "$AMAVIS_PORT" "$AMAVIS_PID" --messages 1000 --warmup 50 --concurrency "${AMAVIS_SERVERS:-2}"
            stop "$AMAVIS_PID"
            ;;
        esac
    done
}

# Latency of each at half of what it reached.
half_load() {
    local rate
    case " $PEERS " in *" gatepost "*)
        rate=$(half_of gatepost)
        start_gatepost full "$SINK_PORT" "$CLAMD_SOCKET"
        load gatepost-half "$GATEPOST_PORT" "$GATEPOST_PID" --messages 12092 --warmup 500 --concurrency 64 --pipelining --rate "$rate"
        stop "$GATEPOST_PID"
        ;;
    esac
    case " $PEERS " in *" clamsmtp "*)
        rate=$(half_of clamsmtp)
        start_clamsmtp "$SINK_PORT" "$CLAMD_SOCKET"
        load clamsmtp-half "$CLAMSMTP_PORT" "$CLAMSMTP_PID" --messages 3000 --warmup 200 --concurrency 64 --rate "$rate"
        stop "$CLAMSMTP_PID"
        ;;
    esac
    case " $PEERS " in *" amavis "*)
        rate=$(half_of amavis)
        start_amavis "$SINK_PORT" "$CLAMD_SOCKET"
        load amavis-half "$AMAVIS_PORT" "$AMAVIS_PID" --messages 600 --warmup 50 --concurrency "${AMAVIS_SERVERS:-2}" --rate "$rate"
        stop "$AMAVIS_PID"
        ;;
    esac
}

for ((round = 1; round <= ROUNDS; round++)); do
    say "round $round of $ROUNDS"
    one_round
done
half_load
if [ "$MANY" -gt 0 ]; then
    start_gatepost full "$SINK_PORT" "$CLAMD_SOCKET"
    load gatepost-many "$GATEPOST_PORT" "$GATEPOST_PID" --messages "$MANY" --concurrency 16 --pipelining
    stop "$GATEPOST_PID"
fi
python3 "$REPO/bench/report.py" table "$OUT/results.jsonl" "$OUT/compare.json" | tee "$OUT/compare.md"
