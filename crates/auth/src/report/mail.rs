//! A report as a file and as a mail (RFC 9990 section 2.5).

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::{Compression, GzBuilder};
use jiff::Timestamp;

use super::Report;

/// Who sends a report.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// The domain that reports, as A-labels: `Submitter:` and the begin of the file's name.
    pub domain: &'a str,
    /// The mail's author, a plain address.
    pub from: &'a str,
    /// The time.
    pub now: Timestamp,
}

impl Report {
    /// The XML, compressed. The same report gives the same bytes.
    pub fn gzip(&self) -> Vec<u8> {
        let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
        // Writing to memory cannot fail; if it did, an empty file would be the least harm.
        if encoder.write_all(self.xml().as_bytes()).is_err() {
            return Vec::new();
        }
        encoder.finish().unwrap_or_default()
    }

    /// The file's name: `receiver!policy-domain!begin!end!id.xml.gz`, the id being what is a letter or digit in the
    /// report's.
    pub fn file_name(&self, receiver: &str) -> String {
        let id: String = self.id.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
        let id = if id.is_empty() { id } else { format!("!{id}") };
        // No path leads out of its folder.
        let name = |text: &str| {
            text.replace(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-' | '_'), "_")
        };
        format!("{}!{}!{}!{}{id}.xml.gz", name(receiver), name(&self.published.domain), self.begin, self.end)
    }

    /// The mail to one destination, with CRLF and its final line end. `file` is [`Report::gzip`]'s; the same report to
    /// the same address has the same Message-ID, so that a second copy is known for one.
    pub fn mail(&self, sender: Sender<'_>, to: &str, file: &[u8]) -> Vec<u8> {
        let Sender { domain, from, now } = sender;
        let Report { id, published, rows, .. } = self;
        let policy_domain = &published.domain;
        let name = self.file_name(domain);
        let boundary = format!("report-{}", id.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
        let boundary = &boundary[..boundary.len().min(64)];
        let date = now.strftime("%a, %d %b %Y %H:%M:%S +0000");
        let (begin, end) = (day(self.begin), day(self.end));
        let messages: u64 = rows.iter().map(|row| row.count).fold(0, u64::saturating_add);
        let (encoding, text) = gatepost_mail::encode_text(
            format!(
                "This is a DMARC aggregate report of {} for {policy_domain},\r\n\
                 from {begin} to {end}: {messages} messages in {} rows.\r\n\r\n\
                 The attached file is XML in gzip (RFC 9990).\r\n",
                self.org_name,
                rows.len()
            )
            .as_bytes(),
        );
        let mut mail = format!(
            "From: {from}\r\n\
             To: {to}\r\n\
             Subject: Report Domain: {policy_domain}\r\n\
             \x20Submitter: {domain}\r\n\
             \x20Report-ID: <{id}>\r\n\
             Date: {date}\r\n\
             Message-ID: <{}>\r\n\
             Auto-Submitted: auto-generated\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\
             \r\n\
             --{boundary}\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: {encoding}\r\n\
             \r\n\
             {text}\r\n\
             --{boundary}\r\n\
             Content-Type: application/gzip;\r\n name=\"{name}\"\r\n\
             Content-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment;\r\n filename=\"{name}\"\r\n\
             \r\n",
            self.message_id(domain, to),
        )
        .into_bytes();
        for line in STANDARD.encode(file).as_bytes().chunks(76) {
            mail.extend_from_slice(line);
            mail.extend_from_slice(b"\r\n");
        }
        mail.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        mail
    }

    fn message_id(&self, domain: &str, to: &str) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, format!("{}\n{to}", self.id).as_bytes());
        let hex: String = digest.as_ref().iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        format!("dmarc-report.{hex}@{domain}")
    }
}

fn day(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}
