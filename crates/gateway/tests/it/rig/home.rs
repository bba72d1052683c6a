//! The home set-up's two ends: a mailbox at a provider (a real dovecot, IMAP) and fetchmail, which empties it.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use super::{Process, answers, folder, free_address, program};

/// A running dovecot with the mailbox of `me`, password `secret`.
pub struct Dovecot {
    _process: Process,
    /// Where it speaks IMAP.
    pub imap: SocketAddr,
    folder: tempfile::TempDir,
}

impl Dovecot {
    /// One with these mails.
    pub fn start(mails: &[String]) -> Dovecot {
        let (imap, folder) = (free_address(), folder());
        let dovecot = nix::unistd::User::from_name("dovecot").ok().flatten().expect("dovecot's user");
        for name in ["mail", "mail/new", "mail/cur", "mail/tmp"] {
            std::fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        for (number, mail) in mails.iter().enumerate() {
            let file = folder.path().join(format!("mail/new/{}.{number}.provider", 1_700_000_000 + number));
            std::fs::write(file, mail.replace('\n', "\r\n")).expect("write");
        }
        for entry in walk(folder.path().join("mail")) {
            std::os::unix::fs::chown(entry, Some(dovecot.uid.as_raw()), Some(dovecot.gid.as_raw()))
                .expect("chown");
        }
        let path = folder.path().display();
        let config = format!(
            "base_dir = {path}/run\nstate_dir = {path}/state\nprotocols = imap\nssl = no\n\
             disable_plaintext_auth = no\nlog_path = {path}/log\nlisten = 127.0.0.1\n\
             mail_location = maildir:{path}/mail\nmail_uid = dovecot\nmail_gid = dovecot\nfirst_valid_uid = 1\n\
             default_vsz_limit = 0\n\
             passdb {{\n driver = static\n args = password=secret\n}}\n\
             userdb {{\n driver = static\n args = uid=dovecot gid=dovecot home={path}\n}}\n\
             service imap-login {{\n inet_listener imap {{\n  port = {}\n }}\n inet_listener imaps {{\n  port = 0\n }}\n}}\n",
            imap.port(),
        );
        let file = folder.path().join("dovecot.conf");
        std::fs::write(&file, config).expect("write");
        let mut command = Command::new(program("dovecot"));
        command.arg("-F").arg("-c").arg(&file);
        let mut process = Process::start("dovecot", &mut command, &folder.path().join("log"));
        process.wait_until(|| answers(imap).then_some(()));
        Dovecot { _process: process, imap, folder }
    }

    /// The mails that are still there.
    pub fn mailbox(&self) -> Vec<String> {
        let mut files: Vec<_> =
            walk(self.folder.path().join("mail")).into_iter().filter(|path| is_mail(path)).collect();
        files.sort_by_key(|path| path.file_name().map(ToOwned::to_owned));
        files
            .iter()
            .map(|file| String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).into())
            .collect()
    }

    /// Empties it once with fetchmail, which is configured by these lines.
    pub fn fetchmail(&self, rc: &str) -> Output {
        let file = self.folder.path().join("fetchmailrc");
        std::fs::write(&file, rc).expect("write");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("chmod");
        Command::new(program("fetchmail"))
            .arg("-v")
            .arg("-f")
            .arg(file)
            .env("HOME", self.folder.path())
            .env("FETCHMAILHOME", self.folder.path())
            .env("LC_ALL", "C")
            .output()
            .expect("fetchmail runs")
    }
}

/// A folder and everything in it and in its folders.
fn walk(folder: PathBuf) -> Vec<PathBuf> {
    let mut found = vec![folder.clone()];
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            true => found.extend(walk(entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

fn is_mail(path: &std::path::Path) -> bool {
    path.is_file()
        && path
            .parent()
            .and_then(|folder| folder.file_name())
            .is_some_and(|folder| folder == "new" || folder == "cur")
}
