//! Header fields that are put before messages: one in an answer is all that Postfix takes, each name as often as checks have
//! made it for one message, however many recipients that has.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// Most messages that are remembered; the oldest are forgotten. Postfix asks about a message within minutes.
const MOST: usize = 10_000;

/// Most fields of a message.
const FIELDS: usize = 50;

/// What was told of which message, by its `instance`; shared by the connections of a listener, since Postfix may ask by
/// another one before a message is complete.
#[derive(Default)]
pub struct Told(Mutex<Messages>);

#[derive(Default)]
struct Messages {
    fields: HashMap<String, Vec<String>>,
    order: VecDeque<String>,
}

impl Told {
    /// The first of these fields that was not told, told from now on. Without an instance each question stands alone.
    pub fn next(&self, instance: &str, fields: &[(String, String)]) -> Option<(String, String)> {
        if fields.is_empty() || instance.is_empty() {
            return fields.first().cloned();
        }
        let mut messages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let empty = Vec::new();
        let told = messages.fields.get(instance).unwrap_or(&empty);
        let due = fields.iter().enumerate().find(|(place, (name, _))| {
            let before = fields[..*place].iter().filter(|(other, _)| other == name).count();
            told.iter().filter(|other| *other == name).count() <= before
        });
        let (_, (name, value)) = due?;
        if !messages.fields.contains_key(instance) {
            if messages.order.len() >= MOST
                && let Some(oldest) = messages.order.pop_front()
            {
                messages.fields.remove(&oldest);
            }
            messages.order.push_back(instance.to_owned());
        }
        messages.fields.entry(instance.to_owned()).or_default().push(name.clone());
        Some((name.clone(), value.clone()))
    }
}

/// Adds fields that a further question has yielded: of a name that is there as often already, it is the same again for
/// another recipient.
pub(super) fn merge(fields: &mut Vec<(String, String)>, more: Vec<(String, String)>) {
    let count = |fields: &[(String, String)], name: &str| fields.iter().filter(|(n, _)| n == name).count();
    for (place, field) in more.iter().enumerate() {
        if fields.len() < FIELDS && count(fields, &field.0) <= count(&more[..place], &field.0) {
            fields.push(field.clone());
        }
    }
}

/// Those that are wanted, in the order in which they are: `X-*` stands for all names that begin so.
pub(super) fn in_order(fields: &[(String, String)], wanted: &[String]) -> Vec<(String, String)> {
    let rank = |name: &str| {
        wanted.iter().position(|wanted| match wanted.strip_suffix('*') {
            Some(start) => name.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start)),
            None => name.eq_ignore_ascii_case(wanted),
        })
    };
    let mut ranked: Vec<_> = fields.iter().filter_map(|field| Some((rank(&field.0)?, field))).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, field)| field.clone()).collect()
}
