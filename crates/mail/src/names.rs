//! Names of parts: every one that some reader of mail would show.

use crate::parameters::{self, Structured};
use crate::words;

/// Every name that some reader would show, the most usual first: Content-Disposition's filename, then
/// Content-Type's name, then either parameter put together over all fields.
pub(crate) fn declared(types: &[Structured], dispositions: &[Structured]) -> Vec<String> {
    /// Readings of one parameter, over all fields of a name, that are kept: the first and the last.
    const MOST: usize = 40;
    let of = |fields: &[Structured], name: &str| -> Vec<String> {
        let readings = fields.iter().flat_map(|field| parameters::readings(field.parameters.iter(), name));
        let mut list = readings.collect();
        parameters::ends(&mut list, MOST);
        list
    };
    let mut found = of(dispositions, "filename");
    found.extend(of(types, "name"));
    found.extend(of(dispositions, "name"));
    found.extend(of(types, "filename"));
    if types.len() + dispositions.len() > 1 {
        let all = || dispositions.iter().chain(types).flat_map(|field| &field.parameters);
        for name in ["filename", "name"] {
            let mut list = parameters::readings(all(), name);
            parameters::ends(&mut list, MOST);
            found.extend(list);
        }
    }
    let mut names = Vec::new();
    for name in found {
        for name in clean(&name) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// The names for one that stands as plain text, as on the `begin` line of uuencode.
pub(crate) fn plain(name: &[u8]) -> Vec<String> {
    clean(&words::decode(name))
}

/// A name without control characters; the same up to its first NUL, where readers written in C end; and, where these
/// end in dots or spaces, also as Windows shows them, without those.
fn clean(name: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for text in [name, name.split('\0').next().unwrap_or_default()] {
        let clean: String = text.chars().filter(|c| !c.is_control()).collect();
        let clean = shorten(clean.trim());
        let bare = clean.trim_end_matches(['.', ' ']).to_owned();
        for name in [clean, bare] {
            if !name.is_empty() && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// A long name without its middle: what counts is how it begins and what it ends in.
fn shorten(name: &str) -> String {
    const LONGEST: usize = 1000;
    const HEAD: usize = 700;
    let length = name.chars().count();
    if length <= LONGEST {
        return name.to_owned();
    }
    let head = name.chars().take(HEAD);
    let tail = name.chars().skip(length - (LONGEST - HEAD));
    head.chain(['…']).chain(tail).collect()
}
