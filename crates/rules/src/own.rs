//! A rule set of our own, which counts where no files of SpamAssassin are there.
//!
//! It asks no function and nothing over the network. `docs/src/own-rules.md` tells what it finds.

/// Names and contents of its files, in the order in which they are to be read.
pub const FILES: &[(&str, &str)] = &[
    ("00_domains.cf", include_str!("../own/00_domains.cf")),
    ("10_header.cf", include_str!("../own/10_header.cf")),
    ("20_identity.cf", include_str!("../own/20_identity.cf")),
    ("30_links.cf", include_str!("../own/30_links.cf")),
    ("40_html.cf", include_str!("../own/40_html.cf")),
    ("50_phishing.cf", include_str!("../own/50_phishing.cf")),
    ("60_fraud.cf", include_str!("../own/60_fraud.cf")),
    ("70_malware.cf", include_str!("../own/70_malware.cf")),
    ("80_trade.cf", include_str!("../own/80_trade.cf")),
];
