//! Files of Berkeley DB, read whole: the tables that Sendmail's makemap and Postfix's postmap write. Only pages with
//! entries are looked at, so neither hashes nor orders matter.

use gatepost_rules::evals::Access;

/// Magic numbers of files: hash and btree.
const HASH: u32 = 0x06_1561;
const BTREE: u32 = 0x05_3162;
/// Types of pages: those with pairs in hashes, leaves of trees, what is too long for one page.
const HASH_UNSORTED: u8 = 2;
const HASH_SORTED: u8 = 13;
const LEAF: u8 = 5;
const OVERFLOW: u8 = 7;
/// Octets before the offsets of a page.
const HEAD: usize = 26;
/// The longest key or value that is read, in octets.
const LONGEST: usize = 64 * 1024;

/// Its entries; those of damaged pages are left out. None: it is no such file.
pub fn read(file: &[u8]) -> Option<Access> {
    let table = Table::of(file)?;
    let mut entries = Access::new();
    for page in file.chunks_exact(table.size).skip(1) {
        let items = match page[25] {
            HASH_UNSORTED | HASH_SORTED => table.hashed(page),
            LEAF => table.leaf(page),
            _ => continue,
        };
        for pair in items.chunks_exact(2) {
            if let [Some(key), Some(value)] = pair {
                entries.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
    }
    Some(entries)
}

struct Table<'a> {
    file: &'a [u8],
    size: usize,
    big: bool,
}

impl Table<'_> {
    fn of(file: &[u8]) -> Option<Table<'_>> {
        let magic: [u8; 4] = file.get(12..16)?.try_into().ok()?;
        let known = |number: u32| number == HASH || number == BTREE;
        let big = match (known(u32::from_le_bytes(magic)), known(u32::from_be_bytes(magic))) {
            (true, _) => false,
            (_, true) => true,
            _ => return None,
        };
        let table = Table { file, size: 512, big };
        let size = table.long(file, 20)? as usize;
        (size.is_power_of_two() && (512..=65_536).contains(&size)).then_some(Table { size, ..table })
    }

    fn short(&self, page: &[u8], at: usize) -> Option<usize> {
        let octets: [u8; 2] = page.get(at..at + 2)?.try_into().ok()?;
        Some(usize::from(if self.big { u16::from_be_bytes(octets) } else { u16::from_le_bytes(octets) }))
    }

    fn long(&self, page: &[u8], at: usize) -> Option<u32> {
        let octets: [u8; 4] = page.get(at..at + 4)?.try_into().ok()?;
        Some(if self.big { u32::from_be_bytes(octets) } else { u32::from_le_bytes(octets) })
    }

    /// Where the items of a page begin.
    fn offsets(&self, page: &[u8]) -> Vec<usize> {
        let count = self.short(page, 20).unwrap_or(0);
        (0..count).map_while(|place| self.short(page, HEAD + 2 * place)).collect()
    }

    /// Keys and values of a page of a hash. Items fill it from its end.
    fn hashed(&self, page: &[u8]) -> Vec<Option<Vec<u8>>> {
        let mut end = self.size;
        let item = |start: usize| {
            let item = page.get(start..std::mem::replace(&mut end, start));
            match item?.split_first()? {
                (1, data) => Some(data.to_vec()),
                (3, _) => self.long_item(page, start + 4),
                _ => None,
            }
        };
        self.offsets(page).into_iter().map(item).collect()
    }

    /// The same of a leaf of a tree.
    fn leaf(&self, page: &[u8]) -> Vec<Option<Vec<u8>>> {
        let item = |start: usize| match page.get(start + 2)? {
            1 => page.get(start + 3..start + 3 + self.short(page, start)?).map(<[u8]>::to_vec),
            3 => self.long_item(page, start + 4),
            _ => None,
        };
        self.offsets(page).into_iter().map(item).collect()
    }

    /// What lies on pages of its own; number and length stand there.
    fn long_item(&self, page: &[u8], at: usize) -> Option<Vec<u8>> {
        let length = self.long(page, at + 4)? as usize;
        if length > LONGEST {
            return None;
        }
        let mut item = Vec::with_capacity(length);
        let mut number = self.long(page, at)?;
        // Each page gives something, so a circle ends.
        while item.len() < length {
            let start = self.size.checked_mul(number as usize)?;
            let page = self.file.get(start..start.checked_add(self.size)?)?;
            let held = self.short(page, 22).filter(|held| *held > 0 && page[25] == OVERFLOW)?;
            item.extend_from_slice(page.get(HEAD..HEAD + held)?);
            number = self.long(page, 16)?;
        }
        item.truncate(length);
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page with items put from its end downwards.
    fn page(kind: u8, items: &[&[u8]]) -> Vec<u8> {
        let mut page = vec![0; 512];
        let mut end = 512;
        page[20..22].copy_from_slice(&(items.len() as u16).to_le_bytes());
        page[25] = kind;
        for (place, item) in items.iter().enumerate() {
            end -= item.len();
            page[end..end + item.len()].copy_from_slice(item);
            page[HEAD + 2 * place..HEAD + 2 * place + 2].copy_from_slice(&(end as u16).to_le_bytes());
        }
        page
    }

    fn file(magic: u32, pages: &[Vec<u8>]) -> Vec<u8> {
        let mut first = vec![0; 512];
        first[12..16].copy_from_slice(&magic.to_le_bytes());
        first[20..24].copy_from_slice(&512u32.to_le_bytes());
        pages.iter().fold(first, |file, page| [&file[..], page].concat())
    }

    #[test]
    fn entries_of_hashes_and_trees() {
        let mut long = vec![b'x'; 600];
        let mut part = page(OVERFLOW, &[]);
        part[22..24].copy_from_slice(&300u16.to_le_bytes());
        part[26..326].fill(b'x');
        let (mut first, second) = (part.clone(), part);
        first[16..20].copy_from_slice(&4u32.to_le_bytes());
        let place = [&[3, 0, 0, 0][..], &3u32.to_le_bytes(), &600u32.to_le_bytes()].concat();
        let pages =
            [page(HASH_SORTED, &[b"\x01a@b", b"\x01REJECT"]), page(HASH_UNSORTED, &[b"\x01long", &place])];
        let read = read(&file(HASH, &[&pages[..], &[first, second]].concat())).unwrap();
        assert_eq!(read[&b"a@b"[..]], b"REJECT");
        assert_eq!(read[&b"long"[..]], std::mem::take(&mut long));
        let tree = file(BTREE, &[page(LEAF, &[b"\x03\0\x01a@b", b"\x02\0\x01OK"])]);
        assert_eq!(super::read(&tree).unwrap()[&b"a@b"[..]], b"OK");
    }

    #[test]
    fn damage_is_borne() {
        assert!([&b"a@b REJECT\n"[..], &[0; 512], b""].into_iter().all(|file| read(file).is_none()));
        let mut circle = page(OVERFLOW, &[]);
        circle[22..24].copy_from_slice(&1u16.to_le_bytes());
        circle[16..20].copy_from_slice(&2u32.to_le_bytes());
        let place = [&[3, 0, 0, 0][..], &2u32.to_le_bytes(), &60_000u32.to_le_bytes()].concat();
        let far = [&[3, 0, 0, 0][..], &u32::MAX.to_le_bytes(), &6u32.to_le_bytes()].concat();
        let pages = [page(HASH_SORTED, &[b"\x01a", &place, b"\x01b", &far]), circle];
        assert_eq!(read(&file(HASH, &pages)).unwrap().len(), 1);
        let mut wild = page(HASH_SORTED, &[]);
        wild[20..].fill(0xff);
        wild[25] = HASH_SORTED;
        assert!(read(&file(HASH, &[wild])).unwrap().is_empty());
    }
}
