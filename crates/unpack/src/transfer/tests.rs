//! Answers that lie.

use super::*;
use gatepost_mail::Limits;

/// A mail with a tar archive that holds one file; whatever it says, the answer may only add to it.
fn reading() -> Reading {
    let mut header = [0_u8; 512];
    header[..5].copy_from_slice(b"a.txt");
    header[124..135].copy_from_slice(b"00000000003");
    header[156] = b'0';
    header[257..263].copy_from_slice(b"ustar\0");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let head = "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nhello\r\n--x\r\n\
                Content-Transfer-Encoding: binary\r\nContent-Type: application/x-tar; name=a.tar\r\n\r\n";
    let mut body = [0; 1024];
    body[..3].copy_from_slice(b"abc");
    let mail = [head.as_bytes(), &header, &body, b"\r\n--x--\r\n"].concat();
    let reading = Reading::mail(mail.into(), &Limits { parts: 10, ..Limits::default() });
    assert!(!reading.is_done() && reading.message.parts.len() == 3);
    reading
}

/// A part of an answer.
fn part(parent: usize, depth: u32, body: Place) -> impl Fn(&mut Writer) {
    move |table: &mut Writer| {
        table.size(parent + 1);
        table.number(depth.into());
        table.size(1);
        table.flags([false; 5]);
        table.texts(&["b\r\n.exe".to_owned()]);
        table.text("");
        table.size(0);
        table.place((0, 0));
        table.size(0);
        table.place(body);
    }
}

type Place = (u64, u64);

impl Reading {
    fn take_within(mut self, left: &Limits, sent: &Parcel, table: &[u8]) -> Result<(), Garbled> {
        self.left = left.clone();
        self.take(sent, Bytes::new(), table)
    }
}

/// Takes an answer of `parts`, with whatever is told of them; what is there afterwards.
fn answer(
    changes: &[(usize, [bool; 5], &[&str])],
    parts: &[&dyn Fn(&mut Writer)],
    rest: &[usize],
) -> (Reading, Result<(), Garbled>) {
    let mut reading = reading();
    let mut table = Writer::default();
    table.size(changes.len());
    for (at, flags, names) in changes {
        table.size(*at);
        table.flags(*flags);
        table.texts(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    }
    table.size(parts.len());
    parts.iter().for_each(|part| part(&mut table));
    rest.iter().for_each(|number| table.size(*number));
    let sent = reading.parcel();
    let taken = reading.take(&sent, Bytes::from_static(b"0123456789"), &table.bytes);
    (reading, taken)
}

const NOTHING: &[usize] = &[0, 0, 0, 0];

#[test]
fn an_answer_that_claims_too_much_is_not_taken() {
    let long = reading().parcel().area_len() as u64;
    let good = part(2, 2, (long, 10));
    let all = part(2, 2, (0, long));
    let many: Vec<&dyn Fn(&mut Writer)> = vec![&good; 11];
    let (taken, result) = answer(&[], &[&good], NOTHING);
    assert_eq!(result, Ok(()));
    assert_eq!(taken.message.parts[3].body, "0123456789");
    assert_eq!(taken.message.parts[3].names, ["b__.exe"]);
    assert!(answer(&[], &[&all], NOTHING).1.is_ok());
    for (parts, rest, why) in [
        (&[&part(9, 2, (0, 1)) as &dyn Fn(&mut Writer)][..], NOTHING, "a part before its parent"),
        (&[&part(3, 2, (0, 1))], NOTHING, "a part before its parent"),
        (&[&part(usize::MAX - 1, 2, (0, 1))], NOTHING, "a part before its parent"),
        (&[&part(2, 1, (0, 1))], NOTHING, "a part that is not one deeper than its parent"),
        (&[&part(2, u32::MAX, (0, 1))], NOTHING, "a part that is not one deeper than its parent"),
        (&[&part(2, 2, (long, 11))], NOTHING, "a content outside its area"),
        (&[&part(2, 2, (long - 1, 2))], NOTHING, "a content outside its area"),
        (&[&part(2, 2, (u64::MAX, u64::MAX))], NOTHING, "a content outside its area"),
        (&many, NOTHING, "more parts than reading.parts"),
        (&[&good], &[0, 0, 0, 0, 0], "something behind the end"),
        (&[&good], &[0, 0, 0, 1, 4, 0, 0], "a place behind the end of its list"),
        (&[&good], &[0, 0, 0, 1, 0, 0, 5], "more text than was asked for"),
        (&[&good], &[0, 0, 0, 1, 0, 0, usize::MAX], "a content outside its area"),
        (&[&good], &[0, 0], "a table that ends early"),
        (&[&good], &[1, 0, 4, 0, 0, 0], "a place behind the end of its list"),
        (&[&good], &[1, 1000, 0, 0, 0, 0], "a place behind the end of its list"),
        (&[&good], &[usize::MAX], "a list longer than its table"),
    ] {
        let (untouched, result) = answer(&[(2, [true, true, false, false, false], &["x"])], parts, rest);
        assert_eq!(result, Err(Garbled(why)));
        assert_eq!(format!("{:?}", untouched.message), format!("{:?}", reading().message));
    }
}

/// Parts may share their bytes, but not without end: each is looked at.
#[test]
fn contents_do_not_add_up_to_more_than_unpacking_could_make() {
    let mut reading = reading();
    reading.left = Limits { bytes: 0, parts: 1000, ..Limits::default() };
    let sent = reading.parcel();
    let long = sent.area_len() as u64;
    for (parts, whole) in [(18, true), (19, false)] {
        let mut table = Writer::default();
        table.size(0);
        table.size(parts);
        (0..parts).for_each(|_| part(2, 2, (0, long))(&mut table));
        NOTHING.iter().for_each(|zero| table.size(*zero));
        // One reading for each depth, and not one more.
        assert_eq!(self::reading().take_within(&reading.left, &sent, &table.bytes).is_ok(), whole, "{parts}");
    }
}

/// What was read before stays: an answer adds.
#[test]
fn an_answer_can_take_nothing_back() {
    const CONTAINER: [bool; 5] = [true, false, true, false, false];
    let (taken, result) = answer(
        &[(2, CONTAINER, &["more\n.zip"]), (1, [false, true, false, false, false], &[])],
        &[],
        NOTHING,
    );
    assert_eq!(result, Ok(()));
    let parts = &taken.message.parts;
    assert_eq!((parts[2].container, parts[2].detected), (false, FileType::TAR));
    assert_eq!(parts[2].names, ["a.tar", "more_.zip"]);
    assert!(parts[1].encrypted);
    assert_eq!(
        answer(&[(3, CONTAINER, &[])], &[], NOTHING).1,
        Err(Garbled("a place behind the end of its list"))
    );
}

/// A table cut off anywhere, and one with any byte changed, makes a value or an error; nothing else.
#[test]
fn tables_that_are_cut_or_changed() {
    let reading = reading();
    let sent = reading.parcel();
    let area = Bytes::from(sent.pieces.concat());
    let there = Reading::from_parcel(area.clone(), &sent.table).expect("what was sent");
    let back = there.finish_to_parcel(&area);
    for end in 0..sent.table.len() {
        assert!(Reading::from_parcel(area.clone(), &sent.table[..end]).is_err(), "{end}");
    }
    for at in 0..sent.table.len() {
        for bit in 0..8 {
            let mut table = sent.table.clone();
            table[at] ^= 1 << bit;
            let _ = Reading::from_parcel(area.clone(), &table);
        }
    }
    for at in 0..back.table.len() {
        for bit in 0..8 {
            let mut table = back.table.clone();
            table[at] ^= 1 << bit;
            let mut reading = self::reading();
            let _ = reading.take(&sent, Bytes::from(back.pieces.concat()), &table);
            reading.message.parts().for_each(|(id, _)| drop(reading.message.path(id)));
        }
    }
}
