//! A private Postfix: own configuration, queue and data folders, one smtpd on a free loopback port.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};

use super::{START, answers, folder, free_address, program, tail, wait_for};

/// What differs from the rig's own configuration: the domain `example.test` with the users `user` and `other`.
#[derive(Default)]
pub struct PostfixSetup {
    /// Everything that is not local goes there, without a look at MX records.
    pub relay_to: Option<SocketAddr>,
    /// Domains that are local, each with the users `user` and `other`. Default: `example.test`.
    pub domains: Vec<&'static str>,
    /// Further lines of main.cf.
    pub main: String,
    /// Where its smtpd listens. Default: a free port.
    pub smtp: Option<SocketAddr>,
    /// The entry of its smtpd in master.cf, which must listen at `smtp`. Default: one without options.
    pub smtpd: String,
    /// Further entries of master.cf.
    pub services: String,
}

impl PostfixSetup {
    /// With the entry of its smtpd in master.cf, as the documentation gives it.
    pub fn smtpd(mut self, listens: SocketAddr, entry: &str) -> PostfixSetup {
        (self.smtp, self.smtpd) = (Some(listens), entry.to_owned());
        self
    }

    /// With further entries of master.cf.
    pub fn services(mut self, entries: &str) -> PostfixSetup {
        self.services.push_str(entries);
        self.services.push('\n');
        self
    }

    /// With further lines of main.cf.
    pub fn main(mut self, lines: &str) -> PostfixSetup {
        self.main.push_str(lines);
        self.main.push('\n');
        self
    }

    /// Starts it.
    pub fn start(self) -> Postfix {
        Postfix::with(self)
    }
}

/// A running Postfix.
pub struct Postfix {
    /// Where its smtpd listens.
    pub smtp: SocketAddr,
    folder: tempfile::TempDir,
    running: bool,
}

impl Postfix {
    /// One that takes mail for `user@example.test` and `other@example.test`.
    pub fn start() -> Postfix {
        Postfix::with(PostfixSetup::default())
    }

    /// One that is set up otherwise.
    pub fn with(setup: PostfixSetup) -> Postfix {
        let mut postfix =
            Postfix { smtp: setup.smtp.unwrap_or_else(free_address), folder: folder(), running: false };
        postfix.configure(&setup);
        postfix.restart();
        postfix
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self, setup: &PostfixSetup) {
        let owner = User::from_name("postfix").ok().flatten().expect("Postfix's user");
        for name in ["config", "queue", "data", "mail", "log"] {
            std::fs::create_dir_all(self.path(name)).expect("a folder");
        }
        for name in ["data", "mail", "log"] {
            nix::unistd::chown(&self.path(name), Some(owner.uid), Some(owner.gid)).expect("chown");
        }
        let domains: &[&str] = if setup.domains.is_empty() { &["example.test"] } else { &setup.domains };
        let users: String = domains
            .iter()
            .flat_map(|domain| ["user", "other"].map(|user| format!("{user}@{domain} {user}/\n")))
            .collect();
        std::fs::write(self.path("config/users"), users).expect("write");
        // Whoever comes first writes into it: root's master, or a tool that has become Postfix's user.
        let log = self.path("log/postfix.log");
        std::fs::write(&log, "").expect("write");
        std::fs::set_permissions(&log, std::os::unix::fs::PermissionsExt::from_mode(0o666)).expect("chmod");
        std::fs::write(self.path("config/main.cf"), self.main_cf(setup, domains, &owner)).expect("write");
        std::fs::write(self.path("config/master.cf"), self.master_cf(setup)).expect("write");
    }

    fn main_cf(&self, setup: &PostfixSetup, domains: &[&str], owner: &User) -> String {
        let folder = self.folder.path().display();
        let relay =
            setup.relay_to.map(|to| format!("relayhost = [{}]:{}\n", to.ip(), to.port())).unwrap_or_default();
        format!(
            "compatibility_level = 3.6\nqueue_directory = {folder}/queue\ndata_directory = {folder}/data\n\
             command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\n\
             myhostname = mx.example.test\nmydestination =\nmynetworks = 127.0.0.0/8\n\
             inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nalias_maps =\nalias_database =\nbiff = no\n\
             local_transport = error:no local mail\nsmtp_host_lookup = native\ndisable_dns_lookups = yes\n\
             maillog_file_prefixes = {folder}\nmaillog_file = {folder}/log/postfix.log\n\
             virtual_mailbox_domains = {}\nvirtual_mailbox_base = {folder}/mail\n\
             virtual_mailbox_maps = texthash:{folder}/config/users\n\
             virtual_uid_maps = static:{}\nvirtual_gid_maps = static:{}\n\
             smtpd_authorized_xforward_hosts = 127.0.0.0/8\n{relay}{}\n",
            domains.join(", "),
            owner.uid,
            owner.gid,
            setup.main,
        )
    }

    fn master_cf(&self, setup: &PostfixSetup) -> String {
        let mut text = match setup.smtpd.as_str() {
            "" => format!("127.0.0.1:{} inet n - n - - smtpd\n", self.smtp.port()),
            entry => format!("{entry}\n"),
        };
        for line in [
            "pickup unix n - n 60 1 pickup",
            "cleanup unix n - n - 0 cleanup",
            "qmgr unix n - n 300 1 qmgr",
            "rewrite unix - - n - - trivial-rewrite",
            "bounce unix - - n - 0 bounce",
            "defer unix - - n - 0 bounce",
            "trace unix - - n - 0 bounce",
            "verify unix - - n - 1 verify",
            "flush unix n - n 1000? 0 flush",
            "proxymap unix - - n - - proxymap",
            "smtp unix - - n - - smtp",
            "relay unix - - n - - smtp",
            "showq unix n - n - - showq",
            "error unix - - n - - error",
            "retry unix - - n - - error",
            "discard unix - - n - - discard",
            "virtual unix - n n - - virtual",
            "anvil unix - - n - 1 anvil",
            "tlsmgr unix - - n 1000? 1 tlsmgr",
            "scache unix - - n - 1 scache",
            "postlog unix-dgram n - n - 1 postlogd",
        ] {
            text.push_str(line);
            text.push('\n');
        }
        text.push_str(&setup.services);
        text
    }

    fn tool(&self, name: &str, arguments: &[&str]) -> Output {
        Command::new(program(name))
            .arg("-c")
            .arg(self.path("config"))
            .args(arguments)
            .output()
            .expect("Postfix's tool")
    }

    /// Starts it again, after it was stopped or killed; its queue and mailboxes are as they were.
    pub fn restart(&mut self) {
        let output = self.tool("postfix", &["start"]);
        let said = || String::from_utf8_lossy(&output.stderr).into_owned() + &self.log();
        assert!(output.status.success(), "postfix start:\n{}", said());
        self.running = true;
        wait_for("Postfix answers", START, || answers(self.smtp).then_some(()));
    }

    fn master(&self) -> Option<Pid> {
        let text = std::fs::read_to_string(self.path("queue/pid/master.pid")).ok()?;
        text.trim().parse().ok().map(Pid::from_raw)
    }

    /// SIGKILL to master and everything it started.
    pub fn kill(&mut self) {
        if !std::mem::take(&mut self.running) {
            return;
        }
        let Some(master) = self.master() else { return };
        // master leads a process group of its own that its children stay in.
        let _ = kill(Pid::from_raw(-master.as_raw()), Signal::SIGKILL);
        wait_for("Postfix ends", START, || kill(master, None).is_err().then_some(()));
    }

    /// Its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log/postfix.log")).unwrap_or_default()
    }

    /// What `postqueue -p` says; `Mail queue is empty` when there is nothing.
    pub fn queue(&self) -> String {
        String::from_utf8_lossy(&self.tool("postqueue", &["-p"]).stdout).into_owned()
    }

    /// Hands it a message as local programs do: `sendmail -i -f FROM TO…`.
    pub fn submit(&self, from: &str, to: &[String], content: &str) -> Output {
        use std::io::Write;
        let mut child = Command::new(program("sendmail"))
            .arg("-C")
            .arg(self.path("config"))
            .args(["-i", "-f", from, "--"])
            .args(to)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sendmail runs");
        // It may refuse without reading; then its status says so.
        let _ = child.stdin.take().expect("its input").write_all(content.as_bytes());
        child.wait_with_output().expect("sendmail ends")
    }

    /// Tries everything in the queue again now.
    pub fn flush(&self) {
        self.tool("postqueue", &["-f"]);
    }

    /// All mails in a user's mailbox, as they lie there, in the order they came.
    pub fn mailbox(&self, user: &str) -> Vec<String> {
        let mut files = Vec::new();
        for folder in ["new", "cur"] {
            let Ok(entries) = std::fs::read_dir(self.path("mail").join(user).join(folder)) else { continue };
            files.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
        }
        files.sort();
        files
            .iter()
            .map(|file| String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).into_owned())
            .collect()
    }

    /// A user's mailbox, once there are `count` mails in it.
    pub fn delivered(&self, user: &str, count: usize) -> Vec<String> {
        wait_for(&format!("{count} mails for {user}"), Duration::from_secs(30), || {
            let mails = self.mailbox(user);
            (mails.len() >= count).then_some(mails)
        })
    }

    /// Nothing is queued and nothing on its way.
    pub fn settled(&self) {
        wait_for("an empty queue", Duration::from_secs(30), || {
            self.queue().contains("is empty").then_some(())
        });
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- Postfix ---\n{}", tail(&self.path("log/postfix.log")));
        }
        if std::mem::take(&mut self.running)
            && let Some(master) = self.master()
        {
            let _ = kill(master, Signal::SIGTERM);
            for _ in 0..200 {
                if kill(master, None).is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}
