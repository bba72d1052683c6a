#!/usr/bin/env bash
# gatepost's policy service beside postgrey and policyd-spf: the same questions over the same number of connections, one run.
# Writes target/bench/policy.md. Needs Debian's postgrey, postfix-policyd-spf-python and unbound; run as root.
# Variables: ROUNDS (3): they take turns so many times, the best of each counts. CONNECTIONS (8). THREADS (1) of the load.
. "$(dirname "$0")/lib.sh"
. "$REPO/bench/peers/postgrey.sh"
. "$REPO/bench/peers/policyd-spf.sh"
. "$REPO/bench/gatepost.sh"

ROUNDS=${ROUNDS:-3}
CONNECTIONS=${CONNECTIONS:-8}
DOMAIN=bench.example
need unbound "Debian: unbound"
[ -x "$BENCH" ] || (cd "$REPO" && cargo build --release -q -p gatepost-bench)
need_gatepost
: >"$OUT/results.jsonl"

# 250 sender domains, each with a record that takes two look-ups and lets every client through.
start_unbound() {
    local folder number
    folder=$(mktemp -d "$RUN/unbound.XXXXXX")
    UNBOUND_PORT=$(free_port)
    {
        printf 'server:\n interface: 127.0.0.1@%s\n do-ip6: no\n do-daemonize: no\n username: ""\n chroot: ""\n' "$UNBOUND_PORT"
        printf ' directory: "%s"\n pidfile: ""\n use-syslog: no\n num-threads: 1\n module-config: "iterator"\n' "$folder"
        printf ' access-control: 127.0.0.0/8 allow\n local-zone: "." refuse\n local-zone: "example." static\n'
        printf " local-data: 'spf.%s. TXT \"v=spf1 ip4:100.64.0.0/10 -all\"'\n" "$DOMAIN"
        for number in $(seq 0 249); do
            printf " local-data: 'd%s.%s. TXT \"v=spf1 include:spf.%s -all\"'\n" "$number" "$DOMAIN" "$DOMAIN"
        done
    } >"$folder/unbound.conf"
    "$(command -v unbound || echo /usr/sbin/unbound)" -d -c "$folder/unbound.conf" >"$folder/out" 2>&1 &
    PIDS+=($!)
    wait_port "$UNBOUND_PORT" 10 $!
}

# start_policy: gatepost with a port as postgrey's and one as policyd-spf's. Sets GREY_PORT, SPF_PORT, GATEPOST_PID.
start_policy() {
    local file
    file=$(mktemp "$RUN/policy.XXXXXX")
    SPF_PORT=$(free_port)
    cat >"$file" <<CONF
data = "@DATA@"
[log]
level = "error"
[metrics]
listen = ""
[[listener]]
name = "greylisting"
protocol = "policy"
listen = ["127.0.0.1:@PORT@"]
helo_restrictions = []
sender_restrictions = []
recipient_restrictions = ["greylist"]
prepend = ["X-Greylist"]
[[listener]]
name = "spf"
protocol = "policy"
listen = ["127.0.0.1:$SPF_PORT"]
helo_restrictions = []
sender_restrictions = ["reject_spf_fail"]
recipient_restrictions = []
prepend = ["Received-SPF"]
[authentication]
received_spf = true
[checks.dns]
servers = ["127.0.0.1:$UNBOUND_PORT"]
[checks.spf]
enabled = $1
[checks.dmarc]
enabled = $1
[checks.greylist]
delay = 1
auto_whitelist_clients = 0
CONF
    start_gatepost "$file" 0
    GREY_PORT=$GATEPOST_PORT
}

# ask NAME PORT PID [ARGUMENTS]: questions with what all runs share.
ask() {
    local name=$1 port=$2 pid=$3
    shift 3
    measure "$name" "$port" "$pid" --threads "${THREADS:-1}" --protocol policy --concurrency "$CONNECTIONS" --per-connection 0 \
        --from "sender@$DOMAIN" --to "recipient@example.net" "$@" >/dev/null
}

# greylisting NAME PORT PID COUNT: new ones, the same again, and the same once they are known.
greylisting() {
    local count=$4
    ask "$1, new" "$2" "$3" --distinct "$count" --messages "$count"
    sleep 3
    "$BENCH" load --protocol policy --target "127.0.0.1:$2" --concurrency "$CONNECTIONS" --per-connection 0 \
        --from "sender@$DOMAIN" --to "recipient@example.net" --distinct "$count" --messages "$count" >/dev/null
    ask "$1, known" "$2" "$3" --distinct "$count" --messages "$count"
}

start_unbound
for round in $(seq "$ROUNDS"); do
    start_postgrey
    greylisting postgrey "$POSTGREY_PORT" "$POSTGREY_PID" "${POSTGREY_QUESTIONS:-10000}"
    stop "$POSTGREY_PID"
    start_policy false
    greylisting "gatepost as postgrey" "$GREY_PORT" "$GATEPOST_PID" "${GREY_QUESTIONS:-100000}"
    stop "$GATEPOST_PID"
    start_policyd_spf "$UNBOUND_PORT"
    ask policyd-spf "$POLICYD_PORT" "$POLICYD_PID" --distinct 5000 --messages 5000 --warmup 200
    stop "$POLICYD_PID"
    start_policy true
    ask "gatepost as policyd-spf" "$SPF_PORT" "$GATEPOST_PID" --distinct 100000 --messages 100000 --warmup 1000
    stop "$GATEPOST_PID"
done

python3 - "$OUT/results.jsonl" >"$OUT/policy.md" <<'PYTHON'
import json, sys
best = {}
for line in open(sys.argv[1]):
    run = json.loads(line)
    if run["name"] not in best or run["per_second"] > best[run["name"]]["per_second"]:
        best[run["name"]] = run
print("| what | questions/s | p50 ms | p99 ms | CPU ms/question | memory MB | errors |")
print("|---|---:|---:|---:|---:|---:|---:|")
for name, run in best.items():
    answer = run["answer_ms"]
    print(f"| {name} | {run['per_second']:,.0f} | {answer['p50']:.2f} | {answer['p99']:.2f} "
          f"| {run['server_cpu_ms'] / max(run['messages'], 1):.3f} | {run['server_pss_kb'] / 1024:.0f} | {run['errors']} |")
print()
for ours, theirs in [("gatepost as postgrey, new", "postgrey, new"), ("gatepost as postgrey, known", "postgrey, known"),
                     ("gatepost as policyd-spf", "policyd-spf")]:
    if ours in best and theirs in best:
        print(f"- {ours}: {best[ours]['per_second'] / best[theirs]['per_second']:.0f} times {theirs}")
PYTHON
cat "$OUT/policy.md"
