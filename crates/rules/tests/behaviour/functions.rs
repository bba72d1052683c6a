//! Functions: who is welcome, free mail, what fields and pages say.

use super::{Case, case, rules};

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(LISTED.iter().map(|(mail, hits)| case(LISTS, mail, "hits", hits)));
    cases
        .extend(FREE.iter().map(|(conf, mail, hits)| case(&format!("{FREEMAIL}{conf}"), mail, "hits", hits)));
    cases.extend(URI_HOSTS.iter().map(|(conf, hits)| {
        let mail = "Subject: x\n\nhttp://www.bad.com/ http://good.example.org/\n";
        case(&format!("loadplugin Mail::SpamAssassin::Plugin::WLBLEval\n{conf}"), mail, "hits", hits)
    }));
    cases.push(rules("loadplugin Mail::SpamAssassin::Plugin::HTMLEval", PAGE, HTML));
    cases.push(rules("loadplugin Mail::SpamAssassin::Plugin::MIMEEval", PARTS, MIME));
    cases.push(rules("loadplugin Mail::SpamAssassin::Plugin::ImageInfo", PICTURE, IMAGES));
    cases.push(rules("loadplugin Mail::SpamAssassin::Plugin::HeaderEval", HEADER, FIELDS));
    cases.push(case(
        "loadplugin Mail::SpamAssassin::Plugin::HeaderEval\nheader SAME eval:check_for_matching_env_and_hdr_from()\n\
        header OTHER eval:check_equal_from_domains()\n",
        "Return-Path: <news@one.test>\nFrom: news@one.test, Other <other@two.test>\nSubject: x\n\nText\n",
        "hits",
        "SAME",
    ));
    cases.push(rules(
        "loadplugin Mail::SpamAssassin::Plugin::BodyEval\nloadplugin Mail::SpamAssassin::Plugin::URIEval\n\
        loadplugin Mail::SpamAssassin::Plugin::HTTPSMismatch",
        PAGE,
        BODY,
    ));
    cases
}

const LISTS: &str = "loadplugin Mail::SpamAssassin::Plugin::WLBLEval\nloadplugin Mail::SpamAssassin::Plugin::WelcomeListSubject\n\
    header WELCOME eval:check_from_in_welcomelist()\nheader FORGED eval:check_forged_in_welcomelist()\n\
    header DEFAULT eval:check_from_in_default_welcomelist()\nheader FORGED_DEFAULT eval:check_forged_in_default_welcomelist()\n\
    header BLOCK eval:check_from_in_blocklist()\nheader TO eval:check_to_in_welcomelist()\nheader BLOCK_TO eval:check_to_in_blocklist()\n\
    header MORE eval:check_to_in_more_spam()\nheader ALL eval:check_to_in_all_spam()\nheader LIST eval:check_from_in_list('MINE')\n\
    header TO_LIST eval:check_to_in_list('MINE')\nheader SUBJECT eval:check_subject_in_welcomelist()\n\
    header SUBJECT_BLOCK eval:check_subject_in_blocklist()\n\
    def_welcomelist_from_rcvd *@pay.com pay.com\ndef_welcomelist_from_rcvd *@pay.com other.com\n\
    def_welcomelist_from_rcvd mumble@example.com example.com\nwelcomelist_from_rcvd foo@example.com example.org\n\
    welcomelist_from_rcvd foo@example.com example.com\nwelcomelist_from_rcvd bar@example.com example.com\n\
    welcomelist_allows_relays bar@example.com\nwelcomelist_from baz@example.com *@*.friend.org\nwhitelist_from old@example.com\n\
    welcomelist_from bam@example.com\nunwelcomelist_from bam@example.com\nunwelcomelist_from_rcvd mumble@example.com\n\
    blocklist_from *@bad.com\nblacklist_from old@bad.org\nwelcomelist_to announce*\nblocklist_to trap@example.net\n\
    more_spam_to more@example.net\nall_spam_to all@example.net\nenlist_addrlist (MINE) *@mine.com\nwelcomelist_subject [HC Anno*]\n\
    blocklist_subject buy test\n";

/// A mail with a `Received` field of a host of that name.
macro_rules! from {
    ($host:literal, $rest:literal) => {
        concat!(
            "Received: from ",
            $host,
            " (",
            $host,
            " [192.0.2.1]) by mx.example.net with SMTP id 1;\n\tThu, 1 Jan 2026 00:00:00 +0000\n",
            $rest,
            "\n\nx\n"
        )
    };
}

const LISTED: &[(&str, &str)] = &[
    (from!("mail.example.org", "From: baz@example.com"), "WELCOME"),
    (from!("mail.example.org", "From: BAZ@Example.com"), "WELCOME"),
    (from!("mail.example.org", "From: x@y.friend.org"), "WELCOME"),
    (from!("mail.example.org", "From: old@example.com"), "WELCOME"),
    (from!("mail.example.org", "From: foo@example.com"), "WELCOME"),
    (from!("mail.example.com", "From: foo@example.com"), "WELCOME"),
    (from!("mail.example.net", "From: foo@example.com"), "FORGED"),
    (from!("mail.pay.com", "From: svc@pay.com"), "DEFAULT"),
    (from!("mail.other.com", "From: svc@pay.com"), "DEFAULT"),
    (from!("mail.example.net", "From: svc@pay.com"), "FORGED_DEFAULT"),
    (from!("mail.example.net", "From: bar@example.com"), ""),
    (from!("mail.example.net", "From: bam@example.com"), ""),
    (from!("mail.example.com", "From: mumble@example.com"), ""),
    (from!("mail.example.net", "From: x@bad.com"), "BLOCK"),
    (from!("mail.example.net", "From: old@bad.org"), "BLOCK"),
    (from!("mail.example.net", "From: a@example.net\nTo: announce-x@example.net"), "TO"),
    (from!("mail.example.net", "From: a@example.net\nTo: trap@example.net"), "BLOCK_TO"),
    (from!("mail.example.net", "From: a@example.net\nCc: more@example.net"), "MORE"),
    (from!("mail.example.net", "From: a@example.net\nTo: all@example.net"), "ALL"),
    (from!("mail.example.net", "From: a@mine.com\nTo: b@mine.com"), "LIST,TO_LIST"),
    (from!("mail.example.net", "From: a@example.net\nSubject: Re: [HC Announce] news"), "SUBJECT"),
    (from!("mail.example.net", "From: a@example.net\nSubject: Buy Test"), "SUBJECT_BLOCK"),
    (from!("mail.example.net", "Resent-From: baz@example.com\nFrom: a@example.net"), "WELCOME"),
];

const FREEMAIL: &str = "loadplugin Mail::SpamAssassin::Plugin::FreeMail\nfreemail_domains free.com other.com *.wild.net\n\
    freemail_welcomelist nice@free.com\nheader FROM eval:check_freemail_from()\nheader FROM_NICE eval:check_freemail_from('^nice')\n\
    header REPLY_TO eval:check_freemail_replyto('replyto')\nheader REPLY eval:check_freemail_replyto('reply')\n\
    header DIGIT eval:check_freemail_header('EnvelopeFrom', '\\d@')\nheader REPLY_DIGIT eval:check_freemail_header('Reply-To', '\\d@')\n\
    header HEADER eval:check_freemail_header('Reply-To')\nbody BODY eval:check_freemail_body()\n";

const FREE: &[(&str, &str, &str)] = &[
    ("", "From: a@free.com\n\nx\n", "FROM"),
    ("", "From: a@mail.wild.net\n\nx\n", "FROM"),
    ("", "From: nice@free.com\n\nx\n", ""),
    ("", "From: nicer@free.com\n\nx\n", "FROM,FROM_NICE"),
    ("", "From: a@example.com\n\nx\n", ""),
    ("", "From: a@free.com\nReply-To: b@other.com\n\nx\n", "FROM,HEADER,REPLY,REPLY_TO"),
    (
        "",
        "Return-Path: <a1@free.com>\nFrom: a1@free.com\nReply-To: b2@other.com\n\nx\n",
        "DIGIT,FROM,HEADER,REPLY,REPLY_DIGIT,REPLY_TO",
    ),
    ("", "From: a@free.com\nReply-To: a@free.com\n\nx\n", "FROM,HEADER"),
    ("", "From: a@free.com\n\nwrite to b@other.com\n", "FROM,REPLY"),
    ("", "From: a@example.com\n\nwrite to b@other.com\n", ""),
    ("", "From: a@example.com\nReply-To: c@free.com\n\nwrite to b@other.com\n", "HEADER,REPLY_TO"),
    ("welcomelist_auth *@free.com\n", "From: a@free.com\n\nx\n", "FROM"),
    ("welcomelist_auth *@free.com\nfreemail_import_welcomelist_auth 1\n", "From: a@free.com\n\nx\n", ""),
];

const URI_HOSTS: &[(&str, &str)] = &[
    (
        "blocklist_uri_host bad.com\nbody B eval:check_uri_host_in_blocklist()\nbody W eval:check_uri_host_in_welcomelist()",
        "B",
    ),
    (
        "welcomelist_uri_host example.org\nbody B eval:check_uri_host_in_blocklist()\nbody W eval:check_uri_host_in_welcomelist()",
        "W",
    ),
    ("blacklist_uri_host !www.bad.com bad.com\nbody B eval:check_uri_host_in_blacklist()", ""),
    ("enlist_uri_host (L) bad.com\nbody B eval:check_uri_host_listed('L', '1')", ""),
    ("enlist_uri_host (L) bad.com\ndelist_uri_host (L) bad.com\nbody B eval:check_uri_host_listed('L')", ""),
];

const PAGE: &str = "Subject: x\nContent-Type: text/html\n\n<html><head><title>My title</title></head><body bgcolor=white>\
    <font color=white size=7>Hidden text here</font> <font color=\"#zzz\" size=1>BLUE words AND words</font><form action=\"mailto:a@b.com\">\
    <input type=text></form><iframe src=http://i.example.com></iframe><blink>b</blink>\
    <a href=\"http://evil.example.com/\">https://www.bank.com/login</a> <a href=\"http://192.0.2.1/x\">click</a>\
    <img src=\"http://i.example.com/a.gif\" width=300 height=200><a href=\"http://x.example.org/%68%74\">go</a>\
    <made-up>text</made-up></body></html>\n";

const HTML: &[(&str, bool)] = &[
    ("body R eval:html_tag_exists('form')", true),
    ("body R eval:html_tag_exists('table')", false),
    ("body R eval:html_test('form_action_mailto')", true),
    ("body R eval:html_test('embeds')", false),
    ("body R eval:html_test('font_low_contrast')", true),
    ("body R eval:html_test('font_invalid_color')", true),
    ("rawbody R eval:html_image_only(0, 400)", false),
    ("rawbody R eval:html_image_only(400, 800)", true),
    ("body R eval:html_image_ratio('0.000', '0.005')", true),
    ("body R eval:html_title_subject_ratio('3')", true),
    ("body R eval:html_text_match('title', 'My title')", true),
    ("body R eval:html_text_match('title', '^title')", false),
    ("body R eval:html_tag_balance('body', '!= 0')", false),
    ("body R eval:html_tag_balance('html', '== 0')", true),
    ("body R eval:html_range('ratio', '0.5', '1')", true),
    ("body R eval:html_range('max_size', '6', '7')", true),
    ("body R eval:html_eval('min_size', '< 2')", true),
    ("body R eval:html_eval('closed_extra_ratio', '> 0')", false),
];

const PARTS: &str = "MIME-Version: 1.0\nSubject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\
    Content-Transfer-Encoding: base64\n\nPGI+aGk8L2I+\n\n--b\nContent-Type: application/x-msdownload; name=\"a.exe\"\n\
    Content-Transfer-Encoding: base64\n\nTVo=\n--b\nContent-Type: text/plain; charset=\"koi8-r\"\nContent-Transfer-Encoding: quoted-printable\n\n\
    =C1=C2=C3 this is a line that is very long and goes on and on and on beyond what quoted-printable permits in one\n--b--\n";

const MIME: &[(&str, bool)] = &[
    ("body R eval:check_for_mime('mime_attachment')", false),
    ("body R eval:check_for_mime('mime_multipart_ratio')", true),
    ("body R eval:check_for_mime_html()", true),
    ("body R eval:check_for_mime_html_only()", false),
    ("body R eval:check_mime_multipart_ratio('0.00', '0.10')", false),
    ("rawbody R eval:check_for_mime('mime_base64_encoded_text')", true),
    ("rawbody R eval:check_for_mime('mime_qp_long_line')", true),
    ("rawbody R eval:check_ma_non_text()", false),
    ("body R eval:check_base64_length('79')", false),
];

/// A picture of 512 pixels; a page of more octets than it has text.
const PICTURE: &str = "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\n\
    <table><tr><td><font><b><i>x</i></b></font></td></tr></table>\n--b\nContent-Type: image/gif; name=a.gif\n\
    Content-Transfer-Encoding: base64\n\nR0lGODlhEAAgAIAAAA==\n--b--\n";

const IMAGES: &[(&str, bool)] = &[
    ("body R eval:image_to_text_ratio('all', '0.000', '0.015')", true),
    ("body R eval:image_to_text_ratio('gif', '0.015', '1')", false),
    ("rawbody R eval:image_to_text_ratio('all', '0.000', '0.015')", false),
    ("rawbody R eval:image_to_text_ratio('gif', '0.015', '1')", true),
    ("body R eval:image_size_exact('gif', 32, 16)", true),
];

const HEADER: &str = "Received: from a.example.com (a.example.com [192.0.2.1]) by mx.example.net with SMTP id 1;\n\tThu, 1 Jan 2026 00:00:00 +0000\n\
    From: \"same@example.com\" <other@example.org>\nTo: aaa@example.net, aab@example.net, aac@example.net, aad@example.net,\n\taae@example.net, \
    aaf@example.net, aag@example.net\nSubject: THIS IS ALL UPPERCASE\nDate: Thu, 1 Jan 2020 00:00:00 +0000\nX-Mailer: Microsoft Outlook\n\
    Message-ID: <x>\nMIME-Version: 1.0\nContent-Type: text/plain\n\nx\n";

const FIELDS: &[(&str, bool)] = &[
    ("header R eval:subject_is_all_caps()", true),
    ("header R eval:sorted_recipients()", true),
    ("header R eval:similar_recipients('0.5','undef')", true),
    ("header R eval:check_for_shifted_date('undef', '-96')", true),
    ("header R eval:check_for_shifted_date('96', 'undef')", false),
    ("header R eval:check_for_missing_to_header()", false),
    ("header R eval:check_for_faraway_charset_in_headers()", false),
    ("header R eval:check_illegal_chars('Subject','0.00','2')", false),
    ("header R eval:check_for_unique_subject_id()", false),
    ("header R eval:check_header_count_range('To', '1', '1')", true),
    ("header R eval:check_header_count_range('Received', '2', '9')", false),
    ("header R eval:check_for_forged_hotmail_received_headers()", false),
    ("header R eval:check_unresolved_template()", false),
    ("header R eval:gated_through_received_hdr_remover()", false),
];

const BODY: &[(&str, bool)] = &[
    ("body R eval:check_https_http_mismatch('1','10')", true),
    ("body R eval:check_https_http_mismatch('11','99')", false),
    ("body R eval:check_for_http_redirector()", false),
    ("body R eval:check_https_ip_mismatch()", false),
    ("body R eval:tvd_vertical_words('0','10')", false),
    ("body R eval:check_stock_info('2')", false),
    ("body R eval:multipart_alternative_difference('99', '100')", false),
    ("body R eval:check_body_length('10000')", true),
];
