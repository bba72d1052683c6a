//! Queue folders on disk, and how a message goes from one to the other.
//!
//! A message is in the incoming folder as `qfID` and `dfID`. Under the lock that Sendmail itself takes on `qfID`:
//!
//! 1. [`Taken::prepare`]: the new pair is written to the outgoing folder as `gdID` and `gfID`, names that Sendmail does
//!    not look at, and synced;
//! 2. [`Taken::decide`]: `qfID` is renamed to `gfID.MARK` in the incoming folder, and synced: from here on it is decided;
//! 3. publish: in the outgoing folder `gdID` becomes `dfID`, then `gfID` becomes `qfID`, and that is synced;
//! 4. remove: in the incoming folder first `dfID` is removed, then `gfID.MARK`.
//!
//! Killed before 2, the message is in the incoming folder and is judged again; what was prepared is written over. Killed
//! after it, `gfID.MARK` in the incoming folder says so, and [`finish`] goes on: while the outgoing folder has `gdID` or
//! `gfID`, it is not published yet; when it has neither, it is published and only step 4 is missing. So at each moment
//! exactly one place is responsible for the message: neither lost nor doubled. The decided name goes last since it is
//! what tells that `dfID` is a leftover; a lone `dfID` could as well be one that Sendmail is just writing.
//!
//! That something is missing in the outgoing folder says so only if it is the folder that was prepared in: not another
//! by a changed configuration, not the empty folder below a file system that is not mounted, not one with new
//! sub-folders. So each outgoing folder gets a mark, [`Folder::mark`], and the decided name ends in it. It is a file and
//! not a device and inode number, since those may change with a restart of the machine. For a message of which nothing
//! goes out, because the vault has it, the mark is [`NOTHING`].

use std::collections::HashSet;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use gatepost_wire::sendmail_queue::{
    BodyReader, BodyWriter, CONTROL_LIMIT, ControlError, ControlFile, FileKind,
};
use nix::fcntl::{AT_FDCWD, FcntlArg, OFlag, RenameFlags, fcntl, renameat2};
use nix::libc;

use crate::front::spool::Spool;
use crate::records::{is_id, new_id};

/// A control file without its end, or without its data file, that nobody has touched for so long will stay so.
const SETTLED: Duration = Duration::from_secs(60);

/// A control file that is empty for so long is not being written any more: Sendmail itself removes such after that time.
const ABANDONED: Duration = Duration::from_secs(600);

/// The file by which an outgoing folder is known again: a symbolic link to a random name, so that it is made whole or not
/// at all. Sendmail looks at no file that begins with a dot.
const MARK: &str = ".gatepost";

/// Stands for the mark where nothing goes out.
const NOTHING: &str = "vault";

/// A queue folder. Sendmail looks for `qf`, `df` and `xf` files in sub-folders of these names where they exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// At a path, which need not be there yet.
    pub fn new(path: &Path) -> Folder {
        Folder { path: path.to_owned() }
    }

    /// Where control files lie.
    pub fn controls(&self) -> PathBuf {
        self.of_kind("qf")
    }

    fn bodies(&self) -> PathBuf {
        self.of_kind("df")
    }

    fn of_kind(&self, name: &str) -> PathBuf {
        let folder = self.path.join(name);
        if folder.is_dir() { folder } else { self.path.clone() }
    }

    fn file(&self, kind: FileKind, id: &str) -> PathBuf {
        let folder = match kind {
            FileKind::Data | FileKind::Prepared => self.bodies(),
            FileKind::Transcript => self.of_kind("xf"),
            _ => self.controls(),
        };
        folder.join(kind.name(id))
    }

    /// Makes what was created, renamed and removed in it last through a power failure.
    fn sync(&self) -> io::Result<()> {
        self.places().iter().try_for_each(|folder| sync_folder(folder))
    }

    /// When a file was last put into it or taken out; None while that cannot be told.
    pub fn changed(&self) -> Option<SystemTime> {
        std::fs::metadata(self.controls()).and_then(|metadata| metadata.modified()).ok()
    }

    /// Ids of messages that wait in it, the oldest first as far as ids tell, and of those that were decided about but not
    /// finished.
    pub fn list(&self) -> io::Result<Listing> {
        let mut listing = Listing::default();
        let controls = self.controls();
        for entry in std::fs::read_dir(&controls).map_err(naming(&controls))? {
            let name = entry.map_err(naming(&controls))?.file_name();
            match name.to_str().and_then(FileKind::of) {
                Some((FileKind::Control, id)) => listing.waiting.push(id.to_owned()),
                _ => listing.decided.extend(name.to_str().and_then(Decided::of)),
            }
        }
        listing.waiting.sort_unstable();
        Ok(listing)
    }

    /// What the folder is known by, the folders of control and data files each; made where there is none yet.
    pub fn mark(&self) -> io::Result<String> {
        for folder in self.places() {
            if read_mark(&folder)?.is_none() {
                let path = folder.join(MARK);
                match std::os::unix::fs::symlink(new_id(), &path) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(naming(&path)(error));
                    }
                    _ => sync_folder(&folder)?,
                }
            }
        }
        self.known_by()?.ok_or_else(|| naming(&self.path)(io::Error::other("its mark is gone again")))
    }

    /// The mark, if it has one.
    fn known_by(&self) -> io::Result<Option<String>> {
        let marks: Option<Vec<String>> =
            self.places().iter().map(|folder| read_mark(folder)).collect::<io::Result<_>>()?;
        Ok(marks.map(|marks| marks.concat()))
    }

    /// The folders of control and data files; once if they are the same.
    fn places(&self) -> Vec<PathBuf> {
        let mut places = vec![self.controls(), self.bodies()];
        places.dedup();
        places
    }

    /// Names of prepared files in this outgoing folder that no message in the incoming one accounts for.
    pub fn orphans(&self, incoming: &Folder) -> io::Result<Vec<String>> {
        let mut prepared = Vec::new();
        for folder in self.places() {
            for entry in std::fs::read_dir(&folder).map_err(naming(&folder))? {
                let name = entry.map_err(naming(&folder))?.file_name().into_string().unwrap_or_default();
                if matches!(FileKind::of(&name), Some((FileKind::Decided | FileKind::Prepared, _))) {
                    prepared.push((folder.join(&name), name));
                }
            }
        }
        if prepared.is_empty() {
            return Ok(Vec::new());
        }
        let Listing { waiting, decided } = incoming.list()?;
        let ids: HashSet<String> =
            waiting.into_iter().chain(decided.into_iter().map(|decided| decided.id)).collect();
        // One that was finished between the two looks is not there any more.
        let is_orphan = |(path, name): &(PathBuf, String)| {
            !name.get(2..).is_some_and(|id| ids.contains(id)) && is_there(path).unwrap_or(false)
        };
        let mut names: Vec<String> = prepared.into_iter().filter(is_orphan).map(|(_, name)| name).collect();
        names.sort_unstable();
        Ok(names)
    }
}

fn read_mark(folder: &Path) -> io::Result<Option<String>> {
    let path = folder.join(MARK);
    match std::fs::read_link(&path) {
        Ok(mark) => match mark.to_str().filter(|mark| is_id(mark)) {
            Some(mark) => Ok(Some(mark.to_owned())),
            None => Err(naming(&path)(io::Error::other("is no mark of gatepost"))),
        },
        // That the folder itself is gone is an error; that only the mark is missing is none.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            File::open(folder).map(|_| None).map_err(naming(folder))
        }
        Err(error) => Err(naming(&path)(error)),
    }
}

/// What a folder holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// Ids of `qf` files.
    pub waiting: Vec<String>,
    /// Those of `gf` files.
    pub decided: Vec<Decided>,
}

/// A message that was decided about, by the name of its `gf` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decided {
    /// Its queue id.
    pub id: String,
    /// Mark of the folder that it goes out to, or [`NOTHING`]; empty where the name has none.
    mark: String,
}

impl Decided {
    /// From its name; None if that is none of such a file.
    pub fn of(name: &str) -> Option<Decided> {
        let (front, mark) = name.split_once('.').unwrap_or((name, ""));
        match FileKind::of(front) {
            Some((FileKind::Decided, id)) => Some(Decided { id: id.to_owned(), mark: mark.to_owned() }),
            _ => None,
        }
    }

    fn path(&self, incoming: &Folder) -> PathBuf {
        let name = FileKind::Decided.name(&self.id);
        let name = if self.mark.is_empty() { name } else { format!("{name}.{}", self.mark) };
        incoming.controls().join(name)
    }
}

/// Why a message is not taken now.
#[derive(Debug)]
pub(super) enum NotTaken {
    /// It is not there any more, or somebody has it locked: it is being written.
    Busy,
    /// Not now; look again later.
    Later(String),
    /// Never: the control file is damaged, or has lost its data file.
    Damaged(String),
}

impl From<io::Error> for NotTaken {
    fn from(error: io::Error) -> NotTaken {
        NotTaken::Later(error.to_string())
    }
}

/// A message that we hold the lock of.
pub(super) struct Taken {
    /// Its queue id.
    pub id: String,
    /// Its control file, stray CRs in it mended.
    pub control: ControlFile,
    /// CRs that stood where none belongs, in header and body.
    pub stray: u64,
    incoming: Folder,
    /// Locked as long as it is open, under whatever name.
    control_file: File,
    data_file: File,
    /// The body had stray CRs: the data file is to be written anew.
    body_mended: bool,
}

impl Taken {
    /// Locks a message and reads its control file.
    pub fn take(incoming: &Folder, id: &str) -> Result<Taken, NotTaken> {
        let path = incoming.file(FileKind::Control, id);
        let Some(mut control_file) = lock(&path)? else { return Err(NotTaken::Busy) };
        let metadata = control_file.metadata().map_err(naming(&path))?;
        let mut content = Vec::new();
        (&mut control_file)
            .take(CONTROL_LIMIT as u64 + 1)
            .read_to_end(&mut content)
            .map_err(naming(&path))?;
        let mut control = match ControlFile::parse(&content) {
            Ok(control) => control,
            Err(ControlError::Incomplete) if !is_settled(&metadata) => {
                return Err(NotTaken::Later(ControlError::Incomplete.to_string()));
            }
            Err(error) => return Err(NotTaken::Damaged(error.to_string())),
        };
        let data = incoming.file(FileKind::Data, id);
        let data_file = match open_plain(&data, false) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let error = match control.data_folder() {
                    Some(folder) => {
                        format!("its data file lies in the folder {folder:?} of another queue group")
                    }
                    None => "its data file is missing".to_owned(),
                };
                let settled = is_settled(&metadata) && control.data_folder().is_none();
                return Err(if settled { NotTaken::Damaged(error) } else { NotTaken::Later(error) });
            }
            Err(error) => return Err(naming(&data)(error).into()),
        };
        let stray = control.mend();
        let (id, incoming) = (id.to_owned(), incoming.clone());
        Ok(Taken { id, control, stray, incoming, control_file, data_file, body_mended: false })
    }

    /// The message as it would go over SMTP: header, empty line, body, lines ended by CRLF.
    pub fn message(&mut self, spool: &Path, in_memory: u64) -> io::Result<Bytes> {
        let mut collected = Spool::new(in_memory);
        collected.buffer().extend_from_slice(&self.control.header());
        collected.buffer().extend_from_slice(b"\r\n");
        let mut body = BodyReader::default();
        let mut piece = vec![0; 64 << 10];
        let mut at = 0;
        loop {
            let read = self.data_file.read_at(&mut piece, at)?;
            if read == 0 {
                break;
            }
            at += read as u64;
            body.read(&piece[..read], collected.buffer());
            collected.settle(spool)?;
        }
        body.finish(collected.buffer());
        collected.settle(spool)?;
        self.stray += body.stray;
        self.body_mended = body.stray > 0;
        collected.finish()
    }

    /// Size of the data file in bytes.
    pub fn body_size(&self) -> io::Result<u64> {
        self.data_file.metadata().map(|metadata| metadata.len())
    }

    /// Puts the message into the outgoing folder, with that control file and body (None: as it is), under names that
    /// Sendmail does not look at. On disk when this returns. What an earlier attempt has left there is replaced.
    pub fn prepare(
        &self,
        outgoing: &Folder,
        control: &ControlFile,
        body: Option<&[Bytes]>,
    ) -> io::Result<()> {
        let name = |kind| outgoing.file(kind, &self.id);
        for kind in [FileKind::Control, FileKind::Quarantined, FileKind::Lost, FileKind::Data] {
            if is_there(&name(kind))? {
                let taken = format!("the outgoing queue has another message with the id {}", self.id);
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, taken));
            }
        }
        let mut control = control.clone();
        control.forget_data_file();
        let data = name(FileKind::Prepared);
        remove(&data)?;
        match body {
            None if self.link(&data) => {}
            None => self.write(&data, |file| self.copy_body(file))?,
            Some(body) => {
                let mut eight_bit = false;
                self.write(&data, |file| {
                    eight_bit = write_body(file, body)?;
                    Ok(())
                })?;
                if eight_bit {
                    control.set_eight_bit();
                }
            }
        }
        let path = name(FileKind::Decided);
        remove(&path)?;
        self.write(&path, |file| file.write_all(&control.to_bytes()))?;
        outgoing.sync()
    }

    /// Whether the body must be written anew though no edit asks for it.
    pub fn body_mended(&self) -> bool {
        self.body_mended
    }

    /// Takes back what was prepared.
    pub fn withdraw(&self, outgoing: &Folder) -> io::Result<()> {
        remove(&outgoing.file(FileKind::Decided, &self.id))?;
        remove(&outgoing.file(FileKind::Prepared, &self.id))?;
        outgoing.sync()
    }

    /// It is decided: what is prepared goes out to the outgoing folder of that mark, or (None) the message is elsewhere.
    /// [`finish`] does the rest.
    pub fn decide(&self, onward: Option<(&Folder, &str)>) -> io::Result<Decided> {
        if let Some((outgoing, mark)) = onward {
            // A file system that went or came meanwhile would have what is prepared in the wrong place.
            let prepared = is_there(&outgoing.file(FileKind::Decided, &self.id))?;
            if !prepared || outgoing.known_by()?.as_deref() != Some(mark) {
                let changed = "is not the folder any more that was prepared in";
                return Err(naming(&outgoing.path)(io::Error::other(changed)));
            }
        }
        let path = self.incoming.file(FileKind::Control, &self.id);
        let mark = onward.map_or(NOTHING, |(_, mark)| mark).to_owned();
        let decided = Decided { id: self.id.clone(), mark };
        std::fs::rename(&path, decided.path(&self.incoming)).map_err(naming(&path))?;
        self.incoming.sync()?;
        Ok(decided)
    }

    /// Puts a damaged message aside as Sendmail does: `qfID` becomes `QfID`, which nobody looks at any more.
    pub fn lose(incoming: &Folder, id: &str) -> io::Result<()> {
        let path = incoming.file(FileKind::Control, id);
        let Some(_locked) = lock(&path)? else { return Err(io::Error::other("it is locked")) };
        rename_to_free(&path, &incoming.file(FileKind::Lost, id))
    }

    /// Gives the data file a second name; false where that cannot be, as between file systems.
    fn link(&self, to: &Path) -> bool {
        if self.body_mended {
            return false;
        }
        let from = self.incoming.file(FileKind::Data, &self.id);
        if std::fs::hard_link(&from, to).is_err() {
            return false;
        }
        // What goes out is what was judged, whatever lies under that name by now.
        match (self.data_file.metadata(), std::fs::symlink_metadata(to)) {
            (Ok(judged), Ok(linked)) if is_same(&judged, &linked) => true,
            _ => {
                let _ = std::fs::remove_file(to);
                false
            }
        }
    }

    fn copy_body(&self, to: &mut File) -> io::Result<()> {
        let mut piece = vec![0; 64 << 10];
        let mut at = 0;
        loop {
            let read = self.data_file.read_at(&mut piece, at)?;
            if read == 0 {
                return Ok(());
            }
            at += read as u64;
            to.write_all(&piece[..read])?;
        }
    }

    /// Writes a file that belongs to whom the control file belongs to: Sendmail takes no other.
    fn write(&self, path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
        let model = self.control_file.metadata()?;
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(path).map_err(naming(path))?;
        let made = file.metadata()?;
        if (made.uid(), made.gid()) != (model.uid(), model.gid())
            && let Err(error) = fchown(&file, Some(model.uid()), Some(model.gid()))
            && made.uid() != model.uid()
        {
            let message = format!(
                "cannot give {} to user {}, and Sendmail takes no queue file of another: {error}",
                path.display(),
                model.uid()
            );
            return Err(io::Error::new(error.kind(), message));
        }
        file.set_permissions(std::fs::Permissions::from_mode(model.mode() & 0o777))?;
        fill(&mut file).and_then(|()| file.sync_all()).map_err(naming(path))
    }
}

/// Finishes what was decided, as far as it has not happened yet. False: somebody else is at it.
pub(super) fn finish(incoming: &Folder, outgoing: &Folder, decided: &Decided) -> io::Result<bool> {
    let Some(_locked) = lock(&decided.path(incoming))? else { return Ok(false) };
    finish_locked(incoming, outgoing, decided).map(|()| true)
}

impl Taken {
    /// [`finish`] for whoever has the lock already.
    pub fn finish(&self, outgoing: &Folder, decided: &Decided) -> io::Result<()> {
        finish_locked(&self.incoming, outgoing, decided)
    }
}

fn finish_locked(incoming: &Folder, outgoing: &Folder, decided: &Decided) -> io::Result<()> {
    let id = &decided.id;
    if decided.mark != NOTHING {
        if outgoing.known_by()?.as_ref() != Some(&decided.mark) {
            return Err(io::Error::other(other_folder(incoming, outgoing, decided)));
        }
        publish(outgoing, id)?;
    }
    remove(&incoming.file(FileKind::Data, id))?;
    // Transcripts are of use within a delivery only.
    remove(&incoming.file(FileKind::Transcript, id))?;
    remove(&decided.path(incoming))
}

fn other_folder(incoming: &Folder, outgoing: &Folder, decided: &Decided) -> String {
    format!(
        "was decided about for another outgoing folder than what is now {}: set `outgoing` back to that one, mount its \
         file system, or undo what was changed of its sub-folders; only if you know that it has not gone out, rename {} \
         to qf{} and it is judged again",
        outgoing.path.display(),
        decided.path(incoming).display(),
        decided.id,
    )
}

/// The body first, and lasting: Sendmail must not find a control file without it. What was published before is only made
/// to last, since whoever did it may have died before it was.
fn publish(outgoing: &Folder, id: &str) -> io::Result<()> {
    let (prepared, data) = (outgoing.file(FileKind::Prepared, id), outgoing.file(FileKind::Data, id));
    if is_there(&prepared)? {
        rename_to_free(&prepared, &data)?;
    }
    let (ready, control) = (outgoing.file(FileKind::Decided, id), outgoing.file(FileKind::Control, id));
    if is_there(&ready)? {
        // Each folder may be on a file system of its own, so the order of the two renames is not kept by itself.
        if outgoing.places().len() > 1 {
            sync_folder(&outgoing.bodies())?;
        }
        if !is_there(&data)? {
            let missing = format!("{} has lost its body {}", ready.display(), data.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, missing));
        }
        rename_to_free(&ready, &control)?;
    }
    outgoing.sync()
}

/// Whether there is such a file. Only that it is surely missing is a no.
fn is_there(path: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(naming(path)(error)),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(naming(folder))
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Renames, unless there is such a file.
fn rename_to_free(from: &Path, to: &Path) -> io::Result<()> {
    match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
        Ok(()) => Ok(()),
        // Not every file system can; then it is looked up before.
        Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOSYS) => {
            if std::fs::symlink_metadata(to).is_ok() {
                return Err(naming(to)(io::ErrorKind::AlreadyExists.into()));
            }
            std::fs::rename(from, to).map_err(naming(to))
        }
        Err(error) => Err(naming(to)(error.into())),
    }
}

/// Opens and locks a control file. None: it is gone, or empty, or another has it.
///
/// Debian's Sendmail locks by flock, one built without HASFLOCK by fcntl; both locks are taken, so that neither misses
/// us. An empty file is one that Sendmail has made and not locked yet: a lock of ours would make it give up. Not so one
/// that is [`ABANDONED`].
fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = match open_plain(path, true) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(naming(path)(error)),
    };
    let metadata = file.metadata().map_err(naming(path))?;
    if metadata.len() == 0 && !is_untouched(&metadata, ABANDONED) {
        return Ok(None);
    }
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(naming(path)(error)),
    }
    let whole = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole)) {
        Ok(_) => {}
        Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => return Ok(None),
        Err(error) => return Err(naming(path)(error.into())),
    }
    // Sendmail replaces a control file by renaming a new one over it: a lock on the old one would be worth nothing.
    let (held, there) = (file.metadata(), std::fs::symlink_metadata(path));
    match (held, there) {
        (Ok(held), Ok(there)) if is_same(&held, &there) => Ok(Some(file)),
        _ => Ok(None),
    }
}

/// Opens a plain file, no link and no pipe.
fn open_plain(path: &Path, write: bool) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new().read(true).write(write).custom_flags(flags.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("is not a plain file"));
    }
    Ok(file)
}

fn write_body(to: &mut File, body: &[Bytes]) -> io::Result<bool> {
    let mut writer = BodyWriter::default();
    let mut piece = Vec::new();
    // Pieces can be as large as the message; what is made of them need not be.
    for chunk in body.iter().flat_map(|piece| piece.chunks(64 << 10)) {
        writer.write(chunk, &mut piece);
        to.write_all(&piece)?;
        piece.clear();
    }
    writer.finish(&mut piece);
    to.write_all(&piece)?;
    Ok(writer.eight_bit)
}

fn is_settled(metadata: &Metadata) -> bool {
    is_untouched(metadata, SETTLED)
}

fn is_untouched(metadata: &Metadata, time: Duration) -> bool {
    let age = metadata.modified().ok().and_then(|changed| SystemTime::now().duration_since(changed).ok());
    age.is_some_and(|age| age >= time)
}

/// Removes a file that need not be there.
fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(naming(path)(error)),
        _ => Ok(()),
    }
}

fn naming(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const CONTROL: &str = "V8\nT1\nI8/1/77\nS<a@b.test>\nRPFD:<c@d.test>\nH??Subject: x\n.\n";

    /// Two folders with one message in the first.
    struct Queues {
        _folder: tempfile::TempDir,
        incoming: Folder,
        outgoing: Folder,
    }

    impl Queues {
        fn new(layout: &[&str]) -> Queues {
            let folder = tempfile::tempdir().unwrap();
            let make = |name: &str| {
                let path = folder.path().join(name);
                std::fs::create_dir(&path).unwrap();
                layout.iter().for_each(|name| std::fs::create_dir(path.join(name)).unwrap());
                Folder::new(&path)
            };
            let queues = Queues { incoming: make("in"), outgoing: make("out"), _folder: folder };
            std::fs::write(queues.incoming.file(FileKind::Data, "A1"), "body\n").unwrap();
            std::fs::write(queues.incoming.file(FileKind::Transcript, "A1"), "log\n").unwrap();
            std::fs::write(queues.incoming.file(FileKind::Control, "A1"), CONTROL).unwrap();
            queues
        }

        fn take(&self) -> Taken {
            Taken::take(&self.incoming, "A1").expect("it is free")
        }

        /// Names of all files, parted by spaces: incoming, then outgoing.
        fn files(&self) -> [String; 2] {
            [&self.incoming, &self.outgoing].map(|folder| {
                let mut names = BTreeSet::new();
                for at in [folder.controls(), folder.bodies(), folder.of_kind("xf")] {
                    let files = std::fs::read_dir(at).unwrap().map(Result::unwrap);
                    let plain = files.filter(|entry| entry.file_type().unwrap().is_file());
                    let plain = plain.map(|entry| entry.file_name().into_string().unwrap());
                    names.extend(plain.map(|name| name.split('.').next().unwrap().to_owned()));
                }
                names.into_iter().collect::<Vec<_>>().join(" ")
            })
        }

        /// Decides about it: it goes out.
        fn decide(&self, taken: &Taken) -> Decided {
            let mark = self.outgoing.mark().unwrap();
            taken.decide(Some((&self.outgoing, &mark))).unwrap()
        }

        fn out(&self, kind: FileKind) -> String {
            std::fs::read_to_string(self.outgoing.file(kind, "A1")).unwrap()
        }
    }

    fn control() -> ControlFile {
        let mut control = ControlFile::parse(CONTROL.as_bytes()).unwrap();
        control.change_field("Subject", 0, "new");
        control
    }

    #[test]
    fn a_message_goes_from_one_to_the_other() {
        for layout in [&[][..], &["qf", "df", "xf"], &["df"]] {
            let queues = Queues::new(layout);
            let mut taken = queues.take();
            assert_eq!(taken.message(&std::env::temp_dir(), 1 << 20).unwrap(), "Subject: x\r\n\r\nbody\r\n");
            taken.prepare(&queues.outgoing, &control(), None).unwrap();
            assert_eq!(queues.files(), ["dfA1 qfA1 xfA1", "gdA1 gfA1"]);
            let decided = queues.decide(&taken);
            taken.finish(&queues.outgoing, &decided).unwrap();
            assert_eq!(queues.files(), ["", "dfA1 qfA1"]);
            assert_eq!(queues.out(FileKind::Control), CONTROL.replace("I8/1/77\n", "").replace(" x", " new"));
            assert_eq!(queues.out(FileKind::Data), "body\n");
            assert!(
                queues.outgoing.list().unwrap() == Listing { waiting: vec!["A1".into()], decided: vec![] }
            );
        }
    }

    #[test]
    fn a_new_body_is_written_as_sendmail_writes_it() {
        let queues = Queues::new(&[]);
        let taken = queues.take();
        let body = [Bytes::from_static(b"one\r"), Bytes::from_static(b"\ntw\xc3\xb6\r\n")];
        taken.prepare(&queues.outgoing, &control(), Some(&body)).unwrap();
        let decided = queues.decide(&taken);
        taken.finish(&queues.outgoing, &decided).unwrap();
        assert_eq!(queues.out(FileKind::Data), "one\ntw\u{f6}\n");
        assert!(queues.out(FileKind::Control).contains("\nF8\n"));
        let mode = std::fs::metadata(queues.outgoing.file(FileKind::Data, "A1")).unwrap().mode() & 0o777;
        let model = std::fs::metadata(queues.outgoing.file(FileKind::Control, "A1")).unwrap().mode() & 0o777;
        assert_eq!(mode, model);
    }

    /// Each step alone, and a death after each of them: the message is in exactly one place, or becomes so.
    #[test]
    fn a_death_between_any_two_steps_neither_loses_nor_doubles() {
        type Step = fn(&Queues, &Taken);
        let steps: &[Step] = &[
            |queues, taken| {
                taken.prepare(&queues.outgoing, &control(), None).unwrap();
                // Half a control file, as after a death in the middle of writing.
                std::fs::write(queues.outgoing.file(FileKind::Decided, "A1"), "V8\nS<a").unwrap();
            },
            |queues, taken| taken.prepare(&queues.outgoing, &control(), None).unwrap(),
            |queues, taken| drop(queues.decide(taken)),
            |queues, _| {
                let (from, to) = (FileKind::Prepared, FileKind::Data);
                rename_to_free(&queues.outgoing.file(from, "A1"), &queues.outgoing.file(to, "A1")).unwrap();
            },
            |queues, _| {
                let (from, to) = (FileKind::Decided, FileKind::Control);
                rename_to_free(&queues.outgoing.file(from, "A1"), &queues.outgoing.file(to, "A1")).unwrap();
            },
            |queues, _| remove(&queues.incoming.file(FileKind::Data, "A1")).unwrap(),
            |queues, _| remove(&queues.incoming.file(FileKind::Transcript, "A1")).unwrap(),
            |queues, _| remove(&queues.incoming.list().unwrap().decided[0].path(&queues.incoming)).unwrap(),
        ];
        for dead_after in 0..=steps.len() {
            // What is in the outgoing queue may be delivered at once, or stay for a while.
            for delivered_at_once in [true, false] {
                let queues = Queues::new(&[]);
                let taken = queues.take();
                steps[..dead_after].iter().for_each(|step| step(&queues, &taken));
                drop(taken);
                let mut deliveries = 0;
                let mut deliver = || {
                    if queues.outgoing.file(FileKind::Control, "A1").exists() {
                        assert_eq!(queues.out(FileKind::Data), "body\n", "after {dead_after}");
                        assert!(queues.out(FileKind::Control).contains("Subject: new"), "after {dead_after}");
                        remove(&queues.outgoing.file(FileKind::Control, "A1")).unwrap();
                        remove(&queues.outgoing.file(FileKind::Data, "A1")).unwrap();
                        deliveries += 1;
                    }
                };
                if delivered_at_once {
                    deliver();
                }
                // The next process.
                let listing = queues.incoming.list().unwrap();
                for decided in &listing.decided {
                    assert!(finish(&queues.incoming, &queues.outgoing, decided).unwrap());
                }
                for _ in &listing.waiting {
                    let taken = queues.take();
                    taken.prepare(&queues.outgoing, &control(), None).unwrap();
                    let decided = queues.decide(&taken);
                    taken.finish(&queues.outgoing, &decided).unwrap();
                }
                deliver();
                assert_eq!(deliveries, 1, "after {dead_after}");
                assert_eq!(queues.files(), ["", ""], "after {dead_after}");
            }
        }
    }

    /// The vault has it; what an earlier attempt had prepared must not go out.
    #[test]
    fn a_held_message_does_not_go_out_either_way() {
        for dead_after in 0..3 {
            let queues = Queues::new(&[]);
            let taken = queues.take();
            taken.prepare(&queues.outgoing, &control(), None).unwrap();
            taken.withdraw(&queues.outgoing).unwrap();
            let decided = (dead_after > 0).then(|| taken.decide(None).unwrap());
            if let Some(decided) = decided.filter(|_| dead_after > 1) {
                taken.finish(&queues.outgoing, &decided).unwrap();
            }
            drop(taken);
            for id in queues.incoming.list().unwrap().decided {
                assert!(finish(&queues.incoming, &queues.outgoing, &id).unwrap());
            }
            let left = if dead_after == 0 { "dfA1 qfA1 xfA1" } else { "" };
            assert_eq!(queues.files(), [left, ""]);
        }
    }

    #[test]
    fn what_is_locked_is_left_alone() {
        let queues = Queues::new(&[]);
        let path = queues.incoming.file(FileKind::Control, "A1");
        let open = || File::options().read(true).write(true).open(&path).unwrap();
        let busy = || matches!(Taken::take(&queues.incoming, "A1"), Err(NotTaken::Busy));
        let writer = open();
        writer.try_lock().unwrap();
        assert!(busy());
        drop(writer);
        let writer = open();
        let whole = libc::flock { l_type: libc::F_WRLCK as _, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
        fcntl(&writer, FcntlArg::F_OFD_SETLK(&whole)).unwrap();
        assert!(busy());
        drop(writer);
        // Ours keeps others away, under each of its names.
        let taken = queues.take();
        assert!(busy());
        assert!(open().try_lock().is_err());
        let decided = taken.decide(None).unwrap();
        assert!(!finish(&queues.incoming, &queues.outgoing, &decided).unwrap());
        drop(taken);
        // Sendmail has made it and not locked it yet.
        std::fs::write(&path, "").unwrap();
        assert!(busy());
        // It died before it could.
        let old = SystemTime::now() - ABANDONED - Duration::from_secs(1);
        open().set_modified(old).unwrap();
        let taken = Taken::take(&queues.incoming, "A1");
        assert!(matches!(taken, Err(NotTaken::Damaged(_))));
        drop(taken);
        Taken::lose(&queues.incoming, "A1").unwrap();
        assert!(queues.incoming.file(FileKind::Lost, "A1").exists());
        std::fs::write(&path, "").unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(busy());
    }

    #[test]
    fn damaged_and_incomplete_messages() {
        let old = SystemTime::now() - SETTLED - Duration::from_secs(1);
        for (control, body, age, expected) in [
            (CONTROL, true, false, "taken"),
            (&CONTROL[..20], true, false, "later"),
            (&CONTROL[..20], true, true, "damaged"),
            (CONTROL, false, false, "later"),
            (CONTROL, false, true, "damaged"),
            (&CONTROL.replace("I8/1/77", "dq2"), false, true, "later"),
            (&format!("{CONTROL}H??Evil: x\n.\n"), true, false, "damaged"),
            (&CONTROL.replace("V8", "V9"), true, false, "damaged"),
        ] {
            let queues = Queues::new(&[]);
            let path = queues.incoming.file(FileKind::Control, "A1");
            std::fs::write(&path, control).unwrap();
            if age {
                File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
            }
            if !body {
                remove(&queues.incoming.file(FileKind::Data, "A1")).unwrap();
            }
            let found = match Taken::take(&queues.incoming, "A1") {
                Ok(_) => "taken",
                Err(NotTaken::Busy) => "busy",
                Err(NotTaken::Later(_)) => "later",
                Err(NotTaken::Damaged(_)) => "damaged",
            };
            assert_eq!(found, expected, "{control} {body} {age}");
            if found == "damaged" {
                Taken::lose(&queues.incoming, "A1").unwrap();
                assert!(queues.files()[0].contains("QfA1") && !queues.files()[0].contains("qfA1"));
                assert_eq!(queues.incoming.list().unwrap(), Listing::default());
            }
        }
    }

    #[test]
    fn another_message_of_that_id_is_never_written_over() {
        for kind in [FileKind::Control, FileKind::Data, FileKind::Quarantined, FileKind::Lost] {
            let queues = Queues::new(&[]);
            let theirs = queues.outgoing.file(kind, "A1");
            std::fs::write(&theirs, "theirs").unwrap();
            let taken = queues.take();
            let error = taken.prepare(&queues.outgoing, &control(), None).unwrap_err();
            assert!(error.to_string().contains("another message with the id A1"), "{error}");
            assert_eq!(std::fs::read_to_string(theirs).unwrap(), "theirs");
        }
        // It came when all was ready: it is waited for.
        let queues = Queues::new(&[]);
        let taken = queues.take();
        taken.prepare(&queues.outgoing, &control(), None).unwrap();
        let decided = queues.decide(&taken);
        let theirs = queues.outgoing.file(FileKind::Control, "A1");
        std::fs::write(&theirs, "theirs").unwrap();
        assert!(taken.finish(&queues.outgoing, &decided).is_err());
        assert_eq!(queues.files()[0], "dfA1 gfA1 xfA1");
        std::fs::remove_file(&theirs).unwrap();
        taken.finish(&queues.outgoing, &decided).unwrap();
        assert_eq!(queues.files(), ["", "dfA1 qfA1"]);
    }

    /// What was decided for one outgoing folder is not taken as published because another has nothing of it.
    #[test]
    fn only_the_folder_that_was_prepared_in_can_say_that_all_is_published() {
        type Change = fn(&Path);
        let changes: &[(&str, Change)] = &[
            ("another folder", |out| {
                std::fs::rename(out, out.with_extension("old")).unwrap();
                std::fs::create_dir(out).unwrap();
            }),
            ("another folder in use", |out| {
                std::fs::rename(out, out.with_extension("old")).unwrap();
                std::fs::create_dir(out).unwrap();
                Folder::new(out).mark().unwrap();
            }),
            ("no folder", |out| std::fs::rename(out, out.with_extension("old")).unwrap()),
            ("no folder at all", |out| {
                std::fs::rename(out, out.with_extension("old")).unwrap();
                std::fs::write(out, "").unwrap();
            }),
            ("a new qf folder", |out| std::fs::create_dir(out.join("qf")).unwrap()),
            ("a new qf folder in use", |out| {
                std::fs::create_dir(out.join("qf")).unwrap();
                Folder::new(out).mark().unwrap();
            }),
            ("a new df folder in use", |out| {
                std::fs::create_dir(out.join("df")).unwrap();
                Folder::new(out).mark().unwrap();
            }),
            ("no mark", |out| std::fs::remove_file(out.join(MARK)).unwrap()),
            ("no mark of ours", |out| {
                std::fs::remove_file(out.join(MARK)).unwrap();
                std::fs::write(out.join(MARK), "").unwrap();
            }),
            ("no body", |out| std::fs::remove_file(out.join("gdA1")).unwrap()),
        ];
        for (what, change) in changes {
            let queues = Queues::new(&[]);
            let taken = queues.take();
            taken.prepare(&queues.outgoing, &control(), None).unwrap();
            let decided = queues.decide(&taken);
            drop(taken);
            change(&queues.outgoing.path);
            assert!(finish(&queues.incoming, &queues.outgoing, &decided).is_err(), "{what}");
            assert!(decided.path(&queues.incoming).exists(), "{what}");
            assert!(queues.incoming.file(FileKind::Data, "A1").exists(), "{what}");
            assert!(!queues.outgoing.file(FileKind::Control, "A1").exists(), "{what}");
        }
    }

    #[test]
    fn a_folder_that_changed_since_it_was_prepared_in_is_not_decided_for() {
        let queues = Queues::new(&[]);
        let mark = queues.outgoing.mark().unwrap();
        assert_eq!(queues.outgoing.mark().unwrap(), mark, "it stays");
        let taken = queues.take();
        let decide = |mark: &str| taken.decide(Some((&queues.outgoing, mark)));
        assert!(decide(&mark).is_err(), "nothing is prepared");
        taken.prepare(&queues.outgoing, &control(), None).unwrap();
        assert!(decide("another").is_err());
        assert_eq!(queues.files(), ["dfA1 qfA1 xfA1", "gdA1 gfA1"]);
        assert!(decide(&mark).is_ok());
    }

    /// With two file systems the second rename may outlast a power failure that the first does not.
    #[test]
    fn a_body_that_is_left_is_published_after_its_control_file() {
        let queues = Queues::new(&["qf", "df"]);
        let taken = queues.take();
        taken.prepare(&queues.outgoing, &control(), None).unwrap();
        let decided = queues.decide(&taken);
        let (from, to) = (FileKind::Decided, FileKind::Control);
        std::fs::rename(queues.outgoing.file(from, "A1"), queues.outgoing.file(to, "A1")).unwrap();
        taken.finish(&queues.outgoing, &decided).unwrap();
        assert_eq!(queues.files(), ["", "dfA1 qfA1"]);
    }

    #[test]
    fn prepared_files_that_nobody_accounts_for_are_found() {
        let queues = Queues::new(&["df"]);
        let taken = queues.take();
        taken.prepare(&queues.outgoing, &control(), None).unwrap();
        let orphans = || queues.outgoing.orphans(&queues.incoming).unwrap();
        assert!(orphans().is_empty());
        let decided = queues.decide(&taken);
        assert!(orphans().is_empty());
        remove(&decided.path(&queues.incoming)).unwrap();
        assert_eq!(orphans(), ["gdA1", "gfA1"]);
    }

    /// What goes out is what was judged, though another file has its name by now.
    #[test]
    fn a_data_file_that_was_exchanged_does_not_go_out() {
        let queues = Queues::new(&[]);
        let taken = queues.take();
        let data = queues.incoming.file(FileKind::Data, "A1");
        std::fs::rename(&data, data.with_extension("old")).unwrap();
        std::fs::write(&data, "not judged\n").unwrap();
        taken.prepare(&queues.outgoing, &control(), None).unwrap();
        assert_eq!(queues.out(FileKind::Prepared), "body\n");
    }

    #[test]
    fn links_and_folders_are_no_messages() {
        let queues = Queues::new(&[]);
        let secret = queues.outgoing.controls().join("secret");
        std::fs::write(&secret, CONTROL).unwrap();
        let path = queues.incoming.file(FileKind::Control, "A2");
        std::os::unix::fs::symlink(&secret, &path).unwrap();
        assert!(matches!(Taken::take(&queues.incoming, "A2"), Err(NotTaken::Later(_))));
        std::fs::create_dir(queues.incoming.file(FileKind::Control, "A3")).unwrap();
        assert!(matches!(Taken::take(&queues.incoming, "A3"), Err(NotTaken::Later(_))));
    }
}
