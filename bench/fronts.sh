#!/usr/bin/env bash
# Every front of gatepost beside its real peer: the same messages, the same clamd, one run, taking turns in rounds. Writes
# target/bench/fronts.md. Needs Debian's clamav-daemon, clamav-milter, clamsmtp, amavisd-new and spamd.
# Variables: ROUNDS (3), FRONTS (which of them), CROWD (200: so many milter and so many LMTP sessions at once, at the end).
. "$(dirname "$0")/lib.sh"
. "$REPO/bench/peers/clamd.sh"
. "$REPO/bench/peers/clamav-milter.sh"
. "$REPO/bench/peers/clamsmtp.sh"
. "$REPO/bench/peers/amavis.sh"
. "$REPO/bench/peers/spamd.sh"
. "$REPO/bench/gatepost.sh"

ROUNDS=${ROUNDS:-3}
CROWD=${CROWD:-200}
FRONTS=${FRONTS:-smtp milter after-queue lmtp am-pdp spamd clamd http}

need_bench
need_gatepost
: >"$OUT/results.jsonl"
start_sink
start_clamd

# start_fronts KIND: gatepost with a listener for each front, full or without checks. Sets MILTER_PORT and so on.
start_fronts() {
    local file folder
    folder=$(mktemp -d "$RUN/fronts.XXXXXX")
    file=$folder/template.toml
    SPOOL=$folder/spool
    mkdir -p "$SPOOL"
    MILTER_PORT=$(free_port) LMTP_PORT=$(free_port) AFTER_PORT=$(free_port) PDP_PORT=$(free_port)
    ASK_SPAMD_PORT=$(free_port) ASK_CLAMD_PORT=$(free_port) HTTP_PORT=$(free_port)
    # What is in force for all listeners stands before the first of them.
    gatepost_config "$1" | sed 's/^messages = 1000000$/messages = 1000000\nsessions = 2000\nsessions_per_client = 2000/' >"$file"
    cat >>"$file" <<CONF
[[listener]]
name = "milter"
protocol = "milter"
listen = ["127.0.0.1:$MILTER_PORT"]
[[listener]]
name = "lmtp"
protocol = "lmtp"
listen = ["127.0.0.1:$LMTP_PORT"]
next_hop = ["smtp://127.0.0.1:@SINK@"]
[[listener]]
name = "after-queue"
after_queue = true
listen = ["127.0.0.1:$AFTER_PORT"]
next_hop = ["smtp://127.0.0.1:@SINK@"]
[[listener]]
name = "am-pdp"
protocol = "am-pdp"
listen = ["127.0.0.1:$PDP_PORT"]
mail_folders = ["$SPOOL"]
[[listener]]
name = "spamd"
protocol = "spamd"
listen = ["127.0.0.1:$ASK_SPAMD_PORT"]
[[listener]]
name = "clamd"
protocol = "clamd"
listen = ["127.0.0.1:$ASK_CLAMD_PORT"]
[[listener]]
name = "http"
protocol = "http"
listen = ["127.0.0.1:$HTTP_PORT"]
CONF
    start_gatepost "$file" "$SINK_PORT" "$CLAMD_SOCKET"
}

# load NAME PORT PID [ARGUMENTS]: the corpus with what all runs share.
load() {
    local name=$1 port=$2 pid=$3
    shift 3
    measure "$name" "$port" "$pid" --corpus "$CORPUS" --warmup 300 "$@" >/dev/null
}

# ours NAME PROTOCOL PORT-VARIABLE [ARGUMENTS]: gatepost with clamd, started anew for each run.
ours() {
    local name=$1 protocol=$2 port=$3
    shift 3
    start_fronts "${KIND:-full}"
    case $protocol in am-pdp) set -- --spool "$SPOOL" "$@" ;; esac
    load "$name" "${!port}" "$GATEPOST_PID" --protocol "$protocol" --messages 6046 --concurrency 16 "$@"
    stop "$GATEPOST_PID"
}

# Peers that wait for delayed acknowledgements need many connections to show what they can do.
one_front() {
    local many
    case $1 in
    smtp) ours smtp smtp GATEPOST_PORT --pipelining ;;
    milter)
        ours milter milter MILTER_PORT
        for many in 16 64; do
            start_clamav_milter "$CLAMD_SOCKET"
            load clamav-milter "$CLAMAV_MILTER_PORT" "$CLAMAV_MILTER_PID" --protocol milter --messages 4000 --concurrency "$many"
            stop "$CLAMAV_MILTER_PID"
        done
        ;;
    after-queue)
        ours after-queue smtp AFTER_PORT --pipelining
        for many in 16 64; do
            start_clamsmtp "$SINK_PORT" "$CLAMD_SOCKET"
            load clamsmtp "$CLAMSMTP_PORT" "$CLAMSMTP_PID" --messages 4000 --concurrency "$many"
            stop "$CLAMSMTP_PID"
        done
        ;;
    lmtp)
        ours lmtp lmtp LMTP_PORT --pipelining
        start_amavis "$SINK_PORT" "$CLAMD_SOCKET"
        load amavis-lmtp "$AMAVIS_PORT" "$AMAVIS_PID" --protocol lmtp --messages 600 --concurrency "${AMAVIS_SERVERS:-2}"
        stop "$AMAVIS_PID"
        ;;
    am-pdp)
        ours am-pdp am-pdp PDP_PORT
        start_amavis "$SINK_PORT" "$CLAMD_SOCKET"
        load amavis-pdp "$AMAVIS_PDP_PORT" "$AMAVIS_PID" --protocol am-pdp --spool "$AMAVIS_SPOOL" --messages 600 --concurrency "${AMAVIS_SERVERS:-2}"
        stop "$AMAVIS_PID"
        ;;
    spamd)
        # Protocol and reading only, on both sides.
        KIND=none ours spamd-check spamd-check ASK_SPAMD_PORT
        KIND=none ours spamd-process spamd-process ASK_SPAMD_PORT
        start_spamd
        load peer-spamd-check "$SPAMD_PORT" "$SPAMD_PID" --protocol spamd-check --messages 1000 --concurrency 8
        load peer-spamd-process "$SPAMD_PORT" "$SPAMD_PID" --protocol spamd-process --messages 1000 --concurrency 8
        stop "$SPAMD_PID"
        ;;
    clamd)
        # gatepost asks the very clamd that is its peer here: what looking into the mail as well costs.
        ours clamd clamd ASK_CLAMD_PORT
        load peer-clamd "$CLAMD_PORT" "$CLAMD_PID" --protocol clamd --messages 6046 --concurrency 16
        ;;
    http) ours http http HTTP_PORT ;;
    *) die "no front $1" ;;
    esac
}

# Milter and LMTP sessions at once, each with messages of 1 MiB; gatepost's peak memory.
crowd() {
    local milter lmtp before
    start_fronts full
    before=$(awk '/^VmHWM/ { print $2 }' "/proc/$GATEPOST_PID/status")
    "$BENCH" load --name crowd-milter --target "127.0.0.1:$MILTER_PORT" --protocol milter --size 1048576 \
        --messages $((CROWD * 3)) --concurrency "$CROWD" --timeout 300 >"$RUN/crowd-milter" &
    milter=$!
    "$BENCH" load --name crowd-lmtp --target "127.0.0.1:$LMTP_PORT" --protocol lmtp --pipelining --size 1048576 \
        --messages $((CROWD * 3)) --concurrency "$CROWD" --timeout 300 >"$RUN/crowd-lmtp" &
    lmtp=$!
    wait "$milter" "$lmtp"
    tail -qn1 "$RUN/crowd-milter" "$RUN/crowd-lmtp" >&2
    printf '\n- %s milter and %s LMTP sessions at once, messages of 1 MiB: at most %s MB, %s MB before.\n' "$CROWD" "$CROWD" \
        "$(awk '/^VmHWM/ { print int($2 / 1024) }' "/proc/$GATEPOST_PID/status")" "$((before / 1024))"
    stop "$GATEPOST_PID"
}

for ((round = 1; round <= ROUNDS; round++)); do
    say "round $round of $ROUNDS"
    for front in $FRONTS; do one_front "$front"; done
done
python3 "$REPO/bench/report.py" fronts "$OUT/results.jsonl" | tee "$OUT/fronts.md"
[ "$CROWD" = 0 ] || crowd | tee -a "$OUT/fronts.md"
