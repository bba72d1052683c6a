#!/usr/bin/env bash
# Debian's amavisd-new with clamd and without SpamAssassin, delivering to a sink. Sourced:
# `start_amavis SINK_PORT CLAMD_SOCKET [LINES]` sets AMAVIS_PORT (SMTP and LMTP), AMAVIS_PDP_PORT (AM.PDP, for messages in folders
# below AMAVIS_SPOOL) and AMAVIS_PID. Run by hand: measures it with the corpus.
[ -n "${REPO:-}" ] || . "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

start_amavis() {
    local amavisd folder file
    folder=$(mktemp -d "$RUN/amavis.XXXXXX")
    chmod 755 "$folder"
    amavisd=$(command -v amavisd || command -v amavisd-new) || die "amavisd-new is not installed"
    mkdir -p "$folder"/{tmp,db,var,virusmails}
    AMAVIS_PORT=$(free_port)
    AMAVIS_PDP_PORT=$(free_port)
    AMAVIS_SPOOL=$folder/tmp
    # Debian's own configuration, then what differs here, as an administrator writes it into 50-user.
    for file in 01-debian 05-domain_id 05-node_id 15-av_scanners 20-debian_defaults 25-amavis_helpers; do
        [ ! -f "/etc/amavis/conf.d/$file" ] || grep -v '^1;' "/etc/amavis/conf.d/$file"
    done >"$folder/amavisd.conf" 2>/dev/null
    cat >>"$folder/amavisd.conf" <<CONF
\$MYHOME = '$folder';
\$TEMPBASE = '$folder/tmp';
\$ENV{TMPDIR} = '$folder/tmp';
\$QUARANTINEDIR = '$folder/virusmails';
\$db_home = '$folder/db';
\$lock_file = '$folder/var/amavisd.lock';
\$pid_file = '$folder/var/amavisd.pid';
\$daemon_user = 'amavis';
\$daemon_group = 'amavis';
\$myhostname = 'amavis.example.net';
\$mydomain = 'example.net';
\$unix_socketname = undef;
\$inet_socket_port = [$AMAVIS_PORT, $AMAVIS_PDP_PORT];
\$interface_policy{'$AMAVIS_PDP_PORT'} = 'AM.PDP-INET';
\$policy_bank{'AM.PDP-INET'} = { protocol => 'AM.PDP', inet_acl => ['127.0.0.1'] };
\$inet_socket_bind = '127.0.0.1';
@inet_acl = ('127.0.0.1');
# On two cores two children took the most mail (82 messages a second; 72 with four, 65 with six).
\$max_servers = ${AMAVIS_SERVERS:-2};
\$max_requests = 1000;
\$DO_SYSLOG = 0;
\$LOGFILE = '$folder/log';
\$log_level = 0;
\$enable_db = 0;
\$enable_global_cache = 0;
@bypass_virus_checks_maps = (0);
@bypass_spam_checks_maps = (1);
\$final_virus_destiny = D_REJECT;
\$final_banned_destiny = D_REJECT;
\$final_bad_header_destiny = D_PASS;
\$virus_admin = undef;
\$virus_quarantine_method = undef;
\$banned_files_quarantine_method = undef;
\$bad_header_quarantine_method = undef;
\$warnbadhsender = 0;
\$forward_method = 'smtp:[127.0.0.1]:$1';
\$notify_method = \$forward_method;
@av_scanners = (
  ['ClamAV-clamd', \&ask_daemon, ["CONTSCAN {}\n", '$2'],
   qr/\bOK\$/m, qr/\bFOUND\$/m, qr/^.*?: (?!Infected Archive)(.*) FOUND\$/m ],
);
@av_scanners_backup = ();
${3:-}
1;
CONF
    # amavis refuses a configuration that its own user could write.
    chown -R amavis:amavis "$folder"
    chown root:root "$folder" "$folder/amavisd.conf"
    touch "$folder/log"
    chown amavis:amavis "$folder/log"
    "$amavisd" -c "$folder/amavisd.conf" foreground >"$folder/out" 2>&1 &
    AMAVIS_PID=$!
    PIDS+=("$AMAVIS_PID")
    wait_port "$AMAVIS_PORT" 60 "$AMAVIS_PID"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    . "$REPO/bench/peers/clamd.sh"
    need_bench
    start_sink
    start_clamd
    start_amavis "$SINK_PORT" "$CLAMD_SOCKET"
    measure amavis "$AMAVIS_PORT" "$AMAVIS_PID" --corpus "$CORPUS" --messages "${MESSAGES:-400}" --warmup 20 \
        --concurrency "${AMAVIS_SERVERS:-2}" "$@"
fi
