//! The message in a file of the client's.
//!
//! Clients name files that we open with our own rights, so only regular files below the folders that the configuration
//! names are read; and what a name means may change while we look, so it is the open file that is asked where it is.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use gatepost_wire::smtp::{Stray, StrayReport};
use nix::libc::{O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::front::mend::mend;
use crate::front::spool::Spool;

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;

/// How a message is read.
pub(super) struct Reading {
    /// Folders that its file must lie in.
    pub folders: Vec<PathBuf>,
    /// Longest message, in octets with CRLF.
    pub most: u64,
    /// Octets kept in memory.
    pub memory: u64,
    /// What is done about stray line ends.
    pub stray: Stray,
    /// Where what is too large for memory goes.
    pub spool: PathBuf,
}

/// Why a message cannot be read.
#[derive(Debug)]
pub(super) enum FileError {
    /// Not in a folder that files may be in.
    Outside(PathBuf),
    /// A link, a folder, a pipe.
    NotAFile(PathBuf),
    /// It cannot be opened or read.
    Io(PathBuf, io::Error),
    /// The spool cannot be written.
    Spool(io::Error),
    /// It took longer than a message may.
    Slow,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::Outside(path) => {
                write!(f, "{} is in none of the listener's mail_folders", path.display())
            }
            FileError::NotAFile(path) => write!(f, "{} is not a plain file", path.display()),
            FileError::Io(path, error) => write!(f, "{}: {error}", path.display()),
            FileError::Spool(error) => write!(f, "cannot be spooled: {error}"),
            FileError::Slow => f.write_str("the file could not be read or removed in time"),
        }
    }
}

/// Reads a message and mends its line endings, see [`mend`]; it blocks. The report tells of what is over the limit, and of
/// what is to be refused.
pub(super) fn read(path: &[u8], reading: &Reading) -> Result<(Bytes, StrayReport), FileError> {
    let mut file = open(path, &reading.folders)?;
    let told = |error| FileError::Io(Path::new(OsStr::from_bytes(path)).to_owned(), error);
    let mut spool = Spool::new(reading.memory);
    let (mut chunk, mut size) = (vec![0; CHUNK], 0);
    while size <= reading.most {
        let count = file.read(&mut chunk).map_err(told)?;
        if count == 0 {
            break;
        }
        size += count as u64;
        spool.buffer().extend_from_slice(&chunk[..count]);
        spool.settle(&reading.spool).map_err(FileError::Spool)?;
    }
    let content = spool.finish().map_err(FileError::Spool)?;
    if size > reading.most {
        return Ok((content, StrayReport { over_limit: true, ..StrayReport::default() }));
    }
    let mended = mend(content, reading.memory, &reading.spool, reading.stray);
    let (raw, mut report) = mended.map_err(FileError::Spool)?;
    report.over_limit = raw.len() as u64 > reading.most;
    Ok((raw, report))
}

/// Removes a file, and the folder it is in if that is empty then and is the client's own.
pub(super) fn remove(path: &[u8], tempdir: Option<&[u8]>, folders: &[PathBuf]) -> Result<(), FileError> {
    let path = Path::new(OsStr::from_bytes(path));
    let (parent, name) = place(path, folders)?;
    let folder = open_folder(&parent, folders)?;
    let told = |error: nix::Error| FileError::Io(path.to_owned(), error.into());
    unlinkat(&folder, name, UnlinkatFlags::NoRemoveDir).map_err(told)?;
    let own = tempdir.is_some_and(|tempdir| {
        Path::new(OsStr::from_bytes(tempdir)).canonicalize().is_ok_and(|tempdir| tempdir == parent)
    });
    match (parent.parent(), parent.file_name()) {
        (Some(above), Some(name)) if own && inside(above, folders) => {
            let above = open_folder(above, folders)?;
            unlinkat(&above, name, UnlinkatFlags::RemoveDir)
                .map_err(|error| FileError::Io(parent.clone(), error.into()))
        }
        _ => Ok(()),
    }
}

/// Opens a regular file that lies where it may. Links on the way to its folder are followed, it must be none itself.
fn open(path: &[u8], folders: &[PathBuf]) -> Result<File, FileError> {
    let path = Path::new(OsStr::from_bytes(path));
    let (parent, name) = place(path, folders)?;
    let told = |error: io::Error| match error.raw_os_error() {
        Some(nix::libc::ELOOP) => FileError::NotAFile(path.to_owned()),
        _ => FileError::Io(path.to_owned(), error),
    };
    // Without waiting: a pipe or device may be there in place of a file.
    let mut options = OpenOptions::new();
    let file =
        options.read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(parent.join(name)).map_err(told)?;
    if !file.metadata().map_err(told)?.is_file() {
        return Err(FileError::NotAFile(path.to_owned()));
    }
    if inside(&whereabouts(&file).map_err(told)?, folders) {
        Ok(file)
    } else {
        Err(FileError::Outside(path.to_owned()))
    }
}

fn open_folder(path: &Path, folders: &[PathBuf]) -> Result<File, FileError> {
    let told = |error| FileError::Io(path.to_owned(), error);
    let folder =
        OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_DIRECTORY).open(path).map_err(told)?;
    let real = whereabouts(&folder).map_err(told)?;
    if inside(&real, folders) { Ok(folder) } else { Err(FileError::Outside(path.to_owned())) }
}

/// The folder of a file, without links, and its name there; an error if the folder is not below those allowed.
fn place<'a>(path: &'a Path, folders: &[PathBuf]) -> Result<(PathBuf, &'a OsStr), FileError> {
    let outside = || FileError::Outside(path.to_owned());
    let name = path.file_name().ok_or_else(outside)?;
    let parent = path.parent().filter(|parent| parent.is_absolute()).ok_or_else(outside)?;
    let parent = parent.canonicalize().map_err(|error| FileError::Io(path.to_owned(), error))?;
    if inside(&parent, folders) { Ok((parent, name)) } else { Err(outside()) }
}

/// Where an open file is now.
fn whereabouts(file: &File) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn inside(path: &Path, folders: &[PathBuf]) -> bool {
    folders.iter().filter_map(|folder| folder.canonicalize().ok()).any(|folder| path.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn reading(folder: &Path) -> Reading {
        Reading {
            folders: vec![folder.join("in")],
            most: 200_000,
            memory: 1000,
            stray: Stray::Normalize,
            spool: folder.to_owned(),
        }
    }

    #[test]
    fn only_plain_files_below_the_folder_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["in/af1", "in/deep/er", "inside", "out"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        for name in ["in/af1/email.txt", "in/deep/er/x", "in/top", "inside/secret", "out/secret"] {
            std::fs::write(at(name), "A: b\n\nc\n").unwrap();
        }
        symlink(at("out/secret"), at("in/link")).unwrap();
        symlink(at("in/top"), at("in/own-link")).unwrap();
        symlink(at("out"), at("in/way-out")).unwrap();
        symlink(at("in"), at("way-in")).unwrap();
        nix::unistd::mkfifo(&at("in/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for (name, expected) in [
            ("in/af1/email.txt", "read"),
            ("in/deep/er/x", "read"),
            ("in/top", "read"),
            ("way-in/top", "read"),
            ("in/af1/../top", "read"),
            ("inside/secret", "mail_folders"),
            ("out/secret", "mail_folders"),
            ("in/../out/secret", "mail_folders"),
            ("in/way-out/secret", "mail_folders"),
            ("in/link", "not a plain file"),
            ("in/own-link", "not a plain file"),
            ("in/pipe", "not a plain file"),
            ("in/af1", "not a plain file"),
            ("in/none", "No such file"),
            ("in/none/x", "No such file"),
            ("in/af1/..", "mail_folders"),
        ] {
            let path = at(name);
            let result = match read(path.as_os_str().as_bytes(), &reading(folder.path())) {
                Ok(_) => "read".to_owned(),
                Err(error) => error.to_string(),
            };
            assert!(result.contains(expected), "{name}: {result}");
        }
        for relative in ["top", "", "/", "in/top"] {
            assert!(read(relative.as_bytes(), &reading(folder.path())).is_err(), "{relative}");
        }
    }

    #[test]
    fn line_ends_are_those_of_the_wire() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        let file = folder.path().join("in/x");
        let long = "x".repeat(CHUNK - 1);
        for (content, expected, bare_lf, bare_cr) in [
            ("A: b\n\nc\n", "A: b\r\n\r\nc\r\n", 0, 0),
            ("A: b\r\n\r\nc\r\n", "A: b\r\n\r\nc\r\n", 0, 0),
            ("A: b\r\n\nc\r\n", "A: b\r\n\r\nc\r\n", 1, 0),
            ("A: b\n\rc\n", "A: b\r\n c\r\n", 0, 1),
            ("", "", 0, 0),
            (&format!("{long}\r\n\nx"), &format!("{long}\r\n\r\nx"), 1, 0),
            (&format!("{long}\n\nx"), &format!("{long}\r\n\r\nx"), 0, 0),
        ] {
            std::fs::write(&file, content).unwrap();
            let (raw, report) = read(file.as_os_str().as_bytes(), &reading(folder.path())).unwrap();
            assert!(raw == expected.as_bytes(), "{}", content.len());
            assert_eq!((report.bare_lf, report.bare_cr), (bare_lf, bare_cr), "{}", content.len());
        }
        std::fs::write(&file, "x".repeat(200_001)).unwrap();
        assert!(read(file.as_os_str().as_bytes(), &reading(folder.path())).unwrap().1.over_limit);
        std::fs::write(&file, "x\n".repeat(70_000)).unwrap();
        assert!(read(file.as_os_str().as_bytes(), &reading(folder.path())).unwrap().1.over_limit);
    }

    #[test]
    fn nothing_but_the_file_and_its_own_folder_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let folders = [at("in")];
        for name in ["in/af1", "in/af2", "out"] {
            std::fs::create_dir_all(at(name)).unwrap();
            std::fs::write(at(name).join("email.txt"), "x").unwrap();
        }
        std::fs::write(at("in/af2/more"), "x").unwrap();
        std::fs::write(at("in/top"), "x").unwrap();
        symlink(at("out"), at("in/af3")).unwrap();
        let go = |file: &str, tempdir: Option<&str>| {
            let (file, tempdir) = (at(file), tempdir.map(at));
            let tempdir = tempdir.as_ref().map(|folder| folder.as_os_str().as_bytes());
            remove(file.as_os_str().as_bytes(), tempdir, &folders).is_ok()
        };
        assert!(go("in/af1/email.txt", Some("in/af1")) && !at("in/af1").exists());
        assert!(!go("in/af2/email.txt", Some("in/af2")) && at("in/af2/more").exists());
        assert!(!go("in/af3/email.txt", Some("in/af3")) && at("out/email.txt").exists());
        assert!(!go("out/email.txt", Some("out")) && at("out/email.txt").exists());
        assert!(go("in/af2/more", None) && at("in/af2").exists());
        assert!(go("in/top", Some("in")) && at("in").exists());
    }
}
