//! Any bytes as a page: nothing is left to be taken out of what comes out. The first byte says what goes.
#![no_main]

use gatepost_disarm::defang_html;
use gatepost_mail::{Defang, Limits};
use libfuzzer_sys::fuzz_target;

const KINDS: [Defang; 7] = [
    Defang::Scripts,
    Defang::Forms,
    Defang::Frames,
    Defang::Objects,
    Defang::RemoteContent,
    Defang::TrackingPixels,
    Defang::Links,
];
const CHARSETS: [Option<&str>; 4] = [None, Some("utf-16le"), Some("iso-2022-jp"), Some("utf-7")];

fuzz_target!(|data: &[u8]| {
    let [first, second, page @ ..] = data else { return };
    let what: Vec<Defang> = (0..7).filter(|bit| first >> bit & 1 == 1).map(|bit| KINDS[bit]).collect();
    let charset = CHARSETS[usize::from(*second) % CHARSETS.len()];
    let limits = Limits { memory: 16 << 20, ..Limits::default() };
    if let Ok(Some(made)) = defang_html(page, charset, &what, &limits) {
        assert_eq!(defang_html(&made.page, charset, &what, &limits), Ok(None));
    }
});
