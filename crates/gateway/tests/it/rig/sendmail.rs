//! A real Sendmail with a configuration made by its own m4 files, its own queue and log, and one daemon on a free port.
//!
//! `./test` unpacks it into target/servers/sendmail, since as a package it would push Postfix out.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use super::{Process, answers, folder, free_address, program, server, wait_for};

/// What differs from the rig's own configuration: a relay for whatever comes from this machine.
pub struct SendmailSetup {
    /// Everything goes there by SMTP.
    pub deliver_to: SocketAddr,
    /// `background`, `interactive`, `queueonly` or `defer`.
    pub mode: &'static str,
    /// Further lines of the .mc file, before the mailers: `INPUT_MAIL_FILTER(…)`, `define(…)`.
    pub mc: String,
    /// Further lines of the .mc file, after the mailers: `LOCAL_RULESETS` and what follows it.
    pub rules: String,
    /// Further arguments of the daemon; `{queue}` stands for its queue.
    pub arguments: Vec<String>,
}

impl SendmailSetup {
    /// Everything goes on to an SMTP server, as soon as it was taken.
    pub fn to(deliver_to: SocketAddr) -> SendmailSetup {
        SendmailSetup {
            deliver_to,
            mode: "background",
            mc: String::new(),
            rules: String::new(),
            arguments: Vec::new(),
        }
    }

    /// With another delivery mode.
    pub fn mode(mut self, mode: &'static str) -> SendmailSetup {
        self.mode = mode;
        self
    }

    /// With further lines before the mailers.
    pub fn with(mut self, mc: &str) -> SendmailSetup {
        self.mc.push_str(mc);
        self.mc.push('\n');
        self
    }

    /// With further lines after the mailers.
    pub fn rules(mut self, rules: &str) -> SendmailSetup {
        self.rules.push_str(rules);
        self.rules.push('\n');
        self
    }

    /// With further arguments of the daemon; `{queue}` stands for its queue.
    pub fn arguments(mut self, arguments: &str) -> SendmailSetup {
        self.arguments.extend(arguments.split_whitespace().map(str::to_owned));
        self
    }

    /// Starts it.
    pub fn start(self) -> Sendmail {
        Sendmail::start(&self)
    }
}

/// A running Sendmail.
pub struct Sendmail {
    process: Option<Process>,
    /// Where its daemon listens.
    pub smtp: SocketAddr,
    arguments: Vec<String>,
    // Last, so that the process is gone before its folder is.
    folder: tempfile::TempDir,
}

impl Sendmail {
    fn start(setup: &SendmailSetup) -> Sendmail {
        let arguments = setup.arguments.clone();
        let mut sendmail = Sendmail { process: None, smtp: free_address(), arguments, folder: folder() };
        for name in ["queue", "outgoing"] {
            private_folder(&sendmail.path(name));
        }
        for (name, text) in [("aliases", ""), ("switch", "hosts files\naliases files\n")] {
            std::fs::write(sendmail.path(name), text).expect("write");
        }
        std::fs::write(sendmail.path("sendmail.mc"), sendmail.mc(setup)).expect("write");
        sendmail.make_config();
        sendmail.make_name();
        sendmail.restart();
        sendmail
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn mc(&self, setup: &SendmailSetup) -> String {
        let folder = self.folder.path().display();
        let (to, port) = (setup.deliver_to.ip(), setup.deliver_to.port());
        let defines: String = [
            ("QUEUE_DIR", format!("{folder}/queue")),
            ("STATUS_FILE", format!("{folder}/statistics")),
            ("HELP_FILE", format!("{folder}/helpfile")),
            ("ALIAS_FILE", format!("text:{folder}/aliases")),
            ("confPID_FILE", format!("{folder}/sendmail.pid")),
            ("confSERVICE_SWITCH_FILE", format!("{folder}/switch")),
            ("confDOMAIN_NAME", NAME.into()),
            ("confDELIVERY_MODE", setup.mode.into()),
            ("confLOG_LEVEL", "14".into()),
            ("confTO_IDENT", "0".into()),
            // On a busy machine it would queue, and later refuse.
            ("confQUEUE_LA", "10000".into()),
            ("confREFUSE_LA", "10000".into()),
            ("confTRUSTED_USER", "root".into()),
            // All of it lies below /tmp, which everybody may write to.
            ("confDONT_BLAME_SENDMAIL", "MapInUnsafeDirPath".into()),
            ("SMART_HOST", format!("esmtp:[{to}]")),
            ("ESMTP_MAILER_ARGS", format!("TCP $h {port}")),
        ]
        .iter()
        .map(|(name, value)| format!("define(`{name}', `{value}')dnl\n"))
        .collect();
        format!(
            "define(`MAIL_SETTINGS_DIR', `{folder}/')dnl\nVERSIONID(`rig')\nOSTYPE(`linux')dnl\n{defines}\
             FEATURE(`nocanonify')dnl\nFEATURE(`accept_unresolvable_domains')dnl\nFEATURE(`no_default_msa')dnl\n\
             DAEMON_OPTIONS(`Name=MTA, Family=inet, Addr={}, Port={}')dnl\n{}MAILER(`local')dnl\nMAILER(`smtp')dnl\n{}",
            self.smtp.ip(),
            self.smtp.port(),
            setup.mc,
            setup.rules,
        )
    }

    fn make_config(&self) {
        let files = server("sendmail").join("usr/share/sendmail/cf");
        let output = Command::new(program("m4"))
            .arg(format!("-D_CF_DIR_={}/", files.display()))
            .arg(files.join("m4/cf.m4"))
            .arg(self.path("sendmail.mc"))
            .output()
            .expect("m4 runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "sendmail.mc: {errors}");
        std::fs::write(self.config(), output.stdout).expect("write");
    }

    /// Sendmail sleeps for a minute where its host's name has no domain, and asks before it reads any configuration. So
    /// it is told another name by a library.
    fn make_name(&self) {
        let source = format!(
            "#include <string.h>\nint gethostname(char *to, size_t size) {{ strncpy(to, \"{NAME}\", size); return 0; }}\n"
        );
        std::fs::write(self.path("name.c"), source).expect("write");
        let output = Command::new(program("cc"))
            .args(["-shared", "-fPIC", "-w", "-o"])
            .args([self.path("name.so"), self.path("name.c")])
            .output()
            .expect("the C compiler runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn command(&self) -> Command {
        let mut command = Command::new(server("sendmail").join("usr/libexec/sendmail/sendmail"));
        command
            .env("LD_PRELOAD", self.path("name.so"))
            .env("RES_OPTIONS", "timeout:1 attempts:1")
            .arg("-C")
            .arg(self.config())
            // What it would tell syslog goes to this file.
            .arg("-D")
            .arg(self.path("log"))
            .arg("-d89.8");
        command
    }

    /// Starts its daemon again, after it was stopped or killed; the queue is as it was.
    pub fn restart(&mut self) {
        self.stop();
        let smtp = self.smtp;
        let queue = self.queue();
        let arguments =
            self.arguments.iter().map(|text| text.replace("{queue}", &queue.display().to_string()));
        let mut command = self.command();
        let mut process = Process::start("sendmail", command.arg("-bD").args(arguments), &self.path("log"));
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
        self.path("sendmail.cf")
    }

    /// Its folder, for further files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its queue: `qf*` and `df*` files.
    pub fn queue(&self) -> PathBuf {
        self.path("queue")
    }

    /// An empty second queue, for the place between two queues.
    pub fn outgoing(&self) -> PathBuf {
        self.path("outgoing")
    }

    /// Tries once to deliver everything in a queue, as `sendmail -q` does, and says what it printed.
    pub fn run_queue(&self, queue: &Path) -> String {
        // The delivery mode counts for queue runs too: one that only queues would never deliver.
        text(self.command().args(["-ODeliveryMode=interactive", "-v", "-q"]).arg(option(queue)))
    }

    /// Runs it with further arguments, and says what it printed.
    pub fn run(&self, arguments: &[&str]) -> String {
        text(self.command().args(arguments))
    }

    /// What `mailq` says about a queue; `is empty` when there is nothing.
    pub fn mailq(&self, queue: &Path) -> String {
        text(self.command().arg("-bp").arg(option(queue)))
    }

    /// Hands it a message as local programs do: `sendmail -i -f FROM TO…`.
    pub fn submit(&self, from: &str, to: &[&str], content: &str) -> Output {
        use std::io::Write;
        let mut child = self
            .command()
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

    /// Its log.
    pub fn log(&self) -> String {
        std::fs::read(self.path("log"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Nothing is in its queue, and nothing on its way.
    pub fn settled(&self) {
        wait_for("an empty queue", Duration::from_secs(30), || {
            self.mailq(&self.queue()).contains("is empty").then_some(())
        });
    }
}

impl Drop for Sendmail {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

/// What it calls itself.
const NAME: &str = "sendmail.example.test";

fn option(queue: &Path) -> String {
    format!("-OQueueDirectory={}", queue.display())
}

fn text(command: &mut Command) -> String {
    let output = command.output().expect("sendmail runs");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn private_folder(path: &Path) {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(path).expect("a folder");
}

#[test]
fn mail_goes_through_at_once_or_waits_in_the_queue() {
    if !super::needs(&["root", "sendmail", "m4", "cc"]) {
        return;
    }
    let sink = super::Sink::start();
    for mode in ["background", "queueonly"] {
        let sendmail = SendmailSetup::to(sink.address).mode(mode).start();
        let before = sink.received().len();
        let mut dialog = super::Dialog::connect(sendmail.smtp);
        dialog.greet();
        let reply =
            dialog.message("sender@client.test", &["user@example.test"], &super::mail("sendmail", mode));
        assert!(reply.text.contains("accepted for delivery"), "{}", reply.text);
        let output =
            sendmail.submit("sender@client.test", &["user@example.test"], &super::mail("local", mode));
        assert!(output.status.success(), "{output:?}\n{}", sendmail.log());
        if mode == "queueonly" {
            assert_eq!(sink.received().len(), before);
            assert!(sendmail.mailq(&sendmail.queue()).contains("user@example.test"));
            sendmail.run_queue(&sendmail.queue());
        }
        let mails = sink.wait_received(before + 2);
        assert!(mails[before..].iter().any(|mail| mail.header("Subject").as_deref() == Some("sendmail")));
        sendmail.settled();
        assert!(sendmail.log().contains("stat=Sent (sink has it)"), "{}", sendmail.log());
    }
}
