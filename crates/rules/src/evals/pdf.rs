//! SpamAssassin's PDFInfo: what attached PDFs are like.

use super::{Function, Native, number, of, text};
use crate::engine::{Answer, Call};
use crate::texts::Pdfs;

pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("pdf_count", |native, call| within(call, Some(pdfs(native).count as f64))),
    ("pdf_image_count", |native, call| within(call, Some(pdfs(native).images as f64))),
    ("pdf_pixel_coverage", |native, call| within(call, pdfs(native).area)),
    ("pdf_named", |native, call| of(pdfs(native).names.contains(text(call, 0).as_bytes()))),
    ("pdf_name_regex", |native, call| {
        native.any_matches(call, 0, pdfs(native).names.iter().map(Vec::as_slice))
    }),
    ("pdf_match_md5", |native, call| of(pdfs(native).md5.contains(&text(call, 0).to_uppercase()))),
    ("pdf_match_fuzzy_md5", |native, call| of(pdfs(native).fuzzy.contains(&text(call, 0).to_uppercase()))),
    ("pdf_match_details", |native, call| {
        let detail = text(call, 0);
        let details = pdfs(native).details.iter().filter(|(name, _)| *name == detail);
        native.any_matches(call, 1, details.map(|(_, value)| value.as_slice()))
    }),
    ("pdf_is_encrypted", |native, _| of(pdfs(native).encrypted)),
    ("pdf_is_empty_body", |native, call| {
        // Without the subject.
        let lines = native.texts.body().iter().skip(1).filter(|line| !line.trim_ascii().is_empty());
        let octets: usize = lines.map(|line| line.len()).sum();
        of(pdfs(native).count > 0 && octets as f64 <= number(call, 0))
    }),
    ("pdf_image_to_text_ratio", |native, call| {
        let length = native.length(call);
        let ratio = pdfs(native).area.map(|area| length as f64 / area);
        of(length > 0
            && call.args.len() > 1
            && ratio.is_some_and(|ratio| ratio >= number(call, 0) && ratio < number(call, 1)))
    }),
    ("pdf_image_size_exact", |native, call| {
        let size = (text(call, 0).into_bytes(), text(call, 1).into_bytes());
        of(pdfs(native).sizes.contains(&size))
    }),
    ("pdf_image_size_range", |native, call| {
        let at_most =
            |index: usize, size: f64| call.args.get(index).is_none_or(|_| size <= number(call, index));
        let value =
            |digits: &[u8]| std::str::from_utf8(digits).ok().and_then(|text| text.parse::<f64>().ok());
        let fits = |(height, width): &(Vec<u8>, Vec<u8>)| {
            let (Some(height), Some(width)) = (value(height), value(width)) else { return false };
            height >= number(call, 0) && width >= number(call, 1) && at_most(2, height) && at_most(3, width)
        };
        of(call.args.len() > 1 && pdfs(native).sizes.iter().any(fits))
    }),
];

fn pdfs<'a>(native: &'a Native<'_>) -> &'a Pdfs {
    native.texts.pdfs()
}

fn within(call: &Call<'_>, value: Option<f64>) -> Answer {
    let fits =
        |value: f64| value >= number(call, 0) && call.args.get(1).is_none_or(|_| value <= number(call, 1));
    of(!call.args.is_empty() && value.is_some_and(fits))
}
