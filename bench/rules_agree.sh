#!/bin/sh
# How far our rules agree with SpamAssassin's own: same rules, same mail, no network.
#
#   bench/rules_agree.sh FOLDER|FILE...       (RULES_SUBRULES=1: subrules count as well)
#
# Needs spamassassin with its rules in /usr/share/spamassassin and /etc/spamassassin, perl, python3.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cargo build -q --release -p gatepost-rules --example hits
[ -z "${RULES_SUBRULES:-}" ] || export GATEPOST_SUBRULES=1
nice perl bench/rules_oracle.pl "$@" >"$work/theirs"
cut -f1 "$work/theirs" | tr '\n' '\0' |
    xargs -0 nice target/release/examples/hits /etc/spamassassin/*.pre /usr/share/spamassassin /etc/spamassassin/local.cf -- >"$work/ours"
python3 bench/rules_agree.py "$work/theirs" "$work/ours"
