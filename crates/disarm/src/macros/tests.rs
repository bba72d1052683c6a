//! Documents made by hand, and real ones: our own reader finds no macro in what comes out, 7-Zip and LibreOffice open it. The
//! real ones come from the suites, which lie outside of this repository; where they are not, or a program is not installed,
//! the test says so.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gatepost_mail::{DefectKind, FeatureKind, FileType, Limits, Message};

use super::*;
use crate::cfb::tests::{compose, streams};

fn clean(content: &[u8]) -> Result<Option<Vec<u8>>, Unreadable> {
    remove_macros(content, FileType::detect(content), &Limits::default())
}

/// The folder of office documents, if it is here.
fn documents() -> Vec<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/suites");
    let root = std::env::var_os("GATEPOST_SUITES").map_or(beside, PathBuf::from).join("office");
    let mut found = Vec::new();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    if found.is_empty() {
        eprintln!("skipped: no suites");
    }
    found
}

/// What should be gone, as our own reader tells it.
fn macros(message: &Message) -> Vec<String> {
    const KINDS: &[FeatureKind] = &[
        FeatureKind::Macro,
        FeatureKind::MacroAuto,
        FeatureKind::MacroSuspicious,
        FeatureKind::MacroStomped,
        FeatureKind::MacroXlm,
        FeatureKind::Dde,
    ];
    let found = message.features.iter().filter(|feature| KINDS.contains(&feature.kind));
    found.map(|feature| format!("{}: {}", feature.kind.name(), feature.detail)).collect()
}

fn opened(content: &[u8]) -> Message {
    gatepost_unpack::read_file(content.to_vec().into(), Some("file"), &Limits::default())
}

/// A zip with these members.
fn zipped(members: &[(&str, &str)]) -> Vec<u8> {
    let fields = |name: &str, content: &str| {
        let mut crc = flate2::Crc::new();
        crc.update(content.as_bytes());
        let size = (content.len() as u32).to_le_bytes();
        [
            &[20, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &crc.sum().to_le_bytes(),
            &size,
            &size,
            &(name.len() as u16).to_le_bytes(),
            &[0, 0],
        ]
        .concat()
    };
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in members {
        let start = (out.len() as u32).to_le_bytes();
        out.extend([b"PK\x03\x04", &fields(name, content)[..], name.as_bytes(), content.as_bytes()].concat());
        let head =
            [b"PK\x01\x02\x14\0", &fields(name, content)[..], &[0; 10], &start, name.as_bytes()].concat();
        directory.extend(head);
    }
    let (count, start) = ((members.len() as u16).to_le_bytes(), (out.len() as u32).to_le_bytes());
    let size = (directory.len() as u32).to_le_bytes();
    [&out[..], &directory, b"PK\x05\x06\0\0\0\0", &count, &count, &size, &start, &[0, 0]].concat()
}

/// Names and contents of what is in a zip.
fn unzipped(zip: &[u8]) -> Vec<(String, String)> {
    let mut budget = Budget::new(&Limits::default());
    let members = zip::members(zip, &mut budget).expect("a zip");
    let text = |member| {
        String::from_utf8_lossy(&zip::content(zip, member, &mut budget).expect("content")).into_owned()
    };
    let names: Vec<String> =
        members.iter().map(|member| String::from_utf8_lossy(&member.name).into_owned()).collect();
    names.into_iter().zip(members.iter().map(text)).collect()
}

/// Cleans a document of these members; what is then in it, of those that changed.
fn changed(members: &[(&str, &str)]) -> Vec<(String, String)> {
    let Some(made) = clean(&zipped(members)).expect("readable") else { return Vec::new() };
    assert_eq!(clean(&made), Ok(None), "settled");
    let same = |(name, content): &(String, String)| members.iter().any(|(a, b)| a == name && b == content);
    unzipped(&made).into_iter().filter(|member| !same(member)).collect()
}

const RELATION: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";

#[test]
fn open_xml() {
    let types = "<Types><Default Extension=\"bin\" ContentType=\"application/vnd.ms-office.vbaProject\"/>\
        <Default Extension=\"xml\" ContentType=\"application/xml\"/>\
        <Override PartName=\"/word/vbaData.xml\" ContentType=\"application/vnd.ms-word.vbaData+xml\"/>\
        <Override PartName=\"/word/x.xml\" ContentType=\"application/vnd.ms-office.activeX+xml\"/></Types>";
    let relations = "<Relationships><Relationship Id=\"r1\" Type=\"http://a/vbaProject\" Target=\"code.bin\"/>\
        <Relationship Id=\"r2\" Type=\"http://a/control\" Target=\"/word/x.xml\"/>\
        <Relationship Id=\"r3\" Type=\"http://a/attachedTemplate\" Target=\"http://a/x.dotm\" TargetMode=\"External\"/>\
        <Relationship Id=\"r4\" Type=\"http://a/hyperlink\" Target=\"http://b/\" TargetMode=\"External\"/>\
        <Relationship Id=\"r5\" Type=\"http://a/attachedTemplate\" Target=\"file:///C:\\x.dotm\" TargetMode=\"External\"/></Relationships>";
    let text = "<w:document><w:p><w:object><v:shape/><w:control r:id=\"r2\"/></w:object><w:hyperlink r:id=\"r4\"/>\
        <w:fldSimple w:instr=\" DDEAUTO c:\\x \"><w:t>a</w:t></w:fldSimple>\
        <w:fldChar w:fldCharType=\"begin\"/><w:instrText> DD</w:instrText><w:instrText>E &quot;a&quot;</w:instrText>\
        <w:fldChar w:fldCharType=\"separate\"/><w:t>b</w:t><w:fldChar w:fldCharType=\"end\"/></w:p></w:document>";
    let found = changed(&[
        ("[Content_Types].xml", types),
        ("word/document.xml", text),
        ("word/_rels/document.xml.rels", relations),
        ("word/code.bin", "code"),
        ("word/_rels/code.bin.rels", "<Relationships/>"),
        ("word/vbaData.xml", "<x/>"),
        ("word/x.xml", "<x/>"),
        ("word/other.bin", "of the type that goes"),
        ("_xmlsignatures/sig1.xml", "<x/>"),
        ("word/media/a.png", "png"),
    ]);
    let find =
        |name: &str| found.iter().find(|(known, _)| known == name).map(|(_, content)| content.as_str());
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(
        find("[Content_Types].xml"),
        Some("<Types><Default Extension=\"xml\" ContentType=\"application/xml\"/></Types>")
    );
    let expected = text.replace("<w:control r:id=\"r2\"/>", "").replace(" DDEAUTO c:\\x ", " ").replace(
        "<w:instrText> DD</w:instrText><w:instrText>E &quot;a&quot;<",
        "<w:instrText> </w:instrText><w:instrText>    <",
    );
    assert_eq!(find("word/document.xml"), Some(&*expected));
    let relations = find("word/_rels/document.xml.rels").expect("changed");
    assert!(
        !relations.contains("r1") && !relations.contains("r2") && relations.contains("Target=\"removed\"")
    );
    assert!(relations.contains("http://b/") && relations.contains("C:\\x.dotm"));
    let harmless =
        [("[Content_Types].xml", "<Types/>"), ("word/document.xml", "<x><instrText>PAGE</instrText></x>")];
    assert_eq!(changed(&harmless), []);
}

#[test]
fn macro_sheets() {
    let types = "<Types><Override PartName=\"/xl/workbook.xml\" ContentType=\"a\"/>\
        <Override PartName=\"/xl/macrosheets/sheet1.xml\" ContentType=\"application/vnd.ms-excel.macrosheet+xml\"/></Types>";
    let relations = "<Relationships><Relationship Id=\"r1\" Type=\"http://a/xlMacrosheet\" Target=\"macrosheets/sheet1.xml\"/></Relationships>";
    let book = "<workbook><sheets><sheet name=\"a\" r:id=\"r1\"/></sheets><definedNames>\
        <definedName name=\"_xlnm.Auto_Open99\">a!A1</definedName><definedName name=\"b\">a!B1</definedName></definedNames></workbook>";
    let found = changed(&[
        ("[Content_Types].xml", types),
        ("xl/workbook.xml", book),
        ("xl/_rels/workbook.xml.rels", relations),
        ("xl/macrosheets/sheet1.xml", "<macrosheet><f>EXEC()</f></macrosheet>"),
        ("xl/macrosheets/_rels/sheet1.xml.rels", "<Relationships/>"),
    ]);
    let find =
        |name: &str| found.iter().find(|(known, _)| known == name).map(|(_, content)| content.as_str());
    let sheet = find("xl/worksheets/no-macros-sheet1.xml").expect("an empty sheet");
    assert!(sheet.contains("<sheetData/>"), "{found:?}");
    assert_eq!(
        find("xl/_rels/workbook.xml.rels").expect("changed"),
        format!(
            "<Relationships><Relationship Id=\"r1\" Type=\"{RELATION}/worksheet\" Target=\"/xl/worksheets/no-macros-sheet1.xml\"/></Relationships>"
        )
    );
    let book = find("xl/workbook.xml").expect("changed");
    assert!(!book.contains("Auto_Open") && book.contains("name=\"b\"") && book.contains("r1"));
    assert!(
        find("[Content_Types].xml").is_some_and(
            |types| types.contains("no-macros-sheet1.xml\" ContentType=\"application/vnd.openxml")
        )
    );
    assert_eq!(found.len(), 4);
}

#[test]
fn open_document() {
    let content = "<office:document-content><office:scripts><office:event-listeners><script:event-listener/></office:event-listeners>\
        </office:scripts><text:p><text:a xlink:href=\"vnd.sun.star.script:a?b\">c</text:a></text:p>\
        <draw:x><office:event-listeners><a/></office:event-listeners></draw:x></office:document-content>";
    let manifest = "<manifest:manifest><manifest:file-entry manifest:full-path=\"Basic/\"/>\
        <manifest:file-entry manifest:full-path=\"Basic/Standard/a.xml\"/><manifest:file-entry manifest:full-path=\"content.xml\"/></manifest:manifest>";
    let found = changed(&[
        ("mimetype", "application/vnd.oasis.opendocument.text"),
        ("content.xml", content),
        ("styles.xml", "<a><office:scripts/></a>"),
        ("Basic/Standard/a.xml", "<x/>"),
        ("Scripts/python/a.py", "x"),
        ("META-INF/manifest.xml", manifest),
        ("META-INF/documentsignatures.xml", "<x/>"),
    ]);
    let expected = [
        (
            "content.xml",
            "<office:document-content><text:p><text:a xlink:href=\"#\">c</text:a></text:p><draw:x></draw:x></office:document-content>",
        ),
        (
            "META-INF/manifest.xml",
            "<manifest:manifest><manifest:file-entry manifest:full-path=\"content.xml\"/></manifest:manifest>",
        ),
    ];
    assert_eq!(found, expected.map(|(name, content)| (name.to_owned(), content.to_owned())));
}

#[test]
fn what_cannot_be_read_is_told() {
    let types = ("[Content_Types].xml", "<Types/>");
    let sound = zipped(&[types, ("word/document.xml", "<x/>")]);
    assert_eq!(clean(&sound), Ok(None));
    for (zip, expected) in [
        (zipped(&[("a", "b")]), Unreadable::Unsupported("a zip that is no document")),
        (zipped(&[types, types]), Unreadable::Malformed("a zip with two members of one name")),
        (zipped(&[types, ("a.xml", "<instrText")]), Unreadable::Malformed("XML that is not well-formed")),
        (
            zipped(&[types, ("a.xml", "\u{feff}<!DOCTYPE a><b>instrText</b>")]),
            Unreadable::Malformed("XML with a document type in a document"),
        ),
        ([&sound[..], b"behind"].concat(), Unreadable::Malformed("a zip whose directory makes no sense")),
        ([b"PK\x03\x04", &sound[..]].concat(), Unreadable::Malformed("a zip whose directory makes no sense")),
        (b"PK\x03\x04".to_vec(), Unreadable::Malformed("a zip whose directory makes no sense")),
        (b"plain text".to_vec(), Unreadable::Unsupported("what is no document")),
        (compose(&[("EncryptedPackage".to_owned(), vec![0; 10])]), Unreadable::Encrypted),
        (crate::cfb::MAGIC.to_vec(), Unreadable::Malformed("the header of a compound file")),
    ] {
        assert_eq!(clean(&zip), Err(expected));
    }
    // The two headers of a member disagree.
    let mut other = sound.clone();
    other[30] = b'x';
    assert_eq!(clean(&other), Err(Unreadable::Malformed("a zip whose headers contradict each other")));
    let small = Limits { bytes: 4, ..Limits::default() };
    assert_eq!(remove_macros(&sound, FileType::DOCX, &small), Err(Unreadable::Over(Limit::Bytes)));
}

#[test]
fn rich_text() {
    for (text, expected) in [
        ("{\\rtf1 a {\\field{\\*\\fldinst PAGE}{\\fldrslt 1}}}", "-"),
        ("{\\rtf1 the word \\\\objdata here}", "-"),
        (
            "{\\rtf1 a{\\object\\objemb{\\*\\objclass A}{\\*\\objdata 0102}{\\result b}}c}",
            "{\\rtf1 a{\\object\\objemb {\\result b}}c}",
        ),
        ("{\\rtf1{\\object\\objupdate{\\*\\objdata{\\foo 01}", "{\\rtf1{\\object\\xbjupdate "),
        ("{\\rtf1 a\\objdata 0102}", "{\\rtf1 a\\xbjdata 0102}"),
        ("{\\rtf1{\\*\\template http://a}b}", "{\\rtf1 b}"),
        ("{\\rtf1{\\field{\\*\\fldinst{ D}{DE a}}{\\fldrslt b}}}", "{\\rtf1{\\field {\\fldrslt b}}}"),
        ("{\\rtf1{\\field{\\*\\fldinst \\'44\\u68?E a}{\\fldrslt b}}}", "-"),
        ("{\\rtf1\\bin12 \\objdata 0102 {\\*\\objdata 03}}", "{\\rtf1\\bin12 \\xbjdata 0102 }"),
    ] {
        let made = clean(text.as_bytes()).expect("readable");
        let shown = made.as_ref().map_or("-".to_owned(), |made| String::from_utf8_lossy(made).into_owned());
        assert_eq!(shown, expected, "{text}");
        if let Some(made) = made {
            assert_eq!(clean(&made), Ok(None), "{text}");
        }
    }
}

#[test]
fn pdf() {
    let packed = |content: &str| {
        use std::io::Write;
        let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        packer.write_all(content.as_bytes()).expect("to memory");
        let head = b"%PDF-1.5\n1 0 obj <</Type/ObjStm/Filter/FlateDecode>>\nstream\n".to_vec();
        [head, packer.finish().expect("to memory"), b"\nendstream".to_vec()].concat()
    };
    for (pdf, expected) in [
        ("%PDF-1.4 <</Type/Catalog/Pages 2 0 R>>", "-"),
        (
            "%PDF-1.4 <</OpenAction 3 0 R/AA<<>>/Names<</JavaScript 4 0 R>>>> <</S/JavaScript/JS(x)>> /JSON",
            "%PDF-1.4 <</XpenAction 3 0 R/XA<<>>/Names<</XavaScript 4 0 R>>>> <</S/XavaScript/XS(x)>> /JSON",
        ),
        (
            "%PDF-1.4 <</S/#4aava#53cript/J#53 1 0 R /XFA 2 0 R>>",
            "%PDF-1.4 <</S/XXXava#53cript/X#53 1 0 R /YFA 2 0 R>>",
        ),
        (
            "%PDF-1.4 <</Filter/x>>stream\n/JS /Launch\nendstream /JS",
            "%PDF-1.4 <</Filter/x>>stream\n/JS /Xaunch\nendstream /XS",
        ),
        ("%PDF-1.4 <<>>stream\n/JS x\nendstream", "%PDF-1.4 <<>>stream\n/XS x\nendstream"),
    ] {
        let made = clean(pdf.as_bytes()).expect("readable");
        let shown = made.as_ref().map_or("-".to_owned(), |made| String::from_utf8_lossy(made).into_owned());
        assert_eq!(shown, expected, "{pdf}");
        assert!(made.is_none_or(|made| clean(&made) == Ok(None)));
    }
    assert_eq!(clean(&packed("1 0 <</Type/Catalog>>")), Ok(None));
    let acts = Unreadable::Unsupported("a PDF that acts by what is in packed objects");
    assert_eq!(clean(&packed("1 0 <</OpenAction 1 0 R>>")), Err(acts));
    let odd = String::from_utf8_lossy(&packed("1 0 <<>>")).replace(">>\nstream", ">> %\nstream");
    assert!(matches!(clean(odd.as_bytes()), Err(Unreadable::Malformed(_))));
    let locked = [packed("1 0 <<>>"), b"trailer <</Encrypt 1 0 R>>".to_vec()].concat();
    assert_eq!(clean(&locked), Err(Unreadable::Encrypted));
}

/// A project of VBA in a Word document, with all that belongs to it.
fn with_project(mut document: Vec<(String, Vec<u8>)>, folder: &str) -> Vec<u8> {
    let source = b"\x01\x23\xb0\x00Attribut\x00e VB_Nam\x00e = \"x\"\n\x00Sub a()\n";
    for (name, content) in [
        ("VBA/dir", &b"broken"[..]),
        ("VBA/_VBA_PROJECT", b"\xcc\x61"),
        ("VBA/Module1", source),
        ("PROJECT", b"Module=Module1"),
        ("PROJECTwm", b"Module1"),
        ("Form1/\u{3}VBFrame", b"form"),
    ] {
        let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        document.push((path, content.to_vec()));
    }
    compose(&document)
}

#[test]
fn projects_in_compound_files() {
    let text = || vec![("WordDocument".to_owned(), vec![0; 600]), ("1Table".to_owned(), vec![7; 5000])];
    for folder in ["Macros", "_VBA_PROJECT_CUR", "", "ObjectPool/_1/Macros", "Other"] {
        let file = with_project(text(), folder);
        assert!(macros(&opened(&file)).iter().any(|found| found.starts_with("MACRO: ")), "{folder}");
        let made = clean(&file).expect("readable").expect("changed");
        assert_eq!((macros(&opened(&made)), made.len()), (vec![], file.len()), "{folder}");
        let left: Vec<String> = streams(&made).into_iter().map(|(name, _)| name).collect();
        assert!(left.iter().all(|name| !name.contains("VB")), "{left:?}");
        assert!(left.contains(&"WordDocument".to_owned()) && left.contains(&"1Table".to_owned()));
        assert_eq!(clean(&made), Ok(None));
    }
    // In a field of the text, and the mark of a project in a workbook.
    let field = [&[0; 600][..], b"x\x13 DDEAUTO c:\\x \x14result\x15y"].concat();
    let made = clean(&compose(&[("WordDocument".to_owned(), field)])).expect("readable").expect("changed");
    let body = &streams(&made)[0].1;
    assert!(body.ends_with(b"\x14result\x15y") && !body.windows(3).any(|run| run == b"DDE"));
    let book = b"\x09\x08\x04\0\0\x06\x05\0\xd3\0\0\0\x0a\0\0\0".to_vec();
    let made =
        clean(&with_project(vec![("Workbook".to_owned(), book)], "_VBA_PROJECT_CUR")).expect("readable");
    let book = &streams(&made.expect("changed"))[0].1;
    assert_eq!(&book[8..12], b"\xc0\x01\0\0");
}

/// Real documents, cleaned, and one in which a real project was put into a real document.
#[test]
fn documents_of_the_suites() {
    let folder = std::env::temp_dir().join(format!("gatepost-disarm-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut cleaned = Vec::new();
    for path in documents() {
        let content = std::fs::read(&path).expect("a file");
        let made = clean(&content);
        // To try passwords takes long.
        if made == Err(Unreadable::Encrypted) {
            continue;
        }
        let before = opened(&content);
        let what = format!("{}: {:?}", path.display(), macros(&before));
        match made {
            Ok(Some(made)) => {
                let after = opened(&made);
                assert_eq!(macros(&after), [""; 0], "{what}");
                let broken = |message: &Message| {
                    message.defects.iter().filter(|defect| defect.kind != DefectKind::Encrypted).count()
                };
                assert!(broken(&after) <= broken(&before), "{what}: {:?}", after.defects);
                assert_eq!(clean(&made), Ok(None), "{what} is not settled");
                let to = folder.join(format!(
                    "{}-{}",
                    cleaned.len(),
                    path.file_name().unwrap_or_default().display()
                ));
                std::fs::write(&to, &made).expect("written");
                cleaned.push(to);
            }
            Ok(None) => assert_eq!(macros(&before), [""; 0], "{what}"),
            Err(error) => eprintln!("{error}: {what}"),
        }
        if path.ends_with("msodde/harmless-clean.doc") {
            let made = clean(&with_project(streams(&content), "Macros")).expect("readable").expect("changed");
            assert_eq!(macros(&opened(&made)), [""; 0]);
            let to = folder.join("project.doc");
            std::fs::write(&to, &made).expect("written");
            cleaned.push(to);
        }
    }
    if !cleaned.is_empty() {
        assert!(cleaned.len() > 20, "{cleaned:?}");
        other_programs_open(&folder, &cleaned);
    }
    std::fs::remove_dir_all(&folder).expect("removed");
}

/// 7-Zip finds them whole; LibreOffice opens them and writes them as PDF.
fn other_programs_open(folder: &Path, documents: &[PathBuf]) {
    let has = |program: &str| {
        let found =
            Command::new(program).arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
        if !found {
            eprintln!("skipped: no {program}");
        }
        found
    };
    let is_rtf = |path: &&PathBuf| path.extension().is_some_and(|end| end == "rtf");
    if has("7z") {
        for document in documents.iter().filter(|path| !is_rtf(path)) {
            let output = Command::new("7z").arg("t").arg(document).output().expect("7z");
            assert!(
                output.status.success(),
                "{}: {}",
                document.display(),
                String::from_utf8_lossy(&output.stdout)
            );
        }
    }
    if has("soffice") {
        let profile = format!("-env:UserInstallation=file://{}", folder.join("profile").display());
        let known = ["doc", "docm", "docx", "xls", "xlsm", "xlsx", "xlsb", "ppt", "pptm", "pptx", "xlt"];
        let known = |path: &&PathBuf| {
            path.extension().and_then(|end| end.to_str()).is_some_and(|end| known.contains(&end))
        };
        let documents: Vec<&PathBuf> = documents.iter().filter(known).collect();
        let status = Command::new("timeout")
            .args(["300", "soffice", &profile, "--headless", "--convert-to", "pdf", "--outdir"])
            .arg(folder.join("pdf"))
            .args(&documents)
            .stdout(Stdio::null())
            .status()
            .expect("soffice");
        assert!(status.success());
        for document in documents {
            let pdf = folder.join("pdf").join(document.with_extension("pdf").file_name().unwrap_or_default());
            assert!(pdf.exists(), "{} was not opened", document.display());
        }
    }
}

/// Documents with bytes changed, put in and cut off: no panic, and what comes out is settled. With GATEPOST_DAMAGES set, so
/// often for each document of the suites.
#[test]
fn damaged_documents() {
    let text = vec![("WordDocument".to_owned(), vec![0x13; 700]), ("1Table".to_owned(), vec![7; 5000])];
    let types =
        "<Types><Default Extension=\"bin\" ContentType=\"application/vnd.ms-office.vbaProject\"/></Types>";
    let sheet = [&[9, 8, 4, 0, 0, 6, 5, 0, 0x85, 0, 8, 0, 26, 0, 0, 0, 0, 1, 1, 0, 10, 0, 0, 0][..], &[0; 2]]
        .concat();
    let mut all: Vec<Vec<u8>> = vec![
        with_project(text, "Macros"),
        with_project(vec![("Workbook".to_owned(), sheet)], "_VBA_PROJECT_CUR"),
        zipped(&[
            ("[Content_Types].xml", types),
            ("word/vbaProject.bin", "x"),
            ("word/a.xml", "<instrText>DDE</instrText>"),
        ]),
        zipped(&[("mimetype", "x"), ("Basic/a.xml", "<x/>"), ("content.xml", "<a><event-listener/></a>")]),
        b"{\\rtf1{\\object{\\*\\objdata 0102\\bin3 abc}}{\\field{\\*\\fldinst DDE}}}".to_vec(),
        b"%PDF-1.4 <</Type/ObjStm/Filter/Fl>>\nstream\nx\nendstream /J#53 /AA".to_vec(),
    ];
    let many = std::env::var("GATEPOST_DAMAGES").ok().and_then(|many| many.parse().ok());
    if many.is_some() {
        let small =
            |path: &PathBuf| std::fs::read(path).ok().filter(|content| (8..60_000).contains(&content.len()));
        all.extend(documents().iter().filter_map(small));
    }
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = |below: usize| {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below.max(1) as u64).unwrap_or_default()
    };
    let limits = Limits { bytes: 8 << 20, memory: 8 << 20, ..Limits::default() };
    for document in &all {
        let detected = FileType::detect(document);
        for _ in 0..many.unwrap_or(150) {
            let mut damaged = document.clone();
            for _ in 0..=next(4) {
                let at = next(damaged.len());
                match next(6) {
                    0 => damaged.truncate(at.max(8)),
                    1 => damaged.insert(at, next(256) as u8),
                    2 => damaged[at] = [0, 0xff, 0xfe, 0x80][next(4)],
                    3 => damaged[at] ^= 1 << next(8),
                    4 => {
                        let from = next(damaged.len());
                        damaged[at] = damaged[from];
                    }
                    _ => damaged[at] = next(256) as u8,
                }
            }
            if let Ok(Some(made)) = remove_macros(&damaged, detected, &limits) {
                let again = remove_macros(&made, detected, &Limits::default());
                assert!(
                    !matches!(again, Ok(Some(_))),
                    "not settled: {}",
                    String::from_utf8_lossy(&damaged).escape_debug()
                );
            }
        }
    }
}
