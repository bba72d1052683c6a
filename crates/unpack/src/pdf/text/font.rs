//! Fonts (ISO 32000-1 sections 9.6 and 9.7): from the codes in a string to text, and how far each moves the pen.

use super::super::document::Document;
use super::super::object::{Dict, Object, Parser, is_regular};
use super::cff;
use super::cmap::Cmap;
use super::encoding::{self, Encoding};
use crate::opening::Opening;

/// A font as far as text needs it.
#[derive(Debug)]
pub(super) struct Font {
    codes: Codes,
    /// It is written from top to bottom.
    pub(super) vertical: bool,
    /// How high it is, in sizes of the font: 1 unless its glyphs are drawn by the file itself.
    pub(super) height: f64,
}

/// One glyph of a string.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Glyph {
    /// Bytes of its code.
    pub(super) length: usize,
    /// How far it moves the pen, in sizes of the font.
    pub(super) width: f64,
    /// It is the code that word spacing is added to.
    pub(super) spaces: bool,
}

#[derive(Debug)]
enum Codes {
    /// A byte each: text and width.
    Simple(Vec<(Box<str>, f64)>),
    Composite(Box<Composite>),
}

#[derive(Debug)]
struct Composite {
    script: Script,
    to_text: Option<Cmap>,
    /// Numbers of glyphs from one to another, with their width, by the first.
    widths: Vec<(u32, u32, f64)>,
    usual: f64,
}

/// How the codes of a composite font are made.
#[derive(Debug)]
enum Script {
    /// Two bytes, the number of a glyph.
    Identity,
    /// As a map in the file says.
    Own(Cmap),
    /// UTF-16, the big end first.
    Utf16,
    /// An encoding of East Asia.
    Listed(&'static encoding_rs::Encoding),
    /// JIS X 0208 without anything around it.
    Jis,
}

impl Font {
    /// Reads a font.
    pub(super) fn load(opening: &mut Opening, document: &Document, dict: &Dict) -> Font {
        let to_text = document.get(dict, b"ToUnicode").is_some().then(|| {
            let place = document.item(dict, b"ToUnicode").and_then(|map| document.stream(map));
            place.map(|place| Cmap::read(&document.content(opening, place).data))
        });
        let to_text = to_text.flatten();
        if document.get(dict, b"Subtype").and_then(Object::name) == Some(b"Type0") {
            return composite(opening, document, dict, to_text);
        }
        let font = Simple {
            document,
            dict,
            descriptor: document.get(dict, b"FontDescriptor").and_then(Object::dict),
        };
        let height = font.height();
        Font { codes: Codes::Simple(font.table(opening, to_text.as_ref())), vertical: false, height }
    }

    /// The next glyph of a string that is not empty; its text goes into `out`.
    pub(super) fn next(&self, bytes: &[u8], out: &mut String) -> Glyph {
        match &self.codes {
            Codes::Simple(table) => {
                let code = bytes.first().copied().unwrap_or_default();
                let (text, width) = &table[usize::from(code)];
                out.push_str(text);
                Glyph { length: 1, width: *width, spaces: code == b' ' }
            }
            Codes::Composite(font) => font.next(bytes, out),
        }
    }
}

impl Composite {
    fn next(&self, bytes: &[u8], out: &mut String) -> Glyph {
        let two = bytes.len().clamp(1, 2);
        let value =
            |length: usize| bytes.iter().take(length).fold(0, |code, byte| code << 8 | u32::from(*byte));
        let (code, length) = match &self.script {
            Script::Identity | Script::Jis => (value(two), two),
            Script::Own(map) => map.next(bytes, 2),
            Script::Utf16 => {
                let length =
                    if matches!(bytes.first(), Some(0xd8..=0xdb)) { bytes.len().min(4) } else { two };
                (value(length), length)
            }
            Script::Listed(encoding) => {
                let single = *encoding == encoding_rs::SHIFT_JIS;
                let lone = |byte: u8| byte < 0x81 || single && matches!(byte, 0xa0..=0xdf);
                let length = if bytes.first().copied().is_some_and(lone) { 1 } else { two };
                (value(length), length)
            }
        };
        let told = self.to_text.as_ref().is_some_and(|map| map.text(code, out));
        if !told {
            self.script.text(&bytes[..length.min(bytes.len())], out);
        }
        let glyph = match &self.script {
            Script::Own(map) => map.glyph(code).unwrap_or(code),
            _ => code,
        };
        Glyph { length, width: self.width(glyph, length), spaces: length == 1 && code == 32 }
    }

    fn width(&self, glyph: u32, length: usize) -> f64 {
        if length == 1 && matches!(self.script, Script::Listed(_)) {
            return 0.5;
        }
        let behind = self.widths.partition_point(|(first, ..)| *first <= glyph);
        let range = self.widths[..behind].last().filter(|(_, last, _)| glyph <= *last);
        range.map_or(self.usual, |(.., width)| *width)
    }
}

impl Script {
    /// By the name of a CMap that every reader has (ISO 32000-1 table 118).
    fn of(name: &str) -> Script {
        let is = |part: &str| name.contains(part);
        match name {
            "H" | "V" => Script::Jis,
            _ if is("UCS2") || is("UTF16") => Script::Utf16,
            _ if is("RKSJ") => Script::Listed(encoding_rs::SHIFT_JIS),
            _ if is("GBK") || name.starts_with("GB") => Script::Listed(encoding_rs::GBK),
            _ if is("B5") || is("HKscs") => Script::Listed(encoding_rs::BIG5),
            _ if is("KSC") => Script::Listed(encoding_rs::EUC_KR),
            _ if name.starts_with("EUC") => Script::Listed(encoding_rs::EUC_JP),
            _ => Script::Identity,
        }
    }

    fn text(&self, code: &[u8], out: &mut String) {
        let decoded = |encoding: &'static encoding_rs::Encoding, code: &[u8], out: &mut String| {
            if let Some(text) = encoding.decode_without_bom_handling_and_without_replacement(code) {
                out.push_str(&text);
            }
        };
        match self {
            Script::Utf16 => decoded(encoding_rs::UTF_16BE, code, out),
            Script::Listed(encoding) => decoded(encoding, code, out),
            Script::Jis => {
                let high: Vec<u8> = code.iter().map(|byte| byte | 0x80).collect();
                decoded(encoding_rs::EUC_JP, &high, out);
            }
            Script::Identity | Script::Own(_) => {}
        }
    }
}

fn composite(opening: &mut Opening, document: &Document, dict: &Dict, to_text: Option<Cmap>) -> Font {
    let descendants = document.get(dict, b"DescendantFonts").and_then(Object::array);
    let descendant = descendants.and_then(<[Object]>::first).and_then(|one| document.resolve(one).dict());
    let (script, vertical) = match document.get(dict, b"Encoding") {
        Some(Object::Name(name)) => {
            let name = String::from_utf8_lossy(name);
            (Script::of(&name), name.ends_with('V'))
        }
        Some(Object::Dict(map)) => {
            let place = document.item(dict, b"Encoding").and_then(|map| document.stream(map));
            let own = place.map(|place| Cmap::read(&document.content(opening, place).data));
            let vertical = document.item(map, b"WMode").and_then(Object::count) == Some(1);
            (own.map_or(Script::Identity, Script::Own), vertical)
        }
        _ => (Script::Identity, false),
    };
    let usual =
        descendant.and_then(|font| document.get(font, b"DW")).and_then(number).unwrap_or(1000.0) / 1000.0;
    let listed = descendant.and_then(|font| document.get(font, b"W")).and_then(Object::array);
    let widths = listed.map(|listed| widths(document, listed)).unwrap_or_default();
    Font {
        codes: Codes::Composite(Box::new(Composite { script, to_text, widths, usual })),
        vertical,
        height: 1.0,
    }
}

/// Widths of numbered glyphs: `first [width …]` or `first last width`.
fn widths(document: &Document, listed: &[Object]) -> Vec<(u32, u32, f64)> {
    const MOST: usize = 1 << 16;
    let whole = |object: Option<&Object>| {
        object.and_then(|object| document.resolve(object).count()).and_then(|count| u32::try_from(count).ok())
    };
    let mut out = Vec::new();
    let mut at = 0;
    let mut left = MOST;
    while left > 0
        && let (Some(first), Some(second)) = (whole(listed.get(at)), listed.get(at + 1))
    {
        if let Some(each) = document.resolve(second).array() {
            let each = &each[..each.len().min(left)];
            for (glyph, width) in (u64::from(first)..).zip(each) {
                let width = number(document.resolve(width)).zip(u32::try_from(glyph).ok());
                out.extend(width.map(|(width, glyph)| (glyph, glyph, width / 1000.0)));
            }
            left -= each.len();
            at += 2;
        } else {
            let width = listed.get(at + 2).and_then(|width| number(document.resolve(width)));
            if let (Some(last), Some(width)) = (whole(Some(second)), width) {
                out.push((first, last, width / 1000.0));
            }
            at += 3;
        }
        left = left.saturating_sub(1);
    }
    out.sort_by_key(|(first, ..)| *first);
    out
}

/// A font with a byte for each code.
struct Simple<'d> {
    document: &'d Document,
    dict: &'d Dict,
    descriptor: Option<&'d Dict>,
}

/// What codes mean where nothing else is said.
enum Base {
    Listed(Encoding),
    /// Names of glyphs by code, as the font program has them.
    Own(Vec<(u8, String)>),
}

impl Simple<'_> {
    fn table(&self, opening: &mut Opening, to_text: Option<&Cmap>) -> Vec<(Box<str>, f64)> {
        let document = self.document;
        let name = document.get(self.dict, b"BaseFont").and_then(Object::name).unwrap_or_default();
        let name = String::from_utf8_lossy(name);
        let mut texts = self.encoded(opening, &name);
        let mut text = String::new();
        for (code, known) in (0u32..).zip(&mut texts) {
            text.clear();
            if to_text.is_some_and(|map| map.text(code, &mut text)) {
                known.clone_from(&text);
            }
        }
        let widths = document.get(self.dict, b"Widths").and_then(Object::array);
        let first = document.get(self.dict, b"FirstChar").and_then(Object::count).unwrap_or(0);
        let missing = self.descriptor.and_then(|descriptor| document.get(descriptor, b"MissingWidth"));
        let missing = missing.and_then(number).unwrap_or(0.0);
        let unit = self.unit();
        let width = |code: usize, text: &str| {
            let own = widths.and_then(|widths| widths.get(code.checked_sub(first)?));
            let own = own.and_then(|width| number(document.resolve(width)));
            let of_its_kind = || match widths {
                Some(_) => missing,
                None => encoding::width(&name, text.chars().next().unwrap_or(' ')),
            };
            own.unwrap_or_else(of_its_kind) * unit
        };
        let table = texts.into_iter().enumerate();
        table
            .map(|(code, text)| {
                let width = width(code, &text);
                (text.into_boxed_str(), width)
            })
            .collect()
    }

    /// What a unit of width is in sizes of the font: a thousandth, unless glyphs are drawn by the file itself.
    fn unit(&self) -> f64 {
        let unit = self.drawn().then(|| self.item(b"FontMatrix", 0)).flatten();
        unit.map_or(0.001, f64::abs)
    }

    fn height(&self) -> f64 {
        let heights = [self.item(b"FontBBox", 1), self.item(b"FontBBox", 3), self.item(b"FontMatrix", 3)];
        match heights {
            [Some(bottom), Some(top), Some(unit)] if self.drawn() => {
                let height = ((top - bottom) * unit).abs();
                if (0.01..100.0).contains(&height) { height } else { 1.0 }
            }
            _ => 1.0,
        }
    }

    fn drawn(&self) -> bool {
        self.document.get(self.dict, b"Subtype").and_then(Object::name) == Some(b"Type3")
    }

    /// A number of an array of the font.
    fn item(&self, key: &[u8], place: usize) -> Option<f64> {
        let items = self.document.get(self.dict, key).and_then(Object::array)?;
        number(self.document.resolve(items.get(place)?))
    }

    /// The texts of all codes by encoding and names of glyphs.
    fn encoded(&self, opening: &mut Opening, name: &str) -> Vec<String> {
        let document = self.document;
        let encoding = document.get(self.dict, b"Encoding");
        let listed = match encoding {
            Some(Object::Name(name)) => Encoding::of(name),
            Some(Object::Dict(dict)) => {
                document.get(dict, b"BaseEncoding").and_then(Object::name).and_then(Encoding::of)
            }
            _ => None,
        };
        let mut texts = vec![String::new(); 256];
        match listed.map_or_else(|| self.base(opening, name), Base::Listed) {
            Base::Listed(encoding) => {
                for (code, text) in (0..=u8::MAX).zip(&mut texts) {
                    text.extend(encoding.character(code));
                }
            }
            Base::Own(names) => {
                for (code, name) in names {
                    rename(&mut texts[usize::from(code)], name.as_bytes());
                }
            }
        }
        let differences = encoding.and_then(Object::dict).and_then(|dict| document.get(dict, b"Differences"));
        let mut code = 0usize;
        for item in differences.and_then(Object::array).unwrap_or_default() {
            match document.resolve(item) {
                Object::Name(name) => {
                    if let Some(text) = texts.get_mut(code) {
                        rename(text, name);
                    }
                    code = code.saturating_add(1);
                }
                other => code = other.count().unwrap_or(code),
            }
        }
        texts
    }

    fn base(&self, opening: &mut Opening, name: &str) -> Base {
        let plain = name.split_once('+').map_or(name, |(_, name)| name);
        if plain == "Symbol" || plain.starts_with("Symbol,") || plain == "SymbolMT" {
            return Base::Listed(Encoding::Symbol);
        }
        if plain == "ZapfDingbats" {
            return Base::Own(Vec::new());
        }
        let program = |opening: &mut Opening, key: &[u8]| {
            let place = self.document.stream(self.document.item(self.descriptor?, key)?)?;
            Some(self.document.content(opening, place).data)
        };
        if let Some(data) = program(opening, b"FontFile") {
            return type1(&data).map_or(Base::Listed(Encoding::Standard), Base::Own);
        }
        if let Some(names) = program(opening, b"FontFile3").and_then(|data| cff::encoding(&data)) {
            return Base::Own(names);
        }
        let is_true_type =
            self.document.get(self.dict, b"Subtype").and_then(Object::name) == Some(b"TrueType");
        Base::Listed(if is_true_type { Encoding::WinAnsi } else { Encoding::Standard })
    }
}

fn rename(text: &mut String, name: &[u8]) {
    text.clear();
    encoding::named(&String::from_utf8_lossy(name), text);
}

/// The names of glyphs by code in the clear beginning of a Type 1 font; None if it has the standard encoding, or none.
fn type1(program: &[u8]) -> Option<Vec<(u8, String)>> {
    /// Nobody needs more for 256 names.
    const LONGEST: usize = 64 << 10;
    let program = &program[..program.len().min(LONGEST)];
    let clear = &program[..memchr::memmem::find(program, b"eexec").unwrap_or(program.len())];
    let mut at = memchr::memmem::find(clear, b"/Encoding")? + b"/Encoding".len();
    let mut code = None;
    let mut found = Vec::new();
    while at < clear.len() {
        let mut room = 64;
        let mut parser = Parser::new(clear, at, &mut room);
        let object = parser.object();
        at = parser.at;
        match (object, code.take()) {
            (Some(Object::Name(name)), Some(code)) => {
                found.push((code, String::from_utf8_lossy(&name).into_owned()));
            }
            (Some(object), _) => code = object.count().and_then(|count| u8::try_from(count).ok()),
            (None, _) => {
                let length = clear[at..].iter().take_while(|byte| is_regular(**byte)).count();
                if matches!(&clear[at..at + length], b"def" | b"readonly" | b"StandardEncoding") {
                    break;
                }
                at += length.max(1);
            }
        }
    }
    (!found.is_empty()).then_some(found)
}

fn number(object: &Object) -> Option<f64> {
    if let Object::Number(number) = object { Some(*number).filter(|number| number.is_finite()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_in_type_1_fonts() {
        let font = b"%!PS-AdobeFont\n/Encoding 256 array\n0 1 255 {1 index exch /.notdef put} for\n\
            dup 65 /B put\ndup 11/ff put\nreadonly def\ndup 66 /C put\ncurrentfile eexec";
        assert_eq!(type1(font), Some(vec![(65, "B".to_owned()), (11, "ff".to_owned())]));
        for none in
            [&b"/Encoding StandardEncoding def dup 65 /B put"[..], b"", b"/Encoding ((((", b"/Encoding"]
        {
            assert_eq!(type1(none), None);
        }
    }

    #[test]
    fn codes_of_east_asia() {
        for (name, bytes, length, wanted) in [
            ("UniGB-UCS2-H", &b"\x4e\x2d\x4e"[..], 2, "中"),
            ("UniJIS-UTF16-H", b"\xd8\x40\xdc\x0b!", 4, "𠀋"),
            ("GBK-EUC-H", b"\xd6\xd0", 2, "中"),
            ("GBK-EUC-H", b"ab", 1, "a"),
            ("90ms-RKSJ-V", b"\x93\xfa", 2, "日"),
            ("90ms-RKSJ-V", b"\xb1\xb2", 1, "ｱ"),
            ("ETen-B5-H", b"\xa4\xa4", 2, "中"),
            ("KSCms-UHC-H", b"\xc7\xd1", 2, "한"),
            ("EUC-H", b"\xc6\xfc", 2, "日"),
            ("H", b"\x46\x7c", 2, "日"),
            ("Identity-H", b"\x00\x41", 2, ""),
            ("KSCms-UHC-H", b"\xc7", 1, ""),
        ] {
            let font = Composite { script: Script::of(name), to_text: None, widths: Vec::new(), usual: 1.0 };
            let mut out = String::new();
            assert_eq!((font.next(bytes, &mut out).length, out.as_str()), (length, wanted), "{name}");
        }
    }
}
