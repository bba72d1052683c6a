//! What is asked over the network: SPF, DKIM, ARC, DMARC, lists in the DNS. The answers are those of other checks (`Known`);
//! without them it is as with `spamassassin -L`, which looks at nothing but fields that servers of ours have written.

use super::pattern::{Fixed, fixed, groups};
use super::{Function, Native, SpfResult, adsp, of, text};
use crate::engine::{Answer, Call};

macro_rules! spf {
    ($($name:expr, $helo:expr, $result:ident;)*) => {
        &[$(($name, |native, _| of(spf(native, false) == Some(SpfResult::$result))),
            ($helo, |native, _| of(spf(native, true) == Some(SpfResult::$result))),)*]
    };
}

static FIELD: Fixed = Fixed::new(|| {
    fixed(
        r"(?i)^received-spf:\s*(pass|neutral|(?:soft)?fail|(?:temp|perm)error|none)\b(?:.*\bidentity=(\S+?);?\b)?",
    )
});
static RESULTS: Fixed = Fixed::new(|| {
    fixed(
        r"(?i)^(?:arc-)?authentication-results:.*;\s*SPF\s*=\s*(pass|neutral|(?:hard|soft)?fail|(?:temp|perm)error|none)(?:[^;]*?\bsmtp\.(\S+)\s*=[^;]+)?",
    )
});

pub(super) const FUNCTIONS: &[&[(&str, Function)]] = &[
    spf! {
        "check_for_spf_pass", "check_for_spf_helo_pass", Pass;
        "check_for_spf_neutral", "check_for_spf_helo_neutral", Neutral;
        "check_for_spf_none", "check_for_spf_helo_none", None;
        "check_for_spf_fail", "check_for_spf_helo_fail", Fail;
        "check_for_spf_softfail", "check_for_spf_helo_softfail", Softfail;
        "check_for_spf_permerror", "check_for_spf_helo_permerror", Permerror;
        "check_for_spf_temperror", "check_for_spf_helo_temperror", Temperror;
    },
    &[
        ("check_spf_skipped_noenvfrom", |native, _| of(sender(native).is_none())),
        ("check_for_spf_welcomelist_from", |native, _| of(vouched(native, "welcomelist"))),
        ("check_for_spf_whitelist_from", |native, _| of(vouched(native, "welcomelist"))),
        ("check_for_def_spf_welcomelist_from", |native, _| of(vouched(native, "def_welcomelist"))),
        ("check_for_def_spf_whitelist_from", |native, _| of(vouched(native, "def_welcomelist"))),
        ("check_dkim_signed", |native, call| signed(native, call, false, false)),
        ("check_dkim_valid", |native, call| signed(native, call, true, false)),
        ("check_dkim_verified", |native, call| signed(native, call, true, false)),
        ("check_dkim_valid_author_sig", |native, call| signed(native, call, true, true)),
        ("check_dkim_valid_envelopefrom", |native, _| {
            let sender = native.value("EnvelopeFrom:addr").to_ascii_lowercase();
            let domain = sender.split(|octet| *octet == b'@').nth(1).unwrap_or_default();
            let by = |signature: &super::Signature| {
                signature.valid && signature.identity_domain.as_bytes() == domain
            };
            of(!domain.is_empty() && native.known.dkim.iter().flatten().any(by))
        }),
        ("check_dkim_dependable", |native, _| of(native.known.dkim.is_some())),
        ("check_dkim_adsp", |native, call| of(adsp::is(native, call, &text(call, 0)))),
        ("check_dkim_signsome", |_, _| of(false)),
        ("check_dkim_signall", |native, call| of(adsp::is(native, call, "A"))),
        ("check_dkim_testing", |native, _| {
            of(native.known.dkim.iter().flatten().any(|signature| signature.testing))
        }),
        ("check_for_dkim_welcomelist_from", |native, _| of(author_vouched(native, "welcomelist"))),
        ("check_for_dkim_whitelist_from", |native, _| of(author_vouched(native, "welcomelist"))),
        ("check_for_def_dkim_welcomelist_from", |native, _| of(author_vouched(native, "def_welcomelist"))),
        ("check_for_def_dkim_whitelist_from", |native, _| of(author_vouched(native, "def_welcomelist"))),
        ("check_arc_signed", |native, _| of(native.known.arc.is_some())),
        ("check_arc_valid", |native, _| of(native.known.arc == Some(true))),
        ("check_dmarc_pass", |native, _| of(dmarc(native, true, None))),
        ("check_dmarc_reject", |native, _| of(dmarc(native, false, Some("reject")))),
        ("check_dmarc_quarantine", |native, _| of(dmarc(native, false, Some("quarantine")))),
        ("check_dmarc_none", |native, _| of(dmarc(native, false, Some("none")))),
        ("check_dmarc_missing", |native, _| {
            of(native.known.dmarc.as_ref().is_some_and(|dmarc| dmarc.policy.is_none()))
        }),
        ("check_rbl", answered),
        ("check_rbl_txt", answered),
        ("check_rbl_sub", answered),
        ("check_rbl_accreditor", answered),
        ("check_rbl_from_host", answered),
        ("check_rbl_from_domain", answered),
        ("check_rbl_envfrom", answered),
        ("check_rbl_headers", answered),
        ("check_rbl_ns_from", answered),
        ("check_rbl_rcvd", answered),
        ("check_dns_sender", answered),
        ("check_uridnsbl", answered),
        ("check_hashbl_emails", answered),
        ("check_hashbl_uris", answered),
        ("check_hashbl_bodyre", answered),
        ("check_hashbl_tag", answered),
        ("check_hashbl_attachments", answered),
        ("check_asn", answered),
        ("check_razor2", answered),
        ("check_razor2_range", answered),
        ("check_pyzor", answered),
        ("check_dcc", answered),
        ("check_dcc_reputation_range", answered),
        ("check_bayes", answered),
        ("check_from_in_auto_welcomelist", answered),
        ("check_from_in_auto_whitelist", answered),
        ("check_senders_reputation", answered),
        ("check_shortcircuit", |_, _| of(false)),
    ],
];

/// What another check has found for the rule.
pub(super) fn answered(native: &Native<'_>, call: &Call<'_>) -> Answer {
    native.known.rules.get(call.rule).cloned().unwrap_or_default()
}

/// The result of SPF for the envelope's sender or for HELO.
fn spf(native: &Native<'_>, helo: bool) -> Option<SpfResult> {
    let known = if helo { native.known.spf_helo } else { native.known.spf };
    known.or_else(|| written(native, helo))
}

/// The result that a server of ours has written into the header.
fn written(native: &Native<'_>, helo: bool) -> Option<SpfResult> {
    if native.settings.flag("ignore_received_spf_header") {
        return None;
    }
    let mut fields = native.values("ALL-INTERNAL");
    if !native.settings.flag("use_newest_received_spf_header") {
        fields.reverse();
    }
    fields.iter().find_map(|field| {
        let found = groups(&FIELD, field).or_else(|| groups(&RESULTS, field))?;
        let identity = found[2].map(<[u8]>::to_ascii_lowercase);
        let of_helo = match identity.as_deref() {
            None | Some(b"mfrom" | b"mailfrom") => false,
            Some(b"helo") => true,
            Some(_) => return None,
        };
        (of_helo == helo).then(|| SpfResult::parse(found[1]?)).flatten()
    })
}

fn sender(native: &Native<'_>) -> Option<Vec<u8>> {
    let relays = native.texts.relays();
    if let Some(sender) = relays.external.first().and_then(|relay| relay.envfrom.as_ref()) {
        return Some(sender.to_ascii_lowercase());
    }
    if !relays.trusted.is_empty() && !native.settings.flag("always_trust_envelope_sender") {
        return None;
    }
    native.values("EnvelopeFrom:addr").first().map(|sender| sender.to_ascii_lowercase())
}

/// The sender is in a list of those that SPF vouches for.
fn vouched(native: &Native<'_>, list: &str) -> bool {
    let Some(sender) = sender(native).filter(|sender| !sender.is_empty()) else { return false };
    spf(native, false) == Some(SpfResult::Pass)
        && ["from_spf", "auth"].iter().any(|kind| native.in_list(&format!("{list}_{kind}"), &sender))
}

fn signed(native: &Native<'_>, call: &Call<'_>, valid: bool, author: bool) -> Answer {
    let authors = authors(native);
    let fits = |signature: &&super::Signature| {
        let domain = &signature.identity_domain;
        let wanted = call.args.iter().any(|arg| {
            let arg = arg.text().to_lowercase();
            match arg.trim_start_matches('*').strip_prefix('.') {
                Some(parent) => domain == parent || domain.ends_with(&format!(".{parent}")),
                None => *domain == arg,
            }
        });
        (!valid || signature.valid)
            && (!author || authors.iter().any(|(_, own)| own == domain))
            && (call.args.is_empty() || wanted)
    };
    of(native.known.dkim.iter().flatten().any(|signature| fits(&signature)))
}

/// Author addresses with their domains, in lower case.
pub(super) fn authors(native: &Native<'_>) -> Vec<(Vec<u8>, String)> {
    let domain = |address: &[u8]| {
        address.rsplit(|octet| *octet == b'@').next().map(|one| String::from_utf8_lossy(one).into_owned())
    };
    let lower = native.values("From:addr").into_iter().map(|address| address.to_ascii_lowercase());
    lower
        .filter_map(|address| Some((domain(&address)?, address)))
        .map(|(domain, address)| (address, domain))
        .collect()
}

/// An author is in a list of those that DKIM vouches for, by a valid signature of his domain or of the one that the list names.
fn author_vouched(native: &Native<'_>, list: &str) -> bool {
    let signatures: Vec<_> = native.known.dkim.iter().flatten().filter(|signature| signature.valid).collect();
    if signatures.is_empty() {
        return false;
    }
    authors(native).iter().any(|(address, domain)| {
        ["from_dkim", "auth"].iter().any(|kind| {
            let entries = native.settings.addresses(&format!("{list}_{kind}"));
            entries.into_iter().flatten().any(|(entry, signers)| {
                super::pattern::glob(entry.as_bytes(), address) && {
                    let by = |wanted: &str| signatures.iter().any(|one| one.identity_domain == wanted);
                    let own = signers.is_empty() || signers.iter().any(String::is_empty);
                    own && by(domain) || signers.iter().any(|signer| !signer.is_empty() && by(signer))
                }
            })
        })
    })
}

fn dmarc(native: &Native<'_>, pass: bool, policy: Option<&str>) -> bool {
    native.known.dmarc.as_ref().is_some_and(|dmarc| {
        dmarc.pass == pass
            && dmarc.policy.is_some()
            && policy.is_none_or(|policy| dmarc.policy.as_deref() == Some(policy))
    })
}
