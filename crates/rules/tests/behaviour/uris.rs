//! Addresses of pages: in text, in pages, in their canonical forms.

use super::{Case, case};

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let plain = |text: &str| format!("Content-Type: text/plain; charset=UTF-8\n\n{text}\n");
    let page = |text: &str| format!("Content-Type: text/html\n\n<html><body>{text}</body></html>\n");
    cases.extend(TEXTS.iter().map(|(text, want)| case("", &plain(text), "uris", want)));
    cases.extend(
        LINKS.iter().map(|(link, want)| case("", &page(&format!("<a href=\"{link}\">x</a>")), "uris", want)),
    );
    let base = "<base href=\"http://b.example.com/c/d;p?q\">";
    cases.extend(
        RELATIVE
            .iter()
            .map(|(link, want)| case("", &page(&format!("{base}<a href=\"{link}\">x</a>")), "uris", want)),
    );
    cases.extend(PAGES.iter().map(|(text, want)| case("", &page(text), "uris", want)));
    cases.extend(HOSTS.iter().map(|(conf, text, want)| case(conf, &plain(text), "hosts", want)));
    let conf =
        "redirector_pattern m'^https?:\\/\\/r\\.example\\.com\\/(?:go\\/|.*?[?&]u=)(.*?)(?:$|[&\\#])'i";
    cases.extend(
        REDIRECTED
            .iter()
            .map(|(text, want)| case(conf, &page(&format!("<a href=\"{text}\">x</a>")), "uris", want)),
    );
    cases
}

/// What stands in text, and what is found.
const TEXTS: &[(&str, &str)] = &[
    ("nothing here", ""),
    ("sub5.one.com", "http://sub5.one.com"),
    ("two.com", "http://two.com"),
    ("Three.co.uk", "http://Three.co.uk"),
    ("four.CoM", "http://four.CoM"),
    ("FIVE.COM", "http://FIVE.COM"),
    ("ftp.six.co.uk", "ftp://ftp.six.co.uk"),
    ("ftp5.six.co.uk", "http://ftp5.six.co.uk"),
    ("www.seven.com", "http://www.seven.com"),
    ("WWW.seven.com", "http://WWW.seven.com"),
    // Addresses of hosts count only where somebody says it is a page.
    ("10.1.1.1", ""),
    ("10.1.2.1/", ""),
    ("http://10.1.3.1/", "http://10.1.3.1/"),
    ("http://1113515555", "http://1113515555 http://66.94.230.35"),
    // What is no registered top-level domain is no address.
    ("eight.eight", ""),
    ("www.eight.php", ""),
    ("eight.com.php", ""),
    ("www.eight.com.invalid", ""),
    ("joe@eight.eight", ""),
    ("com.eight.web", ""),
    ("cmd.exe", ""),
    ("command.com", "http://command.com"),
    ("commander aaacomaaa", ""),
    ("http://www.eight.php/", ""),
    ("http://eight/", "http://eight/ http://www.eight.com/"),
    // What stands around it.
    ("=www.nine.com", "http://www.nine.com"),
    ("@www.nine.com", "http://www.nine.com"),
    (".www.nine.com", "http://www.nine.com"),
    ("a=www.nine.com", "http://www.nine.com"),
    ("b@www.nine.com", "mailto:b@www.nine.com"),
    ("c.www.nine.com", "http://c.www.nine.com"),
    (">ten.com", "http://ten.com"),
    ("<ten.com", "http://ten.com"),
    ("\"ten.com\"", "http://ten.com"),
    ("'ten.com'", ""),
    ("`ten.com`", "http://ten.com"),
    (",ten.com,", ""),
    ("{ten.com}", "http://ten.com"),
    ("[ten.com]", "http://ten.com"),
    ("(ten.com)", ""),
    ("|ten.com|", "http://ten.com"),
    ("\\ten.com", "http://ten.com"),
    (".....www.ten.com.....", "http://www.ten.com"),
    ("-----www.ten.com-----", "http://www.ten.com"),
    (".....http://www.ten.com.....", "http://www.ten.com"),
    ("ignoredhttp://ten.org", "http://ten.org"),
    ("notignoredwww.ten.com", "http://notignoredwww.ten.com"),
    ("<www.ten.com/x-~!@#^&*()_+=:;'?,.y-~!@#^&*()_+=:;'?,.>", "http://www.ten.com/x-~!@#^&*()_+=:;'?,.y"),
    ("\u{1b}(Bhttp://ten.com/", "http://ten.com/"),
    ("http://ten.com/\u{1b}(B", "http://ten.com/"),
    ("M0\"-AE/9Y.KN:_0D2F:95^H*:I,8", ""),
    // Dots.
    ("xyz..eleven.com", ""),
    ("xyz.eleven.com/..xyz", "http://xyz.eleven.com/..xyz"),
    ("http://xyz..eleven.com", ""),
    ("http://xyz.eleven.com/..xyz", "http://xyz.eleven.com/..xyz"),
    ("http://one\u{3002}eleven\u{3002}com", "http://one.eleven.com http://one\u{3002}eleven\u{3002}com"),
    ("http://two\u{ff0e}eleven\u{ff0e}com", "http://two.eleven.com http://two\u{ff0e}eleven\u{ff0e}com"),
    (
        "http://three\u{ff61}eleven\u{ff61}com",
        "http://three.eleven.com http://three\u{ff61}eleven\u{ff61}com",
    ),
    ("http://four\u{fe52}eleven\u{fe52}com", "http://four.eleven.com http://four\u{fe52}eleven\u{fe52}com"),
    ("http://five\u{2024}eleven\u{2024}com", "http://five.eleven.com http://five\u{2024}eleven\u{2024}com"),
    // Characters of names.
    ("x.twel_ve.com", ""),
    ("x_y.twelve.com", "http://x_y.twelve.com"),
    ("http://-twelve.com", ""),
    ("twelve-.com", ""),
    ("www-3.Twel-ve.com", "http://www-3.Twel-ve.com"),
    // Addresses of mail.
    ("a.b@thirteen.com", "mailto:a.b@thirteen.com"),
    ("mailto:a@thirteen.com", "mailto:a@thirteen.com"),
    ("Mailto:a@thirteen.com", "Mailto:a@thirteen.com"),
    ("<a@b.c.thirteen.com>", "mailto:a@b.c.thirteen.com"),
    ("a@thirteen.com,and more", "mailto:a@thirteen.com"),
    ("mailto:www.thirteen.com", ""),
    ("mailto://a@thirteen.com", "mailto://a@thirteen.com"),
    ("a@@thirteen.com", ""),
    ("mailto://nobody", ""),
    ("<to-49-x=one.com@thirteen.com>", "mailto:to-49-x=one.com@thirteen.com"),
    // Schemes, ports, users.
    ("Http://www.fourteen.com", "Http://www.fourteen.com"),
    ("https://www.fourteen.com", "https://www.fourteen.com"),
    ("ftp://www.fourteen.com", "ftp://www.fourteen.com"),
    ("file://www.fourteen.com", "http://www.fourteen.com"),
    ("keyword:sportscar", ""),
    ("http://user:pass@fourteen.com:80/x/y", "http://fourteen.com/x/y http://user:pass@fourteen.com:80/x/y"),
    ("www.fourteen.com:80/", "http://www.fourteen.com/ http://www.fourteen.com:80/"),
    ("www.fourteen.com:443/x.html", "http://www.fourteen.com:443/x.html"),
    ("www.a@fourteen.com:80", "http://fourteen.com http://www.a@fourteen.com:80"),
    ("www.fourteen:80", "http://www.fourteen http://www.fourteen.com:80 http://www.fourteen:80"),
    ("www.fourteen:443", ""),
    ("http://www.fourteen.com?query", "http://www.fourteen.com/?query http://www.fourteen.com?query"),
    ("http://www.fourteen.com#mark", "http://www.fourteen.com#mark http://www.fourteen.com/#mark"),
    ("ftp://n@fourteen.com/%2Fetc/x", "ftp://n@fourteen.com/%2Fetc/x ftp://n@fourteen.com//etc/x"),
];

/// What a link leads to, and what is found.
const LINKS: &[(&str, &str)] = &[
    ("http://www.one.com/a", "http://www.one.com/a"),
    ("www.one.com", "http://www.one.com www.one.com"),
    ("http:www.one.com", "http://www.one.com http:www.one.com"),
    ("http:/www.one.com", "http://www.one.com http:/www.one.com"),
    ("http:\\\\www.one.com\\a\\", "http://www.one.com/a/ http:\\\\www.one.com\\a\\"),
    ("//www.one.com/x", "//www.one.com/x http:////www.one.com/x http://www.one.com/x"),
    ("http://two", "http://two http://www.two.com"),
    ("http://www.uk/", "http://www.uk/"),
    ("http://1113515555/", "http://1113515555/ http://66.94.230.35/"),
    ("http://0x7f000001", "http://0x7f000001 http://127.0.0.1"),
    ("http://0xdd.0x6.0xf.0x8a/x", "http://0xdd.0x6.0xf.0x8a/x http://221.6.15.138/x"),
    ("http://089.104.0160.0x11", "http://089.104.0160.0x11 http://89.104.112.17"),
    ("http://0x0000059.104.000000160.0x00011", "http://0x0000059.104.000000160.0x00011 http://89.104.112.17"),
    ("http://x.three.com/%62%61m?%6d=1", "http://x.three.com/%62%61m?%6d=1 http://x.three.com/bam?m=1"),
    ("http%3A//three%2Ecom/%72", "http%3A//three%2Ecom/%72 http://three.com/r"),
    (
        "http://x.three.com/go?u=http://www.four.com/%61",
        "http://www.four.com/a http://x.three.com/go?u=http://www.four.com/%61 http://x.three.com/go?u=http://www.four.com/a",
    ),
    ("mailto:a@five.com", "mailto:a@five.com"),
    ("javascript:alert(1)", "javascript:alert(1)"),
    ("cid:part@five.com", "cid:part@five.com"),
    ("#here", "#here"),
    ("http://user:pass@five.com:80/x", "http://five.com/x http://user:pass@five.com:80/x"),
];

/// What a link says below a base, and what it leads to (RFC 3986 section 5.4).
const RELATIVE: &[(&str, &str)] = &[
    ("g:h", "g:h http://b.example.com/c/d;p?q"),
    ("g", "g http://b.example.com/c/d;p?q http://b.example.com/c/g"),
    ("./g", "./g http://./g http:///g http://b.example.com/c/d;p?q http://b.example.com/c/g"),
    ("g/", "g/ http://b.example.com/c/d;p?q http://b.example.com/c/g/ http://g/ http://www.g.com/"),
    ("/g", "/g http://b.example.com/c/d;p?q http://b.example.com/g"),
    ("//g.com", "//g.com http:////g.com http://b.example.com/c/d;p?q http://g.com"),
    ("?y", "?y http://b.example.com/c/d;p?q http://b.example.com/c/d;p?y"),
    ("g?y", "g?y http://b.example.com/c/d;p?q http://b.example.com/c/g?y http://g/?y http://www.g.com/?y"),
    (
        "g?y#s",
        "g?y#s http://b.example.com/c/d;p?q http://b.example.com/c/g?y#s http://g/?y#s http://www.g.com/?y#s",
    ),
    (";x", ";x http://;x http://b.example.com/c/;x http://b.example.com/c/d;p?q http://www.;x.com"),
    (".", ". http://b.example.com/c/ http://b.example.com/c/d;p?q"),
    ("..", ".. http:// http://.. http://b.example.com/ http://b.example.com/c/d;p?q"),
    ("../g", "../g http://../g http:///g http://b.example.com/c/d;p?q http://b.example.com/g"),
    ("../../g", "../../g http://../../g http:///../g http://b.example.com/c/d;p?q http://b.example.com/g"),
    ("/./g", "/./g http://b.example.com/c/d;p?q http://b.example.com/g"),
    ("/../g", "/../g http://b.example.com/c/d;p?q http://b.example.com/g"),
    ("g.", "g. http://b.example.com/c/d;p?q http://b.example.com/c/g. http://g http://g."),
    ("..g", "..g http://..g http://b.example.com/c/..g http://b.example.com/c/d;p?q"),
    ("./g/.", "./g/. http://./g/. http:///g/. http://b.example.com/c/d;p?q http://b.example.com/c/g/"),
    (
        "g/../h",
        "g/../h http://b.example.com/c/d;p?q http://b.example.com/c/h http://g/../h http://www.g.com/../h",
    ),
    (
        "g;x=1/../y",
        "g;x=1/../y http://b.example.com/c/d;p?q http://b.example.com/c/y http://g;x=1/../y http://www.g;x=1.com/../y",
    ),
    (
        "g?y/../x",
        "g?y/../x http://b.example.com/c/d;p?q http://b.example.com/c/g?y/../x http://g/?y/../x http://www.g.com/?y/../x",
    ),
    ("http:g", "http://b.example.com/c/d;p?q http://b.example.com/c/g http://g http://www.g.com http:g"),
];

/// Where in pages addresses stand.
const PAGES: &[(&str, &str)] = &[
    ("see http://www.one.com/ there", "http://www.one.com/"),
    ("<img src=\"http://i.one.com/x.gif\">", "http://i.one.com/x.gif"),
    ("<form action=\"http://f.one.com/go\">", "http://f.one.com/go"),
    ("<area href=http://a.one.com>", "http://a.one.com"),
    ("<iframe src=http://e.one.com></iframe>", "http://e.one.com"),
    ("<link href=http://l.one.com>", "http://l.one.com"),
    ("<body background=http://p.one.com>", "http://p.one.com"),
    ("<!-- http://c.one.com -->", ""),
    ("<script>var a='http://s.one.com'</script>", ""),
    ("<a href=\"ht\ntp://w.one.\ncom/x\">x</a>", "http://w.one.com/x"),
    ("<a href=\" http://w.one.com/x \">x</a>", "http://w.one.com/x"),
    ("<a href=\"http://w.one.com/&#97;&amp;b\">x</a>", "http://w.one.com/a&b"),
    (
        "<a data-saferedirecturl=\"http://w.one.com/x\" href=\"http://two.com/\">x</a>",
        "http://two.com/ http://w.one.com/x",
    ),
    ("o<b></b>ne.com t<i>wo.co</i>m", "http://one.com http://two.com"),
];

/// Configuration, text, hosts and their domains.
const HOSTS: &[(&str, &str, &str)] = &[
    ("", "http://www.one.com:8080/x", "www.one.com=one.com"),
    ("", "http://a.b.one.co.uk", "a.b.one.co.uk=one.co.uk"),
    ("", "WWW.ONE.COM", "www.one.com=one.com"),
    ("", "http://user:pass@www.one.com/", "www.one.com=one.com"),
    ("", "http://192.0.2.1/", "192.0.2.1=192.0.2.1"),
    ("", "someone@mail.one.com", "mail.one.com=one.com"),
    (
        "util_rb_2tld two.com",
        "http://www.two.com http://a.b.two.com",
        "a.b.two.com=b.two.com www.two.com=www.two.com",
    ),
    ("util_rb_3tld x.two.com", "http://a.b.x.two.com", "a.b.x.two.com=b.x.two.com"),
    ("", "http://xn--kslompolo-u2ab.com/", "xn--kslompolo-u2ab.com=xn--kslompolo-u2ab.com"),
    ("", "http://\u{e4}k\u{e4}slompolo.com/", "xn--kslompolo-u2ab.com=xn--kslompolo-u2ab.com"),
];

/// What leads through a redirector, and what is found.
const REDIRECTED: &[(&str, &str)] = &[
    ("http://r.example.com/go/one.org", "http://one.org http://r.example.com/go/one.org one.org"),
    (
        "http://r.example.com/x?a=1&amp;u=http:/one.org&amp;b=2",
        "http://one.org http://r.example.com/x?a=1&u=http:/one.org&b=2 http:/one.org",
    ),
    ("http://other.example.com/go/one.org", "http://other.example.com/go/one.org"),
];
