#!/usr/bin/env bash
# Debian's postgrey, with a delay of 1 s and nobody learnt to be known, so that each question costs it a look at its database.
# Sourced: `start_postgrey` sets POSTGREY_PORT and POSTGREY_PID.
[ -n "${REPO:-}" ] || . "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

start_postgrey() {
    need postgrey "Debian: postgrey"
    local folder
    folder=$(mktemp -d "$RUN/postgrey.XXXXXX")
    mkdir "$folder/data"
    chmod 755 "$folder"
    chown nobody "$folder/data"
    POSTGREY_PORT=$(free_port)
    # -q: no line in the log for each question.
    "$(command -v postgrey)" --quiet --inet="127.0.0.1:$POSTGREY_PORT" --dbdir="$folder/data" --user=nobody --group=nogroup \
        --delay=1 --auto-whitelist-clients=0 --whitelist-clients=/dev/null --whitelist-recipients=/dev/null \
        >"$folder/out" 2>&1 &
    POSTGREY_PID=$!
    PIDS+=("$POSTGREY_PID")
    wait_port "$POSTGREY_PORT" 20 "$POSTGREY_PID"
}
