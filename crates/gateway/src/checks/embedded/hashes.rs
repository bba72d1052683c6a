//! Hash lists in ClamAV's forms `.hdb` and `.hsb`: `hash:size:name`, one a line.
//!
//! The hash is MD5, SHA-1 or SHA-256 in hex, told apart by its length. The size is in bytes, or `*` for any. Up to two
//! further fields (the functionality levels that ClamAV looks at) are allowed and ignored; so are empty lines and
//! lines that begin with `#`.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use md5::Md5;
use sha1::{Digest, Sha1};

use crate::resources::lines::each_line;

/// Known hashes.
#[derive(Debug, Default)]
pub struct Hashes {
    md5: Table<16>,
    sha1: Table<20>,
    sha256: Table<32>,
}

/// Hashes of one kind.
#[derive(Debug)]
struct Table<const N: usize> {
    known: HashMap<[u8; N], Known>,
    /// Sizes of the entries that tell one: content of no such size needs no hash.
    sizes: HashSet<u64>,
    /// There are entries for any size.
    any: bool,
}

#[derive(Debug)]
struct Known {
    name: Box<str>,
    /// None for any.
    size: Option<u64>,
}

impl<const N: usize> Default for Table<N> {
    fn default() -> Table<N> {
        Table { known: HashMap::new(), sizes: HashSet::new(), any: false }
    }
}

impl Hashes {
    /// How many.
    pub fn len(&self) -> usize {
        self.md5.known.len() + self.sha1.known.len() + self.sha256.known.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a list. On mistakes, says of each which line it is in and what would be right; the first ten are told.
    pub fn add(&mut self, path: &Path, text: &[u8]) -> Result<(), Vec<String>> {
        each_line(path, text, |line| match line.trim_ascii() {
            b"" | [b'#', ..] => Ok(()),
            line => self.add_line(line),
        })
    }

    /// The names of what this content is known as. `sha256` gives its SHA-256.
    pub fn look_up<'a>(
        &'a self,
        content: &[u8],
        sha256: impl FnOnce() -> [u8; 32],
    ) -> impl Iterator<Item = &'a str> {
        let size = content.len() as u64;
        let md5 = self.md5.look_up(size, || Md5::digest(content).into());
        let sha1 = self.sha1.look_up(size, || Sha1::digest(content).into());
        let sha256 = self.sha256.look_up(size, sha256);
        [md5, sha1, sha256].into_iter().flatten()
    }

    fn add_line(&mut self, line: &[u8]) -> Result<(), String> {
        let line = String::from_utf8_lossy(line);
        let mut fields = line.split(':');
        let (Some(hash), Some(size), Some(name)) = (fields.next(), fields.next(), fields.next()) else {
            return Err("not of the form hash:size:name".into());
        };
        if fields.clone().count() > 2
            || fields.any(|level| level.parse::<u32>().is_err() && !level.is_empty())
        {
            return Err("behind the name only functionality levels (numbers) may stand".into());
        }
        let size = match size {
            "*" => None,
            digits => match digits.parse() {
                Ok(size) => Some(size),
                Err(_) => return Err(format!("“{size}” is no size: a number of bytes, or * for any")),
            },
        };
        if name.is_empty() {
            return Err("no name behind the size".into());
        }
        match hash.len() {
            32 => self.md5.add(hash, size, name),
            40 => self.sha1.add(hash, size, name),
            64 => self.sha256.add(hash, size, name),
            _ => Err(format!("“{hash}” is no hash: MD5, SHA-1 or SHA-256 in 32, 40 or 64 hex digits")),
        }
    }
}

impl<const N: usize> Table<N> {
    fn add(&mut self, hash: &str, size: Option<u64>, name: &str) -> Result<(), String> {
        let hash = unhex(hash).ok_or_else(|| format!("“{hash}” has characters that are no hex digits"))?;
        match size {
            Some(size) => {
                self.sizes.insert(size);
            }
            None => self.any = true,
        }
        let known = self.known.entry(hash).or_insert_with(|| Known { name: name.into(), size });
        // Listed twice with two sizes: the one that is wrong can do no harm.
        if known.size != size {
            known.size = None;
        }
        Ok(())
    }

    fn look_up(&self, size: u64, hash: impl FnOnce() -> [u8; N]) -> Option<&str> {
        if !self.any && !self.sizes.contains(&size) {
            return None;
        }
        let known = self.known.get(&hash())?;
        known.size.is_none_or(|wanted| wanted == size).then_some(&*known.name)
    }
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let [high, low] = digits else { return None };
        let (high, low) = (char::from(*high).to_digit(16)?, char::from(*low).to_digit(16)?);
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5_OF_ABC: &str = "900150983cd24fb0d6963f7d28e17f72";
    const SHA1_OF_ABC: &str = "a9993e364706816aba3e25717850c26c9cd0d89d";
    const SHA256_OF_ABC: &str = "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD";

    fn hashes(list: &str) -> Result<Hashes, Vec<String>> {
        let mut hashes = Hashes::default();
        hashes.add(Path::new("list.hdb"), list.as_bytes()).map(|()| hashes)
    }

    #[test]
    fn content_is_known_by_hash_and_size() {
        let table = [
            (format!("{MD5_OF_ABC}:3:Abc"), vec!["Abc"]),
            (format!("{MD5_OF_ABC}:*:Abc:73"), vec!["Abc"]),
            (format!("{MD5_OF_ABC}:3:Abc:73:255"), vec!["Abc"]),
            (format!("# list\r\n\r\n{SHA1_OF_ABC}:3:Abc-1\r\n"), vec!["Abc-1"]),
            (format!("{SHA256_OF_ABC}:3:Abc-2"), vec!["Abc-2"]),
            (format!("{MD5_OF_ABC}:3:A\n{SHA256_OF_ABC}:*:B"), vec!["A", "B"]),
            (format!("{MD5_OF_ABC}:4:Abc"), vec![]),
            (format!("{MD5_OF_ABC}:4:Abc\n{MD5_OF_ABC}:3:Other"), vec!["Abc"]),
            (format!("{MD5_OF_ABC}:3:Abc\n{MD5_OF_ABC}:4:Other"), vec!["Abc"]),
            (format!("{MD5_OF_ABC}:4:Abc\n{MD5_OF_ABC}:*:Other"), vec!["Abc"]),
        ];
        for (list, want) in table {
            let hashes = hashes(&list).unwrap();
            let look_up = |content: &'static [u8]| {
                hashes.look_up(content, move || sha2::Sha256::digest(content).into()).collect::<Vec<_>>()
            };
            assert_eq!(look_up(b"abc"), want, "{list}");
            assert_eq!(look_up(b"abd"), [""; 0], "{list}");
        }
    }

    #[test]
    fn a_bad_line_is_named() {
        let table = [
            ("abc", "list.hdb:1: not of the form"),
            ("\n#\nabc:3:x", "list.hdb:3: “abc” is no hash"),
            (&format!("{MD5_OF_ABC}:three:x"), "list.hdb:1: “three” is no size"),
            (&format!("{MD5_OF_ABC}:3:"), "list.hdb:1: no name"),
            (&format!("{MD5_OF_ABC}:3:x:y"), "list.hdb:1: behind the name"),
            (&format!("{}zz:3:x", &MD5_OF_ABC[2..]), "hex digits"),
        ];
        for (list, want) in table {
            let mistakes = hashes(list).unwrap_err();
            assert!(mistakes.len() == 1 && mistakes[0].contains(want), "{list}: {mistakes:?}");
        }
        let many = hashes(&"bad\n".repeat(100)).unwrap_err();
        assert_eq!(many.len(), 11);
        assert!(many[10].contains("90 more"));
    }
}
