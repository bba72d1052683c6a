#!/usr/bin/env bash
# What it costs that messages with archives are unpacked by a worker instead of the daemon itself: time to read one message,
# messages a second and memory, for plain mail and several archives, with workers, with a fresh worker for each message, and
# without. The three take turns; the best of the rounds counts. Writes target/bench/worker.md.
#
#   bench/worker.sh          MESSAGES=2000 ROUNDS=3
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=bench/gatepost.sh
. "$REPO/bench/gatepost.sh"

need python3 python3
need_gatepost
[ -x "$BENCH" ] || (cd "$REPO" && cargo build --release -q -p gatepost-bench)
MESSAGES=${MESSAGES:-2000}
results=$OUT/worker.jsonl
: >"$results"

python3 - "$RUN/corpora" <<'MAKE'
import gzip, io, os, random, sys, tarfile, zipfile
from email.message import EmailMessage
random.seed(1)
def text(size):
    words = [bytes(random.choices(b"abcdefghijklmnopqrstuvwxyz", k=random.randint(2, 9))) for _ in range(2000)]
    out = b" ".join(random.choices(words, k=size // 6 + 1))
    return out[:size]
def packed(members, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()
def tarred(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()
kinds = {
    "plain": None,
    "zip-10K": ("a.zip", packed([("a.txt", text(10_000))])),
    "zip-stored-1M": ("a.zip", packed([("a.txt", text(1_000_000))], zipfile.ZIP_STORED)),
    "zip-1M": ("a.zip", packed([("a.txt", text(1_000_000))])),
    "zip-100-members": ("a.zip", packed([(f"{n}.txt", text(3000)) for n in range(100)])),
    "tgz-10M": ("a.tgz", tarred([(f"{n}.txt", text(1_000_000)) for n in range(10)])),
}
for kind, attached in kinds.items():
    os.makedirs(f"{sys.argv[1]}/{kind}")
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "sender@example.org", "recipient@example.net", kind
    mail["Date"], mail["Message-ID"] = "Thu, 01 Jan 2026 00:00:00 +0000", f"<{kind}@example.org>"
    mail.set_content(text(4000).decode() + "\n")
    if attached:
        mail.add_attachment(attached[1], maintype="application", subtype="octet-stream", filename=attached[0])
    with open(f"{sys.argv[1]}/{kind}/1.eml", "wb") as file:
        file.write(mail.as_bytes().replace(b"\n", b"\r\n"))
MAKE

# Only reading: no check, no name is looked up.
config() {
    gatepost_config none | sed "s|^listen = \"\"|listen = \"127.0.0.1:$metrics\"|"
    printf '[checks]\nspf.enabled = false\ndkim.enabled = false\ndmarc.enabled = false\narc.enabled = false\n'
    printf '[restrictions]\nsender = []\n[protection]\nrefuse_at_load = 0\n'
    case $1 in
    worker) ;;
    fresh) printf '[worker]\nrecycle = 1\n' ;;
    inside) printf '[worker]\nenabled = false\n' ;;
    esac
}

# reading FIELD: sum (seconds) or count of the times that reading took.
reading() {
    curl -s "http://127.0.0.1:$metrics/metrics" |
        awk -v name="gatepost_check_seconds_$1{check=\"read\"}" '$1 == name { print $2 }'
}

start_sink
for round in $(seq "${ROUNDS:-3}"); do
    for way in worker fresh inside; do
        metrics=$(free_port)
        config "$way" >"$RUN/$way.toml"
        start_gatepost "$RUN/$way.toml" "$SINK_PORT"
        for corpus in "$RUN"/corpora/*; do
            kind=$(basename "$corpus")
            count=$MESSAGES
            [ "$kind" != tgz-10M ] || count=$((MESSAGES / 20))
            "$BENCH" load --name warm --target "127.0.0.1:$GATEPOST_PORT" --corpus "$corpus" --messages 20 >/dev/null
            sum=$(reading sum) n=$(reading count)
            "$BENCH" load --name "$way" --target "127.0.0.1:$GATEPOST_PORT" --corpus "$corpus" \
                --messages "$count" --concurrency 1 >"$RUN/one.out"
            micros=$(awk -v a="${sum:-0}" -v b="$(reading sum)" -v m="${n:-0}" -v k="$(reading count)" \
                'BEGIN { printf "%.1f", (b - a) * 1e6 / (k - m) }')
            "$BENCH" load --name "$way" --target "127.0.0.1:$GATEPOST_PORT" --corpus "$corpus" \
                --messages "$count" --concurrency 8 >"$RUN/eight.out"
            rate=$(head -n1 "$RUN/eight.out" | python3 -c 'import json, sys; print(json.load(sys.stdin)["per_second"])')
            printf '{"round":%d,"way":"%s","kind":"%s","read_us":%s,"per_second":%s,"pss_kb":%s}\n' \
                "$round" "$way" "$kind" "$micros" "$rate" "$(rss_kb "$GATEPOST_PID")" | tee -a "$results" >&2
        done
        stop "$GATEPOST_PID"
    done
done

python3 - "$results" <<'TABLE' | tee "$OUT/worker.md"
import json, sys
best, order = {}, []
for row in map(json.loads, open(sys.argv[1])):
    if row["kind"] not in order:
        order.append(row["kind"])
    time, rate = best.get((row["kind"], row["way"]), (float("inf"), 0))
    best[row["kind"], row["way"]] = min(time, row["read_us"]), max(rate, row["per_second"])
print("| message | read in the daemon, µs | by a worker | by a fresh one | messages/s in the daemon | by workers | by fresh ones |")
print("|---|---:|---:|---:|---:|---:|---:|")
for kind in order:
    cells = [best[kind, way] for way in ("inside", "worker", "fresh")]
    print("|", kind, "|", " | ".join(f"{c[0]:.0f}" for c in cells), "|", " | ".join(f"{c[1]:.0f}" for c in cells), "|")
TABLE
