#!/usr/bin/env bash
# gatepost itself (release build), delivering to a sink. Sourced:
# `start_gatepost full|none|embedded|FILE SINK_PORT [CLAMD_SOCKET]` sets GATEPOST_PORT and GATEPOST_PID. In a FILE the
# words @PORT@, @SINK@, @CLAMD@ and @DATA@ are replaced. Run by hand: measures one of them, `gatepost.sh full [LOAD ARGUMENTS]`.
[ -n "${REPO:-}" ] || . "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# without CHECK...: switches off what is on by itself.
without() {
    printf '[checks.%s]\nenabled = false\n' "$@"
}

# gatepost_config KIND: what an administrator would write for it.
gatepost_config() {
    cat <<'CONF'
data = "@DATA@"
[log]
level = "warn"
[metrics]
listen = ""
[limits]
messages = 1000000
[[listener]]
listen = ["127.0.0.1:@PORT@"]
next_hop = ["smtp://127.0.0.1:@SINK@"]
CONF
    case $1 in
    # The peers have no rules either.
    full) printf '[checks.clamd.main]\nsocket = "unix:@CLAMD@"\n' && without rules ;;
    embedded) ;;
    none) without embedded attachments gtube rules structure ;;
    *) die "kinds are full, embedded and none, or a file; not $1" ;;
    esac
}

start_gatepost() {
    local kind=$1 folder
    folder=$(mktemp -d "$RUN/gatepost.XXXXXX")
    GATEPOST_PORT=$(free_port)
    if [ -f "$kind" ]; then cat "$kind"; else gatepost_config "$kind"; fi |
        sed "s|@PORT@|$GATEPOST_PORT|g; s|@SINK@|$2|g; s|@CLAMD@|${3:-}|g; s|@DATA@|$folder/data|g" >"$folder/gatepost.toml"
    "$GATEPOST" serve -c "$folder/gatepost.toml" >"$folder/log" 2>&1 &
    GATEPOST_PID=$!
    PIDS+=("$GATEPOST_PID")
    wait_port "$GATEPOST_PORT" 20 "$GATEPOST_PID"
}

need_gatepost() {
    [ -x "$GATEPOST" ] || (cd "$REPO" && cargo build --release -p gatepost)
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    . "$REPO/bench/peers/clamd.sh"
    kind=${1:-full}
    [ $# -eq 0 ] || shift
    need_bench
    need_gatepost
    start_sink
    CLAMD_SOCKET=
    [ "$kind" != full ] || start_clamd
    start_gatepost "$kind" "$SINK_PORT" "$CLAMD_SOCKET"
    measure "gatepost-$kind" "$GATEPOST_PORT" "$GATEPOST_PID" --corpus "$CORPUS" --warmup 200 --pipelining "$@"
fi
