//! Macros: what the mail server knows of client, session and message beside the commands.

use std::borrow::Cow;

use bytes::Bytes;

/// Letters of the commands that macros come with, in the order of a session.
const STAGES: &[u8; 9] = b"CHMRTLNBE";

/// The macros that hold at this moment, by the command they came with.
///
/// Names are found with and without braces, whatever the mail server sent: `auth_authen`, `{auth_authen}`, `i`.
#[derive(Clone, Debug, Default)]
pub struct Macros {
    sets: [Vec<(Bytes, Bytes)>; STAGES.len()],
}

impl Macros {
    /// The value of a macro; of those that came with several commands, the one of the latest stage.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let wanted = bare(name.as_bytes());
        let latest_first = self.sets.iter().rev();
        latest_first.flatten().find(|(name, _)| bare(name) == wanted).map(|(_, value)| &value[..])
    }

    /// The same as text, what is not UTF-8 replaced; `None` for an empty value, too, which some mail servers send for
    /// what is not known.
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name).filter(|value| !value.is_empty()).map(String::from_utf8_lossy)
    }

    /// Puts those of one command in place of the ones it had before. Unknown letters are ignored.
    pub(crate) fn set(&mut self, stage: u8, values: Vec<(Bytes, Bytes)>) {
        if let Some(place) = STAGES.iter().position(|&known| known == stage) {
            // What is kept should not hold on to the input buffer's memory.
            let own = |bytes: Bytes| Bytes::copy_from_slice(&bytes);
            self.sets[place] = values.into_iter().map(|(name, value)| (own(name), own(value))).collect();
        }
    }

    /// Forgets those of all commands that come after this one in a session.
    pub(crate) fn clear_behind(&mut self, stage: u8) {
        let place = STAGES.iter().position(|&known| known == stage).map_or(0, |place| place + 1);
        self.sets[place..].fill(Vec::new());
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.sets.fill(Vec::new());
    }
}

fn bare(name: &[u8]) -> &[u8] {
    name.strip_prefix(b"{").and_then(|name| name.strip_suffix(b"}")).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(macros: &mut Macros, stage: u8, values: &[(&'static str, &'static str)]) {
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        macros.set(stage, values.iter().map(|(name, value)| (bytes(name), bytes(value))).collect());
    }

    #[test]
    fn found_with_and_without_braces_and_the_latest_first() {
        let mut macros = Macros::default();
        set(&mut macros, b'C', &[("j", "mx.test"), ("{client_addr}", "192.0.2.1"), ("i", "early")]);
        set(&mut macros, b'M', &[("auth_authen", "alice"), ("{i}", "late"), ("{empty}", "")]);
        set(&mut macros, b'U', &[("x", "y")]);
        for (name, expected) in [
            ("j", Some("mx.test")),
            ("{j}", Some("mx.test")),
            ("client_addr", Some("192.0.2.1")),
            ("{auth_authen}", Some("alice")),
            ("auth_authen", Some("alice")),
            ("i", Some("late")),
            ("empty", None),
            ("x", None),
        ] {
            assert_eq!(macros.text(name).as_deref(), expected, "{name}");
        }
        assert_eq!(macros.get("empty"), Some(&b""[..]));
        set(&mut macros, b'M', &[]);
        assert_eq!(macros.text("i").as_deref(), Some("early"));
        set(&mut macros, b'E', &[("i", "end")]);
        macros.clear_behind(b'C');
        assert_eq!(macros.text("i").as_deref(), Some("early"));
        macros.clear();
        assert_eq!(macros.get("j"), None);
    }
}
