//! AUTH (RFC 4954): users of ours who write from elsewhere log in at the next hop, through us.
//!
//! The next hop knows who they are, we do not: each line of the exchange is passed on and wiped. What remains is the
//! user's name, where the mechanism shows it, and the connection on which the next hop knows the user. That one is this
//! session's alone. Once it is lost the session ends, since nobody can log in for the user again.

use bytes::{Buf, Bytes, BytesMut};
use gatepost_mail::{Protocol, Reply};
use memchr::memchr;
use zeroize::{Zeroize, Zeroizing};

use super::{Client, End, Front, Phase, Step};
use crate::effects::relay::{AUTH_LINE, Login, Transaction};

/// Most lines that a client sends in one exchange; mechanisms in use need one to four.
const ROUNDS: usize = 16;

/// Longest name of a user, in characters.
const NAME: usize = 200;

/// The name of a user whose mechanism does not show it.
const NAMELESS: &str = "(authenticated)";

/// A line that may hold a password.
type Secret = Zeroizing<Vec<u8>>;

impl<'a> Client<'a> {
    /// What the answer to EHLO says about AUTH; None where nobody can log in now.
    pub(super) async fn auth_offer(&self) -> Option<String> {
        if !self.may_log_in() || !self.is_private() {
            return None;
        }
        let hops = &self.front.hops;
        if !hops.offer(|_| true) {
            // Nobody has reached the next hop yet.
            let _ = hops.probe().await;
        }
        let mechanisms = hops.mechanisms();
        (!mechanisms.is_empty()).then(|| format!("AUTH {}", mechanisms.join(" ")))
    }

    pub(super) async fn auth(&mut self, mechanism: &str, initial: Option<Zeroizing<String>>) -> Step {
        if let Some(refusal) = self.cannot_log_in() {
            return self.error(refusal);
        }
        // AUTH is the last command of a pipelined group: what follows could be taken for a response.
        self.in_step()?;
        let front: &'a Front = self.front;
        let login = match self.login.take() {
            Some(login) => Ok(login),
            None => front.hops.login(&self.session).await,
        };
        let login = match login {
            Ok(login) => login,
            Err(error) => {
                tracing::warn!(%error, "no way to log in");
                return self.error(not_now());
            }
        };
        if !login.offers(mechanism) {
            self.login = Some(login);
            return self.error(Reply::new(504, "5.5.4", "Mechanism is not offered"));
        }
        let mut first = Zeroizing::new(Vec::with_capacity(AUTH_LINE));
        first.extend_from_slice(b"AUTH ");
        first.extend_from_slice(mechanism.as_bytes());
        let mut user = User { mechanism, responses: 0, name: None };
        if let Some(initial) = initial {
            user.hear(initial.as_bytes());
            first.push(b' ');
            // RFC 4954 section 4: an empty initial response is written so.
            first.extend_from_slice(if initial.is_empty() { b"=" } else { initial.as_bytes() });
        }
        self.exchange(login, user, first).await
    }

    /// Challenges of the next hop and responses of the client, until one of them has had enough.
    async fn exchange(&mut self, mut login: Login<'a>, mut user: User<'_>, mut line: Secret) -> Step {
        for _ in 0..ROUNDS {
            let reply = match login.say(&line).await {
                Ok(reply) => reply,
                Err(error) => {
                    let client = self.session.client;
                    tracing::warn!(?client, %error, "next hop failed while a user was logging in");
                    return self.error(not_now());
                }
            };
            drop(line);
            match reply.code {
                235 => return self.logged_in(login, user, &reply),
                334 => {}
                code => {
                    self.not_logged_in(user.mechanism, code);
                    self.login = Some(login);
                    return self.error(reply);
                }
            }
            self.output.extend_from_slice(format!("334 {}\r\n", reply.text.replace('\n', "")).as_bytes());
            line = self.secret_line().await?;
            if line.as_slice() != b"*" {
                if !line.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte)) {
                    let refusal = Reply::new(501, "5.5.2", "Response is not base64");
                    return self.cancel(login, user.mechanism, refusal).await;
                }
                user.hear(&line);
            }
        }
        self.cancel(login, user.mechanism, Reply::new(535, "5.7.8", "Too many responses")).await
    }

    /// Ends an exchange that the client has spoilt; the next hop forgets it.
    async fn cancel(&mut self, mut login: Login<'a>, mechanism: &str, reply: Reply) -> Step {
        self.not_logged_in(mechanism, reply.code);
        if login.say(b"*").await.is_ok_and(|reply| reply.is_permanent()) {
            self.login = Some(login);
        }
        self.error(reply)
    }

    /// Who guesses passwords is seen in the log, by the code that the next hop gave. Names are left out: people type
    /// passwords there.
    fn not_logged_in(&self, mechanism: &str, code: u16) {
        tracing::info!(client = ?self.session.client, mechanism, code, "login failed");
    }

    fn logged_in(&mut self, login: Login<'a>, user: User<'_>, reply: &Reply) -> Step {
        let name = user.name.unwrap_or_else(|| NAMELESS.to_owned());
        tracing::info!(client = ?self.session.client, user = name, mechanism = user.mechanism, "logged in");
        self.login = Some(login);
        self.logged_in = true;
        self.set_user(Some(name));
        self.reply(reply);
        Ok(())
    }

    /// TLS, or another client that a trusted peer speaks for, begins anew: nobody is logged in.
    pub(super) async fn log_out(&mut self) {
        if let Some(login) = self.login.take() {
            login.quit().await;
        }
        if std::mem::take(&mut self.logged_in) {
            self.set_user(None);
        }
    }

    /// Ends a transaction. That of a user gives the user's connection back, if it is still good.
    pub(super) async fn close(&mut self, transaction: Transaction<'a>) {
        let login = transaction.finish().await;
        if self.logged_in {
            self.login = login;
        }
    }

    /// Where the next hop no longer knows the user, the session is over.
    pub(super) fn still_logged_in(&mut self) -> Step {
        if !self.logged_in || self.login.is_some() || matches!(self.phase, Phase::Open(_)) {
            return Ok(());
        }
        self.last_reply(Reply::new(421, "4.4.2", "Next hop was lost, please log in again"))
    }

    /// Overwrites a line that held a password, as far as it is ours.
    pub(super) fn wipe(&mut self, line: Bytes) {
        wipe(line, &mut self.input);
    }

    fn cannot_log_in(&self) -> Option<Reply> {
        if !self.front.listener.auth {
            return Some(Reply::new(503, "5.5.1", "Authentication is not offered here"));
        }
        if self.session.user.is_some() {
            return Some(Reply::new(503, "5.5.1", "Already authenticated"));
        }
        match self.phase {
            Phase::Silent => return Some(Reply::new(503, "5.5.1", "Say EHLO first")),
            Phase::Open(_) => return Some(Reply::new(503, "5.5.1", "Mail transaction in progress")),
            Phase::Ready if !self.may_log_in() => return Some(Reply::new(503, "5.5.1", "Say EHLO first")),
            Phase::Ready => {}
        }
        // RFC 4954 section 6.
        (!self.is_private()).then(|| Reply::new(538, "5.7.11", "Say STARTTLS first"))
    }

    fn may_log_in(&self) -> bool {
        self.front.listener.auth && self.session.protocol == Protocol::Esmtp && self.session.user.is_none()
    }

    fn is_private(&self) -> bool {
        self.session.tls.is_some() || self.front.listener.auth_without_tls
    }

    fn set_user(&mut self, user: Option<String>) {
        if let Some(before) = &mut self.before_xforward {
            before.user = user.clone();
            self.front.direct(before, &[]);
        }
        self.session.user = user;
        self.session.direction = self.direction();
        // Whatever was found about a stranger is not what is to be found about a user.
        self.early = super::Early::default();
    }

    /// A response of the client, without its end; nothing of it stays in the buffer.
    async fn secret_line(&mut self) -> Result<Secret, End> {
        // Room for all of it now: a buffer that grows leaves copies behind.
        self.input.reserve(AUTH_LINE + 2);
        loop {
            if let Some(end) = memchr(b'\n', &self.input) {
                let line = self.input[..end].strip_suffix(b"\r").unwrap_or(&self.input[..end]);
                let (line, fits) = (Zeroizing::new(line.to_vec()), line.len() <= AUTH_LINE);
                self.input[..=end].zeroize();
                self.input.advance(end + 1);
                self.in_step()?;
                if fits {
                    return Ok(line);
                }
            } else if self.input.len() <= AUTH_LINE + 1 {
                self.fill(1).await?;
                continue;
            }
            self.input.as_mut().zeroize();
            self.reply(&Reply::new(500, "5.5.6", "Authentication exchange line is too long"));
            return Err(End::Told);
        }
    }
}

/// Whether a command line may hold a password, well-formed or not.
pub(super) fn is_secret(line: &[u8]) -> bool {
    line.trim_ascii_start().get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH"))
}

/// Overwrites a line that was cut from the input; false if somebody else still has it. What came behind the line moves to
/// a buffer of its own, so that the line may have the old one for itself.
fn wipe(line: Bytes, input: &mut BytesMut) -> bool {
    let mut rest = BytesMut::with_capacity(input.len().max(2048));
    rest.extend_from_slice(input);
    *input = rest;
    let wiped = line.try_into_mut().map(|mut line| line.as_mut().zeroize());
    wiped.is_ok()
}

/// RFC 4954 section 4.
fn not_now() -> Reply {
    Reply::new(454, "4.7.0", "Temporary authentication failure")
}

/// Who logs in, as far as the exchange shows it.
struct User<'m> {
    mechanism: &'m str,
    responses: u32,
    name: Option<String>,
}

impl User<'_> {
    /// Takes notice of a response, in base64. The name is in the first one, beside what must not be kept.
    fn hear(&mut self, response: &[u8]) {
        self.responses += 1;
        if self.responses > 1 {
            return;
        }
        let Some(decoded) = decode(response) else { return };
        let name = match self.mechanism {
            // RFC 4616: authorization identity, authentication identity, password.
            "PLAIN" => decoded.split(|byte| *byte == 0).nth(1),
            "LOGIN" => Some(&decoded[..]),
            // RFC 2195: the name, a space, and a digest without one.
            "CRAM-MD5" => memchr::memrchr(b' ', &decoded).map(|space| &decoded[..space]),
            _ => None,
        };
        let name = name.and_then(|name| std::str::from_utf8(name).ok());
        let fit = |name: &&str| {
            !name.is_empty() && name.chars().count() <= NAME && !name.contains(char::is_control)
        };
        self.name = name.filter(fit).map(str::to_owned);
    }
}

/// Base64, strictly (RFC 4648 section 4); None for what is none.
fn decode(text: &[u8]) -> Option<Secret> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let mut decoded = Zeroizing::new(Vec::with_capacity(text.len() / 4 * 3));
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let stripped = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    for group in stripped.chunks(4) {
        let mut bits = 0u32;
        for byte in group {
            bits = bits << 6 | u32::from(value(*byte)?);
        }
        bits <<= 6 * (4 - group.len());
        decoded.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64() {
        for (text, expected) in [
            ("", Some("")),
            ("Zg==", Some("f")),
            ("Zm8=", Some("fo")),
            ("Zm9v", Some("foo")),
            ("Zm9vYg==", Some("foob")),
            ("Zm9vYmE=", Some("fooba")),
            ("Zm9vYmFy", Some("foobar")),
            ("Zg=", None),
            ("Zg", None),
            ("Z===", None),
            ("Zg==Zg==", None),
            ("Zm9*", None),
            ("====", None),
        ] {
            let decoded = decode(text.as_bytes());
            assert_eq!(decoded.as_ref().map(|bytes| std::str::from_utf8(bytes).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn lines_are_wiped_whatever_follows_them() {
        for rest in ["", "NOOP\r\n"] {
            let mut input = BytesMut::from(format!("AUTH PLAIN pass word\r\n{rest}").as_bytes());
            let mut line = input.split_to(22);
            line.truncate(20);
            assert!(wipe(line.freeze(), &mut input), "{rest}");
            assert_eq!(input, rest.as_bytes());
        }
    }

    #[test]
    fn lines_that_are_wiped() {
        for (line, expected) in [
            (&b"AUTH PLAIN AGFsaWNlAHNlY3JldA=="[..], true),
            (b"auth plain pass word", true),
            (b" AUTH=PLAIN x", true),
            (b"AUTHPLAIN x", true),
            (b"AUTH", true),
            (b"AUT", false),
            (b"MAIL FROM:<a@b> AUTH=<>", false),
        ] {
            assert_eq!(is_secret(line), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn names_of_users() {
        for (mechanism, responses, name) in [
            ("PLAIN", &["AGFsaWNlAHNlY3JldA=="][..], Some("alice")),
            ("PLAIN", &["Ym9iAGFsaWNlAHNlY3JldA=="], Some("alice")),
            ("PLAIN", &["c2VjcmV0"], None),
            ("PLAIN", &["AAAA"], None),
            ("PLAIN", &["not base64"], None),
            ("LOGIN", &["YWxpY2U=", "c2VjcmV0"], Some("alice")),
            ("LOGIN", &["", "c2VjcmV0"], None),
            ("LOGIN", &["YQpi", "c2VjcmV0"], None),
            ("CRAM-MD5", &["YSBiIDkxM2I2MDJhYjc="], Some("a b")),
            ("CRAM-MD5", &["c2VjcmV0"], None),
            ("SCRAM-SHA-1", &["biwsbj1hbGljZSxyPXg="], None),
        ] {
            let mut user = User { mechanism, responses: 0, name: None };
            responses.iter().for_each(|response| user.hear(response.as_bytes()));
            assert_eq!(user.name.as_deref(), name, "{mechanism} {responses:?}");
        }
    }
}
