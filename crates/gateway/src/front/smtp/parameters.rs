//! What clients write behind MAIL, RCPT, XCLIENT and XFORWARD.

use gatepost_mail::{Address, Parameters, Protocol, Recipient, Reply, Session, Via};
use gatepost_wire::smtp::{self, RcptTo};

use super::too_large;
use crate::effects::relay::NextHops;

/// A recipient that may be told to the next hop, or why not.
pub(super) fn recipient(rcpt: &RcptTo, mail: &Parameters, hops: &NextHops) -> Result<Recipient, Reply> {
    let Some(address) = Address::new(&rcpt.path) else {
        return Err(Reply::new(501, "5.1.3", "Recipient is empty"));
    };
    if !rcpt.path.is_ascii() && !mail.smtputf8 {
        return Err(Reply::new(553, "5.6.7", "Address needs SMTPUTF8"));
    }
    if let Some(param) = rcpt.params.iter().find(|param| !hops.offer(|offers| offers.accepts(param))) {
        return Err(unsupported(param));
    }
    Ok(Recipient { address, parameters: rcpt.params.iter().map(ToString::to_string).collect() })
}

/// A parameter that nobody offered (RFC 5321 section 4.1.1.11).
fn unsupported(param: &smtp::Param) -> Reply {
    syntax_error(param.unsupported())
}

/// Parameters of MAIL: those we answer for ourselves, and the others as they came.
pub(super) fn mail_parameters(
    params: Vec<smtp::Param>,
    size_limit: u64,
    hops: &NextHops,
) -> Result<Parameters, Reply> {
    let mut parameters = Parameters::default();
    for param in params {
        let value = param.value.as_deref().unwrap_or_default();
        match param.keyword.as_str() {
            "SIZE" => match value.parse::<u64>() {
                Ok(size) if size > size_limit => return Err(too_large()),
                Ok(size) => parameters.size = Some(size),
                Err(_) if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                    return Err(too_large());
                }
                Err(_) => return Err(Reply::new(501, "5.5.4", "SIZE is not a number")),
            },
            "BODY" => match value.to_ascii_uppercase().as_str() {
                "7BIT" => {}
                "8BITMIME" => parameters.eight_bit = true,
                _ => return Err(Reply::new(501, "5.5.4", "BODY is 7BIT or 8BITMIME here")),
            },
            "SMTPUTF8" => parameters.smtputf8 = true,
            "PRDR" => parameters.prdr = true,
            _ if hops.offer(|offers| offers.accepts(&param)) => parameters.other.push(param.to_string()),
            _ => return Err(unsupported(&param)),
        }
    }
    Ok(parameters)
}

/// What a trusted peer says of the client. A value that is not known leaves nothing behind of the peer's own.
pub(super) fn apply(session: &mut Session, attributes: Vec<(String, Option<String>)>, via: Via) {
    session.via = via;
    if attributes.iter().any(|(name, _)| name == "ADDR") {
        session.client_name = None;
    }
    for (name, value) in attributes {
        match name.as_str() {
            "ADDR" => {
                session.client = value
                    .and_then(|text| smtp::parse_xforward_addr(&text))
                    .map(|address| address.to_canonical());
            }
            "PORT" => session.port = value.and_then(|text| text.parse().ok()).unwrap_or(0),
            "NAME" => session.client_name = value,
            "HELO" => session.helo = value.unwrap_or_default(),
            // What a mail server forwards is told of the client, and gives it no rights.
            "LOGIN" if via == Via::Xclient => session.user = value,
            "PROTO" => {
                session.protocol = match value.as_deref() {
                    Some("SMTP") => Protocol::Smtp,
                    _ => Protocol::Esmtp,
                };
            }
            _ => {}
        }
    }
}

pub(super) fn syntax_error(error: smtp::SyntaxError) -> Reply {
    Reply::new(error.code, error.enhanced, error.text)
}
