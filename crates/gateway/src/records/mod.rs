//! Records: what was decided and why, kept in the journal; originals of held mail, kept in the vault; counters.

mod http;
mod id;
pub mod journal;
mod logline;
mod metrics;
mod record;
mod release;
mod schema;
pub mod text;
mod upkeep;
pub mod vault;

#[cfg(test)]
pub(crate) mod samples;

pub use http::{Health, router};
pub use id::{ID_LENGTH, is_id, new_id};
pub use journal::{
    DmarcMessage, Due, Entry, Event, EventKind, Filter, Imported, Journal, JournalError, Making,
    NoticeContent, NoticeItem, NoticePending, NoticeState, NoticeWaiting, Pending, ReceivedFilter,
    ReceivedLine, ReportState, Reported, State,
};
pub use logline::{Fields, fields, log, log_line};
pub use metrics::{Lookups, Metrics, VerdictCounts, WorkerCounts};
pub use record::{
    AuthenticationRecord, DefectRecord, FaultRecord, FindingRecord, NoticeRecord, PartRecord, Record,
    Scanned, TreatedRecord, VerdictRecord, WeighedRecord,
};
pub use release::{
    Deliver, Delivery, Release, ReleaseError, Released, Secret, check_secret, find, forward, release,
};
pub use upkeep::{Expired, Reconciled, UpkeepError, expire, keep_days, reconcile, remove};
pub use vault::{Held, HeldParameters, HeldRecipient, Usage, Vault, VaultError};
