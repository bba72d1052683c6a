//! One worker, as the daemon sees it: started, given a message, waited for, ended.

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use gatepost_mail::Cause;
use gatepost_unpack::transfer::Parcel;
use nix::sys::signal::Signal;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::note::{self, Note, Tag};
use super::sandbox::{Args, Confined};
use crate::records::text::clean;

/// How long a worker may take to begin.
const START: Duration = Duration::from_secs(20);

/// A running worker. Dropping it ends it.
pub(super) struct Process {
    child: Child,
    socket: OwnedFd,
    /// What it says when it dies.
    errors: PipeReader,
    /// What it has given up.
    pub(super) confined: Confined,
    /// Messages it has had.
    pub(super) used: u32,
    /// The largest answer that is taken.
    most: u64,
}

/// What a worker made of a message.
pub(super) struct Answer {
    pub(super) area: Bytes,
    pub(super) table: Bytes,
    /// It holds so much memory that it should end.
    pub(super) fat: bool,
}

/// A worker that gave no answer and is of no more use.
#[derive(Debug)]
pub(super) struct Death {
    pub(super) cause: Cause,
    /// For the log.
    pub(super) detail: String,
    /// It had the message. False: another may be asked.
    pub(super) had_it: bool,
}

impl Process {
    /// Starts one and waits until it has given up all it can. An error says what went wrong.
    pub(super) fn start(args: &Args) -> Result<Process, String> {
        let wrong = |error: io::Error| format!("cannot be started: {error}");
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|error| wrong(error.into()))?;
        let (errors, to_errors) = io::pipe().map_err(wrong)?;
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("gatepost-worker")
            .arg("worker")
            .args(["--memory", &args.memory.to_string()])
            .args(["--file", &args.file.to_string()])
            .args(["--time", &args.time.to_string()])
            .env_clear()
            .envs(ALLOCATOR)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(to_errors);
        #[cfg(debug_assertions)]
        if let Some(test) = std::env::var_os("GATEPOST_WORKER_TEST") {
            command.env("GATEPOST_WORKER_TEST", test);
        }
        let child = spawn(command).map_err(wrong)?;
        let confined = Confined::from_bits(0);
        let mut process = Process { child, socket: ours, errors, confined, used: 0, most: args.file };
        match process.listen(START) {
            Ok(Note { tag: Tag::Ready, extra, .. }) => {
                process.confined = Confined::from_bits(extra);
                Ok(process)
            }
            Ok(_) => Err("does not say that it is ready".to_owned()),
            Err(death) => Err(format!("does not begin: {}", death.detail)),
        }
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub(super) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Has it unpack a parcel within that time, `limit` in words.
    pub(super) fn unpack(&mut self, parcel: &Parcel, time: Duration) -> Result<Answer, Death> {
        self.used += 1;
        let ours = |error: io::Error| Death {
            cause: Cause::Unavailable,
            detail: format!("the message cannot be handed to a worker: {error}"),
            had_it: true,
        };
        let input = note::sealed(parcel).map_err(ours)?;
        let output = note::empty_file().map_err(ours)?;
        let (area, table) = (parcel.area_len() as u64, parcel.table.len() as u64);
        let request = Note { area, table, ..Note::of(Tag::Unpack) };
        let _ = set_socket_timeout(&self.socket, Timeout::Send, Some(time));
        if request.send(&self.socket, &[input.as_fd(), output.as_fd()]).is_err() {
            return Err(Death { had_it: false, ..self.post_mortem() });
        }
        let done = self.listen(time)?;
        let nonsense = |why: &str| Death {
            cause: Cause::Bug,
            detail: format!("the worker's answer makes no sense: {why}"),
            had_it: true,
        };
        if done.tag != Tag::Done {
            return Err(nonsense("it is none"));
        }
        // Sealed first, then looked at: from here on it cannot change.
        note::seal(&output).map_err(|error| nonsense(&error.to_string()))?;
        let len = output.metadata().map_err(ours)?.len();
        let said = done.area.checked_add(done.table);
        if said.is_none_or(|said| said > len || said > self.most) {
            return Err(nonsense("it is shorter than it says"));
        }
        let (area, table) = note::contents(&output, done.area, done.table).map_err(ours)?;
        Ok(Answer { area, table, fat: done.extra != 0 })
    }

    /// Has it try what it must not be able to do: whether it could.
    pub(super) fn can(&mut self, what: Tag) -> bool {
        let tried = Note::of(what).send(&self.socket, &[]).is_ok();
        match self.listen(START) {
            Ok(note) => note.tag != Tag::Refused,
            // Killed for trying, as it should be; but one that has become another program ends in good order.
            Err(death) => !tried || death.cause != Cause::Bug || !death.detail.contains("SIGSYS"),
        }
    }

    /// What it says next.
    fn listen(&mut self, time: Duration) -> Result<Note, Death> {
        let _ = set_socket_timeout(&self.socket, Timeout::Recv, Some(time));
        match Note::receive(&self.socket) {
            Ok(Some((note, _))) => Ok(note),
            Ok(None) => Err(self.post_mortem()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Death {
                cause: Cause::Timeout,
                detail: format!("the worker was not done within {} s and was killed", time.as_secs()),
                had_it: true,
            }),
            Err(error) => Err(Death {
                cause: Cause::Bug,
                detail: format!("the worker's answer makes no sense: {error}"),
                had_it: true,
            }),
        }
    }

    /// Why it died.
    fn post_mortem(&mut self) -> Death {
        let _ = self.child.kill();
        let status = self.child.wait();
        // It is gone, and the pipe has no other writer: this ends.
        let mut said = Vec::new();
        let _ = (&mut self.errors).take(64 << 10).read_to_end(&mut said);
        let (cause, detail) = match status {
            Ok(status) => cause(status, &String::from_utf8_lossy(&said)),
            Err(error) => (Cause::Bug, format!("the worker is gone: {error}")),
        };
        Death { cause, detail, had_it: true }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already; what matters is that it is afterwards, and leaves no zombie.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a worker's end means, by its status and what it said.
fn cause(status: ExitStatus, said: &str) -> (Cause, String) {
    let said = clean(&said.split_whitespace().collect::<Vec<_>>().join(" "), 300);
    let signal = status.signal().and_then(|signal| Signal::try_from(signal).ok());
    let (cause, why) = match signal {
        Some(Signal::SIGXCPU) => (Cause::Timeout, "it used more processor time than it may".to_owned()),
        Some(Signal::SIGXFSZ) => (Cause::Limit, "it made more than it may".to_owned()),
        Some(Signal::SIGKILL) => (Cause::Limit, "it was killed, perhaps for lack of memory".to_owned()),
        Some(Signal::SIGSYS) => (Cause::Bug, "SIGSYS: it did what it may not".to_owned()),
        _ if said.contains("memory allocation of") => {
            (Cause::Limit, "it asked for more memory than it may".to_owned())
        }
        Some(signal) => (Cause::Bug, signal.as_str().to_owned()),
        None => (Cause::Bug, status.to_string()),
    };
    let said = if said.is_empty() { said } else { format!(": {said}") };
    (cause, format!("the worker died: {why}{said}"))
}

/// The allocator of a worker asks for memory as it needs it and gives it back at once: what it only keeps in store would count
/// against its limit.
const ALLOCATOR: [(&str, &str); 2] = [("MIMALLOC_ARENA_EAGER_COMMIT", "0"), ("MIMALLOC_PURGE_DELAY", "0")];

/// Starts a program from a thread that lives as long as we do: that the kernel ends a worker with the daemon
/// (PR_SET_PDEATHSIG) is said of the thread that started it, and those of the runtime come and go.
fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static STARTER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let gone = || io::Error::other("the thread that starts workers is gone");
    let starter = match STARTER.get() {
        Some(starter) => starter,
        None => {
            let (orders, taken) = mpsc::channel::<Order>();
            thread::Builder::new().name("worker-starter".to_owned()).spawn(move || {
                for (mut command, answer) in taken {
                    // The command goes with its ends of socket and pipe, so that only the worker has them.
                    let child = command.spawn();
                    drop(command);
                    let _ = answer.send(child);
                }
            })?;
            // Of two at once one is kept; the other's thread ends with its channel.
            STARTER.get_or_init(|| orders)
        }
    };
    let (answer, started) = mpsc::channel();
    starter.send((command, answer)).map_err(|_| gone())?;
    started.recv().map_err(|_| gone())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_a_cause() {
        for (raw, said, expected, part) in [
            (Signal::SIGXCPU as i32, "", Cause::Timeout, "processor time"),
            (Signal::SIGXFSZ as i32, "", Cause::Limit, "made more"),
            (Signal::SIGKILL as i32, "", Cause::Limit, "lack of memory"),
            (Signal::SIGSYS as i32, "", Cause::Bug, "SIGSYS"),
            (Signal::SIGABRT as i32, "memory allocation of 99 bytes failed\n", Cause::Limit, "99 bytes"),
            (Signal::SIGABRT as i32, "", Cause::Bug, "SIGABRT"),
            (Signal::SIGSEGV as i32, "", Cause::Bug, "SIGSEGV"),
            (101 << 8, "\nthread 'main' panicked at x.rs:1:\nodd\u{1b}[2J\n", Cause::Bug, "x.rs:1: odd"),
            (1 << 8, "what came is no note", Cause::Bug, "exit status: 1: what came"),
        ] {
            let (cause, detail) = cause(ExitStatus::from_raw(raw), said);
            assert_eq!(cause, expected, "{detail}");
            assert!(detail.contains(part) && !detail.contains('\u{1b}'), "{detail}");
        }
    }
}
