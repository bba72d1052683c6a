//! Sealing (RFC 8617 section 5.1).

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::sets::{MOST, Sets, unfolded};
use super::{Chain, Status};
use crate::dkim::canon::{Bodies, Hash, Wanted};
use crate::dkim::header::{Field, Message, Stacks};
use crate::dkim::sign::{FIELDS, Layout, SignError, Tag, names, place, seal};
use crate::dkim::{Canon, SigningKey};

/// Seals messages for one domain with one key.
#[derive(Clone, Debug)]
pub struct Sealer {
    /// The key; RSA, since few verifiers know Ed25519 here.
    pub key: Arc<SigningKey>,
    /// Who seals (`d=`).
    pub domain: String,
    /// Where the key's record is (`s=`).
    pub selector: String,
    /// Names of the fields the message signature covers, each as often as it is present.
    pub fields: Vec<String>,
    layout: Layout,
}

/// The values of the three fields of a set. They are to be written on top of the message exactly as `NAME: VALUE`, in
/// the order seal, message signature, results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Value of `ARC-Seal`.
    pub seal: String,
    /// Value of `ARC-Message-Signature`.
    pub message_signature: String,
    /// Value of `ARC-Authentication-Results`.
    pub results: String,
}

impl Sealer {
    /// A sealer with the usual choice of fields: those of [`FIELDS`] and the signatures of DKIM.
    pub fn new(key: Arc<SigningKey>, domain: &str, selector: &str) -> Sealer {
        let fields = FIELDS.iter().chain(&["DKIM-Signature"]).map(|&name| name.to_owned()).collect();
        let (domain, selector) = (domain.to_owned(), selector.to_owned());
        Sealer { key, domain, selector, fields, layout: Layout::Folded }
    }

    /// The same, with the tags of seal and message signature on one line and in the order of the alphabet, as dkimpy
    /// writes them: to be compared with what others seal.
    pub fn sorted(self) -> Sealer {
        Sealer { layout: Layout::Sorted, ..self }
    }

    /// Adds a set to the chain of a message as it is about to be sent on. `chain` is what [`super::verify`] found when
    /// the message came in, before any change; `results` is the value of the `Authentication-Results` field to
    /// seal (`authserv-id; arc=…; …`). `header` is the whole header as it is sent, `body` all behind the empty line; `now`
    /// is in seconds since 1970.
    ///
    /// A chain that fails here is sealed as failed (`cv=fail`), by a seal that covers its own set only; one that failed
    /// before gets no further set (RFC 8617 section 5.1.2).
    pub fn seal(
        &self,
        header: &[u8],
        body: &[Bytes],
        chain: &Chain,
        results: &str,
        now: i64,
    ) -> Result<Sealed, SealError> {
        if chain.failed {
            return Err(SealError::Failed);
        }
        if chain.highest >= MOST {
            return Err(SealError::Full);
        }
        let message = Message::new(header);
        let before = self.before(&message, chain)?;
        let instance = (chain.highest + 1).to_string();
        let results = unfolded(results);
        if results.chars().any(|c| c.is_control() && c != '\t') {
            return Err(SealError::Unfit("the results to seal hold control characters".into()));
        }
        let results = folded(&format!("i={instance}; {results}"));
        let (domain, selector) = place(&self.domain, &self.selector)?;
        let common = |cv: Option<Status>| {
            let mut tags = vec![Tag::new("i", instance.clone()), Tag::new("a", self.key.algorithm().into())];
            tags.extend(cv.map(|cv| Tag::new("cv", cv.as_str().into())));
            tags.extend([Tag::new("d", domain.clone()), Tag::new("s", selector.clone())]);
            tags.push(Tag::new("t", now.max(0).to_string()));
            tags
        };
        let message_signature = self.message_signature(&message, body, common(None))?;
        let mut data = before;
        for (name, value) in
            [("ARC-Authentication-Results", &results), ("ARC-Message-Signature", &message_signature)]
        {
            let raw = format!("{name}: {value}");
            Field::new(raw.as_bytes()).iter().for_each(|field| Canon::Relaxed.field(field, &mut data));
        }
        let seal =
            seal(&self.key, Canon::Relaxed, "ARC-Seal", common(Some(chain.status)), data, self.layout)?;
        Ok(Sealed { seal, message_signature, results })
    }

    /// The sets that the new seal covers besides its own.
    fn before(&self, message: &Message<'_>, chain: &Chain) -> Result<Vec<u8>, SealError> {
        let mut data = Vec::new();
        if chain.status == Status::Fail {
            return Ok(data);
        }
        let sets = Sets::new(&message.fields).sets.unwrap_or_default();
        if sets.len() != chain.sets.len() || sets.len() != chain.highest as usize {
            return Err(SealError::Unfit(
                "the ARC fields of the message are not those that were validated".into(),
            ));
        }
        for set in &sets {
            [set.results, set.message, set.seal]
                .iter()
                .for_each(|field| Canon::Relaxed.field(field, &mut data));
        }
        Ok(data)
    }

    fn message_signature(
        &self,
        message: &Message<'_>,
        body: &[Bytes],
        tags: Vec<Tag>,
    ) -> Result<String, SealError> {
        let stacks = Stacks::new(&message.fields);
        // RFC 8617 section 4.1.2: a message signature covers no ARC-Seal; and what it says of results is not signed twice.
        let fields: Vec<String> = self.fields.iter().filter(|name| !is_ours(name)).cloned().collect();
        let names = names(&stacks, &fields, &[], false)?;
        let wanted = Wanted { canon: Canon::Relaxed, hash: Hash::Sha256, length: None };
        let bodies = Bodies::hash(&[wanted], body.iter().map(|piece| piece.as_ref()));
        let hash = bodies.get(&wanted).map(|hash| hash.digest.as_slice()).unwrap_or_default();
        let mut tags = tags;
        tags.extend([
            Tag::new("c", "relaxed/relaxed".into()),
            Tag::list("h", &names),
            Tag::base64("bh", hash),
        ]);
        let mut data = Vec::new();
        stacks.choose(&names).iter().for_each(|field| Canon::Relaxed.field(field, &mut data));
        Ok(seal(&self.key, Canon::Relaxed, "ARC-Message-Signature", tags, data, self.layout)?)
    }
}

/// Whether a field is one that ARC itself writes, or is replaced by what it writes.
fn is_ours(name: &str) -> bool {
    super::sets::NAMES.iter().chain(&["Authentication-Results"]).any(|ours| name.eq_ignore_ascii_case(ours))
}

/// Columns that a line should not exceed (RFC 5322 section 2.1.1).
const LINE: usize = 78;

/// A value on lines of up to 78 columns where its spaces allow it.
fn folded(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + value.len() / 16);
    let mut column = "ARC-Authentication-Results: ".len();
    for (count, word) in value.split([' ', '\t']).filter(|word| !word.is_empty()).enumerate() {
        match column + 1 + word.len() > LINE {
            _ if count == 0 => {}
            true => {
                out.push_str("\r\n\t");
                column = 8;
            }
            false => {
                out.push(' ');
                column += 1;
            }
        }
        out.push_str(word);
        column += word.len();
    }
    out
}

/// Why a message was not sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealError {
    /// The chain has fifty sets (RFC 8617 section 4.2.1).
    Full,
    /// The newest set already says that the chain failed; nothing may be added (RFC 8617 section 5.1).
    Failed,
    /// The message or the configuration cannot be sealed; one sentence.
    Unfit(String),
}

impl From<SignError> for SealError {
    fn from(why: SignError) -> SealError {
        SealError::Unfit(why.to_string())
    }
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SealError::Full => f.write_str("the ARC chain has fifty sets, and there may be no more"),
            SealError::Failed => {
                f.write_str("the ARC chain has failed before, and nothing may be added to it")
            }
            SealError::Unfit(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for SealError {}
