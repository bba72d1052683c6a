#!/usr/bin/env bash
# Debian's clamav-milter with clamd. Sourced: `start_clamav_milter CLAMD_SOCKET` sets CLAMAV_MILTER_PORT and
# CLAMAV_MILTER_PID. Run by hand: measures it with the corpus, spoken to as Postfix does.
[ -n "${REPO:-}" ] || . "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

start_clamav_milter() {
    need clamav-milter "Debian: clamav-milter"
    local folder
    folder=$(mktemp -d "$RUN/clamav-milter.XXXXXX")
    mkdir -p "$folder/tmp"
    CLAMAV_MILTER_PORT=$(free_port)
    cat >"$folder/clamav-milter.conf" <<CONF
Foreground yes
MilterSocket inet:$CLAMAV_MILTER_PORT@127.0.0.1
ClamdSocket unix:$1
TemporaryDirectory $folder/tmp
OnClean Accept
OnInfected Reject
OnFail Defer
AddHeader Replace
LogClean Off
LogInfected Basic
LogFile $folder/log
MaxFileSize 100M
CONF
    clamav-milter --config-file="$folder/clamav-milter.conf" >"$folder/out" 2>&1 &
    CLAMAV_MILTER_PID=$!
    PIDS+=("$CLAMAV_MILTER_PID")
    wait_port "$CLAMAV_MILTER_PORT" 20 "$CLAMAV_MILTER_PID"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    . "$REPO/bench/peers/clamd.sh"
    need_bench
    start_clamd
    start_clamav_milter "$CLAMD_SOCKET"
    measure clamav-milter "$CLAMAV_MILTER_PORT" "$CLAMAV_MILTER_PID" --protocol milter --corpus "$CORPUS" --warmup 200 "$@"
fi
