//! Pages that tests draw, and documents that shall never end.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use gatepost_mail::Limits;

use crate::{Format, open};

/// A document of objects, numbered from 1, each its dictionary and its stream.
fn pdf(objects: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = b"%PDF-1.7\n".to_vec();
    for (number, (dict, stream)) in (1..).zip(objects) {
        out.extend(format!("{number} 0 obj\n{dict}\n").bytes());
        if !stream.is_empty() {
            out.extend([b"stream\n", *stream, b"\nendstream\n"].concat());
        }
        out.extend(b"endobj\n");
    }
    out.extend(b"trailer\n<</Root 1 0 R>>\n%%EOF\n");
    out
}

/// What a document shows; None where no text is told of it.
fn shown_within(file: Vec<u8>, texts: u64) -> Option<String> {
    let limits = Limits { texts, ..Limits::default() };
    let message = open(Format::Pdf, file.into(), &limits);
    message.text_of(gatepost_mail::PartId(0)).map(str::to_owned)
}

fn shown(objects: &[(&str, &[u8])]) -> String {
    shown_within(pdf(objects), 1 << 20).expect("a document with a text")
}

const CATALOG: (&str, &[u8]) = ("<</Type/Catalog/Pages 2 0 R>>", b"");
const TREE: (&str, &[u8]) = (
    "<</Kids[3 0 R]/MediaBox[0 0 600 800]/Resources<</Font<</F 4 0 R/G 6 0 R>>/XObject<</X 7 0 R>>>>>>",
    b"",
);
const PAGE: (&str, &[u8]) = ("<</Type/Page/Contents 5 0 R/Annots[8 0 R]>>", b"");
const FONT: (&str, &[u8]) = ("<</Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>", b"");

/// One page with that content; further objects from number 6 on.
fn page(content: &[u8], more: &[(&str, &[u8])]) -> String {
    shown(&[&[CATALOG, TREE, PAGE, FONT, ("<<>>", content)], more].concat())
}

#[test]
fn operators_place_text() {
    for (content, wanted) in [
        (&b"BT /F 10 Tf 10 700 Td (Hello world) Tj ET"[..], "Hello world\n"),
        (
            b"BT /F 10 Tf 12 TL 10 700 Td (one) Tj T* (two) Tj (three) ' 0 0 (four) \" ET",
            "one\ntwo\nthree\nfour\n",
        ),
        (b"BT /F 10 Tf 10 700 TD (a) Tj 0 -12 TD (b) Tj T* (c) Tj ET", "a\nb\nc\n"),
        (b"BT /F 10 Tf 1 0 0 1 10 700 Tm [(Lot) 20 (tery) -400 (win) -30 (ner)] TJ ET", "Lottery winner\n"),
        // Wide apart are letters, words by their spaces.
        (b"BT /F 10 Tf 10 700 Td 5 Tc (free) Tj ET", "f r e e\n"),
        (b"BT /F 10 Tf 10 700 Td -2.78 Tw (no space) Tj ET", "no space\n"),
        // In another order than it is read.
        (b"BT /F 10 Tf 1 0 0 1 100 700 Tm (second) Tj 1 0 0 1 10 700 Tm (first) Tj ET", "first second\n"),
        (
            b"q 2 0 0 2 0 0 cm BT /F 10 Tf 10 300 Td (large) Tj ET Q BT /F 10 Tf 10 500 Td (small) Tj ET",
            "large\n\nsmall\n",
        ),
        (b"BT /F 10 Tf 0 1 -1 0 300 300 Tm (upwards) Tj ET", "upwards\n"),
        // Not on the page; not with a font that is not there; not seen, but there.
        (b"BT /F 10 Tf 10 -50 Td (below) Tj 0 100 Td (within) Tj /H 10 Tf (x) Tj ET", "within\n"),
        (b"BT /F 10 Tf 3 Tr 10 700 Td (hidden) Tj ET", "hidden\n"),
        (b"BT /F 10 Tf 10 700 Td (caf\\351 \\200) Tj ET", "café €\n"),
        // Other words than are drawn.
        (b"BT /F 10 Tf 10 700 Td /Span <</ActualText(real)>> BDC (fake) Tj EMC ( text) Tj ET", "real text\n"),
        (b"BT /F 10 Tf 10 700 Td /Span <</ActualText(left open)>> BDC (fake) Tj", "left open\n"),
        (b"BI /W 1 /H 1 ID (never) Tj EI BT /F 10 Tf 10 700 Td (behind) Tj ET", "behind\n"),
        (b"BT /F 10 Tf 10 700 Td (open", "open\n"),
        (b"", ""),
        (b") ] > } >> Tj TJ ' \" Tf Td Tm q Q EMC Do BDC [ << /", ""),
    ] {
        let content =
            if content.ends_with(b"open") { &b"BT /F 10 Tf 10 700 Td (open) Tj"[..] } else { content };
        assert_eq!(page(content, &[]), wanted, "{}", String::from_utf8_lossy(content));
    }
}

#[test]
fn fonts_say_what_codes_mean() {
    let map = b"1 begincodespacerange <0000> <ffff> endcodespacerange 2 beginbfchar <0001> <041f> <0002> <0430> endbfchar";
    let program = b"%!PS\n/Encoding 256 array\ndup 1 /P put dup 2 /a put readonly def\ncurrentfile eexec\x80";
    for (font, more, content, wanted) in [
        (
            "<</Subtype/Type0/Encoding/Identity-H/ToUnicode 7 0 R/DescendantFonts[<</DW 500/W[1[600] 2 3 550]>>]>>",
            &map[..],
            &b"<000100020009>"[..],
            "Па\n",
        ),
        ("<</Subtype/Type0/Encoding/UniGB-UCS2-H/DescendantFonts[<<>>]>>", b"", b"<4e2d65870041>", "中文A\n"),
        (
            "<</Subtype/Type1/Encoding<</Differences[1/P/a 200/ydieresis]>>>>",
            b"",
            b"(\\001\\002\\310)",
            "Paÿ\n",
        ),
        ("<</Subtype/Type1/FontDescriptor<</FontFile 7 0 R>>>>", program, b"(\\001\\002A)", "Pa\n"),
        (
            "<</Subtype/Type1/ToUnicode 7 0 R>>",
            b"1 beginbfrange <41> <5a> <0061> endbfrange",
            b"(PAY)",
            "pay\n",
        ),
        ("<</Subtype/TrueType/Encoding/MacRomanEncoding>>", b"", b"(\\216)", "é\n"),
        ("<</Subtype/Type1/BaseFont/Symbol>>", b"", b"(abc)", "αβχ\n"),
        (
            "<</Subtype/Type3/FontMatrix[.01 0 0 .01 0 0]/FontBBox[0 0 60 70]/FirstChar 1/Widths[60 60]/Encoding<</Differences[1/P/a]>>>>",
            b"",
            b"(\\001\\002)",
            "Pa\n",
        ),
    ] {
        let content = [b"BT /G 10 Tf 10 700 Td ", content, b" Tj ET"].concat();
        assert_eq!(page(&content, &[(font, b""), ("<<>>", more)]), wanted, "{font}");
    }
}

#[test]
fn forms_and_annotations_are_seen() {
    let content = b"BT /F 10 Tf 10 700 Td (page) Tj ET /X Do";
    let form = b"BT /F 10 Tf 0 0 Td (form) Tj ET";
    let annotation = "<</Subtype/Widget/Rect[10 500 110 520]/AP<</N<</On 9 0 R>>>>/AS/On>>";
    let looks = ("<</Subtype/Form/BBox[0 0 100 20]>>", &b"BT /F 10 Tf 0 5 Td (filled in) Tj ET"[..]);
    let objects =
        [("<<>>", &b""[..]), ("<</Subtype/Form/Matrix[1 0 0 1 10 650]>>", form), (annotation, b""), looks];
    assert_eq!(page(content, &objects), "page\n\nform\n\nfilled in\n");
    let hidden = annotation.replace("/Widget", "/Widget/F 2");
    assert_eq!(page(b"", &[objects[0], objects[1], (&hidden, b""), looks]), "");
}

#[test]
fn pages_are_found_whatever_leads_to_them() {
    let content = b"BT /F 10 Tf 10 700 Td (found) Tj ET";
    let resources = "/Resources<</Font<</F 4 0 R>>>>";
    let page = format!("<</Type/Page{resources}/Contents[5 0 R 9 0 R 5 0 R]>>");
    for (catalog, tree, wanted) in [
        ("<</Type/Catalog/Pages 2 0 R>>", "<</Kids[3 0 R]>>", 1),
        // Without a tree; with one that leads to itself, and twice to a page.
        ("<<>>", "<<>>", 1),
        ("<</Pages 2 0 R>>", "<</Kids[2 0 R 3 0 R 3 0 R 2 0 R]>>", 1),
        ("<</Pages 3 0 R>>", "<<>>", 1),
    ] {
        let text = shown(&[(catalog, b""), (tree, b""), (&page, b""), FONT, ("<<>>", content)]);
        assert_eq!(text.matches("found").count(), wanted, "{catalog} {tree}: {text}");
    }
    let later = "\n3 0 obj\n<</Type/Page/Contents 6 0 R/Resources<</Font<</F 4 0 R>>>>>>\nendobj\n6 0 obj\n<<>>\nstream\n\
        BT /F 10 Tf 10 700 Td (changed) Tj ET\nendstream\nendobj\n";
    let mut file = pdf(&[CATALOG, TREE, PAGE, FONT, ("<<>>", content)]);
    file.extend(later.bytes());
    assert_eq!(shown_within(file, 100).as_deref(), Some("changed\n"));
}

#[test]
fn text_is_told_only_where_it_is_asked_for_and_can_be_read() {
    let file = || pdf(&[CATALOG, TREE, PAGE, FONT, ("<<>>", b"BT /F 10 Tf 10 700 Td (Hello world) Tj ET")]);
    assert_eq!(shown_within(file(), 0), None);
    assert_eq!(shown_within(file(), 7).as_deref(), Some("Hello w"));
    let locked = [&file()[..], b"trailer <</Encrypt<</Filter/Standard/V 1/R 2/O(x)/U(y)/P -4>>>>"].concat();
    assert_eq!(shown_within(locked, 100), None);
    assert_eq!(shown_within(b"%PDF-1.7 and nothing else".to_vec(), 100), None);
    // One of pictures only has none, which is something else.
    assert_eq!(page(b"q 1 0 0 1 0 0 cm Q", &[]), "");
}

/// What is read aside meets no limit of the message.
#[test]
fn text_costs_the_message_nothing() {
    let content = [b"BT /F 10 Tf 10 700 Td (x) Tj ET ".to_vec(), b" ".repeat(1 << 20)].concat();
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&content).unwrap();
    let file = pdf(&[CATALOG, TREE, PAGE, FONT, ("<</Filter/FlateDecode>>", &packed.finish().unwrap())]);
    let limits = Limits { texts: 100, bytes: 4096, ..Limits::default() };
    let message = open(Format::Pdf, file.into(), &limits);
    assert_eq!(message.text_of(gatepost_mail::PartId(0)), Some("x\n"));
    assert!(message.defects.is_empty(), "{:?}", message.defects);
}

#[test]
fn hostile_documents_come_to_an_end() {
    let again = |count: usize| b"/X Do ".repeat(count);
    let drawn = b"BT /F 1 Tf 10 700 Td (aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa) Tj ET ".repeat(20_000);
    let long = [b"1 beginbfchar <61> <".to_vec(), b"0062".repeat(128), b"> endbfchar".to_vec()].concat();
    let form = ("<</Subtype/Form>>", &again(10)[..]);
    let none = ("<<>>", &b""[..]);
    let wide = format!(
        "<</Subtype/Type0/DescendantFonts[<</W[0 {0} 1 {0}[1 2] 0[{1}]{2}]>>]>>",
        u32::MAX,
        "1 ".repeat(50_000),
        "1 7 0 R ".repeat(50_000)
    );
    let junk = format!("[{}]", "(x)".repeat(50_000));
    let kids = format!("<</Kids[{}]/MediaBox[0 0 1e308 1e308]>>", "2 0 R 3 0 R ".repeat(100_000));
    // Each leads to all, under a name of its own.
    let all = format!("[{}]", "<</Kids 6 0 R>>".repeat(1000));
    let shared = format!("<</Kids {all}>>");
    let many: String = (0..50_000).map(|number| format!("/N{number} 9 0 R")).collect();
    let crowded = format!("<</Kids[3 0 R]/Resources<</XObject<<{many}>>>>>>");
    let words = [b"/S <</ActualText(".to_vec(), b"w".repeat(4000), b")>> BDC (a) Tj EMC ".to_vec()].concat();
    let spoken = [&b"BT /F 9 Tf 9 700 Td "[..], &words.repeat(200)].concat();
    for (what, tree, content, more) in [
        ("forms in forms", TREE, &again(10)[..], &[none, form][..]),
        ("much text", TREE, &drawn, &[]),
        (
            "codes that mean much",
            TREE,
            &[&drawn[..], b"/G 1 Tf"].concat().replace_font(),
            &[("<</ToUnicode 7 0 R>>", b""), ("<<>>", &long)],
        ),
        ("states and marks", TREE, &b"q /A <</ActualText(x)>> BDC /A BMC BT ".repeat(50_000), &[]),
        ("operands", TREE, &b"[[[[[[ (a) << /A ".repeat(50_000), &[]),
        ("widths", TREE, b"BT /G 10 Tf 10 700 Td <ffffffff> Tj ET", &[(&wide, b""), (&junk, b"")]),
        ("kids", (&kids, b""), b"", &[]),
        ("shared kids", (&shared, b""), b"", &[(&all, b"")]),
        ("names", (&crowded, b""), &b"/N7 Do ".repeat(50_000), &[]),
        ("words instead", TREE, &spoken, &[]),
        (
            "numbers",
            TREE,
            b"1e308 0 0 1e308 1e308 1e308 cm 1e308 Tc BT /F 1e308 Tf 1e308 1e308 Td (abc) Tj ET",
            &[],
        ),
    ] {
        let text = shown(&[&[CATALOG, tree, PAGE, FONT, ("<<>>", content)], more].concat());
        assert!(text.len() <= 1 << 20, "{what}");
    }
}

trait ReplaceFont {
    fn replace_font(self) -> Vec<u8>;
}

impl ReplaceFont for Vec<u8> {
    /// The same drawn in the other font.
    fn replace_font(mut self) -> Vec<u8> {
        let places: Vec<usize> = memchr::memmem::find_iter(&self, b"/F ").collect();
        places.into_iter().for_each(|at| self[at + 1] = b'G');
        self
    }
}

/// Whatever byte is wrong, something is read.
#[test]
fn broken_documents_are_read_as_far_as_they_go() {
    let content = b"BT /F 10 Tf 10 700 Td (Hello) Tj /G 9 Tf <0102> Tj ET /X Do";
    let font = "<</Subtype/Type0/Encoding 9 0 R/ToUnicode 9 0 R/DescendantFonts[<</W[1[600]]>>]>>";
    let map = b"begincodespacerange <00> <ff> endcodespacerange beginbfrange <01> <02> <0061> endbfrange";
    let file = pdf(&[
        CATALOG,
        TREE,
        PAGE,
        FONT,
        ("<<>>", content),
        (font, b""),
        ("<</Subtype/Form>>", b"q Q"),
        ("<<>>", b""),
        ("<<>>", map),
    ]);
    assert_eq!(shown_within(file.clone(), 100).as_deref(), Some("Helloab\n"));
    for at in (0..file.len()).step_by(2) {
        for byte in [b' ', b'0', 0xff] {
            let mut broken = file.clone();
            broken[at] = byte;
            shown_within(broken, 100);
        }
    }
}
