//! Documents of Word up to 2003 (MS-DOC): fields that ask other programs for data.

use std::ops::Range;

use gatepost_mail::Budget;
use gatepost_unpack::fields::u16_le;
use gatepost_unpack::layout::text_pieces;

use super::ooxml::is_dde;
use crate::Unreadable;

/// The name of the stream that says where the text is.
pub(super) fn table(body: &[u8]) -> Result<&'static str, Unreadable> {
    const ENCRYPTED: u16 = 0x0100;
    const OTHER_TABLE: u16 = 0x0200;
    let flags = u16_le(body, 10).ok_or(Unreadable::Malformed("a document without a header"))?;
    if flags & ENCRYPTED != 0 {
        return Err(Unreadable::Encrypted);
    }
    Ok(if flags & OTHER_TABLE != 0 { "1Table" } else { "0Table" })
}

/// A field: its instruction, and where its characters stand.
#[derive(Default)]
struct Field {
    text: String,
    places: Vec<Range<usize>>,
    result: bool,
    nested: bool,
}

/// The document without such fields: spaces stand in the place of their instructions. None if there are none.
pub(super) fn cleaned(
    body: &[u8],
    table: Option<&[u8]>,
    budget: &Budget,
) -> Result<Option<Vec<u8>>, Unreadable> {
    let mut out = body.to_vec();
    match table.and_then(|table| text_pieces(body, table)) {
        Some(pieces) => {
            let mut fields = Vec::new();
            for (range, wide) in pieces {
                budget.check_time()?;
                scan(body, range, wide, &mut fields, &mut out);
            }
        }
        None => {
            scan(body, 0..body.len(), false, &mut Vec::new(), &mut out);
            scan(body, 0..body.len(), true, &mut Vec::new(), &mut out);
        }
    }
    Ok((out != body).then_some(out))
}

/// Looks through a piece of text: fields begin with 19, their results with 20, and they end with 21 (2.8.25).
fn scan(body: &[u8], range: Range<usize>, wide: bool, fields: &mut Vec<Field>, out: &mut [u8]) {
    const LONGEST: usize = 8192;
    const DEEPEST: usize = 32;
    let size = if wide { 2 } else { 1 };
    let mut at = range.start;
    while at + size <= range.end {
        if fields.iter().all(|field| field.result) {
            // Outside of instructions nothing matters but marks.
            let next = memchr::memchr3(19, 20, 21, &body[at..range.end]);
            let Some(next) = next else { return };
            at += next / size * size;
        }
        let place = at..at + size;
        at += size;
        if place.end > range.end {
            return;
        }
        let code =
            if wide { u16_le(body, place.start).unwrap_or_default() } else { body[place.start].into() };
        match code {
            19 if fields.len() < DEEPEST => {
                fields.iter_mut().filter(|field| !field.result).for_each(|field| field.nested = true);
                fields.push(Field::default());
            }
            20 => fields.last_mut().into_iter().for_each(|field| field.result = true),
            21 => {
                let Some(field) = fields.pop() else { continue };
                let hides = field.nested && field.text.trim_start().to_ascii_uppercase().starts_with("QUOTE");
                if is_dde(&field.text) || hides {
                    for place in field.places {
                        out[place.clone()].fill(0);
                        out[place.start] = b' ';
                    }
                }
            }
            code => {
                for field in fields.iter_mut().filter(|field| !field.result && field.text.len() < LONGEST) {
                    field.text.push(char::from_u32(code.into()).unwrap_or(char::REPLACEMENT_CHARACTER));
                    field.places.push(place.clone());
                }
            }
        }
    }
}
