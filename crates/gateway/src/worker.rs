//! The process that unpacks: this same program, started with a hidden argument, which gives up everything but its
//! memory, one socket and the clock, and then opens containers for the daemon.
//!
//! It is handed a message as a sealed memory file and answers with another ([`gatepost_unpack::transfer`]). Whatever
//! goes wrong here ends this process and no other: the daemon ([`Workers`]) puts the one message off and starts a new one.
//! It ends with the daemon, too: the kernel sees to that, and an empty socket says the same.

mod note;
mod pool;
mod process;
mod sandbox;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::process::ExitCode;

use gatepost_unpack::Reading;

use note::{Note, Tag};
pub use pool::{Workers, can_start, self_test};
pub use sandbox::Args;

/// A process that holds more memory than this after a message is replaced; the next one begins small.
const FAT: u64 = 96 << 20;

/// Serves until the daemon is gone. Exit status 1: the daemon said what makes no sense.
pub fn run(args: &Args) -> ExitCode {
    let memory = File::open("/proc/self/statm").ok();
    let confined = sandbox::enter(args);
    let ready = Note { extra: confined.bits(), ..Note::of(Tag::Ready) };
    match ready.send(io::stdin(), &[]).and_then(|()| serve(memory.as_ref())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(memory: Option<&File>) -> io::Result<()> {
    while let Some((request, files)) = Note::receive(io::stdin())? {
        let answer = match request.tag {
            Tag::Unpack => unpack(&request, files)?,
            probe => sandbox::probe(probe),
        };
        let fat = memory.and_then(resident).is_some_and(|bytes| bytes > FAT);
        Note { extra: u8::from(fat), ..answer }.send(io::stdin(), &[])?;
    }
    Ok(())
}

/// Unpacks what the first file holds into the second.
fn unpack(request: &Note, files: Vec<OwnedFd>) -> io::Result<Note> {
    let [input, output] = <[OwnedFd; 2]>::try_from(files)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a message without its files"))?;
    let (area, table) = note::contents(&File::from(input), request.area, request.table)?;
    let reading = Reading::from_parcel(area.clone(), &table)
        .map_err(|garbled| io::Error::new(io::ErrorKind::InvalidData, garbled.0))?;
    #[cfg(debug_assertions)]
    misbehave::as_told(&area);
    let answer = reading.finish_to_parcel(&area);
    let mut output = File::from(output);
    for piece in &answer.pieces {
        output.write_all(piece)?;
    }
    output.write_all(&answer.table)?;
    let (area, table) = (answer.area_len() as u64, answer.table.len() as u64);
    Ok(Note { area, table, ..Note::of(Tag::Done) })
}

/// Memory that this process holds, from its open statm: in bytes.
fn resident(statm: &File) -> Option<u64> {
    let mut text = [0; 128];
    let len = statm.read_at(&mut text, 0).ok()?;
    let pages = std::str::from_utf8(text.get(..len)?).ok()?.split(' ').nth(1)?;
    Some(pages.parse::<u64>().ok()? * 4096)
}

/// What tests have a worker do; never in a release.
#[cfg(debug_assertions)]
mod misbehave {
    use std::io::Write;

    /// A mail with `X-Worker-Test: crash` crashes its worker, where the daemon was started with GATEPOST_WORKER_TEST.
    pub(super) fn as_told(message: &[u8]) {
        if std::env::var_os("GATEPOST_WORKER_TEST").is_none() {
            return;
        }
        let header = &message[..message.len().min(2000)];
        let told = |what: &str| {
            memchr::memmem::find(header, format!("X-Worker-Test: {what}\r\n").as_bytes()).is_some()
        };
        if told("crash") {
            std::process::abort();
        }
        if told("panic") {
            panic!("told to panic");
        }
        if told("hang") {
            loop {
                std::hint::spin_loop();
            }
        }
        if told("bloat") {
            let mut hoard = Vec::new();
            loop {
                hoard.push(vec![1_u8; 1 << 20]);
            }
        }
        if told("execute") {
            let _ = nix::unistd::execv(c"/bin/true", &[c"true"]);
        }
        if told("babble") {
            let note = super::Note { area: 0, table: 1 << 40, ..super::Note::of(super::Tag::Done) };
            let _ = note.send(std::io::stdin(), &[]);
            let _ = std::io::stderr().write_all(b"babbled");
        }
    }
}
