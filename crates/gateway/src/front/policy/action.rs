//! From a decision to what Postfix is to do.

use gatepost_mail::{Action as Verdict, Reply};
use gatepost_wire::policy::{Action, Request};

/// What cannot be answered: Postfix's own words for a policy service that fails, and a reason only in our log.
pub(super) fn trouble() -> Action {
    Action::Reply(451, "4.3.5".into(), "Server configuration problem".into())
}

/// A refusal. What is only put off waits for Postfix's later restrictions: a refusal for good saves the client's coming again.
pub(super) fn refusal(reply: &Reply, request: &Request) -> Action {
    let text = text(reply, request);
    match reply.code {
        // The client is to be gone: only the code says that.
        421 | 521 => Action::Reply(reply.code, reply.enhanced.clone(), text),
        400..=499 => Action::DeferIfPermit(format!("{} {text}", reply.enhanced).trim().to_owned()),
        code => Action::Reply(code, reply.enhanced.clone(), text),
    }
}

/// What an access map says of the whole message.
pub(super) fn forced(action: Verdict, reason: String) -> Action {
    match action {
        Verdict::Discard => Action::Discard(reason),
        _ => Action::Hold(reason),
    }
}

/// Postfix writes the recipient and what is rejected before the text by itself.
fn text(reply: &Reply, request: &Request) -> String {
    let recipient = format!("<{}>: Recipient address rejected: ", request.recipient);
    reply.text.strip_prefix(&recipient).unwrap_or(&reply.text).to_owned()
}
