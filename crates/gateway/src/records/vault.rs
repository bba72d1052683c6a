//! The vault: originals of held messages, one file each, written so that a 250 may be said once `put` has returned.
//!
//! A file `l/l1bnIZN88okd` describes itself, so that the journal can be made again from it:
//!
//! ```text
//! 8 bytes   "gpvault" and the version, 1
//! 4 bytes   length of the header, big-endian
//! 32 bytes  SHA-256 of the header
//! header    JSON: the record, the envelope to release to, size and SHA-256 of the original
//! rest      the original, as one zstd frame
//! ```

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use gatepost_mail::{Address, Envelope, Parameters, Recipient};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Record;
use super::id::{is_id, new_id, new_secret};

const MAGIC: &[u8; 8] = b"gpvault\x01";
/// A header beyond this was not written by us. Records of messages with every limit met stay far below.
const MAX_HEADER: usize = 64 << 20;
/// Level 3 is zstd's default: close to what mail can be compressed to, at some 300 MB/s.
const ZSTD_LEVEL: i32 = 3;
const TEMP_PREFIX: &str = ".tmp-";

/// A held message: its record and the envelope it is to be released with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Held {
    /// The record as it was when the message was put into the vault.
    pub record: Record,
    /// Whoever knows it may have the message released over the network. It is kept here alone, not in the journal, so
    /// that records can be shown to people who may not release. None in files of versions that had none.
    #[serde(default)]
    pub secret: Option<String>,
    /// Envelope sender; None is `<>`.
    pub sender: Option<String>,
    /// Parameters of MAIL FROM.
    pub parameters: HeldParameters,
    /// The recipients it is held for and those who got it with parts taken out, not the others that were delivered to; of
    /// a message that is held for none, only kept as
    /// a copy, those whose verdict wants the copy.
    pub recipients: Vec<HeldRecipient>,
}

/// Parameters of MAIL FROM of a held message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldParameters {
    /// `BODY=8BITMIME` was said.
    pub eight_bit: bool,
    /// `SMTPUTF8` was said.
    pub smtputf8: bool,
    /// All others, as they came.
    pub other: Vec<String>,
}

/// A recipient of a held message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRecipient {
    /// Address as it was written.
    pub address: String,
    /// Parameters of RCPT TO as they came.
    pub parameters: Vec<String>,
}

impl Held {
    /// A message held for the recipients at these places of its envelope.
    pub fn new(record: Record, envelope: &Envelope, recipients: &[usize]) -> Held {
        Held {
            record,
            secret: Some(new_secret()),
            sender: envelope.sender.as_ref().map(Address::to_string),
            parameters: HeldParameters {
                eight_bit: envelope.parameters.eight_bit,
                smtputf8: envelope.parameters.smtputf8,
                other: envelope.parameters.other.clone(),
            },
            recipients: recipients
                .iter()
                .filter_map(|&place| envelope.recipients.get(place))
                .map(|recipient| HeldRecipient {
                    address: recipient.address.to_string(),
                    parameters: recipient.parameters.clone(),
                })
                .collect(),
        }
    }

    /// The envelope to release with. `SIZE` and `PRDR` are left to whoever sends.
    pub fn envelope(&self) -> Envelope {
        Envelope {
            sender: self.sender.as_deref().and_then(Address::new),
            parameters: Parameters {
                size: None,
                eight_bit: self.parameters.eight_bit,
                smtputf8: self.parameters.smtputf8,
                prdr: false,
                other: self.parameters.other.clone(),
                ..Parameters::default()
            },
            recipients: self
                .recipients
                .iter()
                .filter_map(|held| {
                    let address = Address::new(&held.address)?;
                    Some(Recipient { address, parameters: held.parameters.clone() })
                })
                .collect(),
        }
    }
}

/// The vault. Clones are handles of the same folder. Its functions block on the disk unless they are `async`.
#[derive(Clone, Debug)]
pub struct Vault {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    floor: u64,
}

/// What the vault holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Files.
    pub messages: u64,
    /// Their size on disk, in bytes.
    pub bytes: u64,
}

/// What can go wrong with the vault.
#[derive(Debug)]
pub enum VaultError {
    /// The disk is full, or would fall below the floor. The log says which disk and by how much.
    NoSpace,
    /// Reading or writing failed; the error names the file.
    Io(io::Error),
    /// No such file.
    NotFound(String),
    /// The file is not what was written: key and what is wrong.
    Corrupt(String, String),
}

impl fmt::Display for VaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VaultError::NoSpace => f.write_str("vault: no space left above quarantine.disk_floor"),
            VaultError::Io(error) => write!(f, "vault: {error}"),
            VaultError::NotFound(key) => write!(f, "vault: there is no “{key}”"),
            VaultError::Corrupt(key, why) => write!(f, "vault: “{key}” is damaged: {why}"),
        }
    }
}

impl std::error::Error for VaultError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            VaultError::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// The header as it stands in a file.
#[derive(Serialize, Deserialize)]
struct Header<H> {
    size: u64,
    sha256: String,
    held: H,
}

impl Vault {
    /// Opens the vault in `folder`, which is made (mode 0700) when it is missing and closed to others when it is not.
    /// `floor_bytes` is the free space that `put` leaves on the disk.
    pub fn open(folder: &Path, floor_bytes: u64) -> Result<Vault, VaultError> {
        super::journal::create_private_folder(folder).map_err(|error| at(folder, error))?;
        let mode = fs::metadata(folder).map_err(|error| at(folder, error))?.permissions().mode();
        if mode & 0o077 != 0 {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
                .map_err(|error| at(folder, error))?;
        }
        Ok(Vault { inner: Arc::new(Inner { folder: folder.to_owned(), floor: floor_bytes }) })
    }

    /// The key a message with this id gets.
    pub fn key(id: &str) -> String {
        format!("{}/{id}", id.get(..1).unwrap_or_default())
    }

    /// The vault's folder.
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// Writes a message. When it returns `Ok`, file and directory entry are on disk. On an error nothing is left
    /// behind. A key that exists already is not overwritten.
    pub fn put(&self, entry: &Held, raw: &[u8]) -> Result<String, VaultError> {
        let id = &entry.record.id;
        let key = Vault::key(id);
        let path = self.path(&key)?;
        self.check_floor(raw.len() as u64)?;
        let folder = self.subfolder(&path)?;
        let temp = folder.join(format!("{TEMP_PREFIX}{id}-{}", new_id()));
        let result = write_file(&temp, entry, raw)
            .and_then(|()| publish(&temp, &path).map_err(|error| at(&path, error)));
        if let Err(error) = fs::remove_file(&temp)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("vault: {} is left behind: {error}", temp.display());
        }
        result?;
        if let Err(error) = sync_folder(&folder) {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(key)
    }

    /// [`Vault::put`] on a thread where it may block.
    pub async fn put_async(&self, entry: Held, raw: Bytes) -> Result<String, VaultError> {
        self.blocking(move |vault| vault.put(&entry, &raw)).await
    }

    /// Reads a message; size and digest of the original are checked.
    pub fn get(&self, key: &str) -> Result<(Held, Vec<u8>), VaultError> {
        let (header, mut rest) = self.open_file(key)?;
        let corrupt = |why: String| VaultError::Corrupt(key.to_owned(), why);
        let reader = zstd::Decoder::with_buffer(&mut rest).map_err(|error| corrupt(error.to_string()))?;
        let mut original = Vec::with_capacity(usize::try_from(header.size).unwrap_or(0).min(64 << 20));
        // One byte more than the header says shows that it lies; more is not read.
        reader
            .take(header.size.saturating_add(1))
            .read_to_end(&mut original)
            .map_err(|error| corrupt(error.to_string()))?;
        if original.len() as u64 != header.size {
            return Err(corrupt(format!("it unpacks to another size than the {} bytes it had", header.size)));
        }
        if hex(&Sha256::digest(&original)) != header.sha256 {
            return Err(corrupt("its SHA-256 is not the one it had".into()));
        }
        Ok((header.held, original))
    }

    /// [`Vault::get`] on a thread where it may block.
    pub async fn get_async(&self, key: &str) -> Result<(Held, Vec<u8>), VaultError> {
        let key = key.to_owned();
        self.blocking(move |vault| vault.get(&key)).await
    }

    /// Reads the header only.
    pub fn peek(&self, key: &str) -> Result<Held, VaultError> {
        Ok(self.open_file(key)?.0.held)
    }

    /// [`Vault::peek`] on a thread where it may block.
    pub async fn peek_async(&self, key: &str) -> Result<Held, VaultError> {
        let key = key.to_owned();
        self.blocking(move |vault| vault.peek(&key)).await
    }

    /// Whether there is such a file.
    pub fn contains(&self, key: &str) -> bool {
        self.path(key).is_ok_and(|path| path.is_file())
    }

    /// Deletes a message for good. False: it was not there.
    pub fn delete(&self, key: &str) -> Result<bool, VaultError> {
        let path = self.path(key)?;
        match fs::remove_file(&path) {
            Ok(()) => {
                if let Some(folder) = path.parent() {
                    sync_folder(folder)?;
                }
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(at(&path, error)),
        }
    }

    /// [`Vault::delete`] on a thread where it may block.
    pub async fn delete_async(&self, key: &str) -> Result<bool, VaultError> {
        let key = key.to_owned();
        self.blocking(move |vault| vault.delete(&key)).await
    }

    /// The keys of all messages, in no order. Folders that cannot be read yield an error each.
    pub fn list(&self) -> impl Iterator<Item = Result<String, VaultError>> + Send + use<> {
        files(self.inner.folder.clone()).filter_map(|file| match file {
            Ok(path) => key_of(&path).map(Ok),
            Err(error) => Some(Err(error)),
        })
    }

    /// Removes what writers that died have left behind, and gives the number. Files that a living writer still holds
    /// are left alone.
    pub fn sweep_temp(&self) -> Result<u64, VaultError> {
        let mut swept = 0;
        for path in files(self.inner.folder.clone()) {
            let path = path?;
            let is_temp =
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(TEMP_PREFIX));
            if !is_temp || is_locked(&path) {
                continue;
            }
            match fs::remove_file(&path) {
                Ok(()) => swept += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(at(&path, error)),
            }
        }
        Ok(swept)
    }

    /// How much there is. It looks at every file, so not to be asked for every message.
    pub fn usage(&self) -> Result<Usage, VaultError> {
        let mut usage = Usage::default();
        for path in files(self.inner.folder.clone()) {
            let path = path?;
            if key_of(&path).is_some()
                && let Ok(metadata) = fs::metadata(&path)
            {
                usage.messages += 1;
                usage.bytes += metadata.blocks() * 512;
            }
        }
        Ok(usage)
    }

    /// Free space on the vault's disk that unprivileged processes may use, in bytes.
    pub fn free_bytes(&self) -> Result<u64, VaultError> {
        let folder = &self.inner.folder;
        let disk = nix::sys::statvfs::statvfs(folder.as_path()).map_err(|error| at(folder, error.into()))?;
        Ok((disk.blocks_available() as u64).saturating_mul(disk.fragment_size() as u64))
    }

    /// Whether a message of this size may be put: `NoSpace` when the disk would fall below the floor.
    pub fn check_floor(&self, size: u64) -> Result<(), VaultError> {
        let free = self.free_bytes()?;
        if free.saturating_sub(size) >= self.inner.floor && free > size {
            return Ok(());
        }
        tracing::warn!(
            "vault {}: {free} bytes are free; {size} more would leave less than the floor of {}",
            self.inner.folder.display(),
            self.inner.floor
        );
        Err(VaultError::NoSpace)
    }

    pub(in crate::records) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Vault) -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, VaultError> {
        let vault = self.clone();
        match tokio::task::spawn_blocking(move || work(&vault)).await {
            Ok(result) => result,
            Err(error) => Err(VaultError::Io(io::Error::other(error))),
        }
    }

    /// The path of a key. Keys come from users and the database as well, so only our own form passes.
    fn path(&self, key: &str) -> Result<PathBuf, VaultError> {
        match key.split_once('/') {
            Some((_, id)) if is_id(id) && Vault::key(id) == key => Ok(self.inner.folder.join(key)),
            _ => Err(VaultError::NotFound(super::text::clean(key, 80))),
        }
    }

    /// The folder of a file; made when it is missing, and its entry in the vault's folder synced.
    fn subfolder(&self, path: &Path) -> Result<PathBuf, VaultError> {
        let folder = path.parent().unwrap_or(&self.inner.folder).to_owned();
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => sync_folder(&self.inner.folder)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(at(&folder, error)),
        }
        Ok(folder)
    }

    fn open_file(&self, key: &str) -> Result<(Header<Held>, BufReader<File>), VaultError> {
        let path = self.path(key)?;
        let file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => VaultError::NotFound(key.to_owned()),
            _ => at(&path, error),
        })?;
        let corrupt = |why: &str| VaultError::Corrupt(key.to_owned(), why.to_owned());
        let mut reader = BufReader::new(file);
        let (mut magic, mut length, mut digest) = ([0; MAGIC.len()], [0; 4], [0; 32]);
        for field in [&mut magic[..], &mut length, &mut digest] {
            reader.read_exact(field).map_err(|_| corrupt("it is too short"))?;
        }
        if magic != *MAGIC {
            return Err(corrupt("it does not begin as a vault file of version 1 does"));
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_HEADER {
            return Err(corrupt("its header is too long"));
        }
        let mut json = Vec::new();
        (&mut reader).take(length as u64).read_to_end(&mut json).map_err(|error| at(&path, error))?;
        let header =
            serde_json::from_slice(&json).map_err(|error| corrupt(&format!("its header: {error}")))?;
        Ok((header, reader))
    }
}

/// Writes and syncs a file. It holds a lock on it meanwhile, so that `sweep_temp` knows it is in use.
fn write_file(path: &Path, entry: &Held, raw: &[u8]) -> Result<(), VaultError> {
    let header = Header { size: raw.len() as u64, sha256: hex(&Sha256::digest(raw)), held: entry };
    let json = serde_json::to_vec(&header).map_err(|error| VaultError::Io(error.into()))?;
    let length = u32::try_from(json.len()).ok().filter(|length| *length as usize <= MAX_HEADER);
    let Some(length) = length else {
        return Err(VaultError::Io(io::Error::other(format!("{}: the record is too long", path.display()))));
    };
    let write = || -> io::Result<()> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        // Where a file system has no locks, a sweep may take the file from us; then the message is deferred.
        let _ = file.lock();
        let mut writer = BufWriter::with_capacity(64 << 10, &file);
        writer.write_all(MAGIC)?;
        writer.write_all(&length.to_be_bytes())?;
        writer.write_all(&Sha256::digest(&json))?;
        writer.write_all(&json)?;
        let mut packer = zstd::Encoder::new(&mut writer, ZSTD_LEVEL)?;
        packer.set_pledged_src_size(Some(raw.len() as u64))?;
        packer.write_all(raw)?;
        packer.finish()?;
        writer.flush()?;
        drop(writer);
        file.sync_all()
    };
    write().map_err(|error| at(path, error))
}

/// Gives a finished file its name. A link refuses to overwrite, which a rename does not.
fn publish(temp: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(temp, path) {
        // Some file systems have no links.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) =>
        {
            if path.exists() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(temp, path)
        }
        result => result,
    }
}

/// Whether a living writer holds a file.
fn is_locked(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
}

/// Makes the entries of a folder durable.
fn sync_folder(folder: &Path) -> Result<(), VaultError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| at(folder, error))
}

/// Every file two levels deep, temporary ones as well.
fn files(folder: PathBuf) -> impl Iterator<Item = Result<PathBuf, VaultError>> + Send {
    let entries = |folder: PathBuf| -> Box<dyn Iterator<Item = Result<PathBuf, VaultError>> + Send> {
        match fs::read_dir(&folder) {
            Ok(entries) => Box::new(
                entries.map(move |entry| entry.map(|e| e.path()).map_err(|error| at(&folder, error))),
            ),
            // Somebody removed it since we saw it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Box::new(std::iter::empty()),
            Err(error) => Box::new(std::iter::once(Err(at(&folder, error)))),
        }
    };
    entries(folder).flat_map(move |folder| match folder {
        Ok(path) if path.is_dir() => entries(path),
        Ok(_) => Box::new(std::iter::empty()),
        Err(error) => Box::new(std::iter::once(Err(error))),
    })
}

/// The key of a file; None for what is not ours.
fn key_of(path: &Path) -> Option<String> {
    let id = path.file_name()?.to_str()?;
    let folder = path.parent()?.file_name()?.to_str()?;
    (is_id(id) && id.starts_with(folder) && folder.len() == 1).then(|| Vault::key(id))
}

/// The error with its file named; a full disk is `NoSpace`.
fn at(path: &Path, error: io::Error) -> VaultError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            tracing::error!("vault: {}: {error}", path.display());
            VaultError::NoSpace
        }
        kind => VaultError::Io(io::Error::new(kind, format!("{}: {error}", path.display()))),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
