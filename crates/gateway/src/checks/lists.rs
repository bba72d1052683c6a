//! What DNS lists and lists in files have in common.

use gatepost_mail::{Category, Counts, Direction, Points, Session};

use crate::config::Problem;
use crate::config::typed::{ListKind, Subject};
use crate::config::units::Net;

/// Points of a listing where nothing else is configured; of the good, as many less.
const POINTS: Points = Points::thousandths(3000);

/// What the configuration makes of a listing.
#[derive(Clone, Copy)]
pub(super) struct Worth {
    /// Whom the list names.
    pub kind: ListKind,
    /// Points, if any are configured.
    pub weight: Option<Points>,
    /// Category, if one is configured.
    pub category: Option<Category>,
    /// Whether a listing is reason enough to refuse.
    pub refuse: bool,
}

impl Worth {
    /// What its symbol counts for.
    pub fn counts(self) -> Counts {
        match (self.category, self.refuse) {
            (Some(category), _) => Counts::As(category),
            (None, true) => Counts::As(Category::Spam),
            (None, false) => Counts::Points(self.weight.unwrap_or(match self.kind {
                ListKind::Block => POINTS,
                ListKind::Allow => Points::thousandths(-POINTS.as_thousandths()),
            })),
        }
    }

    /// What contradicts itself. `key` is that of the list.
    pub fn check(self, key: &str, problems: &mut Vec<Problem>) {
        let mut wrong =
            |last: &str, message: &str| problems.push(Problem::new(format!("{key}.{last}"), message));
        if self.kind == ListKind::Allow {
            if self.weight.is_some_and(|weight| weight > Points::ZERO) {
                wrong("weight", "adds points to the good; write a negative number");
            }
            if self.refuse {
                wrong("refuse", "is not for a list of the good (kind = \"allow\")");
            }
            if self.category.is_some() {
                wrong("category", "is not for a list of the good (kind = \"allow\")");
            }
        }
    }
}

/// `zen-xbl` → `DNSBL_ZEN_XBL`.
pub(super) fn symbol(prefix: &str, name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("{prefix}_{}", name.chars().map(plain).collect::<String>())
}

/// A list's name is plain enough to become a symbol.
pub(super) fn check_name(key: &str, name: &str, problems: &mut Vec<Problem>) {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        problems.push(Problem::new(key, "a list's name is of letters, digits, `-`, `_` and `.`"));
    }
}

/// What is looked up is named once, and something is.
pub(super) fn check_subjects(key: &str, of: &[Subject], problems: &mut Vec<Problem>) {
    if of.is_empty() {
        problems.push(Problem::new(format!("{key}.of"), "is empty: nothing would ever be looked up"));
    }
    for (place, subject) in of.iter().enumerate() {
        if of[..place].contains(subject) {
            problems.push(Problem::new(format!("{key}.of[{place}]"), "is named twice"));
        }
    }
}

/// Who is on the line is one of us: a user who has logged in, or a client of our networks.
pub(super) fn is_ours(session: &Session, networks: &[Net]) -> bool {
    session.user.is_some()
        || session.direction != Direction::Inbound
        || session.client.is_some_and(|client| networks.iter().any(|net| net.contains(client)))
}

/// Text of others on one line, without control characters, cut to a length in characters.
pub(super) fn one_line(text: &str, most: usize) -> String {
    let clean: String = text.chars().take(most).map(|c| if c.is_control() { ' ' } else { c }).collect();
    clean.trim().to_owned()
}
