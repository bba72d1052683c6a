#!/usr/bin/env bash
# Debian's policyd-spf, a process for each connection as Postfix's spawn(8) runs it, asking a name server of our own.
# Sourced: `start_policyd_spf DNS_PORT` sets POLICYD_PORT and POLICYD_PID.
[ -n "${REPO:-}" ] || . "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

start_policyd_spf() {
    [ -x /usr/bin/policyd-spf ] || die "policyd-spf is not installed (Debian: postfix-policyd-spf-python)"
    local folder
    folder=$(mktemp -d "$RUN/policyd-spf.XXXXXX")
    cat >"$folder/policyd.py" <<'PYTHON'
import sys
sys.modules['dns'] = None  # dnspython would ask the system's name servers
import DNS, spf
DNS.defaults['server'] = ['127.0.0.1']
DNS.defaults['port'] = int(sys.argv.pop(1))
from spf_engine import policyd_spf
policyd_spf.main()
PYTHON
    echo 'debugLevel = 0' >"$folder/policyd-spf.conf"
    POLICYD_PORT=$(free_port)
    "$BENCH" inetd --listen "127.0.0.1:$POLICYD_PORT" -- /usr/bin/python3 "$folder/policyd.py" "$1" "$folder/policyd-spf.conf" \
        >"$folder/out" 2>&1 &
    POLICYD_PID=$!
    PIDS+=("$POLICYD_PID")
    wait_port "$POLICYD_PORT" 10 "$POLICYD_PID"
}
