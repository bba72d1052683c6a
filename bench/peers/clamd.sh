#!/usr/bin/env bash
# clamd with a small signature database on a free port and a unix socket. Sourced: `start_clamd` sets CLAMD_PORT,
# CLAMD_SOCKET and CLAMD_PID. Run by hand: starts it, says where it listens, and stays until interrupted.
[ -n "${REPO:-}" ] || . "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

# The 68 bytes of the EICAR test file in hex, put together here so that no scanner takes this script for it.
eicar_hex() {
    printf '%s%s' 'X5O!P%@AP[4\PZX54(P^)7CC)7}$' 'EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*' | od -An -v -tx1 | tr -d ' \n'
}

start_clamd() {
    need clamd "Debian: clamav-daemon"
    local folder=$RUN/clamd
    mkdir -p "$folder/db" "$folder/tmp"
    chmod -R 755 "$folder"
    printf 'Eicar-Test-Signature:0:*:%s\n' "$(eicar_hex)" >"$folder/db/test.ndb"
    printf 'aa15bcf478d165efd2065190eb473bcb:544:ClamAV-Test-File\n' >"$folder/db/test.hdb"
    CLAMD_PORT=$(free_port)
    CLAMD_SOCKET=$folder/clamd.sock
    cat >"$folder/clamd.conf" <<CONF
Foreground yes
DatabaseDirectory $folder/db
TemporaryDirectory $folder/tmp
LocalSocket $CLAMD_SOCKET
LocalSocketMode 666
TCPSocket $CLAMD_PORT
TCPAddr 127.0.0.1
MaxThreads 12
MaxQueue 200
MaxConnectionQueueLength 200
StreamMaxLength 100M
CONF
    clamd --config-file="$folder/clamd.conf" >"$folder/log" 2>&1 &
    CLAMD_PID=$!
    PIDS+=("$CLAMD_PID")
    wait_port "$CLAMD_PORT" 60 "$CLAMD_PID"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    start_clamd
    say "clamd on 127.0.0.1:$CLAMD_PORT and $CLAMD_SOCKET"
    wait "$CLAMD_PID"
fi
