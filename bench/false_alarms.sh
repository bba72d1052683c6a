#!/usr/bin/env bash
# What gatepost says about the form of ordinary mail: the share of the corpus (bench/corpus.sh), and of any other folders
# given, in which a reading is ambiguous and weighs something, and mails taken for infected. With BEFORE, the program of
# another version, both are shown.
#
#   bench/false_alarms.sh [FOLDER...]      BEFORE=/path/to/other/gatepost PROFILE=release
# shellcheck source=bench/lib.sh
source "$(dirname "$0")/lib.sh"

PROFILE=${PROFILE:-release}
GATEPOST=${CARGO_TARGET_DIR:-$REPO/target}/$PROFILE/gatepost
(cd "$REPO" && cargo build -q --profile "${PROFILE/debug/dev}" -p gatepost)
grep -v RULES "$REPO/bench/scan.toml" >"$RUN/scan.toml"
[ -d "$CORPUS" ] || "$REPO/bench/corpus.sh" >&2
for folder in "$CORPUS" "$@"; do
    for program in ${BEFORE:+"$BEFORE"} "$GATEPOST"; do
        say "$program: $folder"
        { "$program" scan -c "$RUN/scan.toml" --json "$folder" || [ $? -le 1 ]; } | "$REPO/bench/false_alarms.py" "$folder"
    done
done
