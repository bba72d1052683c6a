//! Compound files made by hand, changed and read again.

use super::*;

/// A compound file with these streams, and the storages in their paths. Siblings are chained to the right.
pub(crate) fn compose(streams: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut names: Vec<(String, Option<&[u8]>)> = vec![(String::new(), None)];
    for (path, content) in streams {
        for (at, _) in path.match_indices('/') {
            if !names.iter().any(|(name, _)| *name == path[..at]) {
                names.push((path[..at].to_owned(), None));
            }
        }
        names.push((path.clone(), Some(content)));
    }
    let parent = |path: &str| path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    let (mut fat, mut data): (Vec<u32>, Vec<u8>) = (Vec::new(), Vec::new());
    let store = |bytes: &[u8], unit: usize, fat: &mut Vec<u32>, data: &mut Vec<u8>| {
        let start = fat.len() as u32;
        let count = bytes.len().div_ceil(unit) as u32;
        fat.extend((1..=count).map(|n| if n == count { END_OF_CHAIN } else { start + n }));
        data.extend_from_slice(bytes);
        data.resize(fat.len() * unit, 0);
        if count == 0 { END_OF_CHAIN } else { start }
    };
    let (mut mini_fat, mut mini): (Vec<u32>, Vec<u8>) = (Vec::new(), Vec::new());
    let mut directory = Vec::new();
    for (place, (path, content)) in names.iter().enumerate() {
        let is_child = |(other, _): &(String, Option<&[u8]>)| !other.is_empty() && parent(other) == *path;
        let child = names.iter().position(is_child).filter(|_| content.is_none());
        let is_sibling = |(other, _): &(String, Option<&[u8]>)| parent(other) == parent(path);
        let sibling = names.iter().skip(place + 1).position(is_sibling).filter(|_| place > 0);
        let start = match content {
            None => END_OF_CHAIN,
            Some(bytes) if bytes.len() < SMALL => store(bytes, MINI, &mut mini_fat, &mut mini),
            Some(bytes) => store(bytes, 512, &mut fat, &mut data),
        };
        let name = if place == 0 { "Root Entry" } else { path.rsplit('/').next().unwrap_or_default() };
        let mut entry: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let named = entry.len() as u16 + 2;
        entry.resize(64, 0);
        entry.extend(named.to_le_bytes());
        entry.extend([
            if place == 0 {
                ROOT
            } else if content.is_some() {
                STREAM
            } else {
                STORAGE
            },
            1,
        ]);
        entry.extend(FREE.to_le_bytes());
        entry.extend(sibling.map_or(FREE, |next| (place + 1 + next) as u32).to_le_bytes());
        entry.extend(child.map_or(FREE, |child| child as u32).to_le_bytes());
        entry.extend([0; 36]);
        entry.extend(start.to_le_bytes());
        entry.extend((content.map_or(0, <[u8]>::len) as u64).to_le_bytes());
        directory.extend(entry);
    }
    let mini_start = store(&mini, 512, &mut fat, &mut data);
    directory[116..120].copy_from_slice(&mini_start.to_le_bytes());
    directory[120..128].copy_from_slice(&(mini.len() as u64).to_le_bytes());
    let directory_start = store(&directory, 512, &mut fat, &mut data);
    let mini_fat: Vec<u8> = mini_fat.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut padded = mini_fat.clone();
    padded.resize(mini_fat.len().next_multiple_of(512), 0xff);
    let mini_fat_start = store(&padded, 512, &mut fat, &mut data);
    let (fat_sectors, first_fat) = (fat.len().div_ceil(127).max(1), fat.len() as u32);
    fat.extend(std::iter::repeat_n(0xffff_fffd, fat_sectors));
    fat.resize(fat_sectors * 128, FREE);
    let mut file = vec![0; 512];
    file[..8].copy_from_slice(MAGIC);
    file[24..34].copy_from_slice(&[0x3e, 0, 3, 0, 0xfe, 0xff, 9, 0, 6, 0]);
    let mut put = |at: usize, word: u32| file[at..at + 4].copy_from_slice(&word.to_le_bytes());
    put(44, fat_sectors as u32);
    put(48, directory_start);
    put(56, 4096);
    put(60, mini_fat_start);
    put(64, (padded.len() / 512) as u32);
    put(68, END_OF_CHAIN);
    (0..109).for_each(|n| put(76 + 4 * n, if n < fat_sectors { first_fat + n as u32 } else { FREE }));
    file.extend(data);
    file.extend(fat.iter().flat_map(|word| word.to_le_bytes()));
    file
}

/// Paths and contents of all streams.
pub(crate) fn streams(file: &[u8]) -> Vec<(String, Vec<u8>)> {
    let cfb = Cfb::parse(file).expect("sound");
    let path = |mut number: usize| {
        let mut steps = Vec::new();
        while number != 0 {
            let entry = cfb.entries[number].as_ref().expect("an entry");
            steps.insert(0, entry.name.clone());
            number = entry.parent;
        }
        steps.join("/")
    };
    let streams = cfb.entries().filter(|(_, entry)| !entry.storage);
    streams.map(|(number, _)| (path(number), cfb.read(number).expect("sound"))).collect()
}

#[test]
fn storages_go_and_the_rest_stays() {
    let all: Vec<(String, Vec<u8>)> =
        [("a", 10), ("b/c", 5000), ("b/d/e", 100), ("f", 9000), ("g", 0), ("h", 64)]
            .iter()
            .enumerate()
            .map(|(place, (name, size))| ((*name).to_owned(), vec![place as u8 + 1; *size]))
            .collect();
    let file = compose(&all);
    let mut found = streams(&file);
    found.sort();
    assert_eq!(found, all);
    let mut cfb = Cfb::parse(&file).expect("sound");
    let gone = cfb.child(0, "B").expect("there");
    cfb.remove(&HashSet::from([gone]));
    let stream = cfb.child(0, "f").expect("there");
    cfb.write(stream, &[9; 9000]).expect("sound");
    let made = cfb.finish().expect("sound").expect("changed");
    assert_eq!(made.len(), file.len());
    // Nothing of the content is left.
    assert!(!made.windows(60).any(|run| run == [2; 60] || run == [3; 60] || run == [4; 60]));
    let mut found = streams(&made);
    found.sort();
    let left: Vec<_> = all.iter().filter(|(name, _)| !name.starts_with('b')).cloned().collect();
    let left: Vec<_> = left
        .into_iter()
        .map(|(name, content)| if name == "f" { (name, vec![9; 9000]) } else { (name, content) })
        .collect();
    assert_eq!(found, left);
}

#[test]
fn unsound_files_are_refused() {
    let file = compose(&[("a".to_owned(), vec![1; 5000]), ("b".to_owned(), vec![2; 10])]);
    assert!(Cfb::parse(&file).is_ok());
    for (at, byte) in [(0, 0), (30, 77), (44, 9), (48, 200), (57, 0), (60, 250), (76, 250)] {
        let mut bad = file.clone();
        bad[at] = byte;
        assert!(Cfb::parse(&bad).is_err(), "{at}");
    }
    for cut in [100, 512, 600, file.len() - 600] {
        assert!(Cfb::parse(&file[..cut]).is_err(), "{cut}");
    }
}
