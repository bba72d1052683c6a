#!/usr/bin/env bash
# What it costs to open one attachment of each format: gatepost and amavisd-new, which forks an unpacker for most of them, in turn
# over the same mails, one session, no scanner behind either, so that only reading and unpacking is measured. Each archive holds ten
# texts of 100 KB. Prints milliseconds of the answer, processor time and memory; writes target/bench/formats.md.
#
#   bench/formats.sh         MESSAGES=200 of ours; amavisd-new gets a tenth
#
# Needs python3, 7z, bsdtar (libarchive-tools), arj, gcab, lzop, ncompress, zstd, lz4, lzip, and what amavisd-new opens them with.
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
. "$REPO/bench/gatepost.sh"
. "$REPO/bench/peers/amavis.sh"

for tool in python3 7z bsdtar arj gcab lzop compress zstd lz4 lzip; do need "$tool" "see the first lines of this script"; done
need_gatepost
need_bench
results=$OUT/formats.jsonl
: >"$results"
MESSAGES=${MESSAGES:-200}

members=$RUN/members
mkdir "$members"
python3 - "$members" <<'MAKE'
import random, sys
random.seed(1)
words = ["".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=random.randint(2, 9))) for _ in range(2000)]
for number in range(10):
    with open(f"{sys.argv[1]}/{number}.txt", "w") as file:
        file.write(" ".join(random.choices(words, k=17_000))[:100_000])
MAKE
packed=$RUN/packed
mkdir "$packed"
(
    cd "$members"
    7z a -bso0 "$packed/a.zip" ./*.txt
    7z a -bso0 "$packed/a.7z" ./*.txt
    arj a -y "$packed/a.arj" ./*.txt
    gcab -cz "$packed/a.cab" ./*.txt
    bsdtar --format iso9660 -cf "$packed/a.iso" ./*.txt
    bsdtar --format cpio -cf "$packed/a.cpio" ./*.txt
    bsdtar --format ustar -cf "$packed/a.tar" ./*.txt
) >/dev/null
for tool in gzip bzip2 xz zstd lz4 lzop lzip compress; do
    case $tool in
    gzip) name=a.tar.gz ;; bzip2) name=a.tar.bz2 ;; xz) name=a.tar.xz ;; zstd) name=a.tar.zst ;; lz4) name=a.tar.lz4 ;;
    lzop) name=a.tar.lzo ;; lzip) name=a.tar.lz ;; compress) name=a.tar.Z ;;
    esac
    "$tool" -c "$packed/a.tar" >"$packed/$name"
done
mkdir "$RUN/corpora"
python3 - "$packed" "$RUN/corpora" <<'MAKE'
import os, sys
from email.message import EmailMessage
for name in [None, *sorted(os.listdir(sys.argv[1]))]:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "sender@example.org", "recipient@example.net", "Files"
    mail["Date"], mail["Message-ID"] = "Thu, 01 Jan 2026 00:00:00 +0000", f"<{name}@example.org>"
    mail.set_content("Here they are.\n")
    if name:
        with open(f"{sys.argv[1]}/{name}", "rb") as file:
            mail.add_attachment(file.read(), maintype="application", subtype="octet-stream", filename=name)
    folder = f"{sys.argv[2]}/{name[2:] if name else 'plain'}"
    os.makedirs(folder)
    with open(f"{folder}/1.eml", "wb") as file:
        file.write(mail.as_bytes().replace(b"\n", b"\r\n"))
MAKE

# peak PID FILE: the most memory of a process and those below it, looked at ten times a second until it is killed.
peak() {
    local most=0 now
    while sleep 0.1; do
        now=$(rss_kb "$1")
        [ "$now" -le "$most" ] || { most=$now; echo "$most" >"$2"; }
    done
}

# one NAME PORT PID COUNT CORPUS
one() {
    local name=$1 port=$2 pid=$3 count=$4 corpus=$5 before after watcher
    "$BENCH" load --name warm --target "127.0.0.1:$port" --corpus "$corpus" --messages 3 --concurrency 1 >/dev/null
    rss_kb "$pid" >"$RUN/peak"
    peak "$pid" "$RUN/peak" &
    watcher=$!
    before=$(cpu_ms "$pid")
    "$BENCH" load --name "$name" --target "127.0.0.1:$port" --corpus "$corpus" --messages "$count" --concurrency 1 >"$RUN/load.out"
    after=$(cpu_ms "$pid")
    kill "$watcher"
    wait "$watcher" 2>/dev/null || true
    head -n1 "$RUN/load.out" | python3 -c 'import json, sys
load = json.load(sys.stdin)
name, kind, count, cpu, peak = sys.argv[1:]
print(json.dumps({"name": name, "kind": kind, "ms": 1000 / load["per_second"], "cpu_ms": int(cpu) / int(count), "peak_mb": int(peak) / 1024, "load": load}))' \
        "$name" "$(basename "$corpus")" "$count" "$((after - before))" "$(cat "$RUN/peak")" | tee -a "$results" >&2
}

[ -z "${ONLY_MAKE:-}" ] || { cp -r "$RUN/corpora" "$ONLY_MAKE"; exit; }
start_sink
gatepost_config none | sed 's|^\[limits\]|[checks]\nspf.enabled = false\ndkim.enabled = false\ndmarc.enabled = false\narc.enabled = false\n[restrictions]\nsender = []\n[protection]\nrefuse_at_load = 0\n[limits]|' >"$RUN/reading.toml"
start_gatepost "$RUN/reading.toml" "$SINK_PORT"
AMAVIS_SERVERS=1 start_amavis "$SINK_PORT" none "@bypass_virus_checks_maps = (1);"
for corpus in "$RUN"/corpora/*; do
    one gatepost "$GATEPOST_PORT" "$GATEPOST_PID" "$MESSAGES" "$corpus"
    one amavisd-new "$AMAVIS_PORT" "$AMAVIS_PID" "$((MESSAGES / 10))" "$corpus"
done

python3 - "$results" <<'TABLE' | tee "$OUT/formats.md"
import json, sys
rows = {}
for row in map(json.loads, open(sys.argv[1])):
    rows.setdefault(row["kind"], {})[row["name"]] = row
print("| attachment | gatepost, ms | amavisd-new, ms | times | CPU ms | CPU ms | peak MB | peak MB |")
print("|---|---:|---:|---:|---:|---:|---:|---:|")
for kind, row in rows.items():
    ours, theirs = row["gatepost"], row["amavisd-new"]
    print(f"| {kind} | {ours['ms']:.1f} | {theirs['ms']:.0f} | {theirs['ms'] / ours['ms']:.0f} | {ours['cpu_ms']:.1f} | "
          f"{theirs['cpu_ms']:.0f} | {ours['peak_mb']:.0f} | {theirs['peak_mb']:.0f} |")
TABLE
