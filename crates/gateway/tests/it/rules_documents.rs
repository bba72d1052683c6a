//! The text of PDFs and of old Office files, for rules that read it by ExtractText: beside SpamAssassin itself, which has
//! pdftotext and kin print it.

use std::fs;
use std::path::Path;

use super::rules_plugins::{attached, spamassassin};
use crate::rig::*;

const PLUGINS: &str =
    "loadplugin Mail::SpamAssassin::Plugin::Check\nloadplugin Mail::SpamAssassin::Plugin::ExtractText\n";

const RULES: &str = r"util_rb_tld org com
add_header all Status score=_SCORE_ tests=_TESTS(,)_
extracttext_external pdftotext /usr/bin/pdftotext -nopgbrk -layout -enc UTF-8 {} -
extracttext_use pdftotext .pdf application/pdf
extracttext_external antiword /usr/bin/antiword -t -w 0 -m UTF-8.txt {}
extracttext_use antiword .doc application/(?:vnd\.?)?ms-?word.*
extracttext_external xls2csv /usr/bin/xls2csv -d utf-8 {}
extracttext_use xls2csv .xls
body LUCKY /you are the lucky lottery winner/
body ACROSS /winner of a large prize/
body CELLS /Amount due 1,000 EUR/
body ACCENTS /Gr\xc3\xb6\xc3\x9fe/
body CYRILLIC /\xd0\x94\xd0\xb0/
body HIDDEN /nobody sees this/
body FIELD /filled in/
body FORM /a form says/
body SUITE_DOC /a file with unicode in filename/
body SUITE_XLS /embedded/i
header TOOL X-ExtractText-Tools =~ /^pdftotext$/
header OLD X-ExtractText-Tools =~ /^(?:antiword|xls2csv)$/
header ENDING X-ExtractText-Extensions =~ /^pdf$/
header NO_TEXT X-ExtractText-Flags =~ /NoText/
header SOME_TEXT X-ExtractText-Words =~ /^[1-9]/
";

/// A PDF of one page with that content; `more` are objects from number 5 on.
fn pdf(resources: &str, content: &str, more: &[String]) -> Vec<u8> {
    let stream = |dict: &str, content: &str| {
        format!("<<{dict}/Length {}>>\nstream\n{content}\nendstream", content.len())
    };
    let page = format!(
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<<{resources}>>/Annots[{}]>>",
        if more.iter().any(|object| object.contains("/Widget")) { "5 0 R" } else { "" }
    );
    let first = [
        "<</Type/Catalog/Pages 2 0 R>>".to_owned(),
        "<</Type/Pages/Kids[3 0 R]/Count 1>>".to_owned(),
        page,
        stream("", content),
    ];
    let mut out = "%PDF-1.5\n".to_owned();
    let mut places = Vec::new();
    for (number, object) in (1..).zip(first.iter().chain(more)) {
        places.push(out.len());
        out += &format!("{number} 0 obj\n{object}\nendobj\n");
    }
    let table = out.len();
    out += &format!("xref\n0 {}\n0000000000 65535 f \n", places.len() + 1);
    places.iter().for_each(|at| out += &format!("{at:010} 00000 n \n"));
    out += &format!("trailer\n<</Root 1 0 R/Size {}>>\nstartxref\n{table}\n%%EOF\n", places.len() + 1);
    out.into_bytes()
}

const HELVETICA: &str = "/Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>>>";

/// Documents that say something, and some that do not.
fn documents() -> Vec<(&'static str, Vec<u8>)> {
    let plain = |content: &str| pdf(HELVETICA, &format!("BT /F 12 Tf 50 700 Td {content} ET"), &[]);
    let cyrillic = "/Font<</F 5 0 R>>";
    let composite = [
        "<</Type/Font/Subtype/Type0/BaseFont/A/Encoding/Identity-H/ToUnicode 7 0 R/DescendantFonts[6 0 R]>>".to_owned(),
        "<</Type/Font/Subtype/CIDFontType2/BaseFont/A/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>/DW 600>>"
            .to_owned(),
        {
            let map = "/CIDInit /ProcSet findresource begin 12 dict begin begincmap 1 begincodespacerange <0000> <ffff> \
                endcodespacerange 2 beginbfchar <0001> <0414> <0002> <0430> endbfchar endcmap end end";
            format!("<</Length {}>>\nstream\n{map}\nendstream", map.len())
        },
    ];
    let looks = "BT /F 10 Tf 2 5 Td (filled in) Tj ET";
    let widget = [
        "<</Type/Annot/Subtype/Widget/FT/Tx/T(t)/F 4/Rect[50 500 250 520]/AP<</N 6 0 R>>>>".to_owned(),
        format!(
            "<</Type/XObject/Subtype/Form/BBox[0 0 200 20]/Resources<<{HELVETICA}>>/Length {}>>\nstream\n{looks}\nendstream",
            looks.len()
        ),
    ];
    let drawn = "BT /F 10 Tf 50 600 Td (and a form says so) Tj ET";
    let form = [format!(
        "<</Type/XObject/Subtype/Form/BBox[0 0 600 800]/Resources<<{HELVETICA}>>/Length {}>>\nstream\n{drawn}\nendstream",
        drawn.len()
    )];
    vec![
        (
            "a.pdf",
            plain("(Dear friend, you are the lucky lottery winner) Tj 0 -14 Td (of a large prize.) Tj"),
        ),
        // Piece by piece, with spaces that are none, and not in order.
        (
            "b.pdf",
            plain(
                "[(you are the lu) 15 (cky) -300 (lottery) -300 (wi) 10 (nner)] TJ 1 0 0 1 150 600 Tm (1,000 EUR) Tj 1 0 0 1 50 600 Tm (Amount due) Tj",
            ),
        ),
        ("c.pdf", plain("(Gr\\366\\337e) Tj 3 Tr 0 -30 Td (nobody sees this) Tj")),
        ("d.pdf", pdf(cyrillic, "BT /F 12 Tf 50 700 Td <00010002> Tj ET", &composite)),
        ("e.pdf", pdf(HELVETICA, "", &widget)),
        ("f.pdf", pdf(&format!("{HELVETICA}/XObject<</X 5 0 R>>"), "/X Do", &form)),
        // Pictures only.
        ("g.pdf", pdf("", "0 0 100 100 re f", &[])),
    ]
}

fn write(folder: &Path) {
    ["rules", "site", "mails"].iter().for_each(|name| fs::create_dir(folder.join(name)).expect("a folder"));
    fs::write(folder.join("rules/10_test.cf"), RULES).expect("rules");
    fs::write(folder.join("site/init.pre"), PLUGINS).expect("plugins");
}

#[test]
fn text_of_documents_is_read_as_in_spamassassin() {
    if !needs(&["spamassassin", "pdftotext", "antiword", "xls2csv"]) {
        return;
    }
    let folder = folder();
    let word = |name: &str| folder.path().join(name).to_str().expect("a plain path").to_owned();
    write(folder.path());
    let mut documents = documents();
    if let Some(suite) = suite("office") {
        for (name, file) in [
            ("h.doc", "msodde/harmless-clean.doc"),
            ("i.doc", "oleobj/embedded-unicode.doc"),
            ("j.xls", "oleobj/embedded-simple-2007.xls"),
        ] {
            documents.push((name, fs::read(suite.join(file)).expect("a document of the suite")));
        }
    }
    let kind =
        |name: &str| if name.ends_with("pdf") { "application/pdf" } else { "application/octet-stream" };
    let mails = documents.iter().enumerate().map(|(place, (name, content))| {
        format!("X-Number: {place}\n{}", attached(name, kind(name), content))
    });
    let mails: Vec<String> = mails.collect();
    for (place, mail) in mails.iter().enumerate() {
        fs::write(word(&format!("mails/{place:02}.eml")), mail).expect("a mail");
    }
    let output = run(&["rules", "hits", "--rules", &word("site"), &word("rules"), &word("mails")], b"");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    let ours: Vec<&str> = lines.lines().filter_map(|line| line.split('\t').nth(2)).collect();
    let theirs = spamassassin(folder.path(), &mails);
    let both = ours.iter().zip(&theirs).zip(&documents);
    let differ = both.filter(|((ours, theirs), _)| **ours != theirs.as_str());
    let differ: Vec<String> =
        differ.map(|((ours, theirs), (name, _))| format!("{name}: {ours} ({theirs})")).collect();
    assert!(ours.len() == theirs.len() && differ.is_empty(), "{}", differ.join("\n"));
    // Each rule hits something, so nothing agrees only because nobody looks.
    let names =
        RULES.lines().filter_map(|line| line.strip_prefix("body ").or_else(|| line.strip_prefix("header ")));
    let names = names.filter_map(|line| line.split(' ').next());
    let expected = names.filter(|name| documents.len() > 7 || !matches!(*name, "OLD" | "SUITE_DOC"));
    let silent: Vec<&str> =
        expected.filter(|name| !ours.iter().any(|hits| hits.split(',').any(|hit| hit == *name))).collect();
    assert!(silent.is_empty(), "never hit: {silent:?}");
}

/// In the daemon it is the worker that reads documents, and it tells their text only where rules ask for it.
#[test]
fn text_of_documents_is_read_by_the_worker() {
    let folder = folder();
    write(folder.path());
    let sink = Sink::start();
    let tables = format!(
        "[checks.rules]\npaths = [{:?}, {:?}]\n",
        folder.path().join("site"),
        folder.path().join("rules")
    );
    let gatepost = Setup::to(sink.address).with(&tables).start();
    let (name, content) = documents().remove(0);
    let mail = attached(name, "application/pdf", &content).replace('\n', "\r\n");
    let status = |place: usize| {
        let mut dialog = gatepost.connect();
        dialog.greet();
        assert_eq!(dialog.message("a@client.test", &["user@example.test"], &mail).code, 250);
        let received = sink.wait_received(place + 1).remove(place);
        received.header("X-Spam-Status").unwrap_or_default().split_whitespace().collect::<String>()
    };
    let first = status(0);
    assert!(first.contains("LUCKY=1") && first.contains("TOOL=1"), "{first}");
    // No program, no text; files that changed are seen by themselves.
    let without: String = RULES
        .lines()
        .filter(|line| !line.starts_with("extracttext"))
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(folder.path().join("rules/10_test.cf"), without).expect("rules");
    wait_for("rules without a program", START, || gatepost.log().contains("rules read again").then_some(()));
    let second = status(1);
    assert!(!second.contains("LUCKY") && !second.contains("TOOL=1"), "{second}");
}
