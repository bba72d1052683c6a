//! Content after DATA and in BDAT chunks: chunks make no difference, and what is sent on has one end for any reader.
#![no_main]

use bytes::BytesMut;
use gatepost_wire::smtp::{BdatDecoder, DataDecoder, Stray, StrayReport, Stuffer, from_unix, normalize};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&first, input)) = input.split_first() else { return };
    let (limit, step) = (u64::from(first >> 4) * 100, usize::from(first & 15) + 1);
    let whole = data(input, input.len().max(1), limit);
    assert!(whole.1.len() as u64 <= limit);
    assert_eq!(data(input, step, limit), whole);

    let ended = [input, b"\r\n.\r\n"].concat();
    sent_on(&data(&ended, step, u64::MAX).1);
    bdat(input, step);
    let _ = from_unix(input);
});

fn data(input: &[u8], step: usize, limit: u64) -> (bool, Vec<u8>, Vec<u8>, StrayReport) {
    let (mut decoder, mut buf, mut out) =
        (DataDecoder::new(limit, Stray::Refuse), BytesMut::new(), Vec::new());
    let mut ended = false;
    for chunk in input.chunks(step) {
        buf.extend_from_slice(chunk);
        ended = ended || decoder.decode(&mut buf, &mut out);
        assert!(ended || buf.is_empty());
    }
    (ended, out, buf.to_vec(), decoder.report().clone())
}

/// Stuffed again, content holds no line of one dot but the end, whatever a reader takes for a line's end.
fn sent_on(content: &[u8]) {
    let (mut stuffer, mut wire) = (Stuffer::new(), Vec::new());
    for chunk in content.chunks(7) {
        stuffer.stuff(chunk, &mut wire);
    }
    stuffer.finish(&mut wire);
    let (ended, again, rest, _) = data(&wire, 5, u64::MAX);
    assert!(ended && rest.is_empty() && again == content);
    wire.retain(|octet| *octet != 0);
    assert_eq!(wire.split(|b| *b == b'\n' || *b == b'\r').filter(|line| *line == b".").count(), 1);
}

fn bdat(input: &[u8], step: usize) {
    let (mut decoder, mut out) = (BdatDecoder::new(u64::MAX, Stray::Normalize), Vec::new());
    for chunk in input.chunks(step) {
        decoder.begin(chunk.len() as u64);
        assert!(decoder.decode(&mut BytesMut::from(chunk), &mut out));
    }
    decoder.finish(&mut out);
    let (expected, report) = normalize(input, Stray::Normalize);
    assert_eq!(out, expected.as_ref());
    assert_eq!(decoder.report(), &report);
    let (again, report) = normalize(&out, Stray::Normalize);
    assert_eq!((again.as_ref(), report.bare_lf, report.bare_cr), (&out[..], 0, 0));
}
