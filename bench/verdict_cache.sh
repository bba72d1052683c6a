#!/usr/bin/env bash
# What it saves that clamd's answers are remembered: the same worm of 1 MiB in mails that all differ in header and text, and what it
# costs on ordinary mail, of which nothing comes twice. With and without it take turns; the best of the rounds counts. Writes
# target/bench/verdict_cache.md.
#
#   bench/verdict_cache.sh          MAILS=500 ROUNDS=3
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=bench/gatepost.sh
. "$REPO/bench/gatepost.sh"
# shellcheck source=bench/peers/clamd.sh
. "$REPO/bench/peers/clamd.sh"

need python3 python3
need_gatepost
need_bench
MAILS=${MAILS:-500}
results=$OUT/verdict_cache.jsonl
: >"$results"

# The worm is put together here so that no scanner takes this script for it.
mkdir -p "$RUN/worm"
python3 - "$RUN/worm" "$MAILS" <<'MAKE'
import random, sys
from email.message import EmailMessage
random.seed(1)
test_file = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
worm = b"MZ" + random.randbytes(1 << 20) + test_file
for number in range(int(sys.argv[2])):
    mail = EmailMessage()
    mail["From"], mail["To"] = f"sender{number}@example.org", "recipient@example.net"
    mail["Subject"], mail["Message-ID"] = f"Invoice {random.random()}", f"<{number}@example.org>"
    mail["Date"] = "Thu, 01 Jan 2026 00:00:00 +0000"
    mail.set_content(f"Dear customer {number},\n\nplease pay {random.random()}.\n")
    mail.add_attachment(worm, maintype="application", subtype="octet-stream", filename=f"invoice{number}.bin")
    with open(f"{sys.argv[1]}/{number}.eml", "wb") as file:
        file.write(mail.as_bytes().replace(b"\n", b"\r\n"))
MAKE

config() {
    gatepost_config full |
        sed "s|^listen = \"\"|listen = \"127.0.0.1:$metrics\"|; s|^messages = .*|&\nerrors = 1000000|"
    printf '[checks.embedded]\nenabled = false\n[checks.attachments]\nenabled = false\n'
    printf '[checks.verdict_cache]\nenabled = %s\n' "$1"
    printf '[protection]\nrefuse_at_load = 0\n'
}

start_sink
start_clamd
for round in $(seq "${ROUNDS:-3}"); do
    for enabled in true false; do
        for kind in worm ordinary; do
            metrics=$(free_port)
            config "$enabled" >"$RUN/one.toml"
            start_gatepost "$RUN/one.toml" "$SINK_PORT" "$CLAMD_SOCKET"
            # The version of clamd's signatures is asked within ten seconds.
            sleep 11
            corpus=$RUN/worm
            [ "$kind" = worm ] || corpus=$CORPUS
            before=$(cpu_ms "$CLAMD_PID")
            "$BENCH" load --name "$kind" --target "127.0.0.1:$GATEPOST_PORT" --corpus "$corpus" --concurrency 8 >"$RUN/load.out"
            after=$(cpu_ms "$CLAMD_PID")
            hits=$(curl -s "http://127.0.0.1:$metrics/metrics" | awk '$1 == "gatepost_verdict_cache_hits_total" { print $2 }')
            head -n1 "$RUN/load.out" | python3 -c '
import json, sys
load = json.load(sys.stdin)
row = {"kind": sys.argv[1], "cache": sys.argv[2], "per_second": load["per_second"], "clamd_cpu_ms": int(sys.argv[3]), "hits": int(sys.argv[4] or 0)}
print(json.dumps(row))' "$kind" "$enabled" "$((after - before))" "${hits:-0}" | tee -a "$results" >&2
            stop "$GATEPOST_PID"
        done
    done
done

python3 - "$results" <<'TABLE' | tee "$OUT/verdict_cache.md"
import json, sys
best = {}
for row in map(json.loads, open(sys.argv[1])):
    key = row["kind"], row["cache"]
    if key not in best or row["per_second"] > best[key]["per_second"]:
        best[key] = row
print("| mails | remembered | messages/s | clamd's CPU ms, all | contents not shown |")
print("|---|---|---:|---:|---:|")
for kind in ("worm", "ordinary"):
    for cache in ("false", "true"):
        row = best[kind, cache]
        print(f"| {kind} | {'yes' if cache == 'true' else 'no'} | {row['per_second']:.0f} | {row['clamd_cpu_ms']} | {row['hits']} |")
TABLE
