#!/bin/sh
# How far our rules agree with SpamAssassin's own: same rules, same mail, no network.
#
#   bench/rules_agree.sh [--subrules] [--quiet] [--theirs FILE] FOLDER|FILE...
#
# Needs SpamAssassin with its rules in /usr/share/spamassassin and /etc/spamassassin. RULES="FOLDER FOLDER" takes others. With
# --theirs what SpamAssassin says is kept in a file for the next time.
set -eu
cd "$(dirname "$0")/.."
cargo build -q --release -p gatepost
for folder in ${RULES:-/usr/share/spamassassin /etc/spamassassin}; do
    set -- "$@" --rules "$folder"
done
exec nice target/release/gatepost rules compare "$@"
