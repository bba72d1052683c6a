//! SpamAssassin's HTTPSMismatch and URIEval: links whose text says something else.

use super::pattern::{Fixed, fixed, groups, hits};
use super::{Function, Native, number, of};
use crate::texts::{HtmlFacts, ip};

static LINK: Fixed = Fixed::new(|| fixed(r"(?i)^https?://([^/:?#]+)"));
static SECURE: Fixed = Fixed::new(|| fixed(r"(?i)https://([^\s/:?#]+)"));
static NUMERIC: Fixed = Fixed::new(|| fixed(r"(?i)^https?:/*(?:[^@/]+@)?\d+\.\d+\.\d+\.\d+"));
static NUMERIC_TEXT: Fixed = Fixed::new(|| fixed(r"(?i)^https:/*(?:[^@/]+@)?\d+\.\d+\.\d+\.\d+"));
static HTTPS: Fixed = Fixed::new(|| fixed(r"(?i)https:"));
static REDIRECT: Fixed = Fixed::new(|| fixed(r"(?i)^https?://([^/:?]+).+?(https?:/{0,2}?([^/:?]+).*)\n?\z"));

pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("check_https_http_mismatch", |native, call| {
        let least = if number(call, 0) == 0.0 { 1.0 } else { number(call, 0) };
        let most = call.args.get(1).map(|_| number(call, 1));
        let pages = native
            .memo
            .links
            .get_or_init(|| native.texts.html().iter().map(|page| mismatch(native, page)).collect());
        of(pages.iter().any(|(hit, anchors)| {
            *hit && *anchors as f64 >= least && most.is_none_or(|most| (*anchors as f64) < most)
        }))
    }),
    ("check_https_ip_mismatch", |native, _| {
        of(native.pages(|page| {
            page.uris.iter().filter(|uri| hits(&NUMERIC, &uri.uri)).any(|uri| {
                let mut texts = uri.anchor_texts.iter().flatten();
                texts.any(|text| !hits(&NUMERIC_TEXT, text) && hits(&HTTPS, text))
            })
        }))
    }),
    ("check_uri_truncated", |native, _| of(native.pages(|page| page.number("uri_truncated").is_some()))),
    ("check_for_http_redirector", |native, _| of(*native.memo.redirected.get_or_init(|| redirected(native)))),
];

/// Whether an address leads on to one of another domain.
fn redirected(native: &Native<'_>) -> bool {
    let registry = &native.texts.settings().registry;
    let domain = |host: &[u8]| registry.uri_to_domain(host).map_or(host.to_vec(), |(domain, _)| domain);
    let leads_off = |uri: &bytes::Bytes| {
        let mut rest = uri.clone();
        // Each step leaves out the beginning.
        for _ in 0..32 {
            let Some([_, Some(by), Some(next), Some(to)]) =
                groups(&REDIRECT, &rest).as_deref().map(|found| [found[0], found[1], found[2], found[3]])
            else {
                return false;
            };
            if domain(by) != domain(to) {
                return true;
            }
            rest = bytes::Bytes::copy_from_slice(next);
        }
        false
    };
    let mut uris = native.texts.uris().iter().enumerate().take_while(|(step, _)| !native.is_over_at(*step));
    uris.any(|(_, uri)| uri.cleaned.iter().any(leads_off))
}

/// Whether the text of a link names another domain than it leads to, and how many links there are.
fn mismatch(native: &Native<'_>, page: &HtmlFacts) -> (bool, usize) {
    let registry = &native.texts.settings().registry;
    let (mut hit, mut anchors) = (false, 0);
    for (step, uri) in page.uris.iter().enumerate() {
        if native.is_over_at(step) {
            break;
        }
        let Some(texts) = uri.anchor_texts.as_ref().filter(|texts| !texts.is_empty()) else { continue };
        let Some(host) = groups(&LINK, &uri.uri).and_then(|found| found[1]) else { continue };
        if ip::is_ip(host) {
            continue;
        }
        let leads = registry.trim_domain(host);
        let valid =
            registry.uri_to_domain(&leads).is_some_and(|(domain, _)| registry.is_domain_valid(&domain));
        if !valid {
            continue;
        }
        anchors += 1;
        hit |= texts.iter().any(|text| {
            let Some(says) = groups(&SECURE, text).and_then(|found| found[1]) else { return false };
            let says = if ip::is_ip(says) {
                Some(says.to_vec())
            } else {
                Some(registry.trim_domain(says)).filter(|domain| registry.is_domain_valid(domain))
            };
            says.is_some_and(|says| says != leads)
        });
    }
    (hit, anchors)
}
