//! A `Received` field for a client whose message has none of ours yet.

use std::net::IpAddr;

use super::Client;
use super::perl::is_space;

/// A field for a client, as Postfix writes it.
pub(crate) fn written(client: &Client, sender: Option<&[u8]>, now: i64) -> Vec<u8> {
    let word = |text: &str| -> String {
        let kept = text
            .chars()
            .map(|c| if c.is_whitespace() || c.is_control() || "()[]<>;".contains(c) { '!' } else { c });
        let kept: String = kept.take(255).collect();
        if kept.is_empty() { "unknown".into() } else { kept }
    };
    let name = client.name.as_deref().map_or_else(|| "unknown".to_owned(), word);
    let ip = match client.ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("IPv6:{ip}"),
    };
    let protocol = if client.authenticated { "ESMTPSA" } else { "ESMTP" };
    let mut field = format!(
        "Received: from {} ({name} [{ip}])\n\tby {} (Postfix) with {protocol} id {}",
        word(&client.helo),
        word(&client.by),
        word(&client.id)
    )
    .into_bytes();
    if let Some(sender) = sender {
        field.extend_from_slice(b"\n\t(envelope-from <");
        field.extend(sender.iter().map(|byte| if is_space(*byte) { b'!' } else { *byte }));
        field.extend_from_slice(b">)");
    }
    field.extend_from_slice(format!("; {}\n", date(now)).as_bytes());
    field
}

/// A date as in mail (RFC 5322 section 3.3), in UTC.
fn date(seconds: i64) -> String {
    let days = seconds.div_euclid(86_400);
    let second = seconds.rem_euclid(86_400);
    // Years begin with March, so that the leap day is the last.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day = shifted.rem_euclid(146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let year = year + era * 400 + i64::from(month >= 10);
    let months = ["Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb"];
    let weekdays = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let weekday = weekdays[usize::try_from(days.rem_euclid(7)).unwrap_or(0)];
    let month = months[usize::try_from(month).unwrap_or(0) % 12];
    format!(
        "{weekday}, {date} {month} {year} {:02}:{:02}:{:02} +0000",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::texts::{Given, HeaderRequest, TextSettings, Texts};

    #[test]
    fn clients_become_relays() {
        let client = |ip: &str, name: Option<&str>, helo: &str, authenticated: bool| Client {
            ip: ip.parse().unwrap(),
            name: name.map(str::to_owned),
            helo: helo.into(),
            by: "mx.example".into(),
            id: "4X1".into(),
            authenticated,
        };
        for (client, sender, relay) in [
            (
                client("192.0.2.1", Some("a.example"), "helo.example", false),
                Some("s@a.example"),
                "[ ip=192.0.2.1 rdns=a.example helo=helo.example by=mx.example ident= envfrom=s@a.example intl=0 id=4X1 auth= msa=0 ]",
            ),
            (
                client("2001:db8::1", None, "bad (helo]", true),
                None,
                "[ ip=2001:db8::1 rdns= helo=bad!!helo! by=mx.example ident= envfrom= intl=1 id=4X1 auth=ESMTPSA msa=0 ]",
            ),
        ] {
            let message = gatepost_mail::Message::unread("Subject: x\r\n\r\nbody\r\n".into());
            let given = Given {
                client: Some(client),
                sender: sender.map(Into::into),
                now: 1_772_445_600,
                ..Given::default()
            };
            let settings = TextSettings::default();
            let texts = Texts::new(&message, given, &settings);
            let relays = texts.relays();
            let found = [&relays.trusted_text[..], &relays.untrusted_text].concat();
            assert_eq!(String::from_utf8(found).unwrap(), relay);
            let value = texts.header(&HeaderRequest::parse("Received")).joined().unwrap();
            assert!(value.ends_with(b"; Mon, 2 Mar 2026 10:00:00 +0000\n"), "{value:?}");
            assert_eq!(texts.envelope_from().map(|sender| &sender[..]), sender.map(str::as_bytes));
        }
    }
}
