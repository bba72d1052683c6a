//! SpamAssassin's HTMLEval: what the pages of a message are like.

use super::{Function, Native, compared, number, of, text};
use crate::engine::{Answer, Call};
use crate::texts::HtmlFacts;

pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("html_tag_balance", |native, call| {
        let (tag, expression) = (text(call, 0).to_string(), text(call, 1));
        of(native.pages(|page| page.inside(&tag).is_some_and(|open| compared(open as f64, &expression))))
    }),
    ("html_tag_exists", |native, call| of(native.pages(|page| page.inside(&text(call, 0)).is_some()))),
    ("html_image_only", |native, call| {
        let hit = |page: &HtmlFacts| {
            let length = page.number("length").unwrap_or(0.0);
            page.inside("img").is_some() && length > number(call, 0) && length <= number(call, 1)
        };
        of(native.pages(hit))
    }),
    ("html_image_ratio", |native, call| {
        let hit = |page: &HtmlFacts| {
            let (area, length) = (page.number("image_area"), page.number("non_space_len"));
            let ratio = area.zip(length).filter(|(area, _)| *area > 0.0).map(|(area, length)| length / area);
            ratio.is_some_and(|ratio| ratio > number(call, 0) && ratio <= number(call, 1))
        };
        of(native.pages(hit))
    }),
    ("html_test", |native, call| {
        let name = text(call, 0);
        of(native.pages(|page| {
            page.number(&name).is_some_and(|value| value != 0.0) || page.texts(&name).is_some()
        }))
    }),
    ("html_eval", |native, call| {
        let (name, expression) = (text(call, 0), text(call, 1));
        of(native.pages(|page| page.number(&name).is_some_and(|value| compared(value, &expression))))
    }),
    ("html_range", |native, call| {
        let (name, min) = (text(call, 0), number(call, 1));
        let most = call.args.get(2).filter(|most| &*most.0 != b"inf").map(|_| number(call, 2));
        of(native.pages(|page| {
            let value = page.number(&name);
            value.is_some_and(|value| {
                value > min && most.is_none_or(|most| value <= most && value.is_finite())
            })
        }))
    }),
    ("html_text_match", |native, call| matched(native, call, true)),
    ("html_text_not_match", |native, call| matched(native, call, false)),
    ("html_title_subject_ratio", |native, call| {
        let subject = native.value("Subject");
        let length = |text: &[u8]| match std::str::from_utf8(text) {
            Ok(text) => text.chars().count(),
            Err(_) => text.len(),
        };
        let hit = |page: &HtmlFacts| {
            let titles = page.texts("title").unwrap_or_default();
            let longest = titles.into_iter().map(length).max().unwrap_or(0);
            longest as f64 / subject.len() as f64 > number(call, 0)
        };
        of(!subject.is_empty() && native.pages(hit))
    }),
    ("html_charset_faraway", |native, call| {
        // What a page says of its own charset is not noted; the parts' headers say the same.
        let charsets = &native.attachments().charsets;
        let far = charsets.iter().filter(|charset| !super::mime::is_near(charset, call.settings)).count();
        let has_pages = !native.texts.html().is_empty();
        of(has_pages && far > 0 && far >= charsets.len() - far)
    }),
    ("check_iframe_src", |native, _| {
        of(native.pages(|page| page.uris.iter().any(|uri| uri.types.contains("iframe"))))
    }),
];

/// Whether some of the texts match, or do not.
fn matched(native: &Native<'_>, call: &Call<'_>, wanted: bool) -> Answer {
    let name = text(call, 0);
    let Some(pattern) = call.args.get(1) else { return of(false) };
    let matcher = match native.patterns.compiled(&pattern.0) {
        Ok(matcher) => matcher,
        Err(fault) => return Answer { fault: Some(fault), ..Answer::default() },
    };
    for page in native.texts.html() {
        for text in page.texts(&name).unwrap_or_default() {
            match matcher.find_while(text, 0, &|| !native.is_over()) {
                Ok(found) if found.is_some() == wanted => return of(true),
                Ok(_) => {}
                Err(overrun) => return Answer { fault: Some(overrun.message), ..Answer::default() },
            }
        }
    }
    of(false)
}
