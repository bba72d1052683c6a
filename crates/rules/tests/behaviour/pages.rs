//! Pages: what is seen, what is hidden, what is told of them.

use super::{Case, case, rules};

pub fn cases() -> Vec<Case> {
    let page = |text: &str| format!("Content-Type: text/html; charset=utf-8\n\n{text}\n");
    let mut cases = vec![rules("", &page(OBFUSCATED), WORDS)];
    cases.extend(VISIBLE.iter().map(|(style, seen)| {
        let (ask, want) = if *seen { ("visible", "\n| X ") } else { ("invisible", "X") };
        case("", &page(&format!("<div {style}>X</div>")), ask, want)
    }));
    cases.extend(INVALID.iter().map(|(style, value)| {
        case("", &page(&format!("<div {style}>X</div>")), "html font_invalid_color", value)
    }));
    cases
        .extend(BROKEN_WORDS.iter().map(|(html, count)| case("", &page(html), "html backhair_count", count)));
    cases.extend(TEXTS.iter().map(|(html, want)| case("", &page(html), "body", &format!("\n|{want}"))));
    cases.extend(SIZES.iter().flat_map(|(size, body, raw, rendered)| {
        let conf = format!("body_part_scan_size {size}\nrawbody_part_scan_size {size}");
        let mail = format!("Subject: S\nContent-Type: text/plain; charset=UTF-8\n\n{body}");
        [case(&conf, &mail, "rawbody", raw), case(&conf, &mail, "body", &format!("S\n|{rendered}"))]
    }));
    cases
}

const OBFUSCATED: &str = "<html><body><p>Mill<!-- x -->ion e-mail addr<b></b>esses, <B>totally</B> natural; G<span>UA</span>RAN<i></i>TEE\
    <p>our&nbsp;affiliate part&#110;ers. V<!>i<x>a</x>gra &#x56;&#105;agra<style>O{}PPORTUNITY</style><script>SCRIPTED</script>\
    <p>foo<h2>bar</h2><h3>baz</h3><table><tr><td>one<td>two</table>three<br>four<title>Called</title></body></html>";

const WORDS: &[(&str, bool)] = &[
    ("body R /Million e-mail addresses/", true),
    ("body R /totally natural/", true),
    ("body R /GUARANTEE/", true),
    ("body R /our affiliate partners/", true),
    ("body R /OPPORTUNITY/", false),
    ("body R /SCRIPTED/", false),
    ("body R /foobar/", false),
    ("body R /barbaz/", false),
    ("body R /onetwo/", false),
    ("body R /threefour/", false),
    ("body R /Viagra Viagra/", true),
    ("rawbody R /Mill<!-- x -->ion/", true),
    ("rawbody R /OPPORTUNITY/", false),
];

/// Whether X is seen.
const VISIBLE: &[(&str, bool)] = &[
    ("style=\"background-color: transparent\"", true),
    ("style=\"color: transparent\"", false),
    ("style=\"color: transparent;background-color: red\"", false),
    ("style=\"background-color: red;color: transparent\"", false),
    ("style=\"background: 60px 60px, 0 0, 30px 30px, red;color: transparent\"", false),
    ("style=\"background: url('../x.png'), red;color: transparent\"", false),
    (
        "style='background: url(\"../x.png\"), linear-gradient(rgba(0, 0, 255, 0.5), rgba(255, 255, 0, 0.5)), red;color: transparent'",
        false,
    ),
    ("style=\"color: red !important\"", true),
    ("style=\"color: white\"", false),
    ("style=\"color: #fffffe\"", false),
    ("style=\"color: rgb(100%,100%,100%)\"", true),
    ("style=\"color: rgb(255,255,255)\"", false),
    ("style=\"color: #789\"", true),
    ("style=\"font-size: 0\"", true),
    ("style=\"font-size: 1px\"", true),
    ("style=\"display: none\"", false),
    ("style=\"visibility: hidden\"", false),
    ("style=\"color: black; background: black\"", false),
    ("", true),
];

const INVALID: &[(&str, &str)] = &[
    ("style=\"color: red\"", "(none)"),
    ("style=\"color: #abcdef\"", "(none)"),
    ("style=\"color: reddish\"", "1"),
    ("style=\"color: 123456\"", "1"),
    ("style=\"color: #peachpuff\"", "1"),
    ("style=\"color: transparent\"", "(none)"),
    ("style=\"color: \"", "1"),
    ("style=\"color:\n\t\n\"", "1"),
    ("style=\"color:\n\n\"", "(none)"),
    ("style=\"color:\"", "(none)"),
    ("style=\"color: ; color: red\"", "(none)"),
    ("style=\"background-color: ;color: red\"", "1"),
    ("style=\"color : \"", "(none)"),
    ("style=\"background: \"", "(none)"),
];

/// Words with tags in them: in how many ways.
const BROKEN_WORDS: &[(&str, &str)] = &[
    ("<p>ab<b>cd</b>", "1"),
    ("<p>ab<b>.cd</b>", "(none)"),
    ("<p>\u{e4}b<b>\u{200c}\u{200c} c</b>", "1"),
    ("<p>\u{e4}b<b>\u{300} c</b>", "1"),
    ("<p>\u{e4}b<b>\u{200b} c</b>", "(none)"),
    ("<p>\u{e4}b<b>\u{b2} c</b>", "(none)"),
    ("<p>\u{e4}b<b>\u{b2}c</b> <i>d</i>e", "2"),
];

/// What is rendered.
const TEXTS: &[(&str, &str)] = &[
    (
        "<html><body>&ldquo;Your&rdquo; &amp; &lt;mine&gt; &copy; &unknown; &#8364;</body></html>",
        "\u{201c}Your\u{201d} & <mine> \u{a9} &unknown; \u{20ac} ",
    ),
    ("<html><body>a<br>b<p>c<hr>d<li>e</body></html>", "a b\n|c\n|d e "),
    ("<html><body><a href=x>link</a> <img alt=\"said\" src=x>.</body></html>", "link . "),
    ("<html><body><pre>a\n  b</pre></body></html>", "\n|a b\n"),
];

/// The size that counts, a body, the decoded and the rendered text.
const SIZES: &[(&str, &str, &str, &str)] = &[
    ("0", "FIRST LAST", "FIRST LAST", "FIRST LAST"),
    ("9", "FIRST LAST", "FIRST LAS", "FIRST LAS"),
    ("10", "FIRST XYZ\nLAST", "FIRST XYZ\n", "FIRST XYZ "),
    ("11", "FIRST LAST", "FIRST LAST", "FIRST LAST"),
    (
        "0",
        "<html><body><p>FIRST X<p>LAST</body></html>",
        "<html><body><p>FIRST X<p>LAST</body></html>",
        "<html><body><p>FIRST X<p>LAST</body></html>",
    ),
    ("11", "FIRST XYZ BA R\nLAST", "FIRST XYZ BA R\n", "FIRST XYZ BA R "),
];
