//! Records: what was decided and why, kept in the journal; originals of held mail, kept in the vault; counters.

mod record;

pub use record::{
    DefectRecord, FaultRecord, FindingRecord, PartRecord, Record, VerdictRecord, WeighedRecord,
};
