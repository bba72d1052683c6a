//! A real Exim with a configuration, spool and log of its own, and one daemon on a free port.
//!
//! `./test` unpacks it into target/servers/exim, since as a package it would push Postfix out.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::unistd::User;

use super::{Process, answers, folder, free_address, server, wait_for};

/// What differs from the rig's own configuration: local domain `example.test`, relay for 127.0.0.1, as Debian has it.
pub struct EximSetup {
    /// Everything goes there by SMTP.
    pub deliver_to: SocketAddr,
    /// Further options of the main section; one that the rig sets as well takes its place: `spamd_address = …`.
    pub main: String,
    /// What the ACL at RCPT begins with.
    pub rcpt: String,
    /// What the ACL at DATA begins with; after it everything is accepted.
    pub data: String,
}

impl EximSetup {
    /// Everything goes on to an SMTP server.
    pub fn to(deliver_to: SocketAddr) -> EximSetup {
        EximSetup { deliver_to, main: String::new(), rcpt: String::new(), data: String::new() }
    }

    /// With further options of the main section.
    pub fn with(mut self, main: &str) -> EximSetup {
        self.main.push_str(main);
        self.main.push('\n');
        self
    }

    /// With statements at the beginning of the ACL at RCPT.
    pub fn at_rcpt(mut self, acl: &str) -> EximSetup {
        self.rcpt.push_str(acl);
        self.rcpt.push('\n');
        self
    }

    /// With statements in the ACL at DATA: `deny malware = *`.
    pub fn at_data(mut self, acl: &str) -> EximSetup {
        self.data.push_str(acl);
        self.data.push('\n');
        self
    }

    /// Starts it on a free port.
    pub fn start(self) -> Exim {
        self.start_at(free_address())
    }

    /// Starts it where `main` makes it listen.
    pub fn start_at(self, smtp: SocketAddr) -> Exim {
        let mut exim = Exim { process: None, smtp, folder: folder() };
        exim.prepare(&self);
        exim.restart();
        exim
    }
}

/// A running Exim.
pub struct Exim {
    process: Option<Process>,
    /// Where its daemon listens.
    pub smtp: SocketAddr,
    // Last, so that the process is gone before its folder is.
    folder: tempfile::TempDir,
}

impl Exim {
    fn prepare(&self, setup: &EximSetup) {
        let owner = User::from_name("Debian-exim").ok().flatten().expect("Exim's user");
        for name in ["spool", "log"] {
            std::fs::create_dir(self.path(name)).expect("a folder");
            nix::unistd::chown(&self.path(name), Some(owner.uid), Some(owner.gid)).expect("chown");
        }
        // It starts itself again as its own user, who may not see into the folder where it was unpacked.
        std::fs::copy(server("exim").join("usr/sbin/exim4"), self.path("exim")).expect("copy");
        std::fs::write(self.config(), self.text(setup)).expect("write");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, setup: &EximSetup) -> String {
        let folder = self.folder.path().display();
        let EximSetup { deliver_to, main, rcpt, data } = setup;
        let own = format!(
            "local_interfaces = 127.0.0.1\ndaemon_smtp_ports = {}\nprimary_hostname = exim.example.test\n\
             host_lookup =\ntls_advertise_hosts =\nnever_users =\nkeep_environment =\nlog_selector = +all\n\
             domainlist local_domains = example.test\ndomainlist relay_to_domains =\n\
             hostlist relay_from_hosts = 127.0.0.1\n",
            self.smtp.port(),
        );
        let own: String = own
            .lines()
            .filter(|line| !main.lines().any(|other| option(other) == option(line)))
            .map(|line| format!("{line}\n"))
            .collect();
        format!(
            "exim_path = {folder}/exim\nspool_directory = {folder}/spool\nlog_file_path = {folder}/log/%slog\n\
             pid_file_path = {folder}/pid\ndeliver_drop_privilege\n{own}{main}\n\
             acl_smtp_rcpt = acl_check_rcpt\nacl_smtp_data = acl_check_data\n\
             begin acl\nacl_check_rcpt:\n{rcpt}\n  accept hosts = +relay_from_hosts\n\
             \x20 accept domains = +local_domains : +relay_to_domains\n  deny message = relay not permitted\n\
             acl_check_data:\n{data}\n  accept\n\
             begin routers\nall:\n  driver = manualroute\n  route_list = * {}\n  transport = out\n  self = send\n\
             begin transports\nout:\n  driver = smtp\n  port = {}\n  hosts_avoid_tls = *\n\
             begin retry\n* * F,1h,1m\n",
            deliver_to.ip(),
            deliver_to.port(),
        )
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.path("exim"));
        command.arg("-C").arg(self.config()).current_dir("/");
        command
    }

    /// Starts its daemon again, after it was stopped or killed; the spool is as it was.
    pub fn restart(&mut self) {
        self.stop();
        let smtp = self.smtp;
        let mut process = Process::start("exim", self.command().args(["-bdf", "-q1h"]), &self.path("out"));
        process.wait_until(|| answers(smtp).then_some(()));
        self.process = Some(process);
    }

    /// Ends the daemon in good order, when it runs.
    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.end();
        }
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.path("exim.conf")
    }

    /// Tries once to deliver everything in its queue.
    pub fn run_queue(&self) {
        let output = self.command().arg("-qff").output().expect("Exim runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What `mailq` says; nothing when there is nothing.
    pub fn mailq(&self) -> String {
        String::from_utf8_lossy(&self.command().arg("-bp").output().expect("Exim runs").stdout).into_owned()
    }

    /// Its logs: of what it did, of what it refused, of what is broken.
    pub fn log(&self) -> String {
        ["mainlog", "rejectlog", "paniclog"]
            .iter()
            .map(|name| std::fs::read_to_string(self.path("log").join(name)).unwrap_or_default())
            .collect()
    }

    /// Nothing is in its queue.
    pub fn settled(&self) {
        wait_for("an empty queue", Duration::from_secs(30), || self.mailq().trim().is_empty().then_some(()));
    }
}

impl Drop for Exim {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- Exim ---\n{}", self.log());
        } else {
            self.stop();
        }
    }
}

/// The name of what a line of the main section sets.
fn option(line: &str) -> &str {
    line.split('=').next().unwrap_or_default().trim()
}

#[test]
fn mail_goes_through() {
    if !super::needs(&["root", "exim"]) {
        return;
    }
    let sink = super::Sink::start();
    let exim = EximSetup::to(sink.address)
        .with("hostlist relay_from_hosts =")
        .at_data("  deny condition = ${if match{$message_body}{not wanted}}\n       message = not here")
        .start();
    let mut dialog = super::Dialog::connect(exim.smtp);
    dialog.greet();
    let to = ["user@example.test"];
    let reply = dialog.message("sender@client.test", &to, &super::mail("one", "welcome"));
    assert!(reply.text.starts_with("250 OK id="), "{}", reply.text);
    let reply = dialog.message("sender@client.test", &to, &super::mail("two", "not wanted"));
    assert_eq!(reply.text, "550 not here");
    dialog.say("MAIL FROM:<sender@client.test>", "250");
    dialog.say("RCPT TO:<user@elsewhere.test>", "550 relay not permitted");
    assert_eq!(sink.wait_received(1)[0].header("Subject").as_deref(), Some("one"));
    exim.settled();
    assert!(exim.log().contains("rejected after DATA: not here"), "{}", exim.log());
    exim.run_queue();
}
