//! Messages of Outlook in files of their own (MS-OXMSG): a compound file with a storage for each attachment, and a stream
//! for each property. Messages in messages are storages in storages, so all of them are found in one walk.

use std::collections::BTreeMap;

use bytes::Bytes;
use gatepost_mail::{DefectKind, FileType};
use memchr::memmem;

use super::{attachment_names, narrow, property, rtf};
use crate::cfb::{Cfb, Entry, MAGIC};
use crate::disk::volume::joined;
use crate::fields::utf16_le;
use crate::names;
use crate::opening::{Member, Opening, Stop};
use crate::pieces;

/// Whether this is a message of Outlook: a compound file with a stream of properties.
pub(crate) fn is(body: &[u8], _detected: FileType) -> bool {
    const PROPERTIES: &str = "__properties_version1.0";
    if !body.starts_with(MAGIC) {
        return false;
    }
    let wide: Vec<u8> = PROPERTIES.encode_utf16().flat_map(u16::to_le_bytes).collect();
    memmem::find(body, &wide).is_some()
}

/// Opens a message.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let (cfb, defects) = Cfb::parse(&opening.body);
    for (kind, detail) in defects {
        opening.defective(kind, detail);
    }
    // Streams by the storage that they are in.
    let mut storages: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in cfb.entries().iter().filter(|entry| !entry.storage) {
        let folder = entry.path.strip_suffix(entry.name.as_str()).unwrap_or("");
        storages.entry(folder.strip_suffix('/').unwrap_or(folder)).or_default().push(entry);
    }
    for (path, streams) in &storages {
        opening.check_time()?;
        let mut storage = Storage { cfb: &cfb, streams, opening };
        let last = path.rsplit('/').next().unwrap_or_default();
        if last.starts_with("__attach_version1.0_") {
            storage.attachment(path)?;
        } else if last.is_empty() || last.starts_with("__substg1.0_3701") {
            storage.message(path)?;
        } else if !last.starts_with("__recip_version1.0_") && !last.starts_with("__nameid_version1.0") {
            storage.object(path)?;
        }
    }
    Ok(())
}

/// One storage: a message, an attachment, or something of another program.
struct Storage<'a, 'b, 'c> {
    cfb: &'a Cfb,
    streams: &'a [&'a Entry],
    opening: &'b mut Opening<'c>,
}

/// Types of properties (MS-OXCDATA 2.11.1).
const NARROW: &str = "001E";
const WIDE: &str = "001F";
const BINARY: &str = "0102";

impl Storage<'_, '_, '_> {
    fn stream(&self, id: u16, kind: &str) -> Option<&Entry> {
        let name = format!("__substg1.0_{id:04X}{kind}");
        self.streams.iter().find(|entry| entry.name.eq_ignore_ascii_case(&name)).copied()
    }

    /// A property's text.
    fn text(&mut self, id: u16) -> Option<String> {
        if let Some(entry) = self.stream(id, WIDE).cloned() {
            return Some(utf16_le(&self.cfb.read(&entry, self.opening).body));
        }
        let entry = self.stream(id, NARROW).cloned()?;
        Some(narrow(&self.cfb.read(&entry, self.opening).body))
    }

    /// The bodies of a message, in each form that it has, and the header that it came with.
    fn message(&mut self, path: &str) -> Result<(), Stop> {
        if !self.streams.iter().any(|entry| entry.name.starts_with("__properties_version1.0")) {
            return self.object(path);
        }
        for (id, name) in
            [(property::BODY, "body.txt"), (property::HTML, "body.html"), (property::HEADER, "header.txt")]
        {
            if let Some(entry) = self.stream(id, WIDE).cloned() {
                let content = self.cfb.read(&entry, self.opening).body;
                pieces::made(self.opening, vec![name.into()], utf16_le(&content).into_bytes())?;
            } else if let Some(entry) = self.stream(id, NARROW).or_else(|| self.stream(id, BINARY)).cloned() {
                self.hand_over(&entry, vec![name.into()])?;
            }
        }
        if let Some(entry) = self.stream(property::RTF, BINARY).cloned() {
            let packed: Bytes = self.cfb.read(&entry, self.opening).body;
            rtf(self.opening, &packed)?;
        }
        Ok(())
    }

    fn attachment(&mut self, path: &str) -> Result<(), Stop> {
        let mut all = Vec::new();
        for id in [
            property::LONG_NAME,
            property::FILE_NAME,
            property::LONG_PATH,
            property::PATH,
            property::DISPLAY_NAME,
        ] {
            all.push((id, self.text(id)));
        }
        let all = attachment_names(|id| all.iter().find(|(known, _)| *known == id)?.1.clone());
        if let Some(entry) = self.stream(property::DATA, BINARY).cloned() {
            return self.hand_over(&entry, all);
        }
        // A message or an object is a storage of its own below; by its name alone the attachment is told of.
        let below = joined(path, "__substg1.0_3701000D");
        if !self.cfb.entries().iter().any(|entry| entry.storage && entry.path.eq_ignore_ascii_case(&below)) {
            self.opening.member(Member { names: all, ..Member::default() })?;
        }
        Ok(())
    }

    /// Something that another program embedded: all its streams.
    fn object(&mut self, path: &str) -> Result<(), Stop> {
        for entry in self.streams {
            let name = names::clean(&joined(path.rsplit('/').next().unwrap_or_default(), &entry.name));
            self.hand_over(entry, vec![name])?;
        }
        Ok(())
    }

    fn hand_over(&mut self, entry: &Entry, all: Vec<String>) -> Result<(), Stop> {
        stream(self.opening, self.cfb, entry, all)
    }
}

/// Hands over a stream of a compound file.
pub(crate) fn stream(opening: &mut Opening, cfb: &Cfb, entry: &Entry, all: Vec<String>) -> Result<(), Stop> {
    let read = cfb.read(entry, opening);
    let unread = read.body.is_empty() && (read.over.is_some() || read.broken.is_some());
    let id = opening.member(Member { names: all, body: read.body, unread, ..Member::default() })?;
    if let Some(detail) = read.broken {
        opening.defect(DefectKind::BadArchive, id, detail);
    }
    if let Some(limit) = read.over {
        opening.over(limit, Some(id));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use gatepost_mail::{Limits, Message};

    use crate::cfb::tests::compose;
    use crate::{Format, read_file};

    fn wide(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    fn opened(streams: &[(&str, &[u8])]) -> Message {
        read_file(compose(streams).into(), None, &Limits::default())
    }

    fn listed(message: &Message) -> Vec<String> {
        let show = |part: &gatepost_mail::Part| {
            let body = String::from_utf8_lossy(&part.body[..part.body.len().min(12)]).into_owned();
            format!("{}={body}", part.names.join("|"))
        };
        let mut list: Vec<String> = message.parts[1..].iter().map(show).collect();
        list.sort();
        list
    }

    /// Text in both widths, an attachment with three names, a message in the message, and an object.
    #[test]
    fn bodies_attachments_and_inner_messages() {
        let big = vec![b'x'; 5000];
        let (body, header) = (wide("Grüße\0"), wide("From: a@example.org\r\n"));
        let (long, inner) = (wide("invoice.pdf.exe"), wide("inner text"));
        let message = opened(&[
            ("__properties_version1.0", b"0123"),
            ("__substg1.0_1000001F", &body),
            ("__substg1.0_10130102", b"<html>"),
            ("__substg1.0_10090102", b"\x10\0\0\0\x03\0\0\0MELA\0\0\0\0{r}"),
            ("__substg1.0_007D001F", &header),
            ("__recip_version1.0_#00000000/__substg1.0_3001001E", b"somebody"),
            ("__attach_version1.0_#00000000/__substg1.0_37010102", &big),
            ("__attach_version1.0_#00000000/__substg1.0_3707001F", &long),
            ("__attach_version1.0_#00000000/__substg1.0_3704001E", b"INVOIC~1.EXE\0"),
            ("__attach_version1.0_#00000000/__properties_version1.0", b"x"),
            ("__attach_version1.0_#00000001/__substg1.0_3701000D/__properties_version1.0", b"x"),
            ("__attach_version1.0_#00000001/__substg1.0_3701000D/__substg1.0_1000001F", &inner),
            (
                "__attach_version1.0_#00000001/__substg1.0_3701000D/__attach_version1.0_#00000000/__substg1.0_37010102",
                b"MZ deep",
            ),
            ("__attach_version1.0_#00000002/__substg1.0_3701000D/CONTENTS", b"an object"),
            ("__attach_version1.0_#00000003/__substg1.0_3001001E", b"only a name"),
        ]);
        assert_eq!(
            listed(&message),
            [
                "=MZ deep",
                "__substg1.0_3701000D/CONTENTS=an object",
                "body.html=<html>",
                "body.rtf={r}",
                "body.txt=Grüße",
                "body.txt=inner text",
                "header.txt=From: a@exam",
                "invoice.pdf.exe|INVOIC~1.EXE=xxxxxxxxxxxx",
                "only a name=",
            ]
        );
        assert_eq!(message.defects, []);
    }

    #[test]
    fn other_compound_files_are_no_messages() {
        let message = opened(&[("WordDocument", b"x"), ("1Table", b"y")]);
        assert!(!Format::of(&message.parts[0]).contains(&Format::Msg));
    }
}
