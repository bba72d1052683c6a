//! A real slapd (OpenLDAP) with a directory of its own in a temporary folder.

use std::net::SocketAddr;
use std::process::Command;

use super::{Process, answers, folder, free_address, program};

/// A running directory `dc=example,dc=org`; `cn=gatepost` of it with the password `secret` may read it.
pub struct Slapd {
    process: Option<Process>,
    /// Where it answers.
    pub address: SocketAddr,
    // Last, so that the process is gone before its folder is.
    folder: tempfile::TempDir,
}

impl Slapd {
    /// Starts it with these entries below `dc=example,dc=org`, as LDIF; with STARTTLS by a certificate and its key.
    pub fn start(entries: &str, tls: Option<(&str, &str)>) -> Slapd {
        let folder = folder();
        let path = folder.path().display();
        std::fs::create_dir(folder.path().join("data")).expect("a folder");
        let tls = tls.map_or(String::new(), |(certificate, key)| {
            format!("TLSCertificateFile {certificate}\nTLSCertificateKeyFile {key}\n")
        });
        let config = format!(
            "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\n\
             include /etc/ldap/schema/inetorgperson.schema\npidfile {path}/pid\nmodulepath /usr/lib/ldap\n\
             moduleload back_mdb\n{tls}database mdb\nsuffix \"dc=example,dc=org\"\ndirectory {path}/data\n\
             rootdn \"cn=gatepost,dc=example,dc=org\"\nrootpw secret\naccess to * by * none\n",
        );
        let entries = format!(
            "dn: dc=example,dc=org\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n\n{entries}"
        );
        for (name, content) in [("slapd.conf", &config), ("entries.ldif", &entries)] {
            std::fs::write(folder.path().join(name), content).expect("write");
        }
        let filled = Command::new(program("slapadd"))
            .arg("-f")
            .arg(folder.path().join("slapd.conf"))
            .arg("-l")
            .arg(folder.path().join("entries.ldif"))
            .output()
            .expect("slapadd runs");
        assert!(filled.status.success(), "{}", String::from_utf8_lossy(&filled.stderr));
        let mut slapd = Slapd { process: None, address: free_address(), folder };
        slapd.restart();
        slapd
    }

    /// Starts it again after [`Slapd::stop`].
    pub fn restart(&mut self) {
        let mut command = Command::new(program("slapd"));
        command.args(["-d", "0", "-h", &format!("ldap://{}", self.address), "-f"]);
        command.arg(self.folder.path().join("slapd.conf"));
        let mut process = Process::start("slapd", &mut command, &self.folder.path().join("log"));
        process.wait_until(|| answers(self.address).then_some(()));
        self.process = Some(process);
    }

    /// Ends it.
    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.end();
        }
    }

    /// Stops it without ending it: it still takes connections and answers none.
    pub fn hang(&self, hang: bool) {
        use nix::sys::signal::Signal;
        let signal = if hang { Signal::SIGSTOP } else { Signal::SIGCONT };
        self.process.iter().for_each(|process| process.signal(signal));
        if hang {
            // A busy machine takes a while to stop all threads.
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
    }
}
