//! Pages made by hand, and pages made by chance that real parsers read.

use super::*;
use Defang::*;
use markup5ever_rcdom::{Handle, NodeData, RcDom};
use proptest::prelude::*;

const ALL: &[Defang] = &[Scripts, Forms, Frames, Objects, RemoteContent, TrackingPixels, Links];

/// The page alone.
fn defang_html(
    html: &[u8],
    charset: Option<&str>,
    what: &[Defang],
    limits: &Limits,
) -> Result<Option<Vec<u8>>, Unreadable> {
    let made = super::defang_html(html, charset, what, limits)?;
    if let Some(made) = &made {
        assert!(!made.taken.is_empty() && made.taken.iter().all(|one| what.contains(one)), "{made:?}");
    }
    Ok(made.map(|made| made.page))
}

/// The page afterwards, `-` if it stays.
fn told(page: &str, what: &[Defang]) -> String {
    match defang_html(page.as_bytes(), None, what, &Limits::default()) {
        Ok(Some(made)) => String::from_utf8(made).expect("UTF-8"),
        Ok(None) => "-".to_owned(),
        Err(error) => format!("! {error}"),
    }
}

fn check(what: &[Defang], table: &[(&str, &str)]) {
    for (page, expected) in table {
        assert_eq!(told(page, what), *expected, "{page}");
    }
}

#[test]
fn scripts_go() {
    check(
        &[Scripts],
        &[
            ("<p>a<b>b</b><!-- c --><a href='http://d'>e</a>", "-"),
            ("a<script>b</script>c", "ac"),
            ("a<SCRIPT src=b></SCRIPT >c", "ac"),
            ("a<script>b<p>c", "ab<p>c"),
            ("<svg><script/>a</svg>", "<svg>a</svg>"),
            ("<scr<script>x</script>ipt>a</script>", "<scr ipt>a"),
            ("<scr\0ipt>a</scr\0ipt>b", "ab"),
            ("<\0script>a</script>b", "b"),
            ("<script\nx>a</script\t>b", "b"),
            ("<x:script>a</x:script>b", "b"),
            ("<!--[if mso]><script>a</script><p onclick=b><![endif]-->c", "<!--[if mso]><p><![endif]-->c"),
            ("<style><script>a</script></style>", "<style></style>"),
            ("<title><p onclick=a></title>", "<title><p></title>"),
            ("<img src=a OnError = 'b' alt=\"c\">", "<img src=a alt=\"c\">"),
            ("<img/src=a/onerror=b>", "-"),
            ("<img/src='a'/onerror=b>", "<img/src='a'/>"),
            ("<img src='a'onerror=b>", "<img src='a'>"),
            ("<p title='<b onclick=a>'>b", "<p title='<b>'>b"),
            ("<p title='a onclick=b>c", "<p title='a>c"),
            ("<a href=javascript:a>b</a>", "<a>b</a>"),
            ("<a href=' jav&#x09;a&#115;cript&colon;a'>b</a>", "<a>b</a>"),
            ("<a href='data:text/html;base64,AA'>b</a>", "<a>b</a>"),
            ("<img src='data:image/svg+xml,a'>", "-"),
            ("<embed src='data:image/svg+xml,a'>", "-"),
            ("<object data='data:image/svg+xml,a'>", "<object>"),
            ("<meta http-equiv='&#82;efresh' content='0;url=http://a'>b", "b"),
            ("<meta http-equiv=Content-Type content='text/html'>", "-"),
            ("<iframe srcdoc='&lt;script>'></iframe>", "<iframe></iframe>"),
            ("<p style='width: expression(a)'>", "<p style=\"width: x(a)\">"),
            ("<style>a { behavior: url(b.htc) }</style>", "<style>a { x: url(b.htc) }</style>"),
            ("<style>v\\:* {behavior:url(#default#VML);}</style>", "-"),
            ("<svg><style>a{-moz&#45;binding:b}</style></svg>", "<svg><style> </style></svg>"),
            ("<set attributeName=onclick to=a><animate attributeName=href values=b>", ""),
            ("<link rel=import href=a>", ""),
            ("<!DOCTYPE a [<!ENTITY b '&#60;script>'>]>&b;", "<!DOCTYPE a [ENTITY b '&#60;script>'>]>&b;"),
            ("<?xml-stylesheet href='a'?><a/>", "<a/>"),
            ("<p title='javascript: the good parts'>", "-"),
            ("<p once=a>", "<p>"),
        ],
    );
}

#[test]
fn forms_frames_and_objects_go() {
    check(
        &[Forms],
        &[
            ("<form action=http://a><p>Name: <input name=b><button>Go</button></form>c", "<p>Name:   Go c"),
            ("<select><option>a<option>b</select><textarea>c</textarea>", " a bc"),
            ("<p>a <b formaction=x>b</b>", "<p>a <b>b</b>"),
            ("<fieldset><legend>a</legend></fieldset>", "-"),
            ("<!-- <form> -->", "<!--  -->"),
        ],
    );
    check(
        &[Frames],
        &[
            ("a<iframe src=http://b>c</iframe>d", "acd"),
            ("<frameset><frame src=a><noframes>b</noframes></frameset>", "b"),
            ("<form>", "-"),
        ],
    );
    check(
        &[Objects],
        &[
            ("<object data=a><param name=b><embed src=c>d</object>", "d"),
            ("<video src=a><source src=b><track>c</video>", "c"),
            ("<picture><source srcset=a><img src=b></picture>", "-"),
            ("<applet code=a>b</applet><bgsound src=c>", "b"),
        ],
    );
}

#[test]
fn what_is_remote_goes() {
    check(
        &[RemoteContent],
        &[
            (
                "<style>@media (max-width:600px) { a[b='c:d'] { e: 'Arial';f:g } } :not(a:hover) {}</style>",
                "-",
            ),
            ("<img src=cid:a><img src='data:image/png,b'><img src=c.png><a href=http://d>", "-"),
            ("<img alt=a src=\"http://b/c.png\" width=3>", "<img alt=a width=3>"),
            ("<img src=//b><td background='\\\\b\\c'>", "<img><td>"),
            ("<img srcset='cid:a 1x, https://b 2x' src=cid:c>", "<img src=cid:c>"),
            (
                "<link rel=stylesheet href=http://a><link rel=stylesheet href=a.css>",
                "<link rel=stylesheet href=a.css>",
            ),
            ("<base href=http://a/><img src=b><img src=cid:b>", "<base href=http://a/><img><img src=cid:b>"),
            ("<p style=\"background: url('http://a')\">", "<p style=\"background: url('')\">"),
            (
                "<p style='background: url(&quot;http://a&quot;)'>",
                "<p style=\"background: url(&quot;&quot;)\">",
            ),
            ("<style>@import 'http://a'; b { c: d }</style>", "<style>@import ''; b { c: d }</style>"),
            ("<style>a{b:url(http://c", "<style>a{b:url("),
            (
                "<svg><image xlink:href=http://a /><use href='http://b#c'/><a href=http://d />",
                "<svg><image /><use/><a href=http://d />",
            ),
            ("<rect fill='url(http://a#b)'/>", "<rect fill=\"url()\"/>"),
            (
                "<!--[if gte mso 9]><v:fill src='http://a'/><![endif]-->",
                "<!--[if gte mso 9]><v:fill/><![endif]-->",
            ),
            ("<video poster=http://a><a ping=http://b>", "<video><a>"),
            ("<meta http-equiv=refresh content=1>", ""),
            ("<param name=movie value=http://a>", "<param name=movie>"),
            ("<p title='url(http://a)' data-b='(http://c)'>", "-"),
        ],
    );
    check(
        &[TrackingPixels],
        &[
            ("<img src=http://a width=1 height=1>b", "b"),
            ("<img src=http://a style='display: none'>b", "b"),
            ("<img src=http://a style='width:1px;height:1px'><img src=http://a height=0>", ""),
            ("<img src=http://a width=600 height=1><img src=cid:a width=1 height=1><img src=http://a>", "-"),
            ("<img src=http://a width=100%><img src=http://a style='max-width:600px'>", "-"),
        ],
    );
}

#[test]
fn links_are_shown() {
    check(
        &[Links],
        &[
            (
                "<a href='http://a.example/?b&amp;c' class=d>e</a>f",
                "<a class=d>e</a> [hxxp://a[.]example/?b&#38;c]f",
            ),
            ("<a href=http://a>b<a href=c>d", "<a>b [hxxp://a]<a> [c]d"),
            ("<a href='#a'>b</a><a name=c>d</a><link href=http://e><base href=http://f>", "-"),
            ("<a href=javascript:a>b</a>", "<a>b</a>"),
            ("<area href='http://a'>", "<area> [hxxp://a]"),
            ("<a href='&lt;script>'>b</a>", "<a>b</a> [&#60;script&#62;]"),
        ],
    );
}

#[test]
fn what_was_there_is_told() {
    let table: &[(&str, &[Defang])] = &[
        ("<script>a</script><p onclick=b>", &[Scripts]),
        // As a link it would go too, but as a script it is gone.
        ("<a href=javascript:c>", &[Scripts]),
        ("<form><input formaction=a></form>", &[Forms]),
        ("<p formaction=a>", &[Forms]),
        ("<iframe src='http://a'></iframe>", &[Frames]),
        ("<object data='http://a'></object><source src=a>", &[Objects]),
        ("<img src='http://a' width=1 height=1>", &[TrackingPixels]),
        ("<img src='http://a'><style>a { background: url(http://b) }</style>", &[RemoteContent]),
        ("<p style='background: url(http://b); width: expression(1)'>", &[Scripts, RemoteContent]),
        ("<style>a { width: expression(1) }</style><a href='http://a'>", &[Scripts, Links]),
        ("<link rel=stylesheet href='http://a'>", &[RemoteContent]),
        ("<link rel=import href='http://a'>", &[Scripts, RemoteContent]),
        ("<meta http-equiv=refresh content=1>", &[Scripts, RemoteContent]),
        ("<?xml-stylesheet href='http://a'?>", &[Scripts, RemoteContent]),
        // Whatever is asked for goes by these.
        ("<!ENTITY a>", ALL),
        ("<p srcdoc='a'>", ALL),
        // One thing comes to light when another is gone.
        ("<scr<form>ipt>", &[Forms]),
        ("<if<script></script>rame>", &[Scripts]),
    ];
    for (page, expected) in table {
        let made = super::defang_html(page.as_bytes(), None, ALL, &Limits::default());
        let taken = made.expect("read").expect("changed").taken;
        assert_eq!(taken, *expected, "{page}");
        // Each is there by itself too.
        for kind in taken {
            assert_ne!(told(page, &[kind]), "-", "{page} {kind:?}");
        }
    }
}

#[test]
fn charsets() {
    let limits = Limits::default();
    let page = "<p>\u{e4}\u{20ac}<script>a</script>b";
    for (encoding, name) in [(UTF_16LE, "utf-16le"), (UTF_16BE, "utf-16")] {
        let wide = written(page.as_bytes(), encoding);
        let made = defang_html(&wide, Some(name), &[Scripts], &limits).expect("read").expect("changed");
        assert_eq!(made, written("<p>\u{e4}\u{20ac}b".as_bytes(), encoding));
        assert_eq!(defang_html(&wide[2..], Some(name), &[Scripts], &limits), Ok(Some(made)));
        assert_eq!(defang_html(&wide, None, &[Forms], &limits), Ok(None));
    }
    let japanese = ISO_2022_JP.encode("<p>\u{65e5}\u{672c}<script>a</script>\u{8a9e}").0;
    let made =
        defang_html(&japanese, Some("ISO-2022-JP"), &[Scripts], &limits).expect("read").expect("changed");
    assert_eq!(made, *ISO_2022_JP.encode("<p>\u{65e5}\u{672c}\u{8a9e}").0);
    for (page, charset) in [
        (&b"+ADw-script+AD4-"[..], "utf-7"),
        (b"<meta charset=utf-7>+ADw-", ""),
        (b"\x4c\xa2", "cp037"),
        (b"\x1b$)C\x0e", "iso-2022-kr"),
        (b"<\0\0\0", "utf-32le"),
    ] {
        let made =
            defang_html(page, Some(charset).filter(|charset| !charset.is_empty()), &[Scripts], &limits);
        assert!(matches!(made, Err(Unreadable::Unsupported(_))), "{charset}");
    }
    assert_eq!(defang_html(b"1 + 1 <p>", Some("utf-7"), &[Scripts], &limits), Ok(None));
    let latin = defang_html(b"\xe4<script></script>\xff", Some("iso-8859-1"), &[Scripts], &limits);
    assert_eq!(latin, Ok(Some(b"\xe4\xff".to_vec())));
}

#[test]
fn limits_hold() {
    let small = Limits { memory: 1000, ..Limits::default() };
    let page = "<p>".repeat(100);
    assert_eq!(
        defang_html(page.as_bytes(), None, ALL, &small),
        Err(Unreadable::Over(gatepost_mail::Limit::Memory))
    );
    let small = Limits { bytes: 10, ..Limits::default() };
    assert_eq!(
        defang_html(b"<form>12345678901", None, ALL, &small),
        Err(Unreadable::Over(gatepost_mail::Limit::Bytes))
    );
    // Each of these is read up to the end of the page, or nearly.
    for piece in ["<a \"", "<style>", "<script>", "<base \"", "<a href=", "<a href=\"", "<?import", "<scr"] {
        let page = piece.repeat(20_000);
        let made = defang_html(page.as_bytes(), None, ALL, &Limits::default());
        if let Ok(Some(made)) = made {
            assert!(made.len() < 2 * page.len() + 1000, "{piece}");
        }
    }
    let nested = "<scr".repeat(50) + &"<script></script>ipt>".repeat(50);
    assert!(!told(&nested, ALL).contains("<script"));
}

/// Everything that some parser finds in a page and that should be gone.
fn left(page: &str, what: &[Defang]) -> Vec<String> {
    let mut found = Vec::new();
    let mut pages = vec![(page.to_owned(), 0)];
    while let Some((page, depth)) = pages.pop() {
        for scripting in [true, false] {
            let options = html5ever::ParseOpts {
                tree_builder: html5ever::tree_builder::TreeBuilderOpts {
                    scripting_enabled: scripting,
                    ..Default::default()
                },
                ..Default::default()
            };
            use html5ever::tendril::TendrilSink;
            let dom = html5ever::parse_document(RcDom::default(), options).one(page.as_str());
            let inner = nodes(&dom, what, &mut found);
            // Outlook reads comments; what is text for one parser is not for another.
            if depth < 2 {
                pages.extend(
                    inner.into_iter().filter(|text| text.contains('<')).map(|text| (text, depth + 1)),
                );
            }
        }
    }
    for switching in [true, false] {
        let mut emitter = html5gum::emitters::default::DefaultEmitter::default();
        emitter.naively_switch_states(switching);
        for Ok(token) in html5gum::Tokenizer::new_with_emitter(page, emitter) {
            if let html5gum::Token::StartTag(tag) = token {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let attributes =
                    tag.attributes.iter().map(|(name, value)| (text(name), text(value))).collect();
                judge(&text(&tag.name), attributes, what, &mut found);
            }
        }
    }
    found
}

/// Judges all elements, and gives what stands in comments and as text.
fn nodes(dom: &RcDom, what: &[Defang], found: &mut Vec<String>) -> Vec<String> {
    let mut inner = Vec::new();
    let mut left: Vec<Handle> = vec![dom.document.clone()];
    while let Some(node) = left.pop() {
        match &node.data {
            NodeData::Element { name, attrs, template_contents, .. } => {
                let attributes = attrs
                    .borrow()
                    .iter()
                    .map(|one| (one.name.local.to_string(), one.value.to_string()))
                    .collect();
                judge(&name.local, attributes, what, found);
                left.extend(template_contents.borrow().clone());
            }
            NodeData::Comment { contents } => inner.push(contents.to_string()),
            NodeData::Text { contents } => {
                let raw = node.parent.take().and_then(|parent| {
                    let up = parent.upgrade();
                    node.parent.set(Some(parent));
                    up
                });
                if let Some(NodeData::Element { name, .. }) = raw.as_ref().map(|raw| &raw.data)
                    && matches!(&*name.local, "style" | "noscript" | "xmp" | "plaintext" | "title")
                {
                    inner.push(contents.borrow().to_string());
                }
            }
            _ => {}
        }
        left.extend(node.children.borrow().iter().cloned());
    }
    inner
}

fn judge(element: &str, attributes: Vec<(String, String)>, what: &[Defang], found: &mut Vec<String>) {
    const GONE: &[(Defang, &[&str])] = &[
        (Scripts, &["script"]),
        (Forms, &["form", "input", "button", "select", "option", "textarea"]),
        (Frames, &["iframe", "frame", "frameset"]),
        (Objects, &["object", "embed", "applet", "audio", "video"]),
    ];
    let element = element.to_ascii_lowercase();
    if GONE.iter().any(|(kind, names)| what.contains(kind) && names.contains(&&*element)) {
        found.push(element.clone());
    }
    for (name, value) in attributes {
        let plain: String = value.chars().filter(|c| *c > ' ').collect::<String>().to_ascii_lowercase();
        let remote = plain.starts_with("http:") || plain.starts_with("//");
        let script = name.starts_with("on") && name.len() > 2
            || name == "srcdoc"
            || plain.starts_with("javascript:") && !matches!(&*name, "alt" | "title" | "content")
            || name == "style" && plain.contains("expression(")
            || element == "meta" && name == "http-equiv" && plain == "refresh";
        let fetched = remote && matches!(&*name, "src" | "background" | "poster" | "srcset" | "data")
            || remote && name == "href" && matches!(&*element, "link" | "image" | "use")
            || name == "style" && plain.contains("url(http");
        let link = remote && name == "href" && matches!(&*element, "a" | "area");
        let bad = [(script, Scripts), (fetched, RemoteContent), (link, Links)];
        if bad.iter().any(|(bad, kind)| *bad && what.contains(kind)) {
            found.push(format!("{element} {name}={value}"));
        }
    }
}

/// Pieces of pages, to be put together in any order.
fn hostile_page() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "<script>",
        "</script>",
        "<scr",
        "ipt>",
        "script",
        "<svg>",
        "</svg>",
        "<math>",
        "<style>",
        "</style>",
        "<noscript>",
        "</noscript>",
        "<template>",
        "</template>",
        "<xmp>",
        "</xmp>",
        "<plaintext>",
        "<title>",
        "</title>",
        "<textarea>",
        "</textarea>",
        "<iframe",
        "</iframe>",
        "<!--",
        "-->",
        "--!>",
        "<!-->",
        "<![CDATA[",
        "]]>",
        "<!",
        "<?",
        "<",
        ">",
        "/",
        "\"",
        "'",
        "=",
        "`",
        " ",
        "\n",
        "\0",
        "\u{c}",
        "&",
        ";",
        "<a ",
        "<img ",
        "<p ",
        "<select>",
        "<table>",
        "<td ",
        "<form>",
        "<input ",
        "<button>",
        "<b>",
        "<object ",
        "<embed ",
        "<link ",
        "<meta ",
        "<base ",
        "<use ",
        "<image ",
        "onclick",
        "onerror=x",
        "onload=\"y\"",
        "src",
        "href",
        "src=http://a.test/",
        "href='http://a.test/'",
        "href=javascript:x",
        "=java&#115;cript:x",
        "srcdoc=",
        "style=",
        "url(http://a.test)",
        "expression(x)",
        "background=",
        "http-equiv=refresh",
        "<video poster=",
        "http://a.test",
        "//a.test",
        "javascript:",
        "text",
        "x",
        "<desc>",
        "<foreignObject>",
        "<mtext>",
        "<mglyph>",
        "<frameset>",
        "<br>",
        "</p>",
        "<\0img ",
        "<svg><style>",
        "<math><mtext><table><mglyph><style><!--</style>",
    ];
    proptest::collection::vec(proptest::sample::select(PIECES), 0..40).prop_map(|pieces| pieces.concat())
}

/// All kinds, or one of them.
fn some_of_all() -> impl Strategy<Value = Vec<Defang>> {
    prop_oneof![Just(ALL.to_vec()), proptest::sample::select(ALL).prop_map(|kind| vec![kind])]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn nothing_is_left_for_any_parser(page in hostile_page(), what in some_of_all()) {
        let made = defang_html(page.as_bytes(), None, &what, &Limits::default());
        match made {
            Ok(Some(made)) => {
                let text = String::from_utf8_lossy(&made).into_owned();
                prop_assert_eq!(left(&text, &what), Vec::<String>::new(), "{:?} from {:?}", text, page);
                prop_assert_eq!(defang_html(&made, None, &what, &Limits::default()), Ok(None), "{:?}", text);
            }
            Ok(None) => prop_assert_eq!(left(&page, &what), Vec::<String>::new(), "{:?}", page),
            Err(_) => {}
        }
    }

    #[test]
    fn any_bytes(page: Vec<u8>, charset in "(utf-16|iso-2022-jp|utf-7|x)?") {
        let made = defang_html(&page, Some(&charset), ALL, &Limits::default());
        if let Ok(Some(made)) = made {
            prop_assert_eq!(defang_html(&made, Some(&charset), ALL, &Limits::default()), Ok(None));
        }
    }
}

/// Found by the fuzzer: bytes that are no UTF-16 among some that are.
#[test]
fn what_reads_otherwise_once_it_is_written_is_told() {
    let page = include_bytes!("../../../../fuzz/corpus/defang/several-charsets");
    let [first, _, page @ ..] = page.as_slice() else { panic!("a page") };
    let kinds = [Scripts, Forms, Frames, Objects, RemoteContent, TrackingPixels, Links];
    let what: Vec<Defang> = (0..7).filter(|bit| first >> bit & 1 == 1).map(|bit| kinds[bit]).collect();
    let limits = Limits { memory: 16 << 20, ..Limits::default() };
    let made = defang_html(page, Some("utf-16le"), &what, &limits);
    assert_eq!(made, Err(Unreadable::Malformed("it reads otherwise once it is written")));
}
