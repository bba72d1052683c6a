//! `gatepost dkim`: makes keys to sign with, and compares what is published with what signs.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use gatepost_auth::dkim::{Generated, Kind, Outcome, Settings, Signer, generate, verify, zone_line};
use gatepost_auth::dns::{DnsError, Resolve};
use jiff::Timestamp;

use super::{NOT_DONE, OK, TRY_LATER, USAGE};
use crate::config::load;
use crate::effects::sign::{Named, Signing};
use crate::records::text::clean;
use crate::resources::dns::Dns;

/// Keys for signing outgoing mail (DKIM).
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    New(New),
    Check(Check),
}

/// Make a key: writes it to a file that only its owner can read, and prints the DNS record and the configuration for it.
#[derive(Debug, clap::Args)]
struct New {
    /// The domain that is to sign: that of the From field.
    domain: String,
    /// The key's name under `_domainkey`. Default: of kind and month, `rsa202603`.
    #[arg(long, value_name = "NAME")]
    selector: Option<String>,
    /// An RSA key of so many bits, 2048 to 4096. This is the default, with 2048.
    #[arg(long, value_name = "BITS", conflicts_with = "ed25519")]
    rsa: Option<usize>,
    /// An Ed25519 key (RFC 8463): short and fast, and not yet verified by everybody; use it beside an RSA key.
    #[arg(long)]
    ed25519: bool,
    /// Where the file goes. It belongs to whom the folder belongs to.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,
}

/// Compare the keys of the configuration with what is published in DNS, as those who verify will see it.
///
/// Exit status: 0 all fit, 1 one does not, 2 wrong configuration, 75 a name server did not answer.
#[derive(Debug, clap::Args)]
struct Check {
    /// Configuration file.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Name server to ask, `127.0.0.1:53`; may be given several times. Default: those of the configuration.
    #[arg(long, value_name = "ADDRESS:PORT")]
    resolver: Vec<String>,
}

/// Runs one of them.
pub async fn run(args: Args) -> ExitCode {
    match args.command {
        Command::New(args) => match new(&args, Timestamp::now()) {
            Ok(text) => {
                print!("{text}");
                ExitCode::from(OK)
            }
            Err(error) => {
                eprintln!("gatepost: {error}");
                ExitCode::from(USAGE)
            }
        },
        Command::Check(args) => check(&args).await,
    }
}

/// Makes the key and says what to do with it.
fn new(args: &New, now: Timestamp) -> Result<String, String> {
    let kind = match (args.ed25519, args.rsa.unwrap_or(2048)) {
        (true, _) => Kind::Ed25519,
        (false, bits @ 2048..=4096) => Kind::Rsa(bits),
        (false, bits) => return Err(format!("--rsa {bits}: an RSA key has 2048 to 4096 bits")),
    };
    let domain = args.domain.trim_end_matches('.').to_lowercase();
    let domain = idna::domain_to_ascii(&domain).map_err(|_| format!("{:?} is not a domain", args.domain))?;
    let month = now.strftime("%Y%m");
    let selector = args.selector.clone().unwrap_or_else(|| match kind {
        Kind::Rsa(_) => format!("rsa{month}"),
        Kind::Ed25519 => format!("ed{month}"),
    });
    let label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(plain)
    };
    for (what, name) in [("domain", &domain), ("selector", &selector)] {
        if !name.split('.').all(label) {
            return Err(format!("{name:?} is not a {what}"));
        }
    }
    let folder = args.folder.canonicalize().map_err(|error| format!("{}: {error}", args.folder.display()))?;
    let file = folder.join(format!("{domain}.{selector}.pem"));
    let Generated { pem, record } = generate(kind).map_err(|error| error.to_string())?;
    write_key(&file, &folder, &pem).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(format!(
        "The private key is in {}\n\nPublish this in DNS, and wait until it can be seen:\n\n{}\n\n\
         Then sign with it, in the configuration of gatepost:\n\n[[signing.key]]\ndomain = {domain:?}\n\
         selector = {selector:?}\nfile = {:?}\n\n\
         gatepost dkim check compares the two.\n",
        file.display(),
        zone_line(&selector, &domain, &record),
        file,
    ))
}

/// A new file, never an old one, that nobody but its owner can read from the first moment on.
fn write_key(file: &Path, folder: &Path, pem: &str) -> std::io::Result<()> {
    let mut written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    let owner = std::fs::metadata(folder)?;
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::fchown(&written, Some(owner.uid()), Some(owner.gid()))?;
    }
    written.write_all(pem.as_bytes())?;
    written.sync_all()
}

async fn check(args: &Check) -> ExitCode {
    let loaded = match load::load(args.config.as_deref()) {
        Ok(loaded) => loaded,
        Err(problems) => return super::configuration_error(&problems),
    };
    let mut config = loaded.config.clone();
    if !args.resolver.is_empty() {
        config.checks.dns.servers.clone_from(&args.resolver);
    }
    let (signing, dns) = match (Signing::build(&config), Dns::build(&config.checks.dns)) {
        (Ok(signing), Ok(dns)) => (signing, dns),
        (signing, dns) => {
            let problems = signing.err().into_iter().chain(dns.err()).flatten().collect();
            return super::configuration_error(&loaded.locate(problems));
        }
    };
    let keys = signing.keys();
    if keys.is_empty() {
        eprintln!("gatepost: the configuration names no key to sign with");
        return ExitCode::from(NOT_DONE);
    }
    let mut status = OK;
    let now = Timestamp::now().as_second();
    for named in &keys {
        let result = compare(named, &dns, now).await;
        let (word, told) = match &result {
            Ok(told) => ("ok", told),
            Err(Unfit::Wrong(why)) => ("WRONG", why),
            Err(Unfit::Unknown(why)) => ("unknown", why),
        };
        match result {
            Ok(_) => {}
            Err(Unfit::Unknown(_)) if status == NOT_DONE => {}
            Err(Unfit::Unknown(_)) => status = TRY_LATER,
            Err(Unfit::Wrong(_)) => status = NOT_DONE,
        }
        let line = format!("{word:<8} {}._domainkey.{}: {told}", named.selector, named.domain);
        println!("{}", clean(&line, 4000));
    }
    ExitCode::from(status)
}

enum Unfit {
    /// Who verifies will not be content.
    Wrong(String),
    /// DNS does not say.
    Unknown(String),
}

/// Whether a message that is signed with a key will verify.
async fn compare(named: &Named, dns: &dyn Resolve, now: i64) -> Result<String, Unfit> {
    let name = format!("{}._domainkey.{}", named.selector, named.domain);
    let records = match dns.txt(&name).await {
        Ok(records) => records,
        Err(why @ (DnsError::NoName | DnsError::NoData)) => {
            return Err(Unfit::Wrong(format!("not published ({why}); publish: {}", named.key.record())));
        }
        Err(why) => return Err(Unfit::Unknown(why.to_string())),
    };
    if let [first, second, ..] = records.as_slice() {
        return Err(Unfit::Wrong(format!(
            "there are several records, and readers take any: {first:?}, {second:?}"
        )));
    }
    let published = records.first().map(String::as_str).unwrap_or_default();
    let own = named.key.record();
    if tag(published, "p") != tag(&own, "p") {
        return Err(Unfit::Wrong(format!("another key is published: {published:?}; this one is {own:?}")));
    }
    // What verifies there is what counts, so a message is signed and verified.
    let from = format!("From: <postmaster@{}>\r\nSubject: check\r\n", named.domain);
    let signer = Signer::new(named.key.clone(), &named.domain, &named.selector);
    let value = signer
        .sign(from.as_bytes(), &["check\r\n".into()], now)
        .map_err(|why| Unfit::Wrong(why.to_string()))?;
    let message = format!("DKIM-Signature: {value}\r\n{from}\r\ncheck\r\n");
    let signatures = verify(dns, message.as_bytes(), &Settings::new(now)).await;
    let Some(signature) = signatures.first() else {
        return Err(Unfit::Wrong("its own signature is not found in a message".into()));
    };
    match signature.outcome {
        Outcome::Pass => {}
        Outcome::TempError => return Err(Unfit::Unknown(signature.reason.clone())),
        _ => return Err(Unfit::Wrong(signature.reason.clone())),
    }
    let mut told = format!("{}, {} bits, published and fits", named.key.algorithm(), named.key.bits());
    if signature.testing {
        told += "; t=y says that you are only testing: remove it when you are done";
    }
    if named.from.is_some_and(|from| now < from) {
        told += "; does not sign yet";
    }
    if named.until.is_some_and(|until| until <= now) {
        told += "; signs no more";
    }
    Ok(told)
}

/// The value of a tag, without white space (RFC 6376 section 3.2).
fn tag(record: &str, name: &str) -> Option<String> {
    let pairs = record.split(';').filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(tag, _)| tag.trim() == name).map(|(_, value)| value);
    values.next().map(|value| value.chars().filter(|c| !c.is_whitespace()).collect())
}
