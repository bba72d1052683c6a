//! What is told of a message, and what an answer becomes.

use gatepost_mail::{Action as Verdict, Reply};

use super::*;

fn fields(text: &str) -> Vec<(String, String)> {
    text.split_whitespace().map(|field| field.split_once('=').expect("name=value")).map(own).collect()
}

fn own((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn each_name_as_often_as_it_was_made_for_one_message() {
    // What each question about a message yields, and what is told.
    for (questions, expected) in [
        (&["a=1", "a=2", "a=3"][..], &["a=1", "", ""][..]),
        (&["a=1 b=1", "a=2 b=2", "a=3 b=3"], &["a=1", "b=1", ""]),
        (&["a=1 a=2", "a=1 a=2", "a=1 a=2"], &["a=1", "a=2", ""]),
        (&["", "a=1", ""], &["", "a=1", ""]),
        (&["a=1", "a=1 b=1", "a=1"], &["a=1", "b=1", ""]),
        (&["a=1 b=1", "", ""], &["a=1", "b=1", ""]),
    ] {
        let (told, mut known) = (Told::default(), Vec::new());
        for (question, expected) in questions.iter().zip(expected) {
            told::merge(&mut known, fields(question));
            let next = told.next("1.2.3", &known).map(|(name, value)| format!("{name}={value}"));
            assert_eq!(next.unwrap_or_default(), *expected, "{questions:?}");
        }
    }
}

#[test]
fn messages_are_told_apart_and_forgotten() {
    let told = Told::default();
    let one = fields("a=1");
    for instance in ["x", "y", "", ""] {
        assert_eq!(told.next(instance, &one), Some(own(("a", "1"))), "{instance:?}");
    }
    assert_eq!(told.next("x", &one), None);
    for number in 0..10_000 {
        assert!(told.next(&number.to_string(), &one).is_some());
    }
    assert_eq!(told.next("x", &one), Some(own(("a", "1"))), "it was the oldest");
    let mut many = Vec::new();
    told::merge(&mut many, (0..1000).map(|n| (n.to_string(), String::new())).collect());
    assert_eq!(many.len(), 50);
}

#[test]
fn fields_in_the_order_that_is_wanted() {
    for (wanted, expected) in [
        (&["*"][..], "X-B=1 Received-SPF=2 X-A=3"),
        (&["received-spf", "*"], "Received-SPF=2 X-B=1 X-A=3"),
        (&["X-A", "X-*"], "X-A=3 X-B=1"),
        (&["X-Greylist"], ""),
        (&[], ""),
    ] {
        let wanted: Vec<String> = wanted.iter().map(|name| name.to_string()).collect();
        let found = told::in_order(&fields("X-B=1 Received-SPF=2 X-A=3"), &wanted);
        assert_eq!(found, fields(expected), "{wanted:?}");
    }
}

#[test]
fn refusals() {
    let request = Request { recipient: "b@our.test".into(), ..Request::default() };
    for (reply, expected) in [
        (Reply::new(550, "5.7.1", "No (id x)"), "550 5.7.1 No (id x)"),
        (
            Reply::new(450, "4.2.0", "<b@our.test>: Recipient address rejected: Greylisted (id x)"),
            "DEFER_IF_PERMIT 4.2.0 Greylisted (id x)",
        ),
        (
            Reply::new(504, "5.5.2", "<a>: Sender address rejected: need fully-qualified address"),
            "504 5.5.2 <a>: Sender address rejected: need fully-qualified address",
        ),
        (Reply::new(451, "", "Later"), "DEFER_IF_PERMIT Later"),
        (Reply::new(421, "4.7.0", "Too many"), "421 4.7.0 Too many"),
        (Reply::new(521, "5.7.0", "Never"), "521 5.7.0 Never"),
    ] {
        let answer = String::from_utf8(action::refusal(&reply, &request).answer()).unwrap();
        assert_eq!(answer, format!("action={expected}\n\n"));
    }
    assert_eq!(action::forced(Verdict::Discard, "x".into()), Action::Discard("x".into()));
    assert_eq!(action::forced(Verdict::Quarantine, "x".into()), Action::Hold("x".into()));
}
