//! Compressed files: one stream or several, which together are one file.

use bytes::Bytes;
use gatepost_mail::{DefectKind, Limit, PartId};

use crate::codec::{Fault, Sink};
use crate::names;
use crate::opening::{End, Member, Opening, Stop, keep};

/// Streams of one file that are read: enough for 4 GiB in the blocks that genome tools write.
const MOST_STREAMS: usize = 1 << 16;

/// A format of compressed files.
pub(crate) struct Single {
    /// Extensions, each with what takes its place: `("tgz", ".tar")`.
    pub(crate) endings: &'static [(&'static str, &'static str)],
    /// Reads the stream that begins with these bytes.
    pub(crate) stream: fn(&mut Opening, &[u8], &mut File) -> Step,
}

/// What came of an attempt to read a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// None begins here.
    None,
    /// One of so many bytes; perhaps others follow.
    Stream(usize),
    /// Nothing that belongs to the file but is none of its data.
    Skip(usize),
    /// One whose data makes no sense behind so many bytes.
    Damaged(usize),
    /// One that cannot be read to its end.
    Broken,
}

/// The file that the streams make together.
#[derive(Default)]
pub(crate) struct File {
    /// Its names.
    pub(crate) names: Vec<String>,
    /// Its content so far.
    pub(crate) data: Vec<u8>,
    /// Size of the first stream.
    first: usize,
    streams: usize,
    over: Option<Limit>,
    defects: Vec<(DefectKind, String)>,
}

impl Single {
    /// Opens a file.
    pub(crate) fn open(&self, opening: &mut Opening) -> Result<(), Stop> {
        let body = opening.body.clone();
        let mut file = File::default();
        let mut at = 0;
        while at < body.len() {
            opening.check_time()?;
            if file.streams == MOST_STREAMS {
                opening.over(Limit::Parts, None);
                break;
            }
            // Zeros may stand between streams, to fill blocks of a tape.
            let rest = &body[at..];
            let zeros = rest.iter().position(|&byte| byte != 0).unwrap_or(rest.len());
            let padding = if file.streams > 0 { zeros } else { 0 };
            match (self.stream)(opening, &rest[padding..], &mut file) {
                Step::None => break,
                Step::Skip(used) => at += padding + used.max(1),
                Step::Stream(used) => {
                    at += padding + used.max(1);
                    file.ended();
                }
                Step::Damaged(used) => {
                    at += padding + used;
                    file.ended();
                    break;
                }
                Step::Broken => {
                    at = body.len();
                    file.ended();
                    break;
                }
            }
        }
        if file.streams == 0 && file.defects.is_empty() {
            file.complain(DefectKind::BadArchive, "a header that makes no sense");
        }
        // Behind data that is damaged there may be something else, which its own format looks for.
        let more = at > 0 && file.over.is_none();
        file.hand_over(opening, self.endings)?;
        if more { trailing(opening, at) } else { Ok(()) }
    }
}

/// What follows the compressed data: nothing, padding, or something that some programs look into.
fn trailing(opening: &mut Opening, at: usize) -> Result<(), Stop> {
    let rest = &opening.body[at.min(opening.body.len())..];
    if rest.iter().all(|&byte| byte == 0) {
        return Ok(());
    }
    opening.defective(DefectKind::BadArchive, format!("{} bytes behind the compressed data", rest.len()));
    match opening.slice(at..opening.body.len()) {
        Ok(body) => opening.member(Member { body, ..Member::default() }).map(|_| ()),
        Err(limit) => {
            opening.over(limit, None);
            Ok(())
        }
    }
}

impl File {
    /// Unpacks a stream by a decoder that returns how many bytes the stream has, and says what is wrong with it.
    pub(crate) fn decode(
        &mut self,
        opening: &mut Opening,
        decoder: impl FnOnce(&mut Sink, &mut Vec<&'static str>) -> Result<usize, Fault>,
    ) -> Step {
        let mut complaints = Vec::new();
        // All streams together are held against all of the file: many small ones are as good as one large one.
        let packed = opening.body.len() as u64;
        let (used, end) = opening.decode(packed, &mut self.data, |sink| decoder(sink, &mut complaints));
        complaints.into_iter().for_each(|detail| self.complain(DefectKind::BadArchive, detail));
        self.end(end).map_or(Step::Broken, |()| Step::Stream(used))
    }

    /// Notes how a stream ended; None if not at its own end.
    pub(crate) fn end(&mut self, end: End) -> Option<()> {
        match end {
            End::Complete => return Some(()),
            End::Truncated => self.complain(DefectKind::TruncatedArchive, "its data ends early"),
            End::Corrupt => self.complain(DefectKind::BadArchive, "its data is damaged"),
            End::Over(limit) => self.over = Some(limit),
        }
        None
    }

    /// Notes what is wrong, once.
    pub(crate) fn complain(&mut self, kind: DefectKind, detail: impl Into<String>) {
        let detail = detail.into();
        if self.defects.len() < 8 && !self.defects.contains(&(kind, detail.clone())) {
            self.defects.push((kind, detail));
        }
    }

    fn ended(&mut self) {
        self.streams += 1;
        if self.streams == 1 {
            self.first = self.data.len();
        }
    }

    /// Appends the whole, and the first stream alone where there are several: some programs stop there.
    fn hand_over(self, opening: &mut Opening, endings: &[(&str, &str)]) -> Result<(), Stop> {
        let mut names = self.names;
        if let Some(name) = opening.name().and_then(|name| unpacked_name(name, endings)) {
            names::add(&mut names, name);
        }
        let data: Bytes = keep(self.data);
        let first = data.slice(..self.first.min(data.len()));
        let unread = data.is_empty() && (self.over.is_some() || !self.defects.is_empty());
        let id = opening.member(Member { names: names.clone(), body: data, unread, ..Member::default() })?;
        for (kind, detail) in self.defects {
            opening.defect(kind, id, detail);
        }
        if let Some(limit) = self.over {
            opening.over(limit, Some(id));
        }
        if self.streams > 1 && !first.is_empty() {
            let _: PartId = opening.member(Member { names, body: first, ..Member::default() })?;
        }
        Ok(())
    }
}

/// The name of the unpacked file: without its extension, `.tgz` as `.tar`.
fn unpacked_name(name: &str, endings: &[(&str, &str)]) -> Option<String> {
    let base = name.rsplit('/').next()?;
    let (stem, extension) = base.rsplit_once('.')?;
    let (_, instead) = endings.iter().find(|(ending, _)| extension.eq_ignore_ascii_case(ending))?;
    Some(names::clean(&format!("{stem}{instead}")))
}
