//! What a server offers in its answer to EHLO or LHLO (RFC 5321 4.1.1.1 and the extensions' own documents).

use super::command::Param;
use super::reply::Reply;

/// The extensions a server offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// SIZE (RFC 1870): offered or not; with the largest message in octets, if the server says one.
    pub size: Option<Option<u64>>,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// BINARYMIME (RFC 3030).
    pub binary_mime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced_status_codes: bool,
    /// CHUNKING: BDAT (RFC 3030).
    pub chunking: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// PRDR: an answer for each recipient after the content (draft-hall-prdr).
    pub prdr: bool,
    /// Attributes of XCLIENT, upper case; empty when it is not offered.
    pub xclient: Vec<String>,
    /// Attributes of XFORWARD, upper case; empty when it is not offered.
    pub xforward: Vec<String>,
    /// Mechanisms of AUTH, upper case; empty when it is not offered.
    pub auth: Vec<String>,
    /// The lines of all other extensions, as the server wrote them: `DELIVERBY 3600`.
    pub other: Vec<String>,
}

impl Capabilities {
    /// Reads the answer to EHLO or LHLO: its first line is a greeting, each further one an extension.
    ///
    /// A reply that is not positive offers nothing.
    pub fn from_reply(reply: &Reply) -> Capabilities {
        let mut offered = Capabilities::default();
        if reply.is_positive() {
            for line in reply.lines.iter().skip(1) {
                offered.add(line);
            }
        }
        offered
    }

    /// Whether a parameter of MAIL or RCPT may be sent to this server.
    ///
    /// A parameter of an extension not known here may be sent when the server offers an extension of the same name.
    pub fn accepts(&self, param: &Param) -> bool {
        match param.keyword.as_str() {
            "SIZE" => self.size.is_some(),
            "BODY" if param.value.as_deref().is_some_and(|v| v.eq_ignore_ascii_case("BINARYMIME")) => {
                self.binary_mime
            }
            "BODY" => self.eight_bit_mime,
            "SMTPUTF8" => self.smtputf8,
            "RET" | "ENVID" | "NOTIFY" | "ORCPT" => self.dsn,
            "PRDR" => self.prdr,
            "AUTH" => !self.auth.is_empty(),
            "BY" => self.offers("DELIVERBY"),
            "HOLDFOR" | "HOLDUNTIL" => self.offers("FUTURERELEASE"),
            "MTRK" => self.offers("MTRK"),
            "SOLICIT" => self.offers("NO-SOLICITING"),
            keyword => self.offers(keyword),
        }
    }

    /// Whether the server offers an extension that has no field of its own.
    pub fn offers(&self, keyword: &str) -> bool {
        self.other.iter().any(|line| line.split(' ').next().is_some_and(|k| k.eq_ignore_ascii_case(keyword)))
    }

    fn add(&mut self, line: &str) {
        let line = line.trim();
        // Some servers write AUTH=LOGIN as well, for old clients that look for that.
        let (keyword, rest) = line.split_once([' ', '=']).unwrap_or((line, ""));
        let mut words = rest.split_ascii_whitespace().map(str::to_ascii_uppercase);
        match keyword.to_ascii_uppercase().as_str() {
            "PIPELINING" => self.pipelining = true,
            "SIZE" => self.size = Some(words.next().and_then(|n| n.parse().ok()).filter(|&n| n > 0)),
            "8BITMIME" => self.eight_bit_mime = true,
            "BINARYMIME" => self.binary_mime = true,
            "SMTPUTF8" => self.smtputf8 = true,
            "ENHANCEDSTATUSCODES" => self.enhanced_status_codes = true,
            "CHUNKING" => self.chunking = true,
            "STARTTLS" => self.starttls = true,
            "DSN" => self.dsn = true,
            "PRDR" => self.prdr = true,
            "XCLIENT" => extend(&mut self.xclient, words),
            "XFORWARD" => extend(&mut self.xforward, words),
            "AUTH" => extend(&mut self.auth, words),
            "" => {}
            _ => self.other.push(line.to_owned()),
        }
    }
}

fn extend(list: &mut Vec<String>, words: impl Iterator<Item = String>) {
    for word in words {
        if !list.contains(&word) {
            list.push(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::{Command, parse};

    fn offered(lines: &str) -> Capabilities {
        Capabilities::from_reply(&Reply::new(250, "", format!("mx.example at your service\n{lines}")))
    }

    #[test]
    fn what_postfix_offers() {
        let found = offered(
            "PIPELINING\nSIZE 10240000\nVRFY\nETRN\nSTARTTLS\nXCLIENT NAME ADDR PORT\nxforward name ADDR\n\
             AUTH PLAIN LOGIN\nAUTH=PLAIN CRAM-MD5\nENHANCEDSTATUSCODES\n8BITMIME\nDSN\nSMTPUTF8\nCHUNKING\n",
        );
        let words = |list: &str| list.split(' ').map(String::from).collect::<Vec<_>>();
        let expected = Capabilities {
            pipelining: true,
            size: Some(Some(10_240_000)),
            eight_bit_mime: true,
            binary_mime: false,
            smtputf8: true,
            enhanced_status_codes: true,
            chunking: true,
            starttls: true,
            dsn: true,
            prdr: false,
            xclient: words("NAME ADDR PORT"),
            xforward: words("NAME ADDR"),
            auth: words("PLAIN LOGIN CRAM-MD5"),
            other: words("VRFY ETRN"),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn sizes_and_refusals() {
        for (lines, size) in
            [("", None), ("SIZE", Some(None)), ("size 0", Some(None)), ("SIZE x", Some(None))]
        {
            assert_eq!(offered(lines).size, size, "{lines}");
        }
        // The first line is a greeting, whatever it says; a refusal offers nothing.
        assert_eq!(Capabilities::from_reply(&Reply::new(250, "", "SIZE 5")), Capabilities::default());
        assert_eq!(Capabilities::from_reply(&Reply::new(502, "", "no\nSIZE 5")), Capabilities::default());
    }

    #[test]
    fn which_parameters_may_be_sent() {
        let all = offered(
            "SIZE\n8BITMIME\nBINARYMIME\nSMTPUTF8\nDSN\nPRDR\nAUTH PLAIN\nDELIVERBY 60\nMT-PRIORITY X\nXTHING",
        );
        let none = offered("HELP");
        for param in [
            "SIZE=1",
            "BODY=8BITMIME",
            "BODY=BINARYMIME",
            "SMTPUTF8",
            "RET=HDRS",
            "ENVID=x",
            "PRDR",
            "AUTH=<>",
            "BY=60;R",
            "MT-PRIORITY=3",
            "XTHING=1",
        ] {
            let Ok(Command::Mail(mail)) = parse(format!("MAIL FROM:<> {param}").as_bytes()) else {
                panic!("{param}")
            };
            assert!(all.accepts(&mail.params[0]), "{param}");
            assert!(!none.accepts(&mail.params[0]), "{param}");
        }
    }
}
