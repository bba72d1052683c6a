//! SpamAssassin's TextCat: whether a message is in a language that is not wanted.

use super::{Function, Native, of};
use crate::engine::Answer;
use crate::texts::language::{has_high_octets, is_unwanted};

/// So many octets beyond ASCII in a row are no language that does without them.
const IN_A_ROW: usize = 8;

pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("check_language", |native, _| {
        let languages = native.texts.languages().filter(|found| is_unwanted(found, wanted(native)));
        let Some(languages) = languages else { return of(false) };
        let found = format!("Languages detected: {}", languages.names.join(" "));
        Answer { found: vec![found], ..of(true) }
    }),
    ("check_body_8bits", |native, _| {
        let high = |line: &bytes::Bytes| line.split(u8::is_ascii).any(|run| run.len() >= IN_A_ROW);
        of(!has_high_octets(wanted(native)) && native.texts.body().iter().any(high))
    }),
];

fn wanted<'a>(native: &Native<'a>) -> &'a str {
    native.settings.get("ok_languages").unwrap_or("all")
}
