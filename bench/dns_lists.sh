#!/usr/bin/env bash
# What DNS lists cost: LISTS lists (20) that are DELAY ms away (30), asked about a client that is new each time, beside the
# same without lists. The time is that of a whole session with one message, from connect to the answer to its end; a program
# that asks one list after the other would need LISTS x DELAY more. Writes target/bench/dns_lists.md.
# Variables: ROUNDS (3), LISTS, DELAY, MESSAGES (200 in each run), CONCURRENCY ("1 16").
. "$(dirname "$0")/lib.sh"
. "$REPO/bench/gatepost.sh"

ROUNDS=${ROUNDS:-3}
LISTS=${LISTS:-20}
DELAY=${DELAY:-30}
MESSAGES=${MESSAGES:-200}
CONCURRENCY=${CONCURRENCY:-1 16}

need_bench
need_gatepost
: >"$OUT/results.jsonl"
start_sink

# The name server. It speaks UDP only, so that there is no port to wait for: gatepost asks for as long as it takes.
DNS_PORT=$(free_port)
"$BENCH" dns --listen "127.0.0.1:$DNS_PORT" --delay-ms "$DELAY" >"$RUN/dns.out" 2>&1 &
PIDS+=("$!")

# start_with COUNT: gatepost without other checks and with so many lists. Sets LISTS_PORT, LISTS_PID.
start_with() {
    local file number
    file=$(mktemp "$RUN/template.XXXXXX")
    {
        # Keys of the one listener stand right behind its next hop.
        gatepost_config none | sed 's|^next_hop = .*|&\nxclient_from = ["127.0.0.0/8"]|'
        printf '[restrictions]\nhelo = []\nsender = []\nrecipient = []\n'
        printf '[checks.dns]\nservers = ["127.0.0.1:%s"]\n' "$DNS_PORT"
        for number in $(seq "$1"); do
            printf '[checks.dnsbl.list%s]\nzone = "list%s.example"\n' "$number" "$number"
        done
    } >"$file"
    start_gatepost "$file" "$SINK_PORT"
    LISTS_PORT=$GATEPOST_PORT LISTS_PID=$GATEPOST_PID
}

start_with 0
NONE_PORT=$LISTS_PORT NONE_PID=$LISTS_PID
start_with 1
ONE_PORT=$LISTS_PORT ONE_PID=$LISTS_PID
start_with "$LISTS"
ALL_PORT=$LISTS_PORT ALL_PID=$LISTS_PID

for round in $(seq "$ROUNDS"); do
    for concurrency in $CONCURRENCY; do
        for run in "0 $NONE_PORT $NONE_PID" "1 $ONE_PORT $ONE_PID" "$LISTS $ALL_PORT $ALL_PID"; do
            read -r count port pid <<<"$run"
            measure "$count-lists-c$concurrency" "$port" "$pid" --xclient --per-connection 1 --pipelining \
                --concurrency "$concurrency" --messages "$MESSAGES" --warmup 20 >/dev/null
        done
    done
done

# Of the rounds, the median of each figure.
{
    echo "A session with one message, $DELAY ms to each list, $ROUNDS rounds of $MESSAGES messages:"
    echo
    echo '| lists and sessions at once | p50 ms | p90 ms | p99 ms | messages/s | refused or failed |'
    echo '|---|---|---|---|---|---|'
    python3 - "$OUT/results.jsonl" <<'PY'
import json, statistics, sys
runs = {}
for line in open(sys.argv[1]):
    run = json.loads(line)
    runs.setdefault(run["name"], []).append(run)
for name, rounds in runs.items():
    lists, sessions = name.split("-lists-c")
    at = lambda key: statistics.median(run["transaction_ms"][key] for run in rounds)
    rate = statistics.median(run["per_second"] for run in rounds)
    bad = sum(run["4xx"] + run["5xx"] + run["errors"] for run in rounds)
    print(f"| {lists} lists, {sessions} | {at('p50'):.1f} | {at('p90'):.1f} | {at('p99'):.1f} | {rate:.0f} | {bad} |")
PY
} | tee "$OUT/dns_lists.md"
