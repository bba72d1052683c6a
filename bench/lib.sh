# Helpers of the scripts in this folder; sourced, not run.
# Every server that a script starts gets a free loopback port and a folder of its own under $RUN, is waited for, and is
# stopped by its own process id when the script ends.
set -euo pipefail

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
OUT=${OUT:-$REPO/target/bench}
CACHE=${GATEPOST_BENCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/gatepost-bench}
CORPUS=${CORPUS:-$CACHE/spam-assassin}
BENCH=${BENCH:-${CARGO_TARGET_DIR:-$REPO/target}/release/gatepost-bench}
GATEPOST=${GATEPOST:-${CARGO_TARGET_DIR:-$REPO/target}/release/gatepost}
RUN=$(mktemp -d "${TMPDIR:-/tmp}/gatepost-bench.XXXXXX")
chmod 755 "$RUN"
mkdir -p "$OUT"
PIDS=()

say() { printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Stops what was started, last first.
finish() {
    local status=$? pid at
    for ((at = ${#PIDS[@]} - 1; at >= 0; at--)); do
        pid=${PIDS[at]}
        kill "$pid" 2>/dev/null || continue
    done
    for pid in "${PIDS[@]:-}"; do
        [ -n "$pid" ] || continue
        for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
        kill -9 "$pid" 2>/dev/null || true
    done
    [ "${KEEP:-0}" = 1 ] && say "kept: $RUN" || rm -rf "$RUN"
    return $status
}
trap finish EXIT
trap 'exit 130' INT TERM

# A port nobody listens on. Ports below the range for outgoing connections, so that none of those takes it meanwhile.
free_port() {
    local port
    for _ in $(seq 200); do
        port=$((20000 + RANDOM % 12000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    die "no free port found"
}

# wait_port PORT SECONDS PID: until somebody answers; an end of the process ends the wait.
wait_port() {
    local port=$1 pid=$3 end=$((SECONDS + $2))
    until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        kill -0 "$pid" 2>/dev/null || die "process $pid ended before it answered on port $port; see $RUN (KEEP=1)"
        [ $SECONDS -lt "$end" ] || die "nothing answers on port $port after $2 s"
        sleep 0.2
    done
}

# stop PID: ends one server that was started here and waits for it.
stop() {
    kill "$1" 2>/dev/null || return 0
    for _ in $(seq 100); do kill -0 "$1" 2>/dev/null || return 0; sleep 0.1; done
    kill -9 "$1" 2>/dev/null || true
}

need() { command -v "$1" >/dev/null || die "$1 is not installed ($2)"; }

need_bench() {
    [ -x "$BENCH" ] || (cd "$REPO" && cargo build --release -q -p gatepost-bench)
    [ -d "$CORPUS" ] || "$REPO/bench/corpus.sh" >&2
}

# start_sink: sets SINK_PORT, SINK_PID.
start_sink() {
    SINK_PORT=$(free_port)
    "$BENCH" sink --listen "127.0.0.1:$SINK_PORT" "$@" >"$RUN/sink.out" 2>&1 &
    SINK_PID=$!
    PIDS+=("$SINK_PID")
    wait_port "$SINK_PORT" 10 "$SINK_PID"
}

# start_relay TARGET_PORT: sets RELAY_PORT, RELAY_PID.
start_relay() {
    RELAY_PORT=$(free_port)
    "$BENCH" relay --listen "127.0.0.1:$RELAY_PORT" --target "127.0.0.1:$1" >"$RUN/relay.out" 2>&1 &
    RELAY_PID=$!
    PIDS+=("$RELAY_PID")
    wait_port "$RELAY_PORT" 10 "$RELAY_PID"
}

# Process ids of a process and all below it.
family() {
    local child
    echo "$1"
    for child in $(cat "/proc/$1/task/"*/children 2>/dev/null); do family "$child"; done
}

# cpu_ms PID: processor time of a process, those below it, and those that it has waited for.
cpu_ms() {
    local pid
    for pid in $(family "$1"); do
        sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null || true
    done | awk -v hz="$(getconf CLK_TCK)" '{ t += $12 + $13 + $14 + $15 } END { printf "%d", t * 1000 / hz }'
}

# rss_kb PID: resident memory of a process and those below it; pages that they share are counted once (Pss).
rss_kb() {
    local pid
    for pid in $(family "$1"); do
        cat "/proc/$pid/smaps_rollup" 2>/dev/null || true
    done | awk '/^Pss:/ { s += $2 } END { printf "%d", s }'
}

# measure NAME PORT PID [LOAD ARGUMENTS]: one run; appends the JSON of the load, with processor time and memory of the
# server, to $OUT/results.jsonl.
measure() {
    local name=$1 port=$2 pid=$3 before after json
    shift 3
    before=$(cpu_ms "$pid")
    "$BENCH" load --name "$name" --target "127.0.0.1:$port" "$@" >"$RUN/load.out"
    after=$(cpu_ms "$pid")
    tail -n1 "$RUN/load.out" >&2
    json=$(head -n1 "$RUN/load.out")
    json="${json%\}},\"server_cpu_ms\":$((after - before)),\"server_pss_kb\":$(rss_kb "$pid"),\"round\":${round:-0}}"
    printf '%s\n' "$json" | tee -a "$OUT/results.jsonl"
}
