//! From a request to session and envelope.

use gatepost_mail::{Address, Envelope, Parameters, Protocol, Session, Tls};
use gatepost_wire::policy::Request;

use crate::front::Front;

/// Who is on the line at the mail server.
pub(super) fn session(front: &Front, request: &Request) -> Session {
    let tls = (!request.encryption_protocol.is_empty()).then(|| Tls {
        version: request.encryption_protocol.clone(),
        cipher: request.encryption_cipher.clone(),
    });
    Session {
        client: request.client_address.map(|client| client.to_canonical()),
        port: request.client_port,
        client_name: request.client_name.as_ref().map(|name| name.trim_end_matches('.').to_owned()),
        helo: request.helo_name.clone(),
        protocol: match request.protocol_name.as_str() {
            "SMTP" => Protocol::Smtp,
            "LMTP" => Protocol::Lmtp,
            _ => Protocol::Esmtp,
        },
        tls,
        user: Some(request.sasl_username.clone()).filter(|user| !user.is_empty()),
        listener: front.listener.name.clone(),
        ..Session::default()
    }
}

/// The sender, with what was said of the message's size.
pub(super) fn envelope(request: &Request) -> Envelope {
    let parameters =
        Parameters { size: Some(request.size).filter(|size| *size > 0), ..Parameters::default() };
    Envelope { sender: Address::new(&request.sender), parameters, recipients: Vec::new() }
}
