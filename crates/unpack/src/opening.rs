//! One container being opened: where its members go, and what they may still cost.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};
use gatepost_mail::{
    Budget, DefectKind, FeatureKind, FileType, Limit, Limits, Message, Origin, Part, PartId,
};

use crate::codec::{Fault, Sink};
use crate::passwords::Passwords;

/// A container being opened. Openers read [`Opening::body`] and hand over what they find.
pub(crate) struct Opening<'a> {
    /// The container's bytes.
    pub(crate) body: Bytes,
    message: &'a mut Message,
    budget: &'a mut Budget,
    root: &'a mut Root,
    passwords: &'a mut Passwords,
    container: PartId,
    depth: u32,
    /// Bytes that were handed out as slices of the body.
    sliced: u64,
    /// Members that were told of, for each kind of defect.
    defects: Vec<(DefectKind, u32)>,
    /// The container was opened in another format before, which gave these.
    before: Vec<PartId>,
    over: Vec<Limit>,
}

/// What was made of one attachment, through all the containers nested in it: many small steps make a bomb as well as
/// one large one does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Root {
    /// The attachment's own size.
    pub(crate) packed: u64,
    /// Bytes that unpacking made of it so far.
    pub(crate) unpacked: u64,
    /// Nothing more may be made of it, because of this limit.
    pub(crate) over: Option<Limit>,
}

/// Nothing more can be taken from this container: a limit that holds for all that would follow was met. It is noted.
#[derive(Debug)]
pub(crate) struct Stop;

/// A member as an opener found it.
#[derive(Debug, Default)]
pub(crate) struct Member {
    /// Its names, most usual first, cleaned.
    pub(crate) names: Vec<String>,
    /// Its content, as far as it could be read.
    pub(crate) body: Bytes,
    /// It cannot be read without a password.
    pub(crate) encrypted: bool,
    /// It has content that could not be read at all.
    pub(crate) unread: bool,
}

/// What inflating yields.
#[derive(Debug)]
pub(crate) struct Inflated {
    /// The content, as far as it could be read.
    pub(crate) data: Bytes,
    /// Packed bytes that were used.
    pub(crate) used: usize,
    /// How it ended.
    pub(crate) end: End,
}

/// How unpacking ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum End {
    /// At its own end.
    #[default]
    Complete,
    /// The packed bytes ended early.
    Truncated,
    /// The packed bytes make no sense.
    Corrupt,
    /// A limit was met.
    Over(Limit),
}

impl<'a> Opening<'a> {
    /// Opens `container`.
    pub(crate) fn new(
        message: &'a mut Message,
        container: PartId,
        budget: &'a mut Budget,
        root: &'a mut Root,
        passwords: &'a mut Passwords,
    ) -> Opening<'a> {
        let part = message.part(container);
        let (body, depth) = (part.body.clone(), part.depth + 1);
        let children = message.parts().skip(container.0).filter(|(_, part)| part.parent == Some(container));
        let before = children.map(|(id, _)| id).collect();
        let (defects, over) = (Vec::new(), Vec::new());
        Opening { body, message, budget, root, passwords, container, depth, sliced: 0, defects, before, over }
    }

    /// The container's own first name.
    pub(crate) fn name(&self) -> Option<&str> {
        self.message.part(self.container).name()
    }

    /// The container itself.
    pub(crate) fn part(&self) -> &Part {
        self.message.part(self.container)
    }

    /// How many members are worth listing at all.
    pub(crate) fn most_members(&self) -> usize {
        self.budget.limits().parts as usize + 1
    }

    /// An error once the time is up.
    pub(crate) fn check_time(&mut self) -> Result<(), Stop> {
        let checked = self.budget.check_time();
        checked.map_err(|limit| self.stop(limit))
    }

    /// Whether the time is up, where that is no limit that is met.
    pub(crate) fn is_late(&self) -> bool {
        self.budget.check_time().is_err()
    }

    /// Where members that another format found lie in the body, those that stand there as they are.
    pub(crate) fn known(&self) -> Vec<std::ops::Range<usize>> {
        let start = self.body.as_ptr() as usize;
        let range = |id: &PartId| {
            let body = &self.message.part(*id).body;
            let at = (body.as_ptr() as usize).checked_sub(start)?;
            (!body.is_empty() && at + body.len() <= self.body.len()).then(|| at..at + body.len())
        };
        self.before.iter().filter_map(range).collect()
    }

    /// Whether another format gave members of it.
    pub(crate) fn opened_before(&self) -> bool {
        !self.before.is_empty()
    }

    /// What another format took out of the container: first names and contents.
    pub(crate) fn members(&self) -> Vec<(String, Bytes)> {
        let member = |id: &PartId| {
            let part = self.message.part(*id);
            (part.name().unwrap_or_default().to_owned(), part.body.clone())
        };
        self.before.iter().map(member).collect()
    }

    /// Appends a member as a child of the container, unless another format gave the same.
    pub(crate) fn member(&mut self, member: Member) -> Result<PartId, Stop> {
        self.append(Origin::Archive, member)
    }

    /// [`Opening::member`] for what is embedded in a document.
    pub(crate) fn embedded(&mut self, member: Member) -> Result<PartId, Stop> {
        self.append(Origin::Embedded, member)
    }

    /// The source of a script that runs within the container and is no file of its own: rules about files leave it alone.
    pub(crate) fn source(&mut self, name: &str, body: Bytes) -> Result<PartId, Stop> {
        self.text(Member { names: vec![name.to_owned()], body, ..Member::default() }, None)
    }

    /// [`Opening::embedded`] for text, such as the source of a macro. Text it stays, whatever it looks like.
    pub(crate) fn text(&mut self, member: Member, charset: Option<String>) -> Result<PartId, Stop> {
        let id = self.embedded(member)?;
        if let Some(part) = self.message.parts.get_mut(id.0) {
            "text/plain".clone_into(&mut part.declared);
            part.detected = FileType::TEXT;
            part.charset = charset;
        }
        Ok(id)
    }

    fn append(&mut self, origin: Origin, member: Member) -> Result<PartId, Stop> {
        let same = |id: &&PartId| self.message.part(**id).body == member.body;
        if !member.body.is_empty()
            && let Some(&id) = self.before.iter().find(same)
        {
            member.names.into_iter().for_each(|name| self.also_called(id, name));
            return Ok(id);
        }
        let taken = self.budget.take_part(self.depth);
        taken.map_err(|limit| self.stop(limit))?;
        let part = Part::new(self.container, self.depth, origin, member.body);
        let lost = member.encrypted || member.unread;
        let detected = if lost && part.body.is_empty() { FileType::DATA } else { part.detected };
        let id =
            self.message.push(Part { names: member.names, encrypted: member.encrypted, detected, ..part });
        if member.encrypted {
            self.defect(DefectKind::Encrypted, id, "");
        }
        Ok(id)
    }

    /// Appends a member that is a mail, whatever it looks like, and reads it.
    pub(crate) fn mail(&mut self, member: Member) -> Result<(), Stop> {
        let id = self.member(member)?;
        self.message.read_within(id, self.budget);
        Ok(())
    }

    /// Reads the container as a mail, unless that is how it came to be: what lies around it was the same bytes.
    pub(crate) fn read_mail(&mut self) {
        let mut at = self.message.part(self.container).parent;
        while let Some(id) = at {
            let around = self.message.part(id);
            if around.body == self.body {
                return;
            }
            at = around.parent;
        }
        self.message.read_within(self.container, self.budget);
    }

    /// Gives a member that is there already one more name.
    pub(crate) fn also_called(&mut self, id: PartId, name: String) {
        if let Some(part) = self.message.parts.get_mut(id.0) {
            crate::names::add(&mut part.names, name);
        }
    }

    /// Notes a defect of the container itself.
    pub(crate) fn defective(&mut self, kind: DefectKind, detail: impl Into<String>) {
        self.defect(kind, self.container, detail);
    }

    /// Notes what the container is able to do.
    pub(crate) fn feature(&mut self, kind: FeatureKind, detail: impl AsRef<str>) {
        self.message.feature(kind, self.container, detail);
    }

    /// Notes an address that the container holds.
    pub(crate) fn link(&mut self, url: impl Into<String>) {
        self.message.link(self.container, url);
    }

    /// Whether the text of documents is asked for.
    pub(crate) fn wants_text(&self) -> bool {
        self.most_text() > 0
    }

    /// Bytes of text that may still be noted.
    pub(crate) fn most_text(&self) -> usize {
        let kept: usize = self.message.texts.iter().map(|known| known.text.len()).sum();
        usize::try_from(self.budget.limits().texts).unwrap_or(usize::MAX).saturating_sub(kept)
    }

    /// Notes the text that a reader sees of the container.
    pub(crate) fn shows(&mut self, text: &str) {
        self.message.text(self.container, text, self.budget.limits().texts);
    }

    /// Reads something once more, with `bytes` to spend and the time that is left: what it costs counts for nobody else, and
    /// what it meets no limit of the message.
    pub(crate) fn aside<T>(&mut self, bytes: u64, read: impl FnOnce(&mut Opening) -> T) -> T {
        let limits = Limits { bytes, ..self.budget.left() };
        let mut root = Root { packed: self.root.packed, ..Root::default() };
        read(&mut Opening {
            body: self.body.clone(),
            message: self.message,
            budget: &mut Budget::new(&limits),
            root: &mut root,
            passwords: self.passwords,
            container: self.container,
            depth: self.depth,
            sliced: 0,
            defects: Vec::new(),
            before: Vec::new(),
            over: Vec::new(),
        })
    }

    /// Notes a defect of a member. An archive of a thousand broken members is told of sixteen times for each kind.
    pub(crate) fn defect(&mut self, kind: DefectKind, part: PartId, detail: impl Into<String>) {
        const MOST: u32 = 16;
        let place = self.defects.iter().position(|(known, _)| *known == kind).unwrap_or_else(|| {
            self.defects.push((kind, 0));
            self.defects.len() - 1
        });
        self.defects[place].1 += 1;
        if self.defects[place].1 <= MOST {
            self.message.defect(kind, part, detail.into());
        }
    }

    /// Notes once for each container that a limit was met.
    pub(crate) fn over(&mut self, limit: Limit, part: Option<PartId>) {
        if !self.over.contains(&limit) {
            self.over.push(limit);
            self.message.defect(DefectKind::Over(limit), part.unwrap_or(self.container), "");
        }
    }

    /// A piece of the body, without copying. Pieces that overlap, so that they add up to more than the body, count
    /// against the ratio like unpacked bytes.
    pub(crate) fn slice(&mut self, range: std::ops::Range<usize>) -> Result<Bytes, Limit> {
        let len = range.len() as u64;
        let size = self.body.len() as u64;
        let before = self.sliced.saturating_sub(size);
        let excess = (self.sliced + len).saturating_sub(size) - before;
        self.root.over.map_or(Ok(()), Err)?;
        let checked = self.budget.take_bytes(len);
        let checked = checked.and(self.budget.check_ratio(self.root.packed, self.root.unpacked + excess));
        checked.inspect_err(|limit| self.root.over = Some(*limit))?;
        self.sliced += len;
        self.root.unpacked += excess;
        Ok(self.body.slice(range))
    }

    /// Inflates raw deflate data (RFC 1951) behind what `into` holds already. Stops at its end, at what makes no
    /// sense, or at a limit; what was made until then is kept. `packed` is the size to hold against the ratio and
    /// `expected` what the archive says it becomes (believed only as far as a first allocation goes).
    pub(crate) fn inflate(
        &mut self,
        input: &[u8],
        packed: u64,
        expected: Option<u64>,
        into: &mut Vec<u8>,
    ) -> (usize, End) {
        const STEP: usize = 64 << 10;
        // From here on the ratio must hold for what was read so far, too: a bomb of some megabytes would otherwise only
        // be known by its end, hundreds of megabytes later.
        const EARLY: u64 = 32 << 20;
        if let Some(limit) = self.root.over {
            return (0, End::Over(limit));
        }
        let start = into.len();
        let likely = expected.unwrap_or(packed.saturating_mul(4)).min(packed.saturating_mul(16));
        into.reserve(usize::try_from(likely.min(1 << 20)).unwrap_or(STEP).max(512));
        let mut state = Decompress::new(false);
        let end = loop {
            if into.len() == into.capacity() {
                into.reserve_exact(into.len().clamp(STEP, 4 << 20));
            }
            let used = usize::try_from(state.total_in()).unwrap_or(input.len());
            let before = into.len();
            let status = state.decompress_vec(&input[used.min(input.len())..], into, FlushDecompress::None);
            let made = (into.len() - start) as u64;
            let held_against = if made > EARLY { packed.min(state.total_in()) } else { packed };
            if let Err(limit) = self.spend(held_against, made, (into.len() - before) as u64) {
                break End::Over(limit);
            }
            match status {
                Ok(Status::StreamEnd) => break End::Complete,
                Err(_) => break End::Corrupt,
                Ok(_) if into.len() < into.capacity() => break End::Truncated,
                Ok(_) => {}
            }
        };
        (usize::try_from(state.total_in()).unwrap_or(input.len()).min(input.len()), end)
    }

    /// [`Opening::inflate`] into a buffer of its own.
    pub(crate) fn inflated(&mut self, input: &[u8], packed: u64, expected: Option<u64>) -> Inflated {
        let mut data = Vec::new();
        let (used, end) = self.inflate(input, packed, expected, &mut data);
        Inflated { data: keep(data), used, end }
    }

    /// Reads what a decompressor makes, behind what `into` holds already: until its end, an error, or a limit; what was made
    /// until then is kept. `packed` is the size to hold against the ratio. Errors of kind `UnexpectedEof` mean truncated
    /// input, all others corrupt input.
    pub(crate) fn drain(&mut self, source: &mut dyn Read, packed: u64, into: &mut Vec<u8>) -> End {
        if let Some(limit) = self.root.over {
            return End::Over(limit);
        }
        let start = into.len();
        let mut step = vec![0; 64 << 10];
        loop {
            let more = match source.read(&mut step) {
                Ok(0) => return End::Complete,
                Ok(more) => more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return End::Truncated,
                Err(_) => return End::Corrupt,
            };
            into.extend_from_slice(&step[..more]);
            if let Err(limit) = self.spend(packed, (into.len() - start) as u64, more as u64) {
                return End::Over(limit);
            }
        }
    }

    /// Unpacks by a decoder that writes behind what `into` holds already; what was made until its end, an error or a limit is
    /// kept. `packed` is the size to hold against the ratio. Returns how many packed bytes the decoder used.
    pub(crate) fn decode(
        &mut self,
        packed: u64,
        into: &mut Vec<u8>,
        decoder: impl FnOnce(&mut Sink) -> Result<usize, Fault>,
    ) -> (usize, End) {
        if let Some(limit) = self.root.over {
            return (0, End::Over(limit));
        }
        let mut spend = |made, more| self.spend(packed, made, more);
        let mut sink = Sink::new(into, &mut spend);
        let ended = decoder(&mut sink).and_then(|used| sink.settle().map(|()| used));
        match ended {
            Ok(used) => (used, End::Complete),
            Err(Fault::Truncated) => (0, End::Truncated),
            Err(Fault::Corrupt) => (0, End::Corrupt),
            Err(Fault::Over(limit)) => (0, End::Over(limit)),
        }
    }

    /// The first candidate password that `opens` accepts: words of the mail first, then the configured list. `rounds` is
    /// what one try costs, in blocks that a hash function works through (1 for a cheap one); it bounds how many are
    /// tried. What opened is tried first from then on, and one that stands in the mail is noted.
    pub(crate) fn password(&mut self, rounds: u64, mut opens: impl FnMut(&str) -> bool) -> Option<String> {
        self.passwords.gather(self.message, &self.budget.limits().passwords);
        for place in 0..self.passwords.affordable(rounds) {
            if self.budget.check_time().is_err() {
                return None;
            }
            self.passwords.spend(rounds);
            let Some(password) = self.passwords.at(place) else { break };
            if opens(&password.text) {
                let password = password.clone();
                self.passwords.proven(place);
                if password.from_mail {
                    self.feature(FeatureKind::PasswordInMail, &password.text);
                }
                return Some(password.text);
            }
        }
        None
    }

    /// The most that one step may ask for, in bytes.
    pub(crate) fn most_memory(&self) -> u64 {
        self.budget.limits().memory
    }

    /// An error when a decompressor needs more memory than one step may ask for; ask before it allocates.
    pub(crate) fn check_memory(&self, bytes: u64) -> Result<(), Limit> {
        self.budget.check_memory(bytes)
    }

    /// Takes into account what was made without [`Opening::inflate`] or [`Opening::drain`]; None, and the limit noted, if
    /// it is too much.
    pub(crate) fn made(&mut self, data: Vec<u8>) -> Option<Bytes> {
        let (packed, more) = (self.body.len() as u64, data.len() as u64);
        let spent = self.root.over.map_or(Ok(()), Err).and_then(|()| self.spend(packed, more, more));
        match spent {
            Ok(()) => Some(keep(data)),
            Err(limit) => {
                self.over(limit, None);
                None
            }
        }
    }

    /// Pays for `made` bytes that came of `packed` ones in a way of the opener's own.
    pub(crate) fn pay(&mut self, packed: u64, made: u64) -> Result<(), Limit> {
        self.root.over.map_or(Ok(()), Err)?;
        self.spend(packed, made, made)
    }

    fn spend(&mut self, packed: u64, made: u64, more: u64) -> Result<(), Limit> {
        self.root.unpacked += more;
        let taken = self.budget.take_bytes(more);
        let taken = taken.and(self.budget.check_ratio(self.root.packed, self.root.unpacked));
        taken.inspect_err(|limit| self.root.over = Some(*limit))?;
        self.budget.check_ratio(packed, made)?;
        self.budget.check_time()
    }

    fn stop(&mut self, limit: Limit) -> Stop {
        self.over(limit, None);
        Stop
    }
}

/// Bytes without the slack that growing left behind.
pub(crate) fn keep(mut data: Vec<u8>) -> Bytes {
    if data.capacity() - data.len() > data.len() / 4 {
        data.shrink_to_fit();
    }
    Bytes::from(data)
}
