#!/usr/bin/env bash
# Mails that hide the EICAR test file in odd MIME: who finds it. Writes them with `gatepost-bench evasion`, asks readers (the
# parsers of languages and tools: what a recipient may come to see) and filters (gatepost with nothing but its built-in rule,
# clamd, amavisd-new with that clamd). Prints a table; target/bench/evasion/missed.tsv lists what gatepost misses, with the
# readers that open it, and misses/ holds an example of each kind.
#
#   bench/evasion.sh         COUNT=5000 SEED=1, FOLDER= of .eml files instead (with a manifest.tsv if there is one),
#                            AMAVIS=0 leaves amavisd-new out
#
# Needs python3, Debian's libmime-tools-perl and libemail-mime-perl, clamav-daemon, amavisd-new; uses ripmime and mpack
# where they are installed.
# shellcheck source=bench/lib.sh
source "$(dirname "$0")/lib.sh"
. "$REPO/bench/peers/clamd.sh"
. "$REPO/bench/peers/amavis.sh"

readers_folder=$REPO/bench/peers/readers
results=$OUT/evasion
rm -rf "$results"
mkdir -p "$results"
PROFILE=${PROFILE:-release}
built=${CARGO_TARGET_DIR:-$REPO/target}/$PROFILE
GATEPOST=$built/gatepost
(cd "$REPO" && cargo build -q --profile "${PROFILE/debug/dev}" -p gatepost -p gatepost-bench &&
    cargo build -q --profile "${PROFILE/debug/dev}" -p gatepost-bench --example mail_parser)

# The readers look for these two in what they decode.
mails=$RUN/mails
"$built/gatepost-bench" evasion --out "$mails" --count "${COUNT:-5000}" --seed "${SEED:-1}"
if [ -n "${FOLDER:-}" ]; then
    rm "$mails"/*.eml "$mails/manifest.tsv"
    cp "$FOLDER"/*.eml "$mails/"
    [ -f "$FOLDER/manifest.tsv" ] && cp "$FOLDER/manifest.tsv" "$mails/" ||
        (cd "$mails" && printf '%s\n' *.eml | sed 's/.*/&\tcontent=unknown,file=&\t/' >manifest.tsv)
fi
# Readers get the mails as gatepost passes them on, with stray line ends mended: what else would a recipient open?
delivered=$RUN/delivered
mkdir "$delivered"
cp "$mails"/needle-* "$delivered/"
python3 - "$mails" "$delivered" <<'PYTHON'
import pathlib, re, sys
for mail in pathlib.Path(sys.argv[1]).glob("*.eml"):
    text = re.sub(rb"(?<!\r)\n", b"\r\n", mail.read_bytes())
    (pathlib.Path(sys.argv[2]) / mail.name).write_bytes(re.sub(rb"\r(?!\n)", b" ", text))
PYTHON
chmod -R a+rX "$RUN"

# ask NAME COMMAND...: what it finds, by the names of the files.
asked=()
ask() {
    local name=$1
    shift
    say "asking $name"
    "$@" >"$results/$name.found" 2>"$results/$name.errors" || say "$name: $(tail -n1 "$results/$name.errors")"
    asked+=("$name")
}

ask python-compat32 "$readers_folder/python_email.py" compat32 "$delivered"
ask python-default "$readers_folder/python_email.py" default "$delivered"
ask mime-tools "$readers_folder/mime_tools.pl" "$delivered"
ask email-mime "$readers_folder/email_mime.pl" "$delivered"
ask mail-parser "$built/examples/mail_parser" "$delivered"
for unpacker in ripmime munpack; do
    ! command -v "$unpacker" >/dev/null || ask "$unpacker" "$readers_folder/unpackers.py" "$unpacker" "$delivered"
done
readers=$(IFS=,; echo "${asked[*]}")

asked=()
# The test file counts wherever it stands in a part, as it does for clamd.
mkdir "$RUN/rules"
printf 'rule eicar { strings: $a = { %s } condition: $a }\n' "$(eicar_hex)" >"$RUN/rules/eicar.yar"
sed "s|@RULES@|$RUN/rules|" "$REPO/bench/scan.toml" >"$RUN/scan.toml"
gatepost_finds() {
    # Only what the built-in scanner says counts; the status tells that something was found.
    { "$GATEPOST" scan -c "$RUN/scan.toml" --json "$mails" || [ $? -eq 1 ]; } |
        python3 -c '
import json, os, sys
for line in sys.stdin:
    record = json.loads(line)
    if record["category"] == "virus":
        print(os.path.basename(record["file"]))'
}
clamd_finds() {
    { clamdscan --config-file="$RUN/clamd/clamd.conf" --fdpass --multiscan --no-summary --infected "$mails" || [ $? -eq 1 ]; } |
        sed -n 's|^.*/\([^/]*\.eml\): .* FOUND$|\1|p'
}
ask gatepost gatepost_finds
start_clamd
ask clamd clamd_finds
if [ "${AMAVIS:-1}" = 1 ]; then
    # Asked over AM.PDP it sends nothing on, so nobody need listen where it would.
    start_amavis 9 "$CLAMD_SOCKET"
    ask amavis "$readers_folder/amavis.py" "$AMAVIS_PDP_PORT" "$AMAVIS_SPOOL" "$mails"
fi
filters=$(IFS=,; echo "${asked[*]}")
"$REPO/bench/evasion.py" "$mails" "$results" "$readers" "$filters" | tee "$results/table.md"
