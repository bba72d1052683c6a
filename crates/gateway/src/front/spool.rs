//! A message while it arrives: in memory up to a size, beyond it in a temporary file that has no name any more.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

/// Bytes of all messages that are held in memory at this moment.
static IN_MEMORY: AtomicU64 = AtomicU64::new(0);

/// When all sessions together hold this much, further growth goes to files at once: many large senders cost disk, not
/// memory.
const MOST_IN_MEMORY: u64 = 256 << 20;

/// Where a message is collected.
pub struct Spool {
    memory: Vec<u8>,
    file: Option<File>,
    most: usize,
    counted: u64,
}

impl Spool {
    /// Up to `most` bytes in memory.
    pub fn new(most: u64) -> Spool {
        Spool { memory: Vec::new(), file: None, most: most.try_into().unwrap_or(usize::MAX), counted: 0 }
    }

    /// Where the decoder puts what it has; follow with [`Spool::settle`].
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.memory
    }

    /// Keeps what is in the buffer within bounds. An error means that the temporary file could not be written: the
    /// message must be deferred.
    pub fn settle(&mut self, folder: &Path) -> io::Result<()> {
        if self.file.is_none() && self.memory.len() <= self.most {
            let grown = self.memory.len() as u64 - self.counted;
            self.counted += grown;
            if IN_MEMORY.fetch_add(grown, Ordering::Relaxed) + grown <= MOST_IN_MEMORY {
                return Ok(());
            }
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile_in(folder)?),
        };
        file.write_all(&self.memory)?;
        self.memory.clear();
        self.memory.shrink_to(64 << 10);
        self.release();
        Ok(())
    }

    /// The message. A file is mapped into memory; nobody else can have it open, since it has no name.
    pub fn finish(mut self) -> io::Result<Bytes> {
        match self.file.take() {
            None => Ok(Bytes::from_owner(Counted {
                memory: std::mem::take(&mut self.memory),
                counted: std::mem::take(&mut self.counted),
            })),
            Some(file) if file.metadata()?.len() == 0 => Ok(Bytes::new()),
            Some(file) => map(&file),
        }
    }

    fn release(&mut self) {
        IN_MEMORY.fetch_sub(std::mem::take(&mut self.counted), Ordering::Relaxed);
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.release();
    }
}

/// A message in memory: it counts until the last who has it lets go.
struct Counted {
    memory: Vec<u8>,
    counted: u64,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.memory
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        IN_MEMORY.fetch_sub(self.counted, Ordering::Relaxed);
    }
}

#[allow(unsafe_code)]
fn map(file: &File) -> io::Result<Bytes> {
    // SAFETY: the file was made without a name by this process and is never written again, so the mapped bytes
    // cannot change or be cut off under the slice.
    let mapped = unsafe { memmap2::Mmap::map(file)? };
    Ok(Bytes::from_owner(mapped))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(most: u64, pieces: &[&[u8]]) -> (bool, Bytes) {
        let mut spool = Spool::new(most);
        for piece in pieces {
            spool.buffer().extend_from_slice(piece);
            spool.settle(&std::env::temp_dir()).unwrap();
        }
        (spool.file.is_some(), spool.finish().unwrap())
    }

    #[test]
    fn small_stays_in_memory_and_large_goes_to_a_file() {
        let pieces: [&[u8]; 3] = [b"one ", b"two ", b"three"];
        assert_eq!(collect(100, &pieces), (false, Bytes::from_static(b"one two three")));
        assert_eq!(collect(5, &pieces), (true, Bytes::from_static(b"one two three")));
        assert_eq!(collect(0, &[]), (false, Bytes::new()));
    }

    #[test]
    fn a_message_counts_as_long_as_it_is_there() {
        const SIZE: usize = 1 << 20;
        let (_, message) = collect(u64::MAX, &[&[b'x'; SIZE]]);
        let other = message.clone();
        drop(message);
        assert!(IN_MEMORY.load(Ordering::Relaxed) >= SIZE as u64);
        drop(other);
        assert!(IN_MEMORY.load(Ordering::Relaxed) < SIZE as u64);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let mut spool = Spool::new(0);
        spool.buffer().push(b'x');
        assert!(spool.settle(Path::new("/nonexistent/folder")).is_err());
    }
}
