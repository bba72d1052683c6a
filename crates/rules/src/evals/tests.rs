//! Functions over mails, and what they are made of.

use gatepost_mail::{Budget, Limits, Message};

use super::*;
use crate::conf::{Arg, Options, Place, Reader};
use crate::subject::text_settings;
use crate::texts::{Document, Documents, Given, Member};

const CONF: &str = "loadplugin Mail::SpamAssassin::Plugin::FreeMail\nutil_rb_tld com\nfreemail_domains free.com other.com\nwelcomelist_from *@good.com\n\
    enlist_uri_host (BAD) bad.com\n";

/// A header, a body, a function with its arguments, and whether it hits.
const CASES: &[(&str, &str, &str, &[&str], bool)] = &[
    ("From: a@good.com", "", "check_from_in_welcomelist", &[], true),
    ("From: a@bad.com", "", "check_from_in_whitelist", &[], false),
    ("From: a@free.com", "", "check_freemail_from", &[], true),
    ("From: a1@free.com", "", "check_freemail_header", &["From", "\\d@"], true),
    ("From: a@free.com", "", "check_freemail_header", &["From", "\\d@"], false),
    ("From: a@free.com\nReply-To: b@other.com", "", "check_freemail_replyto", &["replyto"], true),
    ("From: a@x.com", "see http://www.bad.com/ now", "check_uri_host_listed", &["BAD"], true),
    ("Subject: ALL IN CAPITALS", "", "subject_is_all_caps", &[], true),
    ("Subject: Re: Not in capitals", "", "subject_is_all_caps", &[], false),
    ("From: a@x.com", "", "check_for_missing_to_header", &[], true),
    ("From: a@x.com", "", "check_no_relays", &[], true),
    ("From: a@x.com", "", "check_all_trusted", &[], false),
    ("Content-Type: text/html", "<img src=x>", "html_tag_exists", &["img"], true),
    ("Content-Type: text/html", "<b>x", "html_tag_balance", &["b", "!= 0"], true),
    ("Content-Type: text/html", "<b>x</b>", "html_tag_balance", &["b", "!= 0"], false),
    ("Content-Type: text/html", "x", "check_for_mime_html_only", &[], true),
    ("From: a@x.com", "abc", "check_body_length", &["10"], true),
    ("From: a@x.com", "", "check_for_spf_pass", &[], false),
    (
        "Return-Path: <a@università.com>\nReceived: from mx.università.com (mx.università.com [192.0.2.1])\n\
         \tby x.com (Postfix) with ESMTP id 1; Thu, 1 Jan 2026 00:00:00 +0000",
        "",
        "check_mailfrom_matches_rcvd",
        &[],
        true,
    ),
];

#[test]
fn functions() {
    let mut reader = Reader::new(Options { local: true, ..Options::default() });
    reader.read("test.cf", CONF.as_bytes(), &mut |_| Err("none".into()));
    let set = reader.finish();
    let text = text_settings(&set.settings);
    let (known, patterns) = (Known::default(), Patterns::default());
    for (head, body, function, args, expected) in CASES {
        let raw = format!("{head}\n\n{body}\n");
        let message = Message::read(raw.into(), &mut Budget::new(&Limits::default()));
        let texts = Texts::new(&message, Given::default(), &text);
        let native = Native::new(&texts, &set.settings, &known, &patterns);
        let args: Vec<Arg> = args.iter().map(|arg| Arg(arg.as_bytes().into())).collect();
        let settings = &set.settings;
        let call = Call { rule: "R", function, args: &args, place: Place::Header, settings, net: false };
        let hit = native.call(&call).is_some_and(|answer| answer.value != 0.0);
        assert_eq!(hit, *expected, "{head}: {function}");
    }
}

const PLUGINS: &str = "loadplugin Mail::SpamAssassin::Plugin::PDFInfo\n\
    loadplugin Mail::SpamAssassin::Plugin::OLEVBMacro\n\
    loadplugin Mail::SpamAssassin::Plugin::FromNameSpoof\n\
    loadplugin Mail::SpamAssassin::Plugin::DecodeShortURLs\n\
    loadplugin Mail::SpamAssassin::Plugin::TextCat\n\
    loadplugin Mail::SpamAssassin::Plugin::Phishing\n\
    util_rb_tld com ly link\n\
    url_shortener bit.ly .page.link\n\
    fns_add_addrlist (PAYPAL) *@paypal.com *@paypal-mail.com\n\
    fns_ignore_headers X-List\n\
    phishing_uri_noparam 1\n\
    loadplugin Mail::SpamAssassin::Plugin::AuthRes\n\
    authres_networks all\n\
    authres_trusted_authserv mx.com third.com\n\
    ok_languages sv\n";

/// The same with the plugins that are not loaded by default.
const PLUGIN_CASES: &[(&str, &str, &str, &[&str], bool)] = &[
    ("From: \"a@bank.com\" <b@evil.com>", "", "check_fromname_contains_email", &[], true),
    ("From: \"a@bank.com\" <b@evil.com>", "", "check_fromname_spoof", &[], true),
    ("From: \"a@bank.com\" <b@mail.bank.com>", "", "check_fromname_spoof", &[], false),
    ("From: \"a@bank.com\" <b@mail.bank.com>", "", "check_fromname_spoof", &["0"], true),
    ("From: \"a@bank.com\" <b@mail.bank.com>", "", "check_fromname_domain_differ", &[], false),
    ("From: \"a@bank.com\" <a@bank.com>", "", "check_fromname_different", &[], false),
    ("From: \"x@paypal.com\" <x@paypal-mail.com>", "", "check_fromname_owners_differ", &[], false),
    ("From: \"x@paypal.com\" <x@evil.com>\nX-List: 1", "", "check_fromname_owners_differ", &[], false),
    ("From: \"a@bank.com\" <b@evil.com>\nTo: a@bank.com", "", "check_fromname_equals_to", &[], true),
    (
        "From: \"a@bank.com\" <b@evil.com>\nReply-To: a@bank.com",
        "",
        "check_fromname_equals_replyto",
        &[],
        true,
    ),
    ("From: Bank <b@evil.com>", "", "check_fromname_contains_email", &[], false),
    ("Subject: x", "http://bit.ly/abc", "short_url", &[], true),
    ("Subject: x", "http://www.bit.ly/abc", "short_url", &[], true),
    ("Subject: x", "http://bit.ly/?q=1", "short_url", &[], false),
    ("Subject: x", "http://bit.ly/", "short_url", &[], false),
    ("Subject: x", "http://abc.page.link/", "short_url", &[], true),
    ("Subject: x", "http://bit.ly.com/x", "short_url", &[], false),
    ("Subject: x", "http://bit.ly/abc", "short_url_redir", &[], false),
    ("Subject: x", "http://bad.com/login/a/?id=1", "check_phishing", &[], true),
    ("Subject: x", "http://bad.com/other/a/", "check_phishing", &[], false),
    ("Content-Type: image/png; name=a.exe", "", "check_microsoft_executable", &[], true),
    ("Content-Type: image/png; name=a.exe", "", "check_suspect_name", &[], true),
    ("Content-Type: image/png; name=a.png", "", "check_microsoft_executable", &[], false),
    (
        "Content-Type: application/x; name=a\nContent-Transfer-Encoding: base64",
        "TVqQAAMAAAAEAAAA",
        "check_microsoft_executable",
        &[],
        true,
    ),
    (
        "Content-Type: text/plain; charset=koi8-r",
        "\u{44f}\u{44f}\u{44f}\u{44f}\u{44f}",
        "check_body_8bits",
        &[],
        true,
    ),
    ("Content-Type: text/plain", "caf\u{e9}", "check_body_8bits", &[], false),
    (
        "Authentication-Results: mx.com; spf=pass smtp.mailfrom=a@b.com",
        "",
        "check_authres_result",
        &["spf", "pass"],
        true,
    ),
    (
        "Authentication-Results: mx.com; spf=pass smtp.mailfrom=a@b.com",
        "",
        "check_authres_result",
        &["dkim", "missing"],
        true,
    ),
    (
        "Authentication-Results: mx.com 1; dkim=fail (a (b)) reason=\"x; y\" header.i=@b.com;\n spf=fail",
        "",
        "check_authres_result",
        &["dkim", "fail"],
        true,
    ),
    (
        "Authentication-Results: mx.com; dkim=fail; dkim=pass header.d=b.com",
        "",
        "check_authres_result",
        &["dkim", "PASS"],
        true,
    ),
    (
        "Authentication-Results: mx.com; spf=pass; dkim=great",
        "",
        "check_authres_result",
        &["spf", "missing"],
        true,
    ),
    (
        "Authentication-Results: mx.com; spf=pass smtp.other=x",
        "",
        "check_authres_result",
        &["spf", "pass"],
        false,
    ),
    ("Authentication-Results: mx.com; none", "", "check_authres_result", &["spf", "missing"], true),
    ("Authentication-Results: other.com; spf=pass", "", "check_authres_result", &["spf", "pass"], false),
    ("ARC-Authentication-Results: i=1; mx.com; arc=pass", "", "check_authres_result", &["arc", "pass"], true),
    ("ARC-Authentication-Results: mx.com; arc=pass", "", "check_authres_result", &["arc", "pass"], false),
    ("From: a@listed.com", "", "check_access_database", &["/access.db"], true),
    ("From: b@listed.com", "", "check_access_database", &["/access.db"], false),
    ("From: a@x.listed.com", "", "check_access_database", &["/access.db"], true),
    ("From: a@listed.com", "", "check_access_database", &["/other.db"], false),
    ("Content-Type: application/pdf; name=a.pdf", PDF, "pdf_count", &["1", "1"], true),
    ("Content-Type: application/pdf; name=a.pdf", PDF, "pdf_count", &["2"], false),
    ("Content-Type: application/octet-stream; name=a.dat", PDF, "pdf_count", &["1"], false),
    ("Content-Type: application/octet-stream; name=a.fdf", PDF, "pdf_count", &["1"], true),
    ("Content-Type: application/pdf; name=a.pdf", PDF, "pdf_image_count", &["1"], true),
    ("Content-Type: application/pdf; name=a.pdf", PDF, "pdf_pixel_coverage", &["200", "200"], true),
    ("Content-Type: application/pdf; name=a.pdf", PDF, "pdf_pixel_coverage", &["201"], false),
    ("Content-Type: application/pdf; name=a.pdf", PDF, "pdf_image_size_exact", &["10", "20"], true),
    ("Content-Type: application/pdf; name=a.pdf", PDF, "pdf_image_size_range", &["5", "5", "10", "20"], true),
    ("Content-Type: application/pdf; name=a.pdf", PDF, "pdf_image_size_range", &["5", "5", "9"], false),
    ("Content-Type: application/pdf; name=a.pdf", PDF, "pdf_named", &["a.pdf"], true),
    ("Content-Type: application/pdf; name=a.pdf", PDF, "pdf_name_regex", &["/^A\\.PDF$/i"], true),
    ("Content-Type: application/pdf; name=a.pdf", PDF, "pdf_name_regex", &["^A"], false),
    ("Content-Type: application/pdf; name=a.pdf", PDF, "pdf_match_details", &["author", "/^Jo/"], true),
    ("Content-Type: application/pdf; name=a.pdf", PDF, "pdf_match_details", &["title", "/^Jo/"], false),
    ("Content-Type: application/pdf; name=a.pdf", PDF, "pdf_is_encrypted", &[], true),
    ("Content-Type: application/pdf; name=a.pdf", PDF, "pdf_is_empty_body", &["0"], true),
    (
        "Content-Type: application/pdf; name=a.pdf",
        PDF,
        "pdf_match_md5",
        &["1ca2b33d9a0f8e5fd2fd2dbcbbbb0a2e"],
        false,
    ),
];

const PDF: &str = "%PDF-1.4\n/Encrypt\n/Author(Joe)\n/Image/Width 20/Height 10\n/URI(http://in.pdf.com/)";

fn plugins() -> crate::conf::RuleSet {
    let mut reader = Reader::new(Options { local: true, ..Options::default() });
    reader.read("test.cf", PLUGINS.as_bytes(), &mut |_| Err("none".into()));
    let set = reader.finish();
    assert!(set.warnings.is_empty(), "{:?}", set.warnings);
    set
}

#[test]
fn functions_of_plugins() {
    let set = plugins();
    let text = text_settings(&set.settings);
    let (known, mut patterns) = (Known::default(), Patterns::default());
    let feed = b"# comment\nhttp://bad.com/login/a/?x=y\n";
    patterns.files.phishing.add(Feed::OpenPhish, feed, &set.settings, &text.registry);
    let table = [("listed.com", "REJECT"), ("b@", "OK")];
    let table = table.map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec()));
    patterns.files.access.insert("/access.db".into(), table.into());
    for (head, body, function, args, expected) in PLUGIN_CASES {
        let raw = format!("{head}\n\n{body}\n");
        let message = Message::read(raw.into(), &mut Budget::new(&Limits::default()));
        let texts = Texts::new(&message, Given::default(), &text);
        let native = Native::new(&texts, &set.settings, &known, &patterns);
        assert_eq!(called(&native, function, args), *expected, "{head}: {function} {args:?}");
    }
}

fn called(native: &Native<'_>, function: &str, args: &[&str]) -> bool {
    let args: Vec<Arg> = args.iter().map(|arg| Arg(arg.as_bytes().into())).collect();
    let settings = native.settings;
    let call = Call { rule: "R", function, args: &args, place: Place::Body, settings, net: false };
    native.call(&call).expect("a function").value != 0.0
}

/// What is known of domains that sign their mail counts where none of their signatures is valid.
#[test]
fn practices_of_authors() {
    let conf = "loadplugin Mail::SpamAssassin::Plugin::DKIM\nutil_rb_tld com\nadsp_override shop.com\nadsp_override @Bank.com custom_high\nadsp_override *.big.com all\n\
        adsp_override mail.big.com unknown\n";
    let mut reader = Reader::new(Options::default());
    reader.read("test.cf", conf.as_bytes(), &mut |_| Err("none".into()));
    let set = reader.finish();
    assert_eq!(set.warnings, []);
    let settings = text_settings(&set.settings);
    let signature = |valid, unknown| Signature {
        identity_domain: "bank.com".into(),
        valid,
        unknown,
        ..Signature::default()
    };
    for (from, signatures, args, expected) in [
        ("a@bank.com", Some(vec![]), &["3"][..], true),
        ("a@Bank.com", Some(vec![signature(false, false)]), &["*"], true),
        ("a@bank.com", Some(vec![signature(true, false)]), &["3"], false),
        ("a@bank.com", Some(vec![signature(false, true)]), &["3"], false),
        ("a@bank.com", None, &["3"], false),
        ("a@bank.com", Some(vec![]), &["12"], false),
        ("a@shop.com", Some(vec![signature(true, false)]), &["D"], true),
        ("a@eu.shop.com", Some(vec![]), &["D"], false),
        ("a@x.y.big.com", Some(vec![]), &["A"], true),
        ("a@mail.big.com", Some(vec![]), &["A"], false),
        ("a@shop.com, b@other.com", Some(vec![]), &["D", "other.com"], true),
        ("a@eu.big.com", Some(vec![]), &["A", "x.com", "*.big.com"], true),
        ("a@eu.big.com", Some(vec![]), &["A", "big.com"], false),
        ("a@other.com", Some(vec![]), &["*"], false),
    ] {
        let raw = format!("From: {from}\n\n");
        let message = Message::read(raw.into(), &mut Budget::new(&Limits::default()));
        let texts = Texts::new(&message, Given::default(), &settings);
        let (known, patterns) = (Known { dkim: signatures, ..Known::default() }, Patterns::default());
        let native = Native::new(&texts, &set.settings, &known, &patterns);
        assert_eq!(called(&native, "check_dkim_adsp", args), expected, "{from} {args:?}");
    }
}

#[test]
fn documents_are_looked_into() {
    const ZIP: &str = "PK\u{3}\u{4}";
    let member = |name: &str, content: &str| Member {
        name: name.into(),
        content: content.to_owned().into(),
        encrypted: false,
    };
    let relations = "<Relationship Id=\"a\" Target=\"https://in.docx.com/\" TargetMode=\"External\"/>\
        <Relationship Target=\"mhtml:http://b.com/\" TargetMode=\"External\"/>";
    let types = member("[Content_Types].xml", "<Types/>");
    let locked = Member { encrypted: true, ..member("a.docm", "") };
    for (name, members, expected) in [
        ("a.docx", vec![types.clone(), member("word/vbaProject.bin", "Sub AutoOpen")], &["", "_malice"][..]),
        ("a.docx", vec![types.clone(), member("word/vbaProject.bin", "Sub")], &[""]),
        ("a.docx", vec![types.clone()], &[]),
        ("a.docm", vec![types.clone()], &[""]),
        ("a.docx", vec![member("[Content_Types].xml", "x macroEnabled")], &[""]),
        ("a.docx", vec![member("word/_rels/a.rels", relations)], &["_redirect_uri", "_mhtml_uri"]),
        ("a.zip", vec![locked], &["", "_zip_password"]),
        ("a.zip", vec![member("b.csv", "MSEXCEL|'\\..\\Windows\\System32\\cmd.exe'")], &["_csv"]),
        ("a.zip", vec![member("b.doc", "\\objdata")], &[""]),
        ("a.pptx", vec![member("ppt/vbaProject.bin", "")], &[]),
        ("a.bin", vec![member("ppt/vbaProject.bin", "")], &[]),
    ] {
        let set = plugins();
        let text = text_settings(&set.settings);
        assert!(text.plugins.want_documents());
        let raw = format!(
            "Content-Type: application/x; name={name}\nContent-Transfer-Encoding: quoted-printable\n\n{ZIP}"
        );
        let message = Message::read(raw.into(), &mut Budget::new(&Limits::default()));
        let documents = Documents(vec![Document { content: ZIP.into(), members, ..Document::default() }]);
        let texts = Texts::new(&message, Given { documents, ..Given::default() }, &text);
        let (known, patterns) = (Known::default(), Patterns::default());
        let native = Native::new(&texts, &set.settings, &known, &patterns);
        let all = [
            "",
            "_csv",
            "_malice",
            "_renamed",
            "_encrypted",
            "_zip_password",
            "_download_exe",
            "_redirect_uri",
            "_mhtml_uri",
        ];
        let hits = all.into_iter().filter(|end| called(&native, &format!("check_olemacro{end}"), &[]));
        let mut hits: Vec<&str> = hits.collect();
        let mut expected = expected.to_vec();
        hits.sort_unstable();
        expected.sort_unstable();
        assert_eq!(hits, expected, "{name}");
        let uris: Vec<&[u8]> = texts.uris().iter().map(|uri| &uri.raw[..]).collect();
        let leads = expected.contains(&"_redirect_uri");
        assert_eq!(uris, if leads { vec![&b"https://in.docx.com/"[..], b"http://b.com/"] } else { vec![] });
    }
}

#[test]
fn what_plugins_find_are_tags_and_addresses() {
    let set = plugins();
    let text = text_settings(&set.settings);
    let raw =
        format!("From: \"a@bank.com\" <b@evil.com>\nContent-Type: application/pdf; name=a.pdf\n\n{PDF}\n");
    let message = Message::read(raw.into(), &mut Budget::new(&Limits::default()));
    let texts = Texts::new(&message, Given::default(), &text);
    let (known, patterns) = (Known::default(), Patterns::default());
    let native = Native::new(&texts, &set.settings, &known, &patterns);
    let tags: HashMap<String, Vec<Vec<u8>>> = native.tags().into_iter().collect();
    for (tag, value) in [("PDFIMGDIM", "10x20"), ("PDFCOUNT", "1"), ("FNSFNAMEOWNER", "bank")] {
        assert_eq!(tags[tag], [value.as_bytes()], "{tag}");
    }
    assert_eq!(texts.uris().len(), 1);
    assert_eq!(&texts.uris()[0].raw[..], b"http://in.pdf.com/");
}
