#!/usr/bin/env bash
# Debian's rspamd with its own rules and no network: modules that ask the DNS or other services are off.
# Sourced: `start_rspamd` sets RSPAMD_PORT and RSPAMD_PID. Its rules are not SpamAssassin's.
[ -n "${REPO:-}" ] || . "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

start_rspamd() {
    need rspamd "Debian: rspamd"
    need rspamc "Debian: rspamd"
    local folder module
    folder=$(mktemp -d "$RUN/rspamd.XXXXXX")
    mkdir -p "$folder/conf/local.d" "$folder/db"
    RSPAMD_PORT=$(free_port)
    for module in arc asn dkim dkim_signing dmarc fuzzy_check mx_check phishing rbl spf surbl url_redirector; do
        echo 'enabled = false;' >"$folder/conf/local.d/$module.conf"
    done
    for module in controller fuzzy proxy; do
        echo 'enabled = false;' >"$folder/conf/local.d/worker-$module.inc"
    done
    printf 'bind_socket = "127.0.0.1:%s";\ncount = %s;\n' "$RSPAMD_PORT" "$(nproc)" >"$folder/conf/local.d/worker-normal.inc"
    printf 'type = "console";\nlevel = "error";\n' >"$folder/conf/local.d/logging.inc"
    rspamd -f -i -u "$(id -un)" -g "$(id -gn)" --var=DBDIR="$folder/db" --var=RUNDIR="$folder" --var=LOGDIR="$folder" \
        --var=LOCAL_CONFDIR="$folder/conf" >"$folder/out" 2>&1 &
    RSPAMD_PID=$!
    PIDS+=("$RSPAMD_PID")
    wait_port "$RSPAMD_PORT" 180 "$RSPAMD_PID"
}
