//! Who may log in: dovecot's auth service alone, for Postfix to ask.

use std::path::PathBuf;
use std::process::Command;

use super::{Process, folder, program};

/// A running dovecot that knows `alice`, password `secret`, and nobody's mail.
pub struct Sasl {
    _process: Process,
    /// The socket that `smtpd_sasl_path` names.
    pub socket: PathBuf,
    _folder: tempfile::TempDir,
}

impl Sasl {
    /// With PLAIN, LOGIN and CRAM-MD5.
    pub fn start() -> Sasl {
        let folder = folder();
        let path = folder.path();
        std::fs::write(path.join("users"), "alice:{PLAIN}secret::::::\n").expect("write");
        let socket = path.join("auth");
        let config = format!(
            "base_dir = {0}/run\nstate_dir = {0}/state\nprotocols =\nssl = no\ndisable_plaintext_auth = no\n\
             log_path = {0}/log\ndefault_vsz_limit = 0\nauth_mechanisms = plain login cram-md5\n\
             passdb {{\n driver = passwd-file\n args = {0}/users\n}}\n\
             userdb {{\n driver = static\n args = uid=dovecot gid=dovecot home={0}\n}}\n\
             service auth {{\n unix_listener {1} {{\n  mode = 0666\n }}\n}}\n",
            path.display(),
            socket.display(),
        );
        let file = path.join("dovecot.conf");
        std::fs::write(&file, config).expect("write");
        let mut command = Command::new(program("dovecot"));
        command.arg("-F").arg("-c").arg(&file);
        let mut process = Process::start("dovecot", &mut command, &path.join("log"));
        process.wait_until(|| std::os::unix::net::UnixStream::connect(&socket).ok().map(drop));
        Sasl { _process: process, socket, _folder: folder }
    }
}
