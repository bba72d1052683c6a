//! The peer of the amavis place: Debian's amavisd-new with the rig's clamd and without SpamAssassin.

use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::User;

use super::{Clamd, Process, answers, folder, free_address, program};

/// A running amavisd.
pub struct Amavis {
    process: Process,
    /// Where it takes mail by SMTP and LMTP.
    pub smtp: SocketAddr,
    /// Where it speaks AM.PDP.
    pub pdp: PathBuf,
    folder: tempfile::TempDir,
}

impl Amavis {
    /// One that hands mail on to `out`, with further lines of its configuration, in Perl: `$final_virus_destiny =
    /// D_DISCARD;`. Without any, it refuses viruses and banned files, and informs nobody.
    pub fn start(out: SocketAddr, clamd: &Clamd, settings: &str) -> Amavis {
        let (smtp, folder) = (free_address(), folder());
        let pdp = folder.path().join("var/amavisd.sock");
        let config = debian() + &own(folder.path(), smtp, &pdp, clamd) + &forward(out) + settings + "\n1;\n";
        let file = folder.path().join("amavisd.conf");
        std::fs::write(&file, config).expect("write");
        // It refuses a configuration that its own user could write.
        let owner = User::from_name("amavis").ok().flatten().expect("amavis's user");
        let own = |path: PathBuf| chown(path, Some(owner.uid.as_raw()), Some(owner.gid.as_raw()));
        for name in ["tmp", "db", "var", "virusmails"] {
            std::fs::create_dir(folder.path().join(name)).expect("a folder");
            own(folder.path().join(name)).expect("chown");
        }
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path().join("var"), open).expect("chmod");
        std::fs::write(folder.path().join("log"), "").expect("write");
        own(folder.path().join("log")).expect("chown");
        let mut command = Command::new(program("amavisd"));
        command.arg("-c").arg(&file).arg("foreground").current_dir("/");
        let mut process = Process::start("amavisd", &mut command, &folder.path().join("out"));
        process.wait_until(|| answers(smtp).then_some(()));
        Amavis { process, smtp, pdp, folder }
    }

    /// Its log, at level 2.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Its quarantine, when the settings give it one.
    pub fn quarantine(&self) -> PathBuf {
        self.folder.path().join("virusmails")
    }
}

impl Drop for Amavis {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- amavisd's log ---\n{}", self.log());
        }
        // Its children end with it only when it is asked to end.
        if !self.process.ended() {
            self.process.signal(Signal::SIGTERM);
            for _ in 0..500 {
                if self.process.ended() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// Debian's own configuration, to which an administrator adds.
fn debian() -> String {
    ["01-debian", "05-domain_id", "05-node_id", "15-av_scanners", "20-debian_defaults", "25-amavis_helpers"]
        .iter()
        .filter_map(|name| std::fs::read_to_string(Path::new("/etc/amavis/conf.d").join(name)).ok())
        .flat_map(|text| {
            text.lines()
                .filter(|line| !line.starts_with("1;"))
                .map(|line| format!("{line}\n"))
                .collect::<Vec<_>>()
        })
        .collect()
}

fn own(folder: &Path, smtp: SocketAddr, pdp: &Path, clamd: &Clamd) -> String {
    let (folder, pdp, clamd) = (folder.display(), pdp.display(), clamd.socket.display());
    format!(
        "$MYHOME = '{folder}';\n$TEMPBASE = '{folder}/tmp';\n$ENV{{TMPDIR}} = '{folder}/tmp';\n\
         $QUARANTINEDIR = '{folder}/virusmails';\n$db_home = '{folder}/db';\n\
         $lock_file = '{folder}/var/amavisd.lock';\n$pid_file = '{folder}/var/amavisd.pid';\n\
         $daemon_user = 'amavis';\n$daemon_group = 'amavis';\n\
         $myhostname = 'amavis.example.test';\n$mydomain = 'example.test';\n\
         $inet_socket_port = {};\n$inet_socket_bind = '127.0.0.1';\n@inet_acl = ('127.0.0.1');\n\
         $unix_socketname = '{pdp}';\n$unix_socket_mode = 0666;\n\
         $interface_policy{{'SOCK'}} = 'AM.PDP-SOCK';\n$policy_bank{{'AM.PDP-SOCK'}} = {{ protocol => 'AM.PDP' }};\n\
         $max_servers = 2;\n$DO_SYSLOG = 0;\n$LOGFILE = '{folder}/log';\n$log_level = 2;\n\
         $enable_db = 0;\n$enable_global_cache = 0;\n\
         @bypass_virus_checks_maps = (0);\n@bypass_spam_checks_maps = (1);\n\
         $final_virus_destiny = D_REJECT;\n$final_banned_destiny = D_REJECT;\n$final_bad_header_destiny = D_PASS;\n\
         $virus_admin = undef;\n$warnbadhsender = 0;\n$virus_quarantine_method = undef;\n\
         $banned_files_quarantine_method = undef;\n$bad_header_quarantine_method = undef;\n\
         @av_scanners = (['ClamAV-clamd', \\&ask_daemon, [\"CONTSCAN {{}}\\n\", '{clamd}'],\n\
         \x20 qr/\\bOK$/m, qr/\\bFOUND$/m, qr/^.*?: (?!Infected Archive)(.*) FOUND$/m ]);\n\
         @av_scanners_backup = ();\n",
        smtp.port(),
    )
}

fn forward(out: SocketAddr) -> String {
    format!("$forward_method = 'smtp:[{}]:{}';\n$notify_method = $forward_method;\n", out.ip(), out.port())
}

#[test]
fn the_peers_pass_clean_mail_and_stop_a_virus() {
    if !super::needs(&["root", "amavisd", "clamsmtpd", "clamd"]) {
        return;
    }
    let (sink, clamd) = (super::Sink::start(), Clamd::start());
    let amavis = Amavis::start(sink.address, &clamd, "");
    let clamsmtp = super::Clamsmtp::start(sink.address, &clamd, "Action: bounce");
    for (count, (server, refusal)) in (1..).zip([(amavis.smtp, "554 5.7.0 "), (clamsmtp.smtp, "550 ")]) {
        let mut dialog = super::Dialog::connect(server);
        dialog.greet();
        let to = ["user@example.test"];
        let reply = dialog.message("sender@client.test", &to, &super::mail("good", "all is well"));
        assert!(reply.text.starts_with("250 "), "{}", dialog.transcript());
        assert_eq!(sink.wait_received(count)[count - 1].header("Subject").as_deref(), Some("good"));
        let reply = dialog.message("sender@client.test", &to, &super::eicar_body("bad"));
        assert!(reply.text.starts_with(refusal), "{}", dialog.transcript());
    }
    assert_eq!(sink.received().len(), 2);
    assert!(amavis.log().contains("Blocked INFECTED"), "{}", amavis.log());
    assert!(clamsmtp.log().contains("found virus: Eicar-Test-Signature"), "{}", clamsmtp.log());
}
