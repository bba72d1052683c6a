//! What daemon and worker say to each other: short notes over a socket that keeps them apart, with files beside them.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use gatepost_unpack::transfer::Parcel;
use rustix::cmsg_space;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// What a note says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// To the worker: unpack the first file into the second.
    Unpack,
    /// To the worker: try to open a file.
    TryFile,
    /// To the worker: try to use the network.
    TryNetwork,
    /// To the worker: try to start a program.
    TryProgram,
    /// From the worker: I have given up what I could; `extra` says what that is.
    Ready,
    /// From the worker: done, here is how much there is. `extra`: 1 if it holds too much memory.
    Done,
    /// From the worker: what was to be tried is refused.
    Refused,
    /// From the worker: what was to be tried can be done.
    Allowed,
}

const TAGS: [Tag; 8] = [
    Tag::Unpack,
    Tag::TryFile,
    Tag::TryNetwork,
    Tag::TryProgram,
    Tag::Ready,
    Tag::Done,
    Tag::Refused,
    Tag::Allowed,
];

/// Bytes of a note.
const SIZE: usize = 18;

/// One note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) tag: Tag,
    pub(super) extra: u8,
    /// Bytes of the area, at the file's beginning.
    pub(super) area: u64,
    /// Bytes of the table, behind it.
    pub(super) table: u64,
}

impl Note {
    pub(super) fn of(tag: Tag) -> Note {
        Note { tag, extra: 0, area: 0, table: 0 }
    }

    fn to_bytes(self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[0] = TAGS.iter().position(|tag| *tag == self.tag).unwrap_or(0) as u8;
        bytes[1] = self.extra;
        bytes[2..10].copy_from_slice(&self.area.to_le_bytes());
        bytes[10..].copy_from_slice(&self.table.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Note> {
        let bytes: &[u8; SIZE] = bytes.try_into().ok()?;
        let tag = *TAGS.get(usize::from(bytes[0]))?;
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        Some(Note { tag, extra: bytes[1], area: number(2)?, table: number(10)? })
    }

    /// Sends it, with files.
    pub(super) fn send(self, socket: impl AsFd, files: &[BorrowedFd]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
            return Err(io::Error::other("too many files for one note"));
        }
        let bytes = self.to_bytes();
        sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// The next one, with what files came with it; None when the other side is gone.
    ///
    /// # Errors
    /// `WouldBlock` when the socket's time is up, `InvalidData` for what is no note.
    pub(super) fn receive(socket: impl AsFd) -> io::Result<Option<(Note, Vec<OwnedFd>)>> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(2))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [0; SIZE + 1];
        let mut buffers = [IoSliceMut::new(&mut bytes)];
        let received = loop {
            match recvmsg(&socket, &mut buffers, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(error) if error == rustix::io::Errno::INTR => {}
                Err(error) if error == rustix::io::Errno::CONNRESET => return Ok(None),
                other => break other?,
            }
        };
        let mut files = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(more) = message {
                files.extend(more);
            }
        }
        if received.bytes == 0 {
            return Ok(None);
        }
        let note = bytes.get(..received.bytes).and_then(Note::from_bytes);
        let note = note.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "what came is no note"))?;
        Ok(Some((note, files)))
    }
}

/// An empty file in memory.
pub(super) fn empty_file() -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    Ok(File::from(memfd_create("gatepost", flags)?))
}

/// A file in memory that holds a parcel, area and table, and cannot be changed.
pub(super) fn sealed(parcel: &Parcel) -> io::Result<File> {
    let mut file = empty_file()?;
    for piece in &parcel.pieces {
        file.write_all(piece)?;
    }
    file.write_all(&parcel.table)?;
    seal(&file)?;
    Ok(file)
}

/// From now on nobody can change the file, whoever has it open. It fails where somebody could.
pub(super) fn seal(file: &File) -> io::Result<()> {
    let all = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    Ok(fcntl_add_seals(file, all)?)
}

/// Area and table of a sealed file. What is small is copied, what is large is mapped.
pub(super) fn contents(file: &File, area: u64, table: u64) -> io::Result<(Bytes, Bytes)> {
    const SMALL: usize = 64 << 10;
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "sizes that cannot be");
    let len = area.checked_add(table).and_then(|len| usize::try_from(len).ok()).ok_or_else(wrong)?;
    let mut whole = if len <= SMALL {
        let mut copy = vec![0; len];
        file.read_exact_at(&mut copy, 0)?;
        Bytes::from(copy)
    } else {
        map(file, len)?
    };
    let area = whole.split_to(usize::try_from(area).map_err(|_| wrong())?);
    Ok((area, whole))
}

#[allow(unsafe_code)]
fn map(file: &File, len: usize) -> io::Result<Bytes> {
    // SAFETY: the file is sealed against writing and shrinking before it is mapped: the daemon seals what it sends, and
    // what it gets before it looks at its size. So the mapped bytes cannot change or be cut off under the slice.
    let mapped = unsafe { memmap2::MmapOptions::new().len(len).map_copy_read_only(file)? };
    Ok(Bytes::from_owner(mapped))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn notes_arrive_with_their_files() {
        let (here, there) = pair();
        for tag in TAGS {
            let note = Note { tag, extra: 7, area: u64::MAX, table: 3 };
            let file = empty_file().unwrap();
            note.send(&here, &[file.as_fd(), file.as_fd()]).unwrap();
            let (came, files) = Note::receive(&there).unwrap().unwrap();
            assert_eq!((came, files.len()), (note, 2));
        }
        for bytes in [&[0; SIZE - 1][..], &[0; SIZE + 1], &[99; SIZE]] {
            rustix::net::send(&here, bytes, SendFlags::empty()).unwrap();
            assert_eq!(Note::receive(&there).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        drop(here);
        assert!(Note::receive(&there).unwrap().is_none());
    }

    #[test]
    fn a_parcel_cannot_be_changed_on_its_way() {
        for size in [10, 1 << 20] {
            let pieces = vec![Bytes::from(vec![b'a'; size]), Bytes::from_static(b"bc")];
            let parcel = Parcel { pieces, table: b"table".to_vec() };
            let mut file = sealed(&parcel).unwrap();
            assert!(file.write_all(b"more").is_err() && file.set_len(0).is_err());
            let (area, table) = contents(&file, size as u64 + 2, 5).unwrap();
            assert_eq!((area.len(), &area[size - 1..], &table[..]), (size + 2, &b"abc"[..], &b"table"[..]));
            assert!(contents(&file, u64::MAX, 5).is_err());
        }
    }
}
