//! Mail as data: who sends it, what it holds, what was found in it, what was decided about it.
//!
//! This crate does no I/O. Reading never fails: [`Message`] is always a value, and whatever is malformed, ambiguous
//! or over a limit is a [`Defect`] beside it.

mod access;
mod address;
mod carve;
mod charset;
pub mod decode;
mod decodings;
mod defect;
mod digest;
mod edit;
mod entity;
mod envelope;
mod feature;
pub mod filetype;
mod finding;
mod header;
mod joined;
mod limits;
mod lines;
mod message;
mod names;
mod parameters;
mod points;
mod read;
mod readings;
mod session;
mod split;
pub mod text;
mod transfer;
mod verdict;
pub mod words;

pub use access::{Access, Hit, sendmail_error, split_status};
pub use address::Address;
pub use defect::{Defect, DefectKind};
pub use digest::{Digested, hex};
pub use edit::{
    Applied, Changes, Defang, Edit, HeaderChange, Place, apply, changes, encode_text, holds_text, takes_text,
};
pub use envelope::{Counted, Envelope, Parameters, Recipient};
pub use feature::{Feature, FeatureKind, Link};
pub use filetype::{FileKind, FileType};
pub use finding::{Category, Cause, Counts, Fault, Finding, OnFault, Scope, Symbol};
pub use header::{Field, Headers, Noticed, begins_with_field};
pub use limits::{Budget, Limit, Limits};
pub use message::{DocumentText, Mail, Message, Origin, Part, PartId};
pub use points::Points;
pub use session::{Direction, Protocol, Session, Tls, Via};
pub use verdict::{Action, Bounce, Reply, Treated, Treatment, Verdict, Weighed};
