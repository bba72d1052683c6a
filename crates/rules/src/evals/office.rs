//! SpamAssassin's OLEVBMacro: what attached documents hold.

use bytes::Bytes;

use super::{Function, of};
use crate::engine::Answer;

pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("check_olemacro", |native, _| of(native.texts.office().macros)),
    ("check_oleobject", |native, _| of(native.texts.office().objects)),
    ("check_olertfobject", |native, _| of(native.texts.office().rtf_objects)),
    ("check_olemacro_csv", |native, _| of(native.texts.office().csv)),
    ("check_olemacro_malice", |native, _| of(native.texts.office().malice)),
    ("check_olemacro_renamed", |native, _| of(native.texts.office().renamed)),
    ("check_olemacro_encrypted", |native, _| of(native.texts.office().encrypted)),
    ("check_olemacro_zip_password", |native, _| of(native.texts.office().password)),
    ("check_olemacro_download_exe", |native, _| of(native.texts.office().download)),
    ("check_olemacro_redirect_uri", |native, _| told(&native.texts.office().redirects)),
    ("check_olemacro_mhtml_uri", |native, _| told(&native.texts.office().mhtml)),
];

fn told(uris: &[Bytes]) -> Answer {
    let found = uris.iter().map(|uri| String::from_utf8_lossy(uri).into_owned()).collect();
    Answer { found, ..of(!uris.is_empty()) }
}
