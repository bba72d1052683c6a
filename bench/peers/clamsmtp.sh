#!/usr/bin/env bash
# clamsmtpd with clamd, delivering to a sink. Sourced: `start_clamsmtp SINK_PORT CLAMD_SOCKET` sets CLAMSMTP_PORT and
# CLAMSMTP_PID. Run by hand: measures it with the corpus.
[ -n "${REPO:-}" ] || . "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

start_clamsmtp() {
    need clamsmtpd "Debian: clamsmtp"
    local folder=$RUN/clamsmtp
    mkdir -p "$folder/tmp"
    CLAMSMTP_PORT=$(free_port)
    cat >"$folder/clamsmtpd.conf" <<CONF
OutAddress: 127.0.0.1:$1
Listen: 127.0.0.1:$CLAMSMTP_PORT
ClamAddress: $2
TempDirectory: $folder/tmp
MaxConnections: 128
Action: bounce
CONF
    clamsmtpd -f "$folder/clamsmtpd.conf" -d 1 >"$folder/log" 2>&1 &
    CLAMSMTP_PID=$!
    PIDS+=("$CLAMSMTP_PID")
    wait_port "$CLAMSMTP_PORT" 20 "$CLAMSMTP_PID"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    . "$REPO/bench/peers/clamd.sh"
    need_bench
    start_sink
    start_clamd
    start_clamsmtp "$SINK_PORT" "$CLAMD_SOCKET"
    measure clamsmtp "$CLAMSMTP_PORT" "$CLAMSMTP_PID" --corpus "$CORPUS" --warmup 200 "$@"
fi
