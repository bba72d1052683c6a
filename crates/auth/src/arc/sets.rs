//! The ARC fields of a header, sorted into sets (RFC 8617 section 4.2).

use crate::dkim::header::Field;
use crate::dkim::tags::{Tags, blank};

/// Names of the three fields of a set, in the order in which a seal covers them (RFC 8617 section 5.1.1).
pub(super) const NAMES: [&str; 3] = ["ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal"];

/// Most sets of a chain (RFC 8617 section 4.2.1).
pub(super) const MOST: u32 = 50;

/// Most bytes of ARC fields that are looked at.
const BYTES: usize = 512 * 1024;

/// The fields of one set.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) results: Field<'a>,
    pub(super) message: Field<'a>,
    pub(super) seal: Field<'a>,
}

/// What ARC fields there are.
pub(super) struct Sets<'a> {
    /// The sets, oldest first, or why they are no chain.
    pub(super) sets: Result<Vec<Fields<'a>>, String>,
    /// Highest instance that could be read.
    pub(super) highest: u32,
    /// The newest set says `cv=fail`: nothing may be added.
    pub(super) failed: bool,
}

impl<'a> Sets<'a> {
    /// Sorts the ARC fields of a header.
    pub(super) fn new(fields: &[Field<'a>]) -> Sets<'a> {
        let arc: Vec<(usize, Field<'a>)> = fields
            .iter()
            .filter_map(|field| NAMES.iter().position(|name| field.is(name)).map(|kind| (kind, *field)))
            .collect();
        let instances: Vec<Option<u32>> = arc.iter().map(|(kind, field)| instance(*kind, field)).collect();
        let highest = instances.iter().flatten().copied().max().unwrap_or(0);
        let failed = std::iter::zip(&arc, &instances).any(|((kind, field), instance)| {
            *kind == 2 && *instance == Some(highest) && seal_says(field).is_some_and(|cv| cv == "fail")
        });
        Sets { sets: Sets::sort(&arc, &instances, highest), highest, failed }
    }

    fn sort(
        arc: &[(usize, Field<'a>)],
        instances: &[Option<u32>],
        highest: u32,
    ) -> Result<Vec<Fields<'a>>, String> {
        if arc.iter().map(|(_, field)| field.raw.len()).sum::<usize>() > BYTES {
            return Err(format!("the ARC fields are longer than {BYTES} bytes"));
        }
        let mut sets: Vec<[Option<Field<'a>>; 3]> = vec![[None; 3]; highest as usize];
        for ((kind, field), instance) in std::iter::zip(arc, instances) {
            let name = NAMES.get(*kind).copied().unwrap_or_default();
            let instance =
                instance.ok_or_else(|| format!("an {name} has no instance (i=) of 1 to {MOST}"))?;
            let place = sets.get_mut(instance as usize - 1).and_then(|set| set.get_mut(*kind));
            match place {
                Some(place @ None) => *place = Some(*field),
                _ => return Err(format!("there are two {name} with i={instance}")),
            }
        }
        let whole = |(at, set): (usize, [Option<Field<'a>>; 3])| match set {
            [Some(results), Some(message), Some(seal)] => Ok(Fields { results, message, seal }),
            _ => {
                let missing = std::iter::zip(set, NAMES).find(|(field, _)| field.is_none());
                let name = missing.map_or(NAMES[0], |(_, name)| name);
                Err(format!("there is no {name} with i={}", at + 1))
            }
        };
        sets.into_iter().enumerate().map(whole).collect()
    }
}

/// What a seal says of the chain before it (`cv=`).
pub(super) fn seal_says(field: &Field<'_>) -> Option<String> {
    let tags = Tags::parse(std::str::from_utf8(field.value).ok()?).ok()?;
    tags.get("cv").map(str::to_ascii_lowercase)
}

/// The instance of a field, if it is one.
fn instance(kind: usize, field: &Field<'_>) -> Option<u32> {
    let text = String::from_utf8_lossy(field.value);
    let digits = match kind {
        0 => results(&text)?.0,
        _ => Tags::parse(&text).ok()?.get("i")?.to_owned(),
    };
    let good = (1..=2).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|instance| good && (1..=MOST).contains(instance))
}

/// `i=` of an `ARC-Authentication-Results`, which comes before all else, and what is behind it.
pub(super) fn results(value: &str) -> Option<(String, &str)> {
    let (first, rest) = value.split_once(';')?;
    let (name, instance) = first.split_once('=')?;
    (name.trim_matches(blank) == "i").then(|| (instance.trim_matches(blank).to_owned(), rest))
}

/// A value on one line, with one space wherever there is white space.
pub(super) fn unfolded(value: &str) -> String {
    let words = value.split(blank).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}
