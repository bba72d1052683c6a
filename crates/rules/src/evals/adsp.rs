//! What domains are known to do about signatures of their mail (ADSP, RFC 5617, as `adsp_override` of the rules says it).
//!
//! The DNS is not asked for it: the RFC is historic, and hardly a domain publishes it any more.

use super::{Native, text};
use crate::engine::Call;

/// Whether a domain of the author's, none of whose signatures is valid, is one of those practices: letters, `*` for all. With
/// domains in further arguments one of them must be an author's.
pub(super) fn is(native: &Native<'_>, call: &Call<'_>, wanted: &str) -> bool {
    let Some(signatures) = &native.known.dkim else { return false };
    let authors = super::net::authors(native);
    let wanted = if wanted == "*" { "NAD123" } else { wanted };
    let practised = authors.iter().filter(|(_, domain)| is_qualified(domain)).any(|(_, domain)| {
        let mut own = signatures.iter().filter(|signature| signature.identity_domain == *domain);
        // A signature whose key could not be looked up may be a valid one.
        !own.any(|signature| signature.valid || signature.unknown)
            && practice(native, domain).is_some_and(|practice| wanted.contains(practice))
    });
    practised
        && (call.args.len() < 2 || (1..call.args.len()).any(|index| is_author(&authors, &text(call, index))))
}

fn is_author(authors: &[(Vec<u8>, String)], wanted: &str) -> bool {
    let wanted = wanted.to_lowercase();
    authors.iter().any(|(_, domain)| match wanted.trim_start_matches('*').strip_prefix('.') {
        Some(parent) => domain == parent || domain.strip_suffix(parent).is_some_and(|sub| sub.ends_with('.')),
        None => *domain == wanted,
    })
}

/// Whether a domain ends in a top-level domain's name.
fn is_qualified(domain: &str) -> bool {
    domain.rsplit_once('.').is_some_and(|(before, top)| {
        !before.is_empty()
            && top.len() > 1
            && top.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-')
    })
}

/// The first letter of what a domain practises, or the number of a custom one; by itself or by a wild card for what is above.
fn practice(native: &Native<'_>, domain: &str) -> Option<char> {
    let known = native.settings.pairs("adsp_override")?;
    let parents = domain.match_indices('.').map(|(dot, _)| format!("*{}", &domain[dot..]));
    let practice = std::iter::once(domain.to_owned())
        .chain(parents)
        .chain(std::iter::once("*".to_owned()))
        .find_map(|name| known.get(&name))?;
    Some(match practice.as_str() {
        "custom_low" => '1',
        "custom_med" => '2',
        "custom_high" => '3',
        other => other.chars().next()?.to_ascii_uppercase(),
    })
}
