//! `gatepost init`: writes a commented configuration for one of the places a gateway stands in, and says what the mail
//! server needs to be told.

use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;

use crate::config::{ListenAddress, NextHop};

/// Writes a commented configuration, by a few questions or flags, and says what to change in the mail server.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct InitArgs {
    /// Where gatepost stands
    #[arg(long, value_enum)]
    pub place: Option<Place>,
    /// The mail server behind it, for what to change there
    #[arg(long, value_enum)]
    pub server: Option<Server>,
    /// Address to listen on, such as [::]:25
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Where mail goes, such as smtp://127.0.0.1:10026
    #[arg(long, value_name = "URL")]
    pub next_hop: Option<String>,
    /// ClamAV's socket, such as unix:/run/clamav/clamd.ctl or tcp:127.0.0.1:3310; "none" for the embedded scanner only
    #[arg(long, value_name = "SOCKET")]
    pub clamd: Option<String>,
    /// A domain of yours; give it once for each
    #[arg(long = "domain", value_name = "DOMAIN")]
    pub domains: Vec<String>,
    /// Name of this host, when it is another than the system's
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Folder for journal and quarantine
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/gatepost")]
    pub data: PathBuf,
    /// File to write; - for standard output
    #[arg(short, long, value_name = "FILE", default_value = "gatepost.toml")]
    pub output: PathBuf,
    /// Overwrite the file if it is there
    #[arg(long)]
    pub force: bool,
}

/// Where a gateway stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Place {
    /// On port 25, in front of the mail server: it talks with the world
    Front,
    /// Behind Postfix's port 25 and before its queue, as smtpd_proxy_filter
    PostfixBeforeQueue,
    /// Behind Postfix's queue, as content_filter: what is refused is held, the sender is gone
    PostfixAfterQueue,
    /// Beside Postfix or Sendmail, as milter: it is asked about each message while the sender is on the line
    Milter,
}

/// The mail server behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Server {
    /// Postfix
    Postfix,
    /// Exim 4
    Exim,
    /// Sendmail
    Sendmail,
}

/// Everything that goes into the file.
#[derive(Clone, Debug)]
struct Answers {
    place: Place,
    server: Server,
    listen: String,
    next_hop: String,
    clamd: Option<String>,
    domains: Vec<String>,
    hostname: Option<String>,
    data: PathBuf,
}

/// Exit status 0, 1 when the file cannot be written, 2 when an answer makes no sense or the file is there already.
pub fn run(args: &InitArgs) -> ExitCode {
    let to_stdout = args.output == Path::new("-");
    if !to_stdout && !args.force && args.output.exists() {
        eprintln!("{} is there already; --force overwrites it", args.output.display());
        return ExitCode::from(2);
    }
    let asks = io::stdin().is_terminal() && io::stderr().is_terminal();
    let answers = if asks {
        ask(args, &mut io::stdin().lock(), &mut io::stderr().lock())
    } else {
        // An input without lines: every question gets its default.
        ask(args, &mut io::empty(), &mut io::sink())
    };
    let answers = match answers {
        Ok(answers) => answers,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let text = file_text(&answers);
    let written = if to_stdout {
        io::stdout().lock().write_all(text.as_bytes())
    } else {
        write_file(&args.output, &text, args.force)
    };
    if let Err(error) = written {
        eprintln!("{} cannot be written: {error}", args.output.display());
        return ExitCode::FAILURE;
    }
    if !to_stdout {
        eprintln!("wrote {}; try it: gatepost check -c {0}\n", args.output.display());
    }
    eprint!("{}", server_text(&answers));
    ExitCode::SUCCESS
}

/// Writes the file whole or not at all. Without `force`, one that appeared in the meantime stays.
fn write_file(path: &Path, text: &str, force: bool) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    // The daemon's user must be able to read it.
    let modes = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o644);
    file.as_file().set_permissions(modes)?;
    file.as_file().sync_all()?;
    let kept = if force { file.persist(path) } else { file.persist_noclobber(path) };
    kept.map(drop).map_err(|error| error.error)
}

/// Takes the flags, and asks for what they leave open. An empty line takes the default.
fn ask(args: &InitArgs, input: &mut dyn BufRead, output: &mut dyn Write) -> Result<Answers, String> {
    let mut dialog = Dialog { input, output };
    let place = match args.place {
        Some(place) => place,
        None => {
            dialog.say(
                "Where shall gatepost stand?\n  1  on port 25, in front of the mail server\n  2  before Postfix's \
                 queue (smtpd_proxy_filter)\n  3  after Postfix's queue (content_filter)\n  4  beside Postfix or \
                 Sendmail (milter)\n",
            );
            match dialog.question("Place", "1")?.as_str() {
                "1" => Place::Front,
                "2" => Place::PostfixBeforeQueue,
                "3" => Place::PostfixAfterQueue,
                "4" => Place::Milter,
                other => return Err(format!("{other:?} is none of 1, 2, 3, 4")),
            }
        }
    };
    let server = match (args.server, place) {
        (Some(Server::Postfix) | None, Place::PostfixBeforeQueue | Place::PostfixAfterQueue) => {
            Server::Postfix
        }
        (Some(_), Place::PostfixBeforeQueue | Place::PostfixAfterQueue) => {
            return Err("that place is Postfix's; other servers have gatepost in front of them".into());
        }
        (Some(Server::Exim), Place::Milter) => {
            return Err("Exim speaks no milter; let gatepost stand in front of it".into());
        }
        (Some(server), Place::Front | Place::Milter) => server,
        (None, Place::Front | Place::Milter) => {
            let servers = if place == Place::Front { "postfix, exim, sendmail" } else { "postfix, sendmail" };
            let answer = dialog.question(&format!("Mail server ({servers})"), "postfix")?;
            match Server::from_str(&answer, true) {
                Ok(server) if place == Place::Front || server != Server::Exim => server,
                _ => return Err(format!("{answer:?} is none of {servers}")),
            }
        }
    };
    let default = match place {
        Place::Front => "[::]:25",
        Place::PostfixBeforeQueue | Place::PostfixAfterQueue => "127.0.0.1:10025",
        Place::Milter => "127.0.0.1:8899",
    };
    let listen = dialog.or_question(&args.listen, "Listen on", default)?;
    listen.parse::<ListenAddress>()?;
    let question = if place == Place::Milter { "Released mail goes to" } else { "Next hop" };
    let next_hop = dialog.or_question(&args.next_hop, question, "smtp://127.0.0.1:10026")?;
    next_hop.parse::<NextHop>()?;
    let domains = match &args.domains[..] {
        [] => {
            let answer = dialog.question("Your domains, with spaces between them", "")?;
            answer.split([' ', ',']).filter(|domain| !domain.is_empty()).map(str::to_owned).collect()
        }
        domains => domains.to_vec(),
    };
    let found = Path::new("/run/clamav/clamd.ctl").exists();
    let default = if found { "unix:/run/clamav/clamd.ctl" } else { "none" };
    let clamd = dialog.or_question(&args.clamd, "ClamAV's socket, or none", default)?;
    let clamd = (clamd != "none").then_some(clamd);
    if clamd.as_ref().is_some_and(|socket| !socket.starts_with("unix:/") && !socket.starts_with("tcp:")) {
        return Err("write ClamAV's socket as unix:/path/to/socket or tcp:host:port, or none".into());
    }
    let (hostname, data) = (args.hostname.clone(), args.data.clone());
    Ok(Answers { place, server, listen, next_hop, clamd, domains, hostname, data })
}

/// Asks questions.
struct Dialog<'d> {
    input: &'d mut dyn BufRead,
    output: &'d mut dyn Write,
}

impl Dialog<'_> {
    fn say(&mut self, text: &str) {
        // Whoever does not see the question is not kept from answering it.
        let _ = self.output.write_all(text.as_bytes());
        let _ = self.output.flush();
    }

    fn question(&mut self, question: &str, default: &str) -> Result<String, String> {
        self.say(&if default.is_empty() {
            format!("{question}: ")
        } else {
            format!("{question} [{default}]: ")
        });
        let mut line = String::new();
        self.input.read_line(&mut line).map_err(|error| format!("cannot read the answer: {error}"))?;
        let answer = line.trim();
        Ok(if answer.is_empty() { default.to_owned() } else { answer.to_owned() })
    }

    fn or_question(
        &mut self,
        flag: &Option<String>,
        question: &str,
        default: &str,
    ) -> Result<String, String> {
        flag.clone().map_or_else(|| self.question(question, default), Ok)
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// The configuration file.
fn file_text(answers: &Answers) -> String {
    let mut text = String::new();
    let (title, why) = match answers.place {
        Place::Front => (
            "in front of the mail server",
            "The world connects here. Each recipient is asked for at the mail server while the sender waits, and the\n\
             # sender's 250 is the mail server's 250. What is refused stays with the sender.",
        ),
        Place::PostfixBeforeQueue => (
            "before Postfix's queue",
            "Postfix hands mail here while the sender waits, and takes it back on another port. What is refused stays\n\
             # with the sender.",
        ),
        Place::PostfixAfterQueue => (
            "after Postfix's queue",
            "Postfix hands mail here from its queue, and takes it back on another port. The sender is gone by then:\n\
             # what would be refused is held in quarantine, since a refusal would only become a bounce.",
        ),
        Place::Milter => (
            "beside the mail server, as milter",
            "The mail server asks here about each message while the sender waits, and delivers it itself. What is\n\
             # refused stays with the sender.",
        ),
    };
    let _ = write!(
        text,
        "# gatepost {title}. Written by gatepost init; every key is described by gatepost config --reference.\n\n"
    );
    text.push_str("# Journal, quarantine and everything else that gatepost keeps.\n");
    let _ = writeln!(text, "data = {}\n", quoted(&answers.data.to_string_lossy()));
    text.push_str("# Name of this host in greetings and headers. Default: the system's host name.\n");
    match &answers.hostname {
        Some(name) => {
            let _ = writeln!(text, "hostname = {}\n", quoted(name));
        }
        None => text.push_str("# hostname = \"mail.example.org\"\n\n"),
    }
    text.push_str("# User to become when started as root. systemd's unit starts as that user already.\n");
    text.push_str("# user = \"gatepost\"\n\n");
    text.push_str(
        "# Your domains: mail to them is inbound. Name all that your mail server takes mail for: as soon as there is one \
         here,\n# mail from outside to any other is refused as relaying.\n",
    );
    let domains: Vec<String> = answers.domains.iter().map(|domain| quoted(domain)).collect();
    let _ = writeln!(text, "domains = [{}]\n", domains.join(", "));
    text.push_str(
        "# Your networks: they may relay, mail from them is outbound, and neither block lists nor SPF are asked about \
         it.\n# Copy Postfix's mynetworks, and add this host's own public address.\n",
    );
    text.push_str("networks = [\"127.0.0.0/8\", \"::1/128\"]\n\n");
    let _ = writeln!(text, "# {why}\n[[listener]]");
    let _ = writeln!(text, "listen = [{}]", quoted(&answers.listen));
    text.push_str(match answers.place {
        Place::Milter => {
            "protocol = \"milter\"\n# Where mail goes that was held and is released: to a port that does not ask here again.\n"
        }
        _ => "# Several next hops: the first that answers is used.\n",
    });
    let _ = writeln!(text, "next_hop = [{}]", quoted(&answers.next_hop));
    text.push_str(&place_text(answers.place));
    text.push_str(&checks_text(answers));
    text
}

/// What a listener needs at its place.
fn place_text(place: Place) -> String {
    let mut text = String::new();
    match place {
        Place::Front => text.push_str(
            "# With these, STARTTLS is offered.\n# tls_certificate = \"/etc/ssl/certs/mail.pem\"\n# tls_key = \
             \"/etc/ssl/private/mail.key\"\n",
        ),
        Place::PostfixBeforeQueue | Place::PostfixAfterQueue => {
            text.push_str("# Postfix says by XFORWARD who the client is.\nxforward_from = [\"127.0.0.0/8\", \"::1\"]\n");
        }
        Place::Milter => text.push_str(
            "# Hold mail in the mail server's own hold queue instead of the vault:\n# quarantine = \"mta\"\n",
        ),
    }
    if place == Place::PostfixBeforeQueue {
        text.push_str(
            "# Postfix has decided about these already, and XFORWARD does not say who has logged in: its own users would be\n\
             # refused here.\nhelo_restrictions = []\nsender_restrictions = []\nrelay_restrictions = []\n\
             recipient_restrictions = []\n",
        );
    }
    if place == Place::PostfixAfterQueue {
        text.push_str("after_queue = true\n");
    }
    text
}

/// Checks, policy and quarantine.
fn checks_text(answers: &Answers) -> String {
    let mut text = String::from(
        "\n# The embedded scanner always looks. Give it YARA rules and hash lists of your own:\n\
         # [checks.embedded]\n# rules = \"/etc/gatepost/yara\"\n# hashes = [\"/etc/gatepost/hashes\"]\n\n",
    );
    match &answers.clamd {
        Some(socket) => {
            text.push_str(
                "# ClamAV. If it is away, mail is deferred: the sender comes again.\n[checks.clamd.main]\n",
            );
            let _ = writeln!(text, "socket = {}", quoted(socket));
        }
        None => text.push_str(
            "# ClamAV, in addition:\n# [checks.clamd.main]\n# socket = \"unix:/run/clamav/clamd.ctl\"\n",
        ),
    }
    text.push_str(
        "\n# Attachments: programs, scripts and their kin are banned by a built-in list. Rules of your own come \
         first:\n# [[checks.attachments.rule]]\n# name = \"our installer\"\n# allow = true\n# filename = \
         '^our-setup-[0-9]+\\.exe$'\n",
    );
    if matches!(answers.place, Place::Front | Place::Milter) {
        text.push_str(
            "\n# DNS block lists on the client's address. Mind the terms of the list, and ask it through a resolver \
             of your own.\n# [checks.dnsbl.zen]\n# zone = \"zen.spamhaus.org\"\n# weight = 5\n",
        );
    }
    text.push_str(
        "\n# What happens to what is found. These are the built-in answers.\n[default_policy.actions]\n\
         # clean = \"deliver\"\n# spammy = \"mark\"\n# spam = \"refuse\"\n# unauthenticated = \"refuse\"\n\
         # restricted = \"refuse\"\n# bad-header = \"deliver\"\n# oversized = \"refuse\"\n# unchecked = \"mark\"\n# banned = \"refuse\"\n# virus = \"refuse\"\n\n\
         # A policy for some recipients; the first that matches decides.\n# [[policy]]\n# name = \"workshop\"\n\
         # when.recipients = [\"workshop@example.org\"]\n# actions.banned = \"quarantine\"\n\n\
         # Metrics and health, on loopback since nothing protects them. \"\" turns them off.\n[metrics]\n\
         listen = \"127.0.0.1:8025\"\n",
    );
    text
}

/// What the mail server needs to be told.
fn server_text(answers: &Answers) -> String {
    let behind = match answers.next_hop.parse() {
        Ok(NextHop::Smtp { host, port, .. }) if host.contains(':') => format!("[{host}]:{port}"),
        Ok(NextHop::Smtp { host, port, .. }) => format!("{host}:{port}"),
        _ => return String::new(),
    };
    let (host, port) = behind.rsplit_once(':').unwrap_or((&behind, "25"));
    let listen = &answers.listen;
    let mut text = match (answers.place, answers.server) {
        (Place::Front, Server::Postfix) => format!(
            "Postfix: in master.cf, put this in the place of the line \"smtp inet … smtpd\", then postfix reload:\n\n\
             {behind} inet n - y - - smtpd\n\
             \x20 -o smtpd_authorized_xclient_hosts=127.0.0.0/8,[::1]\n\
             \x20 -o smtpd_relay_restrictions=reject_unauth_destination\n"
        ),
        (Place::Front, Server::Exim) => format!(
            "Exim: in its main section, and first in the ACL of acl_smtp_rcpt; then restart it:\n\n\
             local_interfaces = <; {host}\n\
             daemon_smtp_ports = {port}\n\n\
             \x20 deny  condition = ${{if eq{{$received_port}}{{{port}}}}}\n\
             \x20       !domains = +local_domains : +relay_to_domains\n\
             \x20       message = relay not permitted\n"
        ),
        (Place::Front, Server::Sendmail) => format!(
            "Sendmail: in sendmail.mc, in the place of the DAEMON_OPTIONS with port 25:\n\n\
             DAEMON_OPTIONS(`Name=FromGatepost, Family=inet, Addr={host}, Port={port}')dnl\n\n\
             and at its end, with the tabs as they are; then make and restart it. Without these rules it would relay\n\
             for the world, since it trusts its own host:\n\n\
             LOCAL_RULESETS\n\
             SLocal_check_rcpt\n\
             R$*\t$: $&{{daemon_name}} $| $1\n\
             RFromGatepost $| $*\t$: FromGatepost $| $>\"Rcpt_ok\" $1\n\
             RFromGatepost $| $#$*\t$#$1\n\
             RFromGatepost $| RELAY\t$@ ours\n\
             RFromGatepost $| $*\t$#error $@ 5.7.1 $: \"550 Relaying denied\"\n"
        ),
        (Place::Milter, Server::Sendmail) => format!(
            "Sendmail: in sendmail.mc, then make and restart it. F=T defers mail while gatepost is away:\n\n\
             INPUT_MAIL_FILTER(`gatepost', `S={}, F=T, T=S:4m;R:4m;E:10m')dnl\n",
            milter_socket(listen, Server::Sendmail)
        ),
        (Place::Milter, _) => format!(
            "Postfix: in main.cf, then postfix reload. While gatepost is away, mail is deferred:\n\n\
             smtpd_milters = {}\n\
             milter_default_action = tempfail\n\n\
             And in master.cf, for mail that is released:\n\n{}",
            milter_socket(listen, Server::Postfix),
            reinjection(&behind)
        ),
        (Place::PostfixBeforeQueue, _) => format!(
            "Postfix: in master.cf, then postfix reload:\n\n\
             smtp inet n - y - - smtpd\n\
             \x20 -o smtpd_proxy_filter={listen}\n\
             {}",
            reinjection(&behind)
        ),
        (Place::PostfixAfterQueue, _) => format!(
            "Postfix: in master.cf, then postconf -e 'content_filter = gatepost:{}', then postfix reload:\n\n\
             gatepost unix - - y - 20 smtp\n\
             \x20 -o smtp_send_xforward_command=yes\n\
             \x20 -o smtp_data_done_timeout=1200\n\
             {}",
            bracketed(listen),
            reinjection(&behind)
        ),
    };
    if answers.place == Place::Front {
        text.push_str(
            "\nMake sure that it is no open relay, from a host outside: this must be refused with 5xx at RCPT.\n\n\
             swaks --server YOUR-HOST --to somebody@another-domain.example --quit-after RCPT\n",
        );
    }
    text
}

/// Postfix's listener for mail that comes back.
fn reinjection(behind: &str) -> String {
    format!(
        "{behind} inet n - y - - smtpd\n\
         \x20 -o smtpd_proxy_filter= -o content_filter= -o smtpd_milters=\n\
         \x20 -o smtpd_authorized_xforward_hosts=127.0.0.0/8,[::1]\n\
         \x20 -o mynetworks=127.0.0.0/8,[::1]/128 -o smtpd_relay_restrictions=permit_mynetworks,reject\n\
         \x20 -o smtpd_client_restrictions= -o smtpd_helo_restrictions= -o smtpd_sender_restrictions=\n\
         \x20 -o smtpd_recipient_restrictions=permit_mynetworks,reject -o smtpd_data_restrictions=\n\
         \x20 -o receive_override_options=no_unknown_recipient_checks\n"
    )
}

/// An address as the mail server's milter settings want it.
fn milter_socket(listen: &str, server: Server) -> String {
    match (listen.parse(), server) {
        (Ok(ListenAddress::Unix(path)), Server::Sendmail) => format!("local:{}", path.display()),
        (Ok(ListenAddress::Unix(path)), _) => format!("unix:{}", path.display()),
        (Ok(ListenAddress::Tcp(address)), Server::Sendmail) => {
            let family = if address.is_ipv6() { "inet6" } else { "inet" };
            format!("{family}:{}@{}", address.port(), address.ip())
        }
        _ => format!("inet:{listen}"),
    }
}

/// An address as Postfix's transports want it, so that it is not looked up as a domain's MX.
fn bracketed(address: &str) -> String {
    match address.rsplit_once(':') {
        Some((host, port)) if !host.starts_with('[') => format!("[{host}]:{port}"),
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::load_with;

    fn load_text(text: &str) -> crate::config::Config {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gatepost.toml");
        std::fs::write(&file, text).unwrap();
        match load_with(Some(&file), []) {
            Ok(loaded) => loaded.config,
            Err(problems) => panic!("{}\n{text}", problems[0]),
        }
    }

    fn answers(place: Place, server: Server) -> Answers {
        let args = InitArgs {
            place: Some(place),
            server: Some(server),
            domains: vec!["example.org".into()],
            clamd: Some("unix:/run/clamav/clamd.ctl".into()),
            hostname: Some("mail.example.org".into()),
            data: "/srv/\"gate\"".into(),
            ..InitArgs::default()
        };
        ask(&args, &mut io::empty(), &mut io::sink()).unwrap()
    }

    #[test]
    fn every_place_loads_without_a_problem() {
        for (place, listen, after_queue) in [
            (Place::Front, "[::]:25", false),
            (Place::PostfixBeforeQueue, "127.0.0.1:10025", false),
            (Place::PostfixAfterQueue, "127.0.0.1:10025", true),
            (Place::Milter, "127.0.0.1:8899", false),
        ] {
            let config = load_text(&file_text(&answers(place, Server::Postfix)));
            assert_eq!(config.data, PathBuf::from("/srv/\"gate\""));
            assert_eq!(
                (config.hostname.as_str(), &config.domains[..]),
                ("mail.example.org", &["example.org".into()][..])
            );
            let listener = &config.listener[0];
            assert_eq!((&listener.listen[0][..], listener.after_queue), (listen, after_queue));
            assert_eq!(listener.next_hop, ["smtp://127.0.0.1:10026"]);
            assert_eq!(listener.xforward_from.is_empty(), matches!(place, Place::Front | Place::Milter));
            let milter = listener.protocol == crate::config::typed::ListenerProtocol::Milter;
            assert_eq!(milter, place == Place::Milter);
            let decided = (place == Place::PostfixBeforeQueue).then(Vec::new);
            assert_eq!(listener.relay_restrictions, decided, "Postfix knows its users");
            assert_eq!(listener.sender_restrictions, decided);
            assert_eq!(config.checks.clamd["main"].socket, "unix:/run/clamav/clamd.ctl");
        }
    }

    #[test]
    fn what_is_commented_out_would_load_too() {
        for place in [Place::Front, Place::PostfixBeforeQueue, Place::PostfixAfterQueue, Place::Milter] {
            let text = file_text(&Answers { clamd: None, hostname: None, ..answers(place, Server::Postfix) });
            let is_code = |line: &&str| line.starts_with('[') || line.contains(" = ");
            let mut active = String::new();
            for line in text.lines() {
                match line.strip_prefix("# ").filter(is_code) {
                    Some(code) => active.push_str(code),
                    None => active.push_str(line),
                }
                active.push('\n');
            }
            let config = load_text(&active);
            assert!(config.checks.clamd.contains_key("main") && !config.policy.is_empty(), "{active}");
            assert_eq!(config.default_policy.actions.len(), gatepost_mail::Category::ALL.len());
        }
    }

    #[test]
    fn questions_are_asked_for_what_flags_leave_open() {
        let mut shown = Vec::new();
        let answers = ask(
            &InitArgs { clamd: Some("none".into()), ..InitArgs::default() },
            &mut &b"1\nexim\n\nsmtp://[::1]:26\nexample.org, example.net\n"[..],
            &mut shown,
        )
        .unwrap();
        assert_eq!((answers.place, answers.server), (Place::Front, Server::Exim));
        assert_eq!((answers.listen.as_str(), answers.next_hop.as_str()), ("[::]:25", "smtp://[::1]:26"));
        assert_eq!(answers.domains, ["example.org", "example.net"]);
        assert_eq!(answers.clamd, None);
        let shown = String::from_utf8(shown).unwrap();
        assert!(shown.contains("Place [1]: ") && !shown.contains("ClamAV"), "{shown}");
    }

    #[test]
    fn answers_that_make_no_sense_are_refused() {
        for (input, part) in [
            ("5\n", "none of 1, 2, 3, 4"),
            ("4\nexim\n", "none of postfix, sendmail"),
            ("1\nqmail\n", "none of postfix"),
            ("1\n\n25\n", "not an address"),
            ("1\n\n\nlocalhost\n", "not a next hop"),
            ("1\n\n\n\n\nclamd\n", "unix:/path"),
        ] {
            let error = ask(&InitArgs::default(), &mut input.as_bytes(), &mut io::sink()).unwrap_err();
            assert!(error.contains(part), "{input:?}: {error}");
        }
        let args = InitArgs {
            place: Some(Place::PostfixAfterQueue),
            server: Some(Server::Exim),
            ..InitArgs::default()
        };
        assert!(ask(&args, &mut io::empty(), &mut io::sink()).is_err());
    }

    #[test]
    fn the_mail_server_is_told_what_it_needs() {
        for (place, server, lines) in [
            (
                Place::Front,
                Server::Postfix,
                &[
                    "127.0.0.1:10026 inet n - y - - smtpd",
                    "reject_unauth_destination",
                    "smtpd_authorized_xclient_hosts",
                ][..],
            ),
            (Place::Front, Server::Exim, &["daemon_smtp_ports = 10026", "${if eq{$received_port}{10026}}"]),
            (Place::Front, Server::Sendmail, &["Addr=127.0.0.1, Port=10026", "SLocal_check_rcpt\nR$*\t$:"]),
            (
                Place::PostfixBeforeQueue,
                Server::Postfix,
                &["-o smtpd_proxy_filter=127.0.0.1:10025\n127.0.0.1:10026 inet", "xforward_hosts"],
            ),
            (
                Place::PostfixAfterQueue,
                Server::Postfix,
                &["content_filter = gatepost:[127.0.0.1]:10025", "-o content_filter= "],
            ),
            (
                Place::Milter,
                Server::Postfix,
                &["smtpd_milters = inet:127.0.0.1:8899\n", "= tempfail", "-o smtpd_milters="],
            ),
            (
                Place::Milter,
                Server::Sendmail,
                &["INPUT_MAIL_FILTER(`gatepost', `S=inet:8899@127.0.0.1, F=T, T=S:4m;R:4m;E:10m')dnl"],
            ),
        ] {
            let text = server_text(&answers(place, server));
            for line in lines {
                assert!(text.contains(line), "{line} is not in\n{text}");
            }
        }
    }

    #[test]
    fn a_file_is_not_overwritten_without_force() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("gatepost.toml");
        write_file(&output, "one", false).unwrap();
        assert!(write_file(&output, "two", false).is_err());
        assert_eq!(std::fs::read_to_string(&output).unwrap(), "one");
        write_file(&output, "two", true).unwrap();
        assert_eq!(std::fs::read_to_string(&output).unwrap(), "two");
    }
}
