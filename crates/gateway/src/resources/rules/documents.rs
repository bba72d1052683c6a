//! What rules are told of attachments, out of a message of which everything is unpacked already.

use std::collections::{HashMap, HashSet};

use gatepost_mail::{FeatureKind, FileKind, Message, Origin, PartId};
use gatepost_rules::texts::{Document, Documents, Member};

/// Octets of text that are taken of one document.
const LONGEST: usize = 1 << 20;

/// The documents in a message: whatever something was taken out of.
pub fn documents(message: &Message) -> Documents {
    let (opened, coded) = (with(message, FeatureKind::PasswordInMail), with(message, FeatureKind::QrLink));
    let mut members: HashMap<PartId, Vec<Member>> = HashMap::new();
    for (_, part) in message.parts() {
        if let (Some(parent), Origin::Archive) = (part.parent, part.origin) {
            // With a word of the mail it could be opened; rules ask whether it has a password.
            let locked = part.encrypted || opened.contains(&parent);
            members.entry(parent).or_default().push(Member {
                name: part.name().unwrap_or_default().to_owned(),
                content: part.body.clone(),
                encrypted: locked,
            });
        }
    }
    let mut documents = Vec::new();
    for (id, part) in message.parts().filter(|(_, part)| !part.container) {
        let members = members.remove(&id).unwrap_or_default();
        let text = super::text::of(&members, part, LONGEST);
        let text = text.or_else(|| message.text_of(id).map(str::to_owned));
        let is_coded = part.detected.kind == FileKind::Image && coded.contains(&id);
        let code = is_coded.then(|| code(message, id));
        if !members.is_empty() || text.is_some() || code.is_some() {
            documents.push(Document { content: part.body.clone(), members, text, code });
        }
    }
    Documents(documents)
}

/// The parts that have a feature.
fn with(message: &Message, kind: FeatureKind) -> HashSet<PartId> {
    message.features.iter().filter(|feature| feature.kind == kind).map(|feature| feature.part).collect()
}

/// The links in the codes of a picture.
fn code(message: &Message, id: PartId) -> String {
    let links = message.links.iter().filter(|link| link.part == id);
    links.map(|link| format!("QR-Code:{}\n", link.url)).collect()
}

#[cfg(test)]
mod tests {
    use gatepost_mail::Limits;

    use super::*;

    /// A zip of members that are stored as they are.
    fn zip(members: &[(&str, &[u8], bool)]) -> Vec<u8> {
        let (mut out, mut directory) = (Vec::new(), Vec::new());
        for (name, content, encrypted) in members {
            let at = out.len() as u32;
            // The sum of what is encrypted is not that of what lies there.
            let crc = (crc32(content) ^ u32::from(*encrypted)).to_le_bytes();
            let size = (content.len() as u32).to_le_bytes();
            let name_length = (name.len() as u16).to_le_bytes();
            let flags = u16::from(*encrypted).to_le_bytes();
            let common = [&flags[..], &[0; 6], &crc, &size, &size, &name_length, &[0; 2]].concat();
            directory.extend([&b"PK\x01\x02\x14\0\x14\0"[..], &common, &[0; 10], &at.to_le_bytes()].concat());
            directory.extend(name.bytes());
            out.extend([&b"PK\x03\x04\x14\0"[..], &common, name.as_bytes(), content].concat());
        }
        let count = (members.len() as u16).to_le_bytes();
        let (size, at) = ((directory.len() as u32).to_le_bytes(), (out.len() as u32).to_le_bytes());
        [&out[..], &directory, b"PK\x05\x06\0\0\0\0", &count, &count, &size, &at, &[0; 2]].concat()
    }

    fn crc32(content: &[u8]) -> u32 {
        let bit = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        let octet = |crc: u32, octet: &u8| (0..8).fold(crc ^ u32::from(*octet), |crc, _| bit(crc));
        !content.iter().fold(u32::MAX, octet)
    }

    #[test]
    fn members_and_texts_are_handed_over() {
        let word = b"<w:document><w:p><w:t>Pay &amp; win</w:t></w:p></w:document>";
        let inner = zip(&[("[Content_Types].xml", b"<Types/>", false), ("word/document.xml", word, false)]);
        let outer = zip(&[("a.docx", &inner, false), ("b.docm", b"0123456789abcdef", true)]);
        let hex: String = outer.iter().map(|octet| format!("={octet:02X}")).collect();
        let lines: Vec<&str> =
            hex.as_bytes().chunks(72).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let mail = format!(
            "Content-Type: application/zip; name=a.zip\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{}",
            lines.join("=\r\n")
        );
        let Documents(found) = documents(&gatepost_unpack::read(mail.into(), &Limits::default()));
        let of = |content: &[u8]| found.iter().find(|one| one.content == content).expect("the document");
        let names: Vec<(&str, bool)> =
            of(&outer).members.iter().map(|member| (member.name.as_str(), member.encrypted)).collect();
        assert_eq!(names, [("a.docx", false), ("b.docm", true)]);
        let document = of(&inner);
        assert_eq!(document.members.len(), 2);
        assert_eq!(&document.members[1].content[..], word);
        assert_eq!(document.text.as_deref(), Some("Pay & win\n"));
    }
}
