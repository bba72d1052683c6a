//! The list of all checks: for each its name, when it runs, its symbols, and how it is built. Configuration,
//! documentation and explanations are made from it.

use std::sync::Arc;

use super::{Check, SymbolInfo, Wave};
use super::{
    access, attachments, auth, callahead, content, dnsbl, envelope, greylist, gtube, local_lists, malware,
    p0f, rates, recipients, rules, structure,
};
use crate::config::{Config, Problem};
use crate::resources::callahead::AskNextHop;
use crate::resources::dns::Resolve;
use crate::resources::notices::Notify;
use crate::resources::state::State;
use crate::resources::verdicts::Verdicts;

/// One check of the catalogue.
pub struct Entry {
    /// Its name; also that of its section in the configuration, unless its meaning says otherwise.
    pub name: &'static str,
    /// When it runs.
    pub wave: Wave,
    /// What it looks for, in one line.
    pub meaning: &'static str,
    /// What it may find.
    pub symbols: Symbols,
    /// Makes it: one for each instance that the configuration names, none when it is turned off.
    pub build: fn(&Config, &Resources) -> Built,
}

/// What building a check yields.
pub type Built = Result<Vec<Box<dyn Check>>, Vec<Problem>>;

/// Symbols of a check.
pub enum Symbols {
    /// The same in every configuration.
    Fixed(&'static [SymbolInfo]),
    /// Made from the configuration.
    Made(fn(&Config) -> Vec<SymbolInfo>),
}

/// What checks are given of the outside when they are built.
pub struct Resources {
    /// Name look-ups.
    pub dns: Arc<dyn Resolve>,
    /// What is remembered from one message to the next.
    pub state: Arc<dyn State>,
    /// Who is asked about recipients.
    pub next_hops: Arc<dyn AskNextHop>,
    /// Who tells the postmaster.
    pub notices: Arc<dyn Notify>,
    /// What malware engines said before.
    pub verdicts: Arc<Verdicts>,
}

/// All checks, in the order that their findings are shown in.
#[rustfmt::skip]
pub static CHECKS: &[Entry] = &[
    Entry { name: "malware", wave: Wave::Facts, meaning: "malware, by the embedded scanner and engines outside", symbols: Symbols::Made(malware::symbols), build: malware::build },
    Entry { name: "attachments", wave: Wave::Facts, meaning: "names and types of attachments that are not let in", symbols: Symbols::Made(attachments::symbols), build: attachments::build },
    Entry { name: "names", wave: Wave::Facts, meaning: "names of client, HELO, sender and recipients, for restrictions", symbols: Symbols::Fixed(envelope::SYMBOLS), build: envelope::build },
    Entry { name: "auth", wave: Wave::Facts, meaning: "sender authentication: SPF, DKIM, DMARC, ARC, each with a section of its own", symbols: Symbols::Fixed(auth::SYMBOLS), build: auth::build },
    Entry { name: "access", wave: Wave::Facts, meaning: "what access maps say, for restrictions", symbols: Symbols::Fixed(access::SYMBOLS), build: access::build },
    Entry { name: "recipients", wave: Wave::Facts, meaning: "recipients that do not exist, by tables", symbols: Symbols::Fixed(recipients::SYMBOLS), build: recipients::build },
    Entry { name: "callahead", wave: Wave::Facts, meaning: "recipients that the next hop does not take, for `reject_unverified_recipient`", symbols: Symbols::Fixed(callahead::SYMBOLS), build: callahead::build },
    Entry { name: "dnsbl", wave: Wave::Facts, meaning: "DNS lists of addresses and domains, of the bad and of the good", symbols: Symbols::Made(dnsbl::symbols), build: dnsbl::build },
    Entry { name: "local_list", wave: Wave::Facts, meaning: "lists of addresses, domains and mail addresses in files", symbols: Symbols::Made(local_lists::symbols), build: local_lists::build },
    Entry { name: "greylist", wave: Wave::Facts, meaning: "who is not known yet and must come again", symbols: Symbols::Fixed(greylist::SYMBOLS), build: greylist::build },
    Entry { name: "rates", wave: Wave::Facts, meaning: "more mail than `protection.rate` allows, and clients that try out recipients", symbols: Symbols::Fixed(rates::SYMBOLS), build: rates::build },
    Entry { name: "p0f", wave: Wave::Facts, meaning: "the client's operating system, by p0f", symbols: Symbols::Made(p0f::symbols), build: p0f::build },
    Entry { name: "gtube", wave: Wave::Facts, meaning: "the test pattern of unsolicited mail", symbols: Symbols::Fixed(gtube::SYMBOLS), build: gtube::build },
    Entry { name: "structure", wave: Wave::Facts, meaning: "what is malformed, ambiguous or unreadable", symbols: Symbols::Made(structure::symbols), build: structure::build },
    Entry { name: "content", wave: Wave::Facts, meaning: "what contents are able to do: macros, scripts, hidden files (with `structure`)", symbols: Symbols::Made(content::symbols), build: content::build },
    Entry { name: "rules", wave: Wave::Conclusions, meaning: "rules in SpamAssassin's language; each rule is a symbol of its own", symbols: Symbols::Fixed(rules::SYMBOLS), build: rules::build },
];

/// Every symbol that may be found under this configuration, those of checks that are turned off included.
pub fn symbols(config: &Config) -> Vec<SymbolInfo> {
    CHECKS.iter().flat_map(|entry| entry.symbols(config)).collect()
}

impl Entry {
    /// Its symbols under this configuration.
    pub fn symbols(&self, config: &Config) -> Vec<SymbolInfo> {
        match self.symbols {
            Symbols::Fixed(list) => list.to_vec(),
            Symbols::Made(make) => make(config),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// A typed name is the only link between a policy and a check, so each must be unique and plain to type.
    #[test]
    fn names_are_unique_and_plain() {
        let mut config = Config::default();
        config.checks.dnsbl.insert("zen".into(), Default::default());
        let mut seen = BTreeSet::new();
        for symbol in symbols(&config) {
            assert!(seen.insert(symbol.name.clone()), "{} twice", symbol.name);
            assert!(symbol.name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'));
            assert!(!symbol.meaning.is_empty() && !symbol.meaning.contains('\n'), "{}", symbol.name);
        }
        let names: BTreeSet<_> = CHECKS.iter().map(|entry| entry.name).collect();
        assert_eq!(names.len(), CHECKS.len());
    }
}
