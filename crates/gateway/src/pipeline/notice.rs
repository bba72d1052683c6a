//! What notices will need of a message, and nobody could find out later: its header, and whether its sender may be told.

use gatepost_mail::{Category, Mail, Verdict};

use crate::config::typed::Config;
use crate::effects::bounce::header_of;
use crate::records::NoticeRecord;
use crate::verdict;

/// Of which messages it is needed.
pub(super) struct Noticed {
    categories: Vec<Category>,
    domains: Vec<String>,
}

impl Noticed {
    pub fn new(config: &Config) -> Noticed {
        Noticed { categories: config.notices.with_header(), domains: config.domains.clone() }
    }

    /// None where no notice will ask for it.
    pub fn of(&self, mail: &Mail, verdicts: &[Verdict], after_queue: bool) -> Option<NoticeRecord> {
        if !verdicts.iter().any(|verdict| self.categories.contains(&verdict.category)) {
            return None;
        }
        Some(NoticeRecord {
            sender: verdict::may_tell(mail, &self.domains, after_queue),
            header: String::from_utf8_lossy(&header_of(&mail.message)).into_owned(),
        })
    }
}
