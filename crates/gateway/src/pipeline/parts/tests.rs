//! What is done with contents, and what verdicts make of what came of it.

use gatepost_mail::{Action, Bounce, Budget, Category, FileType, Finding, Points, Reply, Treated, Treatment};

use super::*;

fn message() -> Message {
    let raw = "From: a@a.test\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n\
        --x\r\nContent-Type: text/html\r\n\r\n<p>Hello</p><script>alert(1)</script><form>\r\n\
        --x\r\nContent-Type: text/html; charset=utf-7\r\n\r\n<p>Seven+AKM-</p>\r\n\
        --x\r\nContent-Type: application/octet-stream; name=a.bin\r\n\r\nMZ\r\n--x--\r\n";
    Message::read(raw.into(), &mut Budget::new(&Limits::default()))
}

fn verdict(edits: Vec<Edit>, treated: &[(usize, Treatment)]) -> Verdict {
    let treated = treated.iter().map(|(part, how)| Treated {
        part: PartId(*part),
        how: how.clone(),
        note: String::new(),
        findings: vec![0],
    });
    Verdict {
        recipients: Vec::new(),
        policy: "default".into(),
        category: Category::Clean,
        score: Points::ZERO,
        weighed: Vec::new(),
        action: Action::Deliver,
        keep: false,
        edits,
        treated: treated.collect(),
        extension: None,
        reply: Reply::new(250, "2.0.0", "Ok"),
        reason: String::new(),
        bounce: Bounce::None,
    }
}

fn clean(part: usize) -> Edit {
    Edit::CleanPart { part: PartId(part), text: "gone".into() }
}

fn defang(part: usize, what: &[Defang]) -> Edit {
    Edit::DefangPart { part: PartId(part), what: what.to_vec() }
}

/// Does all that is asked for, without reading it again.
fn all_done(mut verdict: Verdict) -> (String, String, bool) {
    let message = message();
    let finding = Finding::part("MACRO", PartId(1), "");
    let found = Found::from(vec![finding]);
    while let Some((at, asked)) = Asked::first(&message, &found, &verdict) {
        let came = asked.done(message.part(asked.part), &Limits::default());
        settle(&mut verdict, at, &asked, came);
    }
    let edits = verdict.edits.iter().map(|edit| match edit {
        Edit::RewritePart { part, body } => {
            format!("{}: {}", part.0, String::from_utf8_lossy(body).trim_end())
        }
        Edit::ReplacePart { part, text } => format!("{}= {}", part.0, text.trim_end()),
        Edit::RenamePart { part, name } => format!("{}> {name}", part.0),
        other => format!("{other:?}"),
    });
    let edits = edits.collect::<Vec<_>>().join("; ");
    let treated = verdict.treated.iter().map(|treated| format!("{} {treated}", treated.part.0));
    (edits, treated.collect::<Vec<_>>().join("; "), verdict.takes_out())
}

#[test]
fn what_verdicts_ask_for_is_done() {
    use Defang::{Forms, Frames, Scripts};
    use Treatment::{Cleaned, Defanged, Renamed};
    let page = "<p>Hello</p><script>alert(1)</script>";
    let rename = || Edit::RenamePart { part: PartId(3), name: "b".into() };
    for (edits, treated, made, told, takes_out) in [
        // What was there, and what was not.
        (
            vec![defang(1, &[Scripts, Forms, Frames])],
            vec![(1, Defanged(vec![Scripts, Forms, Frames]))],
            "1: <p>Hello</p>",
            "1 defanged: scripts, forms",
            false,
        ),
        (vec![defang(1, &[Frames])], vec![(1, Defanged(vec![Frames]))], "", "", false),
        // What cannot be read is its text.
        (
            vec![defang(2, &[Scripts])],
            vec![(2, Defanged(vec![Scripts]))],
            "2= Seven£",
            "2 replaced (its HTML could not be defanged: nothing can be taken out of pages in UTF-7)",
            true,
        ),
        // A page that is cleaned.
        (vec![clean(1)], vec![(1, Cleaned)], "1: <p>Hello</p>", "1 cleaned", true),
        // Both: one content comes of it.
        (
            vec![clean(1), defang(1, &[Frames, Scripts])],
            vec![(1, Cleaned), (1, Defanged(vec![Frames, Scripts]))],
            "1: <p>Hello</p>",
            "1 cleaned",
            true,
        ),
        // What cannot be cleaned is replaced, and needs no other name.
        (
            vec![clean(3), rename()],
            vec![(3, Cleaned), (3, Renamed("b".into()))],
            "3= gone",
            "3 replaced (could not be cleaned: nothing can be taken out of what is no document)",
            true,
        ),
        (
            vec![rename(), clean(2), defang(2, &[Scripts])],
            vec![(3, Renamed("b".into())), (2, Cleaned), (2, Defanged(vec![Scripts]))],
            "3> b; 2= gone",
            "3 renamed to b; 2 replaced (its HTML could not be defanged: nothing can be taken out of pages in UTF-7)",
            true,
        ),
    ] {
        let case = format!("{edits:?}");
        let (was_made, was_told, took_out) = all_done(verdict(edits, &treated));
        let was_made = was_made.replace("\r\n", "");
        assert!(!was_made.contains(page), "{case}");
        assert_eq!((was_made.as_str(), was_told.as_str(), took_out), (made, told, takes_out), "{case}");
    }
}

#[test]
fn symbols_that_are_asked_about_again_are_those_of_the_part() {
    let verdict = verdict(vec![clean(1)], &[(1, Treatment::Cleaned)]);
    let found = Found::from(vec![Finding::part("MACRO", PartId(1), "x")]);
    let (at, asked) = Asked::first(&message(), &found, &verdict).expect("something asked");
    assert_eq!((at, asked.part), (0, PartId(1)));
    assert_eq!(asked.what, What::Clean { text: "gone".into(), symbols: vec!["MACRO".into()] });
    // An encrypted part is not even tried.
    let locked =
        Part { encrypted: true, ..Part::new(PartId(0), 1, gatepost_mail::Origin::Mime, Bytes::new()) };
    assert_eq!(locked.detected, FileType::detect(b""));
    assert!(
        matches!(asked.done(&locked, &Limits::default()), Came::Failed { why, .. } if why.contains("encrypted"))
    );
}

#[test]
fn what_would_stay_is_not_sent_on() {
    let message = message();
    let wrap = Edit::Wrap { text: "x".into() };
    let text = Edit::AddText { text: "x".into(), html: String::new(), place: gatepost_mail::Place::Top };
    for (edit, cannot) in [
        (Edit::ReplacePart { part: PartId(1), text: "x".into() }, false),
        (Edit::ReplacePart { part: PartId(99), text: "x".into() }, true),
        (Edit::RenamePart { part: PartId(99), name: "x".into() }, true),
        (Edit::RewritePart { part: PartId(0), body: Bytes::new() }, true),
        // Nobody has looked into it.
        (defang(1, &[Defang::Scripts]), true),
        (wrap, false),
        (text, false),
        (Edit::RemoveHeader { name: "X-None".into(), nth: 0 }, false),
    ] {
        assert_eq!(cannot_be_done(&message, std::slice::from_ref(&edit)), cannot, "{edit:?}");
    }
}
