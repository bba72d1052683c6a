#!/usr/bin/env bash
# DKIM verifications a second on one thread: gatepost's beside libopendkim's, on the same signed messages and without name
# look-ups. The two take turns; the best of the rounds counts. Needs libopendkim-dev and a C compiler.
#
#   bench/dkim.sh            SECONDS_EACH=2 ROUNDS=3
# shellcheck source=bench/lib.sh
source "$(dirname "$0")/lib.sh"

need cc build-essential
[ -e /usr/include/opendkim/dkim.h ] || die "opendkim/dkim.h is not installed (libopendkim-dev)"
cc -O2 -o "$RUN/opendkim" "$REPO/bench/peers/opendkim.c" -lopendkim
(cd "$REPO" && cargo build --release -q -p gatepost-auth --example dkim_speed)
ours=${CARGO_TARGET_DIR:-$REPO/target}/release/examples/dkim_speed

mkdir "$RUN/mail"
"$ours" make "$RUN/mail"
for round in $(seq "${ROUNDS:-3}"); do
    say "round $round"
    "$ours" verify "$RUN/mail" "${SECONDS_EACH:-2}" | sed 's/^/gatepost /' >>"$RUN/rows"
    "$RUN/opendkim" "$RUN/mail" "${SECONDS_EACH:-2}" | sed 's/^/opendkim /' >>"$RUN/rows"
done
awk '
    { if ($3 > best[$1, $2]) best[$1, $2] = $3; if (!seen[$2]++) order[++n] = $2 }
    END {
        print "| message | gatepost /s | opendkim /s | times |"
        print "|---|---:|---:|---:|"
        for (i = 1; i <= n; i++) {
            split(order[i], part, "-")
            a = best["gatepost", order[i]]; b = best["opendkim", order[i]]
            printf "| %d bytes, %s | %d | %d | %.1f |\n", part[1], part[2], a, b, b ? a / b : 0
        }
    }' "$RUN/rows" | tee "$OUT/dkim.md"
