//! A message cut into fields and body, every byte where it was.

use std::collections::HashMap;

use memchr::memchr;

/// A message. Lines end with LF, with or without CR.
pub(crate) struct Message<'a> {
    /// The fields, in their order. Lines that are no fields are left out.
    pub(crate) fields: Vec<Field<'a>>,
    /// All behind the empty line.
    pub(crate) body: &'a [u8],
}

/// One header field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    /// All of it, without the final line break.
    pub(crate) raw: &'a [u8],
    /// Its name, without white space before the colon.
    pub(crate) name: &'a [u8],
    /// All behind the colon, without the final line break.
    pub(crate) value: &'a [u8],
}

impl<'a> Field<'a> {
    /// A field of raw text; `None` if it has no name.
    pub(crate) fn new(raw: &'a [u8]) -> Option<Field<'a>> {
        let colon = memchr(b':', raw)?;
        let name = raw.get(..colon)?.trim_ascii_end();
        let good = !name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic());
        good.then(|| Field { raw, name, value: raw.get(colon + 1..).unwrap_or_default() })
    }

    /// Whether it has that name, in any case.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

impl<'a> Message<'a> {
    /// Cuts a message. Its header ends with the first empty line, or before the first line that is neither field nor
    /// continuation, as for Postfix and most mail readers: what they show as body must not be taken for signed header.
    /// Only the very first line may be no field, as in an mbox.
    pub(crate) fn new(message: &'a [u8]) -> Message<'a> {
        let mut fields = Vec::new();
        let (mut at, mut start) = (0, 0);
        loop {
            let rest = message.get(at..).unwrap_or_default();
            let length = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            let line = rest.get(..length).unwrap_or_default();
            let ends = unbroken(line).is_empty();
            if ends || !matches!(line.first(), Some(b' ' | b'\t')) {
                match message.get(start..at).map(unbroken).and_then(Field::new) {
                    Some(field) => fields.push(field),
                    None if start > 0 => {
                        return Message { fields, body: message.get(start..).unwrap_or_default() };
                    }
                    None => {}
                }
                start = at;
            }
            if ends {
                return Message { fields, body: rest.get(length..).unwrap_or_default() };
            }
            at += length;
        }
    }
}

/// Fields by name, to be taken from the last to the first (RFC 6376 section 5.4.2).
pub(crate) struct Stacks<'a>(HashMap<Vec<u8>, Vec<Field<'a>>>);

impl<'a> Stacks<'a> {
    pub(crate) fn new(fields: &[Field<'a>]) -> Stacks<'a> {
        let mut stacks: HashMap<Vec<u8>, Vec<Field>> = HashMap::new();
        for field in fields {
            stacks.entry(field.name.to_ascii_lowercase()).or_default().push(*field);
        }
        Stacks(stacks)
    }

    /// How many fields have that name.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.0.get(&name.as_bytes().to_ascii_lowercase()).map_or(0, Vec::len)
    }

    /// The fields that a list of names means, in the list's order: the last one of a name first. Names beyond those
    /// that are present mean nothing.
    pub(crate) fn choose(&self, names: &[String]) -> Vec<Field<'a>> {
        let mut taken: HashMap<Vec<u8>, usize> = HashMap::new();
        let choose = |name: &String| {
            let name = name.as_bytes().to_ascii_lowercase();
            let stack = self.0.get(&name)?;
            let taken = taken.entry(name).or_default();
            let field = stack.iter().nth_back(*taken)?;
            *taken += 1;
            Some(*field)
        };
        names.iter().filter_map(choose).collect()
    }
}

/// Text without the line break at its end.
fn unbroken(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_into_fields_and_body() {
        for (message, fields, body) in [
            ("", &[][..], ""),
            ("\r\nbody", &[], "body"),
            ("A: 1\r\nB : 2\r\n\tmore\r\n\r\nbody\r\n", &[("A", " 1"), ("B", " 2\r\n\tmore")], "body\r\n"),
            ("A: 1\nB: 2\n\nbody", &[("A", " 1"), ("B", " 2")], "body"),
            ("A: 1", &[("A", " 1")], ""),
            ("From someone\nA: 1\n\n\n", &[("A", " 1")], "\n"),
            (" odd\nA:\n \n\n", &[("A", "\n ")], ""),
            ("A: 1\nno field\nB: 2\n\nbody", &[("A", " 1")], "no field\nB: 2\n\nbody"),
            ("A: 1\nno field\n", &[("A", " 1")], "no field\n"),
        ] {
            let read = Message::new(message.as_bytes());
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let found: Vec<_> =
                read.fields.iter().map(|field| (text(field.name), text(field.value))).collect();
            let wanted: Vec<_> =
                fields.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            assert_eq!((found, text(read.body)), (wanted, body.to_owned()), "{message:?}");
        }
    }

    #[test]
    fn fields_are_taken_from_the_last_to_the_first() {
        let message = Message::new(b"A: 1\nB: 2\na: 3\n\n");
        let stacks = Stacks::new(&message.fields);
        let names: Vec<String> = ["a", "c", "A", "b", "A"].map(str::to_owned).to_vec();
        let values: Vec<&[u8]> = stacks.choose(&names).iter().map(|field| field.value).collect();
        assert_eq!(values, [b" 3", b" 1", b" 2"]);
        assert_eq!((stacks.count("A"), stacks.count("x")), (2, 0));
    }
}
