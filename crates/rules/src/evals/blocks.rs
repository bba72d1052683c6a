//! SpamAssassin's URILocalBL: links whose hosts are in some countries, networks or at some providers. Addresses in links are
//! looked at here; those of names must be asked for (`Known`).

use super::Function;
use super::net::answered;
use crate::engine::Answer;

pub(super) const FUNCTIONS: &[(&str, Function)] = &[("check_uri_local_bl", |native, call| {
    let plugins = &native.texts.settings().plugins;
    let Some(block) = plugins.blocks.get(call.rule) else { return Answer::default() };
    let addresses = block.hosts(native.texts).addresses;
    let found = addresses.iter().find_map(|address| block.hit(address, address, plugins.places.as_deref()));
    match found {
        Some(found) => Answer { found: vec![found], ..Answer::of(true) },
        None => answered(native, call),
    }
})];
