//! RAR archives of all versions: 1.3 (`RE~^`), 1.5 to 4 and 5 to 7, behind a program too (self-extracting ones).
//!
//! The methods are written from descriptions of the format; nothing here comes from unrar, whose licence does not allow
//! it in free software. Volumes of a set are opened one by one: what lies in one of them alone is read.

mod decoder;
mod filter;
mod header;
mod lock;
mod lz15;
mod lz20;
mod lz29;
mod lz50;
mod output;
mod ppmd;
mod v4;
mod v5;

use std::io::Read;

use bytes::Bytes;
use gatepost_mail::{DefectKind, FileKind, FileType, Limit};
use memchr::memmem;

use crate::opening::{End, Member, Opening, Stop, keep};
use decoder::Decoder;
use header::{Block, File, Lock, Method, Next, Sum};
use lock::Key;

/// Which headers an archive has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// 1.3.
    Old,
    /// 1.5 to 4.
    Four,
    /// 5 to 7.
    Five,
}

/// Whether this is a RAR archive, or a program or anything else that no text is with one behind it.
pub(crate) fn is(body: &[u8], detected: FileType) -> bool {
    find(body, detected).is_some()
}

/// Opens a RAR archive.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    let body = opening.body.clone();
    let Some((start, version)) = find(&body, FileType::DATA) else {
        opening.defective(DefectKind::BadArchive, "no header of a RAR archive");
        return Ok(());
    };
    Rar {
        opening,
        body,
        version,
        decoder: Box::default(),
        files: 0,
        solid: false,
        broken: false,
        password: None,
        headers: None,
    }
    .read(start)
}

/// Where the first block stands: behind the mark, or for RAR 1.3 at it.
fn find(body: &[u8], detected: FileType) -> Option<(usize, Version)> {
    /// WinRAR looks for the mark behind a program this far.
    const REACH: usize = 4 << 20;
    if body.starts_with(v4::MARK) {
        return Some((v4::MARK.len(), Version::Four));
    }
    if body.starts_with(v5::MARK) {
        return Some((v5::MARK.len(), Version::Five));
    }
    if body.starts_with(v4::OLD_MARK) {
        return Some((0, Version::Old));
    }
    let binary = detected.kind == FileKind::Executable
        || matches!(
            detected.kind,
            FileKind::Data | FileKind::Image | FileKind::Document | FileKind::Audio | FileKind::Video
        );
    if !binary {
        return None;
    }
    memmem::find_iter(&body[..body.len().min(REACH)], b"Rar!\x1a\x07").find_map(|at| {
        let rest = &body[at..];
        if rest.starts_with(v4::MARK) && v4::is_archive(body, at + v4::MARK.len()) {
            Some((at + v4::MARK.len(), Version::Four))
        } else if rest.starts_with(v5::MARK) && v5::is_archive(body, at + v5::MARK.len()) {
            Some((at + v5::MARK.len(), Version::Five))
        } else {
            None
        }
    })
}

struct Rar<'a, 'b> {
    opening: &'a mut Opening<'b>,
    body: Bytes,
    version: Version,
    decoder: Box<Decoder>,
    /// Members that were read.
    files: usize,
    /// All members share a window, where they do not say so themselves.
    solid: bool,
    /// The window is not what the next member needs.
    broken: bool,
    /// The password that opened something.
    password: Option<String>,
    /// How the headers are encrypted.
    headers: Option<Lock>,
}

impl Rar<'_, '_> {
    fn read(mut self, start: usize) -> Result<(), Stop> {
        let mut at = start;
        let mut bad = false;
        loop {
            self.opening.check_time()?;
            let Some(next) = self.next(at, start) else { break };
            if !next.sound && !bad {
                bad = true;
                self.opening.defective(DefectKind::BadArchive, "a header whose checksum differs");
            }
            match next.block {
                Block::Main { volume, solid } => {
                    self.solid = solid;
                    if volume {
                        let detail = "one volume of a set of several";
                        self.opening.defective(DefectKind::TruncatedArchive, detail);
                    }
                }
                Block::File(file) => self.file(&file)?,
                Block::Locked(lock) => {
                    if !self.unlock_headers(lock, next.at) {
                        self.opening.defective(DefectKind::Encrypted, "its list of members is encrypted");
                        return Ok(());
                    }
                }
                Block::End => return Ok(()),
                Block::Other => {}
            }
            at = next.at;
        }
        self.ended(at)
    }

    fn next(&self, at: usize, start: usize) -> Option<Next> {
        match self.version {
            Version::Old if at == start => v4::main_old(&self.body, at),
            Version::Old => v4::read_old(&self.body, at),
            _ if self.headers.is_some() => {
                let (lock, password) = (self.headers.as_ref()?, self.password.as_ref()?);
                locked_header(&self.body, at, lock, password)
            }
            Version::Four => v4::read(&self.body, at),
            Version::Five => v5::read(&self.body, at),
        }
    }

    /// Nothing more can be read at `at`, where no end was announced.
    fn ended(self, at: usize) -> Result<(), Stop> {
        let rest = &self.body[at.min(self.body.len())..];
        if rest.iter().any(|byte| *byte != 0) {
            self.opening.defective(DefectKind::BadArchive, "a header that makes no sense");
        } else if self.files == 0 {
            self.opening.defective(DefectKind::TruncatedArchive, "it ends before its first member");
        }
        Ok(())
    }

    fn file(&mut self, file: &File) -> Result<(), Stop> {
        if file.empty {
            return Ok(());
        }
        let content = self.content(file);
        self.files += 1;
        let member = Member {
            names: file.names.clone(),
            unread: content.over.is_some() || !content.defects.is_empty(),
            body: content.body,
            encrypted: content.encrypted,
        };
        let id = self.opening.member(member)?;
        for (kind, detail) in content.defects {
            self.opening.defect(kind, id, detail);
        }
        if let Some(limit) = content.over {
            self.opening.over(limit, Some(id));
        }
        Ok(())
    }

    fn content(&mut self, file: &File) -> Content {
        let packed = self.body.slice(file.data.clone());
        let Some(lock) = &file.locked else { return self.unpacked(file, packed, None) };
        if file.size == Some(0) {
            return Content::default();
        }
        let whole = !file.short && file.split == (false, false);
        let key = if whole { self.key(lock, file, &packed) } else { None };
        if let Some(key) = key {
            let mut plain = packed.to_vec();
            key.decrypt(&mut plain);
            let content = self.unpacked(file, plain.into(), Some(&key));
            // A wrong password makes nothing of use.
            if content.over.is_some() || content.defects.is_empty() {
                return content;
            }
        }
        self.broken = true;
        Content { encrypted: true, ..Content::default() }
    }

    /// The key of a member, of a password that is known or one that opens it.
    fn key(&mut self, lock: &Lock, file: &File, packed: &[u8]) -> Option<Key> {
        let most_memory = self.opening.most_memory();
        let opens = |password: &str| {
            lock.accepts(password).unwrap_or_else(|| {
                lock.key(password).is_some_and(|key| tells_right(&key, file, packed, most_memory))
            })
        };
        // Only a member that stands for itself tells by its content whether a password is right.
        let silent = matches!(lock, Lock::Three { .. }) && file.solid && self.files > 0;
        if let Some(password) = &self.password
            && (silent || opens(password))
        {
            return lock.key(password);
        }
        if silent {
            return None;
        }
        let password = self.opening.password(lock.price(), opens)?;
        let key = lock.key(&password);
        self.password = Some(password);
        key
    }

    /// Looks for the password of the headers, the first of which stands at `at`.
    fn unlock_headers(&mut self, lock: Lock, at: usize) -> bool {
        let body = self.body.clone();
        let opens = |password: &str| {
            lock.accepts(password)
                .unwrap_or_else(|| locked_header(&body, at, &lock, password).is_some_and(|next| next.sound))
        };
        self.password = self.opening.password(lock.price(), opens);
        self.headers = Some(lock);
        self.password.is_some()
    }

    fn unpacked(&mut self, file: &File, packed: Bytes, key: Option<&Key>) -> Content {
        let mut content = Content::default();
        match file.method {
            Method::Stored if key.is_some() => {
                let size = file.size.and_then(|size| usize::try_from(size).ok()).unwrap_or(packed.len());
                let mut data = Vec::new();
                let mut plain = &packed[..size.min(packed.len())];
                if let End::Over(limit) = self.opening.drain(&mut plain, packed.len() as u64, &mut data) {
                    content.over = Some(limit);
                }
                content.body = keep(data);
            }
            Method::Stored => match self.opening.slice(file.data.clone()) {
                Ok(body) => content.body = body,
                Err(limit) => content.over = Some(limit),
            },
            Method::Unknown(version) => {
                let version = format!("method of version {}.{}", version / 10, version % 10);
                content.complain(DefectKind::UnknownMethod, version);
                self.broken = true;
                return content;
            }
            _ => self.decode(file, &packed, &mut content),
        }
        if content.over.is_some() || !content.defects.is_empty() {
            return content;
        }
        match file.split {
            (true, _) => content.complain(DefectKind::TruncatedArchive, "it begins in another volume"),
            (_, true) => content.complain(DefectKind::TruncatedArchive, "it goes on in another volume"),
            _ if file.short => content.complain(DefectKind::TruncatedArchive, "its data ends early"),
            _ => content.compare(file, key),
        }
        content
    }

    fn decode(&mut self, file: &File, packed: &[u8], content: &mut Content) {
        let by_archive = file.method == Method::Lz15 && self.solid && self.files > 0;
        let solid = file.solid && file.method != Method::Lz15 || by_archive;
        if file.split.0 {
            self.broken = true;
            return;
        }
        if solid && self.broken {
            content.complain(DefectKind::BadArchive, "it needs a member before it that could not be read");
            return;
        }
        let size = file.size.unwrap_or(0);
        if let Err(limit) = self.opening.check_memory(file.window.min(size)) {
            content.over = Some(limit);
            self.broken = true;
            return;
        }
        let mut data = Vec::new();
        let mut reader = self.decoder.read(file, solid, packed, self.opening.most_memory());
        let end = self.opening.drain(&mut reader, packed.len() as u64, &mut data);
        content.body = keep(data);
        self.broken = end != End::Complete;
        match end {
            End::Over(limit) => content.over = Some(limit),
            _ if self.decoder.over_memory() => content.over = Some(Limit::Memory),
            _ if self.decoder.unknown_filter() => {
                content.complain(DefectKind::UnknownMethod, "a filter that nobody knows");
            }
            End::Complete => {}
            End::Truncated if file.split.1 => {}
            End::Truncated => content.complain(DefectKind::TruncatedArchive, "its data ends early"),
            End::Corrupt => content.complain(DefectKind::BadArchive, "its data is damaged"),
        }
    }
}

/// The encrypted header at `at`, decrypted.
fn locked_header(body: &[u8], at: usize, lock: &Lock, password: &str) -> Option<Next> {
    const BLOCK: usize = 16;
    let (salt, key) = match lock {
        // Each header has a salt of its own before it.
        Lock::Three { .. } => {
            let salt = body.get(at..at + 8)?.to_vec();
            (8, Lock::Three { salt }.key(password)?)
        }
        _ => (16, lock.key(password)?),
    };
    let start_at = at + salt;
    let decrypt = |len: usize| {
        let mut header = body.get(start_at..start_at.checked_add(len)?)?.to_vec();
        match lock {
            Lock::Three { .. } => key.decrypt(&mut header),
            _ => key.decrypt_header(*body.get(at..)?.first_chunk()?, &mut header),
        }
        Some(header)
    };
    let first = decrypt(BLOCK)?;
    let five = matches!(lock, Lock::Five { .. });
    let len = if five { v5::header_len(&first, 0)? } else { v4::header_len(&first)? };
    let padded = len.next_multiple_of(BLOCK);
    let header = decrypt(padded)?;
    let header = header.get(..len)?;
    if five { v5::block(body, header, start_at + padded) } else { v4::block(body, header, start_at + padded) }
}

/// Whether a key makes what the member's checksum says, for members that are not large.
fn tells_right(key: &Key, file: &File, packed: &[u8], most_memory: u64) -> bool {
    /// Larger ones are not unpacked once for each password.
    const MOST: u64 = 16 << 20;
    let (Some(size), Sum::Crc(said)) = (file.size, file.sum) else { return false };
    if size > MOST || size == 0 {
        return false;
    }
    let mut plain = packed.to_vec();
    key.decrypt(&mut plain);
    let mut crc = flate2::Crc::new();
    if file.method == Method::Stored {
        crc.update(&plain[..plain.len().min(size as usize)]);
        return crc.sum() == said;
    }
    let mut decoder = Box::<Decoder>::default();
    let mut reader = decoder.read(file, false, &plain, most_memory);
    let mut step = vec![0; 32 << 10];
    while let Ok(count @ 1..) = reader.read(&mut step) {
        crc.update(&step[..count]);
    }
    crc.sum() == said
}

/// What came out of a member.
#[derive(Debug, Default)]
struct Content {
    body: Bytes,
    encrypted: bool,
    defects: Vec<(DefectKind, String)>,
    over: Option<Limit>,
}

impl Content {
    fn complain(&mut self, kind: DefectKind, detail: impl Into<String>) {
        self.defects.push((kind, detail.into()));
    }

    fn compare(&mut self, file: &File, key: Option<&Key>) {
        let size = self.body.len() as u64;
        if let Some(said) = file.size.filter(|said| *said != size) {
            self.complain(DefectKind::BadArchive, format!("{size} bytes where the header says {said}"));
            return;
        }
        let right = match file.sum {
            Sum::None => true,
            Sum::Crc(said) => {
                let mut crc = flate2::Crc::new();
                crc.update(&self.body);
                key.map_or(crc.sum(), |key| key.sum(crc.sum())) == said
            }
            Sum::Rotated(said) => {
                let add = |sum: u16, byte: &u8| sum.wrapping_add((*byte).into()).rotate_left(1);
                self.body.iter().fold(0, add) == said
            }
        };
        if !right {
            self.complain(DefectKind::BadArchive, "its checksum differs");
        }
    }
}
