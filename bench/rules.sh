#!/usr/bin/env bash
# What SpamAssassin's rules cost: ours, its own spamd -L with the same rules, and rspamd with rules of its own; the same mails,
# one run. Prints a line for each: processor time a message, messages a second, memory. Ours is measured three times: the rules alone
# in one process, and the daemon asked by spamc, with those rules, with its own, and with none.
#   bench/rules.sh        MESSAGES (2000) of the corpus for ours and rspamd, SLOW (400) of them for spamd
# Needs Debian's spamassassin, spamd and rspamd. Nothing about a mail is asked over the network. The rules alone run in one process
# with a thread for each core; SPEED names another build of crates/rules/examples/speed.rs.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/gatepost.sh"
. "$(dirname "$0")/peers/rspamd.sh"

need spamd "Debian: spamd"
need spamc "Debian: spamc"
[ -d "$CORPUS" ] || "$REPO/bench/corpus.sh" >&2
speed=${SPEED:-}
if [ -z "$speed" ]; then
    (cd "$REPO" && cargo build --release -q -p gatepost-rules --example speed)
    speed=${CARGO_TARGET_DIR:-$REPO/target}/release/examples/speed
fi
rules="$(ls /etc/spamassassin/*.pre) /usr/share/spamassassin /etc/spamassassin/local.cf"

# links FOLDER COUNT: so many mails, spread evenly over the corpus.
links() {
    mkdir -p "$1"
    find "$CORPUS" -type f | sort | awk -v want="$2" '{ all[NR] = $0 } END {
        for (at = 0; at < want && at < NR; at++) print all[int(at * NR / want) + 1] }' | nl -w6 -nrz |
        while read -r number file; do ln -s "$file" "$1/$number"; done
}

# row NAME CPU_MS NANOSECONDS COUNT KB
row() {
    awk -v name="$1" -v cpu="$2" -v ns="$3" -v count="$4" -v kb="$5" 'BEGIN {
        printf "| %s | %.2f | %.0f | %.0f |\n", name, cpu / count, count / (ns / 1e9), kb / 1024 }'
}

start_spamd_with_rules() {
    local folder
    folder=$(mktemp -d "$RUN/spamd.XXXXXX")
    chmod 777 "$folder"
    SPAMD_PORT=$(free_port)
    "$(command -v spamd)" -L -x -u nobody -H "$folder" -i 127.0.0.1 -p "$SPAMD_PORT" --min-children="$(nproc)" \
        --max-children="$(nproc)" --max-conn-per-child=5000 -s stderr >"$folder/out" 2>&1 &
    SPAMD_PID=$!
    PIDS+=("$SPAMD_PID")
    wait_port "$SPAMD_PORT" 120 "$SPAMD_PID"
}

# daemon NAME RULES: gatepost behind its spamd front with this section of rules, and no other check.
daemon() {
    local file=$RUN/daemon.toml
    cat >"$file" <<CONF
data = "@DATA@"
[log]
level = "error"
[metrics]
listen = ""
[limits]
messages = 1000000
$(without embedded attachments gtube structure)
[checks.rules]
$2
[[listener]]
protocol = "spamd"
listen = ["127.0.0.1:@PORT@"]
CONF
    start_gatepost "$file" 0
    served "$1" "$GATEPOST_PID" "$RUN/many" xargs -P "$(nproc)" -I{} sh -c "spamc -d 127.0.0.1 -p $GATEPOST_PORT -c <{} || true"
    stop "$GATEPOST_PID"
}

# served NAME PID FOLDER COMMAND...: the command gets files of the folder, one or many.
served() {
    local name=$1 pid=$2 folder=$3 cpu begun
    shift 3
    # What is made at the first message is not counted.
    find "$folder" -type l | head -n 20 | "$@" >/dev/null 2>&1 || true
    cpu=$(cpu_ms "$pid") begun=$(date +%s%N)
    find "$folder" -type l | "$@" >/dev/null
    row "$name" $(($(cpu_ms "$pid") - cpu)) $(($(date +%s%N) - begun)) "$(find "$folder" -type l | wc -l)" "$(rss_kb "$pid")"
}

links "$RUN/many" "${MESSAGES:-2000}"
links "$RUN/few" "${SLOW:-400}"
echo "| what | CPU ms/message | messages/s | memory MB |"
echo "|---|---:|---:|---:|"
# Once round to fill caches, once measured.
# shellcheck disable=SC2086
THREADS=$(nproc) ROUNDS=2 "$speed" $rules -- "$RUN/many" 2>"$RUN/ours"
sed -n 's/.*: CPU \([0-9.]*\) ms each, \([0-9]*\) a second.*/| gatepost | \1 | \2 | |/p' "$RUN/ours"
need_gatepost
paths=$(printf '"%s", ' $rules)
daemon "gatepost asked by spamc, SpamAssassin's rules" "own = false
network = false
paths = [$paths]"
daemon "gatepost asked by spamc, rules of its own" "network = false"
daemon "gatepost asked by spamc, no rules" "enabled = false"
start_spamd_with_rules
served "spamd -L, the same rules" "$SPAMD_PID" "$RUN/few" xargs -P "$(nproc)" -I{} sh -c "spamc -d 127.0.0.1 -p $SPAMD_PORT -c <{} || true"
stop "$SPAMD_PID"
start_rspamd
served "rspamd, its own rules" "$RSPAMD_PID" "$RUN/many" xargs -n 50 rspamc -h "127.0.0.1:$RSPAMD_PORT" -n "$(nproc)" symbols
stop "$RSPAMD_PID"
say "ours: $(grep -v '^/' "$RUN/ours")"
