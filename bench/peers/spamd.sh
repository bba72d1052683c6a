#!/usr/bin/env bash
# Debian's spamd with local tests only and no rules: what its protocol and its reading of messages cost, nothing else.
# Sourced: `start_spamd` sets SPAMD_PORT and SPAMD_PID. Run by hand: measures it with the corpus.
[ -n "${REPO:-}" ] || . "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

start_spamd() {
    need spamd "Debian: spamd"
    local folder
    folder=$(mktemp -d "$RUN/spamd.XXXXXX")
    mkdir -p "$folder/rules" "$folder/site" "$folder/home"
    SPAMD_PORT=$(free_port)
    # It does not start without any rule: this one matches nothing and counts nothing.
    printf 'header NEVER X-Never-Sent =~ /^never$/\n' >"$folder/rules/none.cf"
    cat >"$folder/site/local.cf" <<CONF
use_bayes 0
use_auto_welcomelist 0
use_learner 0
skip_rbl_checks 1
CONF
    # The one plugin without which it scans nothing.
    printf 'loadplugin Mail::SpamAssassin::Plugin::Check\nutil_rb_tld com net org\n' >"$folder/site/check.pre"
    # It reads them as the user that it becomes.
    chmod 755 "$folder"
    chmod 777 "$folder/home"
    # As many children as were fastest here; each serves many messages before it is replaced.
    "$(command -v spamd)" -L -x -u nobody -H "$folder/home" --configpath="$folder/rules" --siteconfigpath="$folder/site" \
        -i 127.0.0.1 -p "$SPAMD_PORT" --min-children="${SPAMD_CHILDREN:-4}" --max-children="${SPAMD_CHILDREN:-4}" \
        --max-conn-per-child=5000 -s stderr >"$folder/out" 2>&1 &
    SPAMD_PID=$!
    PIDS+=("$SPAMD_PID")
    wait_port "$SPAMD_PORT" 60 "$SPAMD_PID"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    need_bench
    start_spamd
    measure spamd-check "$SPAMD_PORT" "$SPAMD_PID" --protocol spamd-check --corpus "$CORPUS" --messages 3000 --warmup 100 "$@"
    measure spamd-process "$SPAMD_PORT" "$SPAMD_PID" --protocol spamd-process --corpus "$CORPUS" --messages 3000 --warmup 100 "$@"
fi
