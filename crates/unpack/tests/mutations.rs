//! Documents, pages, shortcuts and pictures with bytes changed, cut and repeated: no panic, and no more than the limits
//! allow. The fuzz targets do the same for longer.

use gatepost_mail::Limits;
use gatepost_unpack::{Format, open};
use proptest::prelude::*;

const PDF: &[u8] = b"%PDF-1.7\n1 0 obj <</Type /Catalog /OpenAction <</S /JavaScript /JS (app.alert\\(1\\))>> /Names <</EmbeddedFiles 9 0 R>>>> endobj\n\
    2 0 obj <</Type /ObjStm /N 2 /First 10 /Filter /ASCIIHexDecode /Length 120>> stream\n3320302034203820 3c3c2f4620 286129>>\nendstream endobj\n\
    5 0 obj <</Type /EmbeddedFile /Filter [/A85 /LZW /RL] /DecodeParms [null <</Predictor 12 /Columns 4>>] /Length 6 0 R>> stream\n<~87cURD]i,\"Ebo80~>\nendstream endobj\n\
    6 0 obj 19 endobj 7 0 obj <</Type /Filespec /F (a.exe) /EF <</F 5 0 R>>>> endobj\n\
    8 0 obj <</Filter /Standard /V 4 /R 4 /Length 128 /P -4 /O <00> /U <00> /CF <</StdCF <</CFM /AESV2>>>> /StmF /StdCF /StrF /StdCF>> endobj\n\
    trailer <</Root 1 0 R /Encrypt 8 0 R /ID [<00> <00>]>>\n%%EOF";
const TEXT: &[u8] = b"%PDF-1.7\n1 0 obj <</Pages 2 0 R>> endobj 2 0 obj <</Kids [3 0 R] /MediaBox [0 0 600 800]>> endobj\n\
    3 0 obj <</Contents [4 0 R] /Rotate 90 /Resources <</Font <</F 5 0 R /G 6 0 R>> /XObject <</X 8 0 R>>>> /Annots [9 0 R]>> endobj\n\
    4 0 obj <<>> stream\nBT /F 9 Tf 1 0 0 1 9 700 Tm [(ab) -300 (\\001c)] TJ 3 Tc T* /G 9 Tf <0001 0002> ' ET q 2 0 0 2 0 0 cm /X Do Q\n\
    /S <</ActualText (xy)>> BDC BT /F 1 Tf (z) Tj ET EMC BI /W 1 ID x EI\nendstream endobj\n\
    5 0 obj <</Subtype /Type1 /FirstChar 97 /Widths [500 600] /Encoding <</BaseEncoding /MacRomanEncoding /Differences [1 /eacute /uni0041]>>>> endobj\n\
    6 0 obj <</Subtype /Type0 /Encoding /Identity-H /ToUnicode 7 0 R /DescendantFonts [<</DW 500 /W [1 [600] 2 3 700]>>]>> endobj\n\
    7 0 obj <<>> stream\n1 begincodespacerange <0000> <ffff> endcodespacerange 1 beginbfrange <0001> <0009> <0061> endbfrange\nendstream endobj\n\
    8 0 obj <</Subtype /Form /Matrix [1 0 0 1 5 5]>> stream\nBT /F 9 Tf (form) Tj ET\nendstream endobj\n\
    9 0 obj <</Rect [0 0 9 9] /AP <</N <</On 8 0 R>>>> /AS /On>> endobj trailer <</Root 1 0 R>>";
const PAGE: &[u8] = b"<!DOCTYPE html><html><body onload=\"x()\"><a download='a.zip' href='data:application/zip;base64,UEsDBAoAAAA='>www.bank.com</a>\
    <input type=password><script>var a='\\x41\\u{42}'+\"cd\";a+=['e','f'].join('');b=a.split('').reverse().join('').replace(/x/g,'');\
    new Blob([new Uint8Array([77,90,144,0,3,0,0,0,4,0,0,0,255,255,0,0,184]),atob(b),unescape('%41%42%u4344%45')]);k=1^0x5a;String.fromCharCode(65,66)</script>\
    <svg><script>&#x61;lert(&quot;x&quot;)</script></svg><a href=http://evil.net>http://bank.com/</a></html>";
const SCRIPT: &[u8] = b"$a = New-Object Net.WebClient\niex('abc' + [char]65 -bxor 5)\npowershell -enc QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=\n";
const SHORTCUT: &[u8] = b"\x4c\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46\xef\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
    \x08\0\x06\0cmd\0\0\0\x2c\0\0\0\x1c\0\0\0\x01\0\0\0\0\0\0\0\x1c\0\0\0\0\0\0\0\x2b\0\0\0C:\\cmd.exe\0\0\0\0\0\0\
    \x01\0a\0\x01\0b\0\x01\0c\0\x05\0/\0c\0 \0x\0y\0\x01\0i\0\x10\0\0\0\x01\0\0\xa0cmd.exe\0\0\0\0\0overlay";
const PICTURE: &[u8] = b"GIF89a\x1e\0\x1e\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x1e\0\x1e\0\0\x02\x1d\x84\x8f\xa9\xcb\xed\x0f\xa3\x9c\xb4\xda\x8b\xb3\xde\xbc\xfb\x0f\x86\xe2H\x96\xe6\x89\xa6\xea\xca\xb6\xeeK\x15\0;<html>";
const BITMAP: &[u8] = b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x20\0\0\0\x20\0\0\0\x01\0\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn change() -> impl Strategy<Value = (usize, u8, u8)> {
    (any::<usize>(), any::<u8>(), any::<u8>())
}

/// The seed with some bytes replaced, pieces removed, and pieces doubled.
fn mutated(seed: &[u8], changes: &[(usize, u8, u8)]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for &(place, kind, value) in changes {
        let at = place % bytes.len().max(1);
        let length = usize::from(value).min(bytes.len().saturating_sub(at));
        match kind % 5 {
            0 | 1 if !bytes.is_empty() => bytes[at] = value,
            2 => drop(bytes.drain(at..at + length)),
            3 => {
                let piece = bytes[at..at + length].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => bytes.truncate(at.max(16)),
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics(changes in prop::collection::vec(change(), 0..12)) {
        let limits = Limits { depth: 4, parts: 64, bytes: 4 << 20, texts: 1000, ..Limits::default() };
        for (format, seed) in [
            (Format::Pdf, PDF),
            (Format::Pdf, TEXT),
            (Format::Html, PAGE),
            (Format::Script, SCRIPT),
            (Format::Shortcut, SHORTCUT),
            (Format::Qr, PICTURE),
            (Format::Qr, BITMAP),
            (Format::Polyglot, PICTURE),
        ] {
            let message = open(format, mutated(seed, &changes).into(), &limits);
            prop_assert!(message.parts.len() <= 65);
            prop_assert!(message.texts.iter().all(|told| told.text.len() <= 1000));
        }
    }
}
