//! Office documents in zips, made by hand; and documents that others made, where they are at hand, with what other
//! tools (olevba, rtfobj, oleobj, msodde of oletools) find in them. `GATEPOST_SUITES` names the folder.

mod make;

use std::path::{Path, PathBuf};

use gatepost_mail::{DefectKind, Limits, Message};
use gatepost_unpack::read_file;
use make::Zip;

const DEFLATE: u16 = 8;

fn opened(name: &str, file: Vec<u8>) -> Message {
    // Time is no matter here: what runs out of it depends on the machine.
    let limits = Limits { time: std::time::Duration::from_secs(600), ..Limits::default() };
    read_file(file.into(), Some(name), &limits)
}

/// Names of the features, sorted, each once.
fn features(message: &Message) -> Vec<&'static str> {
    let mut names: Vec<_> = message.features.iter().map(|feature| feature.kind.name()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

const TYPES: (&str, &[u8], u16) = ("[Content_Types].xml", b"<Types></Types>", DEFLATE);

/// A document of that one member beside the list of types.
fn package(name: &str, xml: &str) -> Message {
    opened("file", Zip::with(&[TYPES, (name, xml.as_bytes(), DEFLATE)]).end())
}

#[test]
fn open_xml() {
    let relation = |kind: &str, target: &str| {
        format!(
            "<Relationships><Relationship Id='1' Type='http://x/{kind}' Target='{target}' TargetMode='External'/></Relationships>"
        )
    };
    let field = |pieces: &[&str]| {
        let text: String = pieces.iter().map(|piece| format!("<w:instrText>{piece}</w:instrText>")).collect();
        format!(
            "<w:document><w:fldChar w:fldCharType='begin'/>{text}<w:fldChar w:fldCharType='end'/></w:document>"
        )
    };
    let table: &[(&str, String, &[&str])] = &[
        (
            "word/_rels/settings.xml.rels",
            relation("attachedTemplate", "http://a/x.dotm"),
            &["EXTERNAL_TEMPLATE"],
        ),
        ("word/_rels/document.xml.rels", relation("oleObject", "mhtml:http://a!x"), &["EXTERNAL_TEMPLATE"]),
        ("word/_rels/settings.xml.rels", relation("frame", "\\\\host\\share"), &["EXTERNAL_TEMPLATE"]),
        ("word/_rels/settings.xml.rels", relation("attachedTemplate", "file:///C:\\Normal.dotm"), &[]),
        ("word/_rels/document.xml.rels", relation("hyperlink", "http://a/"), &[]),
        ("word/document.xml", field(&[" D", "DEAU", "TO c:\\\\x"]), &["DDE"]),
        ("word/document.xml", field(&[" PAGE"]), &[]),
        ("word/document.xml", "<w:fldSimple w:instr='DDE x y'/>".into(), &["DDE"]),
        ("word/document.xml", field(&[" INCLUDEPICTURE &quot;http://a/x&quot; \\d"]), &["EXTERNAL_TEMPLATE"]),
        (
            "xl/externalLinks/a.xml",
            "<externalLink><ddeLink ddeService='cmd' ddeTopic='/c'/></externalLink>".into(),
            &["DDE"],
        ),
        (
            "xl/macrosheets/a.xml",
            "<xm:macrosheet><c r='A1'><f>EXEC(\"calc\")</f></c></xm:macrosheet>".into(),
            &["MACRO_SUSPICIOUS", "MACRO_XLM"],
        ),
        (
            "xl/workbook.xml",
            "<workbook><definedName name='_xlnm.Auto_Open'>x</definedName></workbook>".into(),
            &[],
        ),
        ("customUI/customUI.xml", "<customUI onLoad='Run'/>".into(), &["MACRO_AUTO"]),
    ];
    for (name, xml, found) in table {
        assert_eq!(features(&package(name, xml)), *found, "{name} {xml}");
    }
    let link = package("word/_rels/document.xml.rels", &relation("hyperlink", "http://a.example/?x=1&amp;y"));
    assert_eq!(link.links[0].url, "http://a.example/?x=1&y");
    // A zip without a list of what it holds is no document.
    let plain = Zip::with(&[("word/document.xml", field(&["DDE x"]).as_bytes(), DEFLATE)]).end();
    assert_eq!(features(&opened("a.zip", plain)), [""; 0]);
    // A sheet that only the list of types calls a macro sheet.
    let types = "<Types><Override PartName='/xl/worksheets/s.xml' ContentType='application/vnd.ms-excel.macrosheet+xml'/></Types>";
    let hidden = Zip::with(&[
        ("xl/worksheets/s.xml", b"<x><c r='A1'><f>HALT()</f></c></x>", DEFLATE),
        ("[Content_Types].xml", types.as_bytes(), DEFLATE),
    ]);
    assert_eq!(features(&opened("a.xlsm", hidden.end())), ["MACRO_XLM"]);
}

#[test]
fn open_document() {
    let manifest = |inner: &str| format!("<manifest:manifest>{inner}</manifest:manifest>");
    let module = "<script:module script:name='Module1' script:language='StarBasic'>Sub Main&#10;Shell(&quot;x&quot;)&#10;End Sub</script:module>";
    let content = "<office:document-content><script:event-listener script:event-name='dom:load' xlink:href='vnd.sun.star.script:Standard.Module1.Main'/><text:a xlink:href='http://link.example/'/><draw:image xlink:href='http://image.example/x'/></office:document-content>";
    let file = Zip::with(&[
        ("mimetype", b"application/vnd.oasis.opendocument.text", 0),
        ("content.xml", content.as_bytes(), DEFLATE),
        ("Basic/Standard/Module1.xml", module.as_bytes(), DEFLATE),
        ("Scripts/python/a.py", b"import os", DEFLATE),
        ("META-INF/manifest.xml", manifest("").as_bytes(), DEFLATE),
    ]);
    let message = opened("a.odt", file.end());
    assert_eq!(features(&message), ["EXTERNAL_TEMPLATE", "MACRO", "MACRO_AUTO", "MACRO_SUSPICIOUS"]);
    let module = message.parts.iter().find(|part| part.name() == Some("vba/Module1.bas")).expect("a module");
    assert!(module.body.starts_with(b"Sub Main\nShell"), "{:?}", module.body);
    let links: Vec<_> = message.links.iter().map(|link| link.url.as_str()).collect();
    assert_eq!(links, ["http://link.example/", "http://image.example/x"]);
    let locked = manifest("<manifest:file-entry><manifest:encryption-data/></manifest:file-entry>");
    let file = Zip::with(&[("META-INF/manifest.xml", locked.as_bytes(), DEFLATE)]);
    let message = opened("a.odt", file.end());
    assert!(message.defects.iter().any(|defect| defect.kind == DefectKind::Encrypted));
}

fn suite() -> Option<PathBuf> {
    let named = std::env::var_os("GATEPOST_SUITES").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/suites");
    let folder = named.unwrap_or(beside).join("office");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: no suite in {}", folder.display());
    None
}

/// How names of files of the suite begin, what is found in those, and what comes out of them: part of a name.
type Expected = (&'static str, &'static [&'static str], &'static str);

/// The first line that fits a file counts.
const EXPECTED: &[Expected] = &[
    ("encrypted/autostart-", &["MACRO", "MACRO_AUTO"], "vba/Modul1.bas"),
    ("encrypted/dde-test-", &["DDE"], ""),
    // The password of these is `encrypted`, which stands in the file's name; Word's and PowerPoint's old form stays closed.
    ("encrypted/encrypted.doc$", &[], ""),
    ("encrypted/encrypted.ppt$", &[], ""),
    ("encrypted/encrypted.", &["PASSWORD_IN_MAIL"], "encrypted|Workbook"),
    ("excel4-macros/", &["MACRO_AUTO", "MACRO_XLM"], "xlm/macros.txt"),
    ("oleform/", &["MACRO"], "vba/UserFormTEST1.cls"),
    ("olevba/sample_with_vba.ppt", &["MACRO"], "vba/Module1.bas"),
    ("oleobj/external_link/", &["EXTERNAL_TEMPLATE"], ""),
    ("oleobj/embedded-simple-", &["EMBEDDED_FILE"], "simple-text-file.txt"),
    ("oleobj/embedded-unicode", &["EMBEDDED_FILE"], "ünicöde-수식끝이잘못되었습니다.txt"),
    ("oleobj/sample_with_calc_embedded.doc", &["EMBEDDED_FILE"], "calc.exe"),
    // A link to a file elsewhere on the machine: nothing to take out.
    ("oleobj/sample_with_lnk_to_calc.doc", &["EMBEDDED_FILE"], ""),
    ("oleobj/sample_with_lnk_file.", &["EMBEDDED_FILE"], "calc.lnk"),
    ("rtfobj/issue_251.rtf", &["EMBEDDED_FILE", "RISKY_OBJECT"], ""),
    ("msodde/dde-", &["DDE"], ""),
    ("ooxml/dde-", &["DDE"], ""),
    // harmless-clean and all the others.
    ("", &[], ""),
];

fn expected(name: &str) -> Expected {
    let fits = |(begin, _, _): &&Expected| match begin.strip_suffix('$') {
        Some(whole) => name == whole,
        None => name.starts_with(begin),
    };
    *EXPECTED.iter().find(fits).expect("the last line fits all")
}

#[test]
fn documents_of_the_suite() {
    let Some(folder) = suite() else { return };
    let mut files = Vec::new();
    let mut folders = vec![folder.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    assert!(files.len() > 90, "{}", files.len());
    let wrong: Vec<String> = files.iter().filter_map(|path| disagrees(&folder, path)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is not as expected of a file.
fn disagrees(folder: &Path, path: &Path) -> Option<String> {
    let name = path.strip_prefix(folder).ok()?.to_string_lossy().into_owned();
    // Locked with a password that is nowhere in them.
    if name.ends_with(".zip") {
        return None;
    }
    let message = opened(path.file_name()?.to_str()?, std::fs::read(path).ok()?);
    let (_, features_expected, part) = expected(&name);
    // Office puts the icon of an object into a picture; what other formats tell of pictures is not asked here.
    let office = ["MACRO", "DDE", "EXTERNAL", "EMBEDDED", "RISKY", "PASSWORD"];
    let mut found = features(&message);
    found.retain(|name| office.iter().any(|begin| name.starts_with(begin)));
    let names = || message.parts.iter().skip(1).flat_map(|part| &part.names);
    let is_there = part.is_empty() || part.split('|').any(|part| names().any(|name| name.contains(part)));
    let closed = message.defects.iter().any(|defect| defect.kind == DefectKind::Encrypted);
    let may_be_closed = matches!(
        name.as_str(),
        "encrypted/encrypted.doc" | "encrypted/encrypted.ppt" | "basic/encrypted.docx"
    );
    let right = found == features_expected && is_there && closed == may_be_closed;
    (!right).then(|| format!("{name}: {found:?} closed {closed} {:?}", names().collect::<Vec<_>>()))
}
