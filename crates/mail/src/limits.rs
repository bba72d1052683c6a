//! Limits on what reading a message may cost, and the budget that is spent against them.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What one message may cost to read and unpack. Each has a default that ordinary mail never meets.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Nesting of MIME parts, messages and archives, all counted together.
    pub depth: u32,
    /// Parts and archive members in all.
    pub parts: u32,
    /// Bytes that decoding and unpacking may yield in all.
    pub bytes: u64,
    /// How many times larger than its compressed form a member may become, once it is over 1 MiB.
    pub ratio: u32,
    /// Wall-clock time for reading and unpacking.
    pub time: Duration,
    /// Further readings: the same bytes read once more in another way, because mail programs differ.
    pub readings: u32,
    /// Bytes that one step may ask for at once, such as the dictionary of a compression.
    pub memory: u64,
    /// Passwords that are tried on what is encrypted, besides the words of the mail itself.
    pub passwords: Arc<[String]>,
    /// Bytes of UTF-8 that the text of documents may have in all; 0: nobody asks for it, so none is read.
    pub texts: u64,
}

impl Limits {
    /// The passwords under which samples of malware are exchanged, and those that lazy senders take.
    pub const PASSWORDS: &[&str] =
        &["infected", "virus", "malware", "password", "1234", "12345", "123456", "123", "secret", "mail"];
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            depth: 17,
            parts: 1000,
            bytes: 300 << 20,
            ratio: 250,
            time: Duration::from_secs(20),
            readings: 200,
            memory: 256 << 20,
            passwords: Limits::PASSWORDS.iter().map(|&password| password.to_owned()).collect(),
            texts: 0,
        }
    }
}

/// Which limit was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// [`Limits::depth`]
    Depth,
    /// [`Limits::parts`]
    Parts,
    /// [`Limits::bytes`]
    Bytes,
    /// [`Limits::ratio`]
    Ratio,
    /// [`Limits::time`]
    Time,
    /// [`Limits::readings`]
    Readings,
    /// [`Limits::memory`]
    Memory,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Limit::Depth => "depth",
            Limit::Parts => "parts",
            Limit::Bytes => "bytes",
            Limit::Ratio => "ratio",
            Limit::Time => "time",
            Limit::Readings => "readings",
            Limit::Memory => "memory",
        })
    }
}

/// What is left of the limits while one message is read.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    parts_left: u32,
    bytes_left: u64,
    readings_left: u32,
    deadline: Instant,
}

impl Budget {
    /// A full budget; the clock starts now.
    pub fn new(limits: &Limits) -> Budget {
        Budget {
            parts_left: limits.parts,
            bytes_left: limits.bytes,
            readings_left: limits.readings,
            deadline: Instant::now() + limits.time,
            limits: limits.clone(),
        }
    }

    /// The limits it was made from.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What is left, as limits: a budget made of them goes on where this one stands, its clock from the moment it is made.
    pub fn left(&self) -> Limits {
        Limits {
            parts: self.parts_left,
            bytes: self.bytes_left,
            readings: self.readings_left,
            time: self.deadline.saturating_duration_since(Instant::now()),
            ..self.limits.clone()
        }
    }

    /// Takes one part, at `depth` (the message itself is depth 0), and checks the clock.
    pub fn take_part(&mut self, depth: u32) -> Result<(), Limit> {
        if depth > self.limits.depth {
            return Err(Limit::Depth);
        }
        self.parts_left = self.parts_left.checked_sub(1).ok_or(Limit::Parts)?;
        self.check_time()
    }

    /// Takes bytes that decoding yields.
    pub fn take_bytes(&mut self, bytes: u64) -> Result<(), Limit> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(Limit::Bytes)?;
        Ok(())
    }

    /// Takes one further reading of bytes that were read in another way before.
    pub fn take_reading(&mut self) -> Result<(), Limit> {
        self.readings_left = self.readings_left.checked_sub(1).ok_or(Limit::Readings)?;
        self.check_time()
    }

    /// An error when a step needs more than it may ask for at once.
    pub fn check_memory(&self, bytes: u64) -> Result<(), Limit> {
        if bytes > self.limits.memory { Err(Limit::Memory) } else { Ok(()) }
    }

    /// Bytes that may still be made.
    pub fn bytes_left(&self) -> u64 {
        self.bytes_left
    }

    /// An error once the time is up.
    pub fn check_time(&self) -> Result<(), Limit> {
        if Instant::now() > self.deadline { Err(Limit::Time) } else { Ok(()) }
    }

    /// An error when `unpacked` bytes out of `packed` exceed the ratio; small members never do.
    pub fn check_ratio(&self, packed: u64, unpacked: u64) -> Result<(), Limit> {
        const SMALL: u64 = 1 << 20;
        let most = packed.max(1).saturating_mul(self.limits.ratio.into());
        if unpacked > SMALL && unpacked > most { Err(Limit::Ratio) } else { Ok(()) }
    }
}
