//! Files that are looked at by name or by descriptor: only in folders that are allowed, never by a symbolic link that
//! leads elsewhere, regular files only, and copied.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use super::super::Front;
use super::super::asker::settle;
use super::super::spool::Spool;

/// Most files of a folder.
const MOST_FILES: usize = 10_000;

/// How deep folders are looked into, as deep as clamd does (`MaxDirectoryRecursion`).
const DEPTH: usize = 15;

/// What a path names.
pub(super) enum Named {
    /// A regular file, opened, and its name.
    File(OwnedFd, Option<String>),
    /// A folder.
    Folder(Listing),
}

/// The files of a folder.
#[derive(Default)]
pub(super) struct Listing {
    /// As they are told of, under the path that the client gave; and as they are opened, without symbolic links.
    pub paths: Vec<(Vec<u8>, PathBuf)>,
    /// There are more, or some lie too deep.
    pub cut_short: bool,
}

/// Why a file is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// It lies elsewhere, or we may not read it.
    Access,
    /// It is not there.
    Missing,
}

impl Denied {
    /// In clamd's words.
    pub fn text(self) -> &'static str {
        match self {
            Denied::Access => "Access denied.",
            Denied::Missing => "File path check failure: No such file or directory.",
        }
    }
}

impl From<io::Error> for Denied {
    fn from(error: io::Error) -> Denied {
        match error.kind() {
            io::ErrorKind::NotFound => Denied::Missing,
            _ => Denied::Access,
        }
    }
}

/// What a path names, if it lies in one of the folders. Of a path that lies elsewhere nothing is told, not even whether
/// there is anything.
pub(super) fn named(folders: &[PathBuf], path: &[u8]) -> Result<Named, Denied> {
    let path = Path::new(OsStr::from_bytes(path));
    let goes_up = path.components().any(|step| step == Component::ParentDir);
    if !path.is_absolute() || goes_up || !folders.iter().any(|folder| path.starts_with(folder)) {
        return Err(Denied::Access);
    }
    let real = fs::canonicalize(path).map_err(|_| missing(folders, path))?;
    let file = open(folders, &real)?;
    if File::from(file.try_clone()?).metadata()?.is_dir() {
        return Ok(Named::Folder(list(path, &real)));
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(Named::File(file, name))
}

/// What is told of a path that is not there: so much only where it would be in one of the folders.
fn missing(folders: &[PathBuf], path: &Path) -> Denied {
    let existing = path.ancestors().skip(1).find_map(|above| fs::canonicalize(above).ok());
    let is_in = |folder: &PathBuf| {
        let folder = fs::canonicalize(folder);
        folder.is_ok_and(|folder| existing.as_ref().is_some_and(|existing| existing.starts_with(folder)))
    };
    if folders.iter().any(is_in) { Denied::Missing } else { Denied::Access }
}

/// Opens what lies in one of the folders, by a path without symbolic links. Should one be put in the way meanwhile, it
/// is not followed.
pub(super) fn open(folders: &[PathBuf], real: &Path) -> Result<OwnedFd, Denied> {
    for folder in folders {
        let Ok(folder) = fs::canonicalize(folder) else { continue };
        let Ok(inside) = real.strip_prefix(&folder) else { continue };
        let inside = if inside.as_os_str().is_empty() { Path::new(".") } else { inside };
        let base = File::open(&folder)?;
        // NONBLOCK: a pipe that nobody writes to would keep us waiting.
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        return openat2(&base, inside, how).map_err(|errno| match errno {
            Errno::ENOENT => Denied::Missing,
            _ => Denied::Access,
        });
    }
    Err(Denied::Access)
}

/// The regular files below a folder, in order. Symbolic links are passed over, as clamd does.
fn list(shown: &Path, real: &Path) -> Listing {
    let (mut listing, mut visited) = (Listing::default(), 0);
    // An explicit stack: folders nest as deep as they like.
    let mut folders = vec![(shown.to_owned(), real.to_owned(), 0)];
    while let Some((shown, real, depth)) = folders.pop() {
        visited += 1;
        let entries = match fs::read_dir(&real) {
            Ok(entries) if visited <= MOST_FILES => entries,
            _ => {
                listing.cut_short = true;
                continue;
            }
        };
        let mut entries: Vec<_> = entries.take(MOST_FILES + 1).flatten().collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (shown, real) = (shown.join(entry.file_name()), entry.path());
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth < DEPTH && folders.len() < MOST_FILES => {
                    folders.push((shown, real, depth + 1));
                }
                Ok(kind) if kind.is_dir() => listing.cut_short = true,
                Ok(kind) if kind.is_file() && listing.paths.len() < MOST_FILES => {
                    listing.paths.push((shown.into_os_string().as_bytes().to_vec(), real));
                }
                Ok(kind) if kind.is_file() => listing.cut_short = true,
                _ => {}
            }
        }
    }
    listing
}

/// The content of a regular file, from its begin wherever its offset stands. An error is what the client hears.
pub(super) fn read(file: OwnedFd, front: &Front) -> Result<Bytes, String> {
    let file = File::from(file);
    let most = front.limits.message_size.bytes();
    let failed = |error: io::Error| format!("Cannot read: {}.", error.kind());
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err("Not a regular file".into());
    }
    let too_large = || format!("Larger than {most} bytes (limits.message_size).");
    if metadata.len() > most {
        return Err(too_large());
    }
    let mut spool = Spool::new(front.limits.memory.bytes());
    let (mut piece, mut at) = (vec![0; 64 << 10], 0);
    loop {
        match file.read_at(&mut piece, at) {
            Ok(0) => break,
            Ok(read) => {
                at += read as u64;
                // It may have grown since.
                if at > most {
                    return Err(too_large());
                }
                spool.buffer().extend_from_slice(&piece[..read]);
                settle(&mut spool, front).map_err(|_| "Insufficient system storage.".to_owned())?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    spool.finish().map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn told(folders: &[PathBuf], path: &Path) -> String {
        match named(folders, path.as_os_str().as_bytes()) {
            Ok(Named::File(_, name)) => format!("file {}", name.unwrap_or_default()),
            Ok(Named::Folder(listing)) => {
                let shown = listing.paths.iter().map(|(shown, _)| {
                    let shown = Path::new(OsStr::from_bytes(shown));
                    shown.strip_prefix(path).unwrap().display().to_string()
                });
                format!(
                    "folder {}{}",
                    shown.collect::<Vec<_>>().join(" "),
                    if listing.cut_short { " …" } else { "" }
                )
            }
            Err(denied) => format!("{denied:?}"),
        }
    }

    #[test]
    fn only_what_lies_in_the_folders() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for folder in ["in/deep", "out", "inside"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        for file in ["in/a", "in/deep/b", "out/secret", "inside/c"] {
            fs::write(at(file), "x").unwrap();
        }
        symlink(at("out/secret"), at("in/link")).unwrap();
        symlink(at("out"), at("in/folder-link")).unwrap();
        symlink(at("in/a"), at("in/own-link")).unwrap();
        symlink(at("in"), at("way-in")).unwrap();
        nix::unistd::mkfifo(&at("in/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let folders = [at("in")];
        for (path, expected) in [
            ("in/a", "file a"),
            ("in/own-link", "file own-link"),
            ("in", "folder a deep/b"),
            ("in/deep", "folder b"),
            ("in/none", "Missing"),
            ("in/pipe", "file pipe"),
            ("in/link", "Access"),
            ("in/folder-link", "Access"),
            ("in/folder-link/secret", "Access"),
            ("in/../out/secret", "Access"),
            ("in/../out/none", "Access"),
            ("in/deep/../a", "Access"),
            ("in/none/none", "Missing"),
            ("in/folder-link/none", "Access"),
            ("out/secret", "Access"),
            ("out/none", "Access"),
            ("inside/c", "Access"),
            ("way-in/a", "Access"),
        ] {
            assert_eq!(told(&folders, &at(path)), expected, "{path}");
        }
        assert_eq!(told(&[at("way-in")], &at("way-in/a")), "file a");
        assert_eq!(told(&[], &at("in/a")), "Access");
        assert_eq!(told(&folders, Path::new("in/a")), "Access");
    }

    #[test]
    fn a_link_put_in_the_way_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("in")).unwrap();
        fs::write(at("secret"), "x").unwrap();
        symlink(at("secret"), at("in/a")).unwrap();
        assert_eq!(open(&[at("in")], &at("in/a")).unwrap_err(), Denied::Access);
    }

    #[test]
    fn folders_are_looked_into_so_deep_only() {
        let root = tempfile::tempdir().unwrap();
        let deep = (0..DEPTH + 1).fold(root.path().to_owned(), |path, _| path.join("d"));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("a"), "x").unwrap();
        fs::write(deep.parent().unwrap().join("b"), "x").unwrap();
        let listing = list(root.path(), root.path());
        assert_eq!((listing.paths.len(), listing.cut_short), (1, true));
    }
}
