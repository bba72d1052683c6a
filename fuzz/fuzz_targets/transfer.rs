//! What a worker that was taken over may answer, whatever it is: no panic, nothing taken back, no more than the limits allow.
//! The first two bytes say where the table ends that is read, and the rest is the area.
#![no_main]

use std::sync::OnceLock;

use gatepost_mail::Limits;
use gatepost_unpack::Reading;
use gatepost_unpack::transfer::Parcel;
use libfuzzer_sys::fuzz_target;

/// A mail with a zip archive that is none, so that something is left to unpack.
const MAIL: &[u8] = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nhello\r\n--x\r\nContent-Type: \
    application/zip; name=a.zip\r\nContent-Transfer-Encoding: binary\r\n\r\nPK\x03\x04 and so on\r\n--x--\r\n";

fn reading() -> Reading {
    let limits = Limits { depth: 4, parts: 64, bytes: 1 << 20, texts: 100, ..Limits::default() };
    Reading::mail(MAIL.into(), &limits)
}

fuzz_target!(|data: &[u8]| {
    static SENT: OnceLock<Parcel> = OnceLock::new();
    let sent = SENT.get_or_init(|| reading().parcel());
    let Some((size, rest)) = data.split_first_chunk::<2>() else { return };
    let (table, area) = rest.split_at(usize::from(u16::from_le_bytes(*size)).min(rest.len()));
    let mut reading = reading();
    let before = 3;
    if reading.take(sent, area.to_vec().into(), table).is_ok() {
        let message = reading.into_message();
        assert!(message.parts.len() >= before && message.parts.len() <= before + 64);
        for (id, part) in message.parts() {
            assert!(part.parent.is_none_or(|parent| parent < id));
            message.path(id);
        }
        assert!(message.texts.iter().map(|told| told.text.len()).sum::<usize>() <= 100);
        for defect in &message.defects {
            assert!(defect.part.0 < message.parts.len());
        }
    }
    let _ = Reading::from_parcel(area.to_vec().into(), table).map(|there| there.into_message().parts.len());
});
