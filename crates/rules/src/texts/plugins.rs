//! What plugins add to the texts of a message: pseudo headers, addresses, the text of attachments, tags of templates.
//!
//! Each is made out when it is first asked for, and only where its plugin is loaded.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::Texts;
use super::blocks::Blocks;
use super::country::{self, Countries, Told};
use super::documents::Documents;
use super::extract::{Extracted, Extracting};
use super::language::{Guessing, Languages, Models};
use super::office::{Looking, Office};
use super::pdf::Pdfs;
use crate::conf::Settings;
use crate::regex::{Matcher, Pattern};

/// The plugins that make texts, and what they need.
#[derive(Debug, Default)]
pub struct Plugins {
    pdf: bool,
    office: Option<Looking>,
    languages: Option<Guessing>,
    countries: Option<Arc<dyn Countries>>,
    /// What rules of URILocalBL look for, and who knows where addresses are for them.
    pub(crate) blocks: Arc<Blocks>,
    pub(crate) places: Option<Arc<dyn Countries>>,
    extract: Option<Extracting>,
}

/// Tags of templates with their values.
pub type Tags = Vec<(String, Vec<Vec<u8>>)>;

impl Plugins {
    /// Those that are loaded.
    pub(crate) fn of(settings: &Settings) -> Plugins {
        Plugins {
            pdf: settings.is_loaded("PDFInfo"),
            office: settings.is_loaded("OLEVBMacro").then(|| looking(settings)).flatten(),
            blocks: match settings.is_loaded("URILocalBL") {
                true => Arc::new(Blocks::of(settings)),
                false => Arc::default(),
            },
            extract: settings.is_loaded("ExtractText").then(|| Extracting::of(settings)),
            ..Plugins::default()
        }
    }

    /// Whether it is worth to open attachments for them.
    pub fn want_documents(&self) -> bool {
        self.office.is_some() || self.extract.as_ref().is_some_and(|extract| !extract.is_idle())
    }

    /// Whether they read the text of attachments.
    pub fn want_text(&self) -> bool {
        self.extract.as_ref().is_some_and(Extracting::reads_text)
    }

    /// Takes the models of languages for TextCat.
    pub fn languages(&mut self, settings: &Settings, models: Arc<Models>) {
        let number = |name, default: f64| settings.number(name).unwrap_or(default).max(0.0);
        let words = |name| settings.get(name).unwrap_or_default().split_whitespace();
        let mut skipped: HashSet<String> = words("inactive_languages").map(str::to_owned).collect();
        words("ok_languages").for_each(|name| {
            skipped.remove(name);
        });
        self.languages = (!models.is_empty()).then(|| Guessing {
            models,
            skipped,
            most_languages: number("textcat_max_languages", 3.0) as usize,
            least: number("textcat_optimal_ngrams", 0.0) as u32,
            most_groups: number("textcat_max_ngrams", 400.0) as usize,
            acceptable: number("textcat_acceptable_score", 1.02),
        });
    }

    /// What rules of URILocalBL look for.
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// Takes who knows where addresses are for URILocalBL.
    pub fn places(&mut self, places: Arc<dyn Countries>) {
        self.places = Some(places);
    }

    /// Takes who knows countries for RelayCountry.
    pub fn countries(&mut self, countries: Arc<dyn Countries>) {
        self.countries = Some(countries);
    }
}

/// What OLEVBMacro is told. None: an expression of its settings cannot be used, which the reader has told.
fn looking(settings: &Settings) -> Option<Looking> {
    let number = |name, default: f64| settings.number(name).unwrap_or(default).max(0.0) as usize;
    let matcher = |name, default: &str| -> Option<Matcher> {
        let text = settings.get(name).unwrap_or(default);
        Pattern::plain(text.as_bytes(), b"i").and_then(|pattern| pattern.compile()).ok()
    };
    Some(Looking {
        most_parts: number("olemacro_num_mime", 5.0),
        most_members: number("olemacro_num_zip", 8.0),
        depth: number("olemacro_zip_depth", 2.0),
        extended: settings.flag("olemacro_extended_scan"),
        prefer_disposition: settings.flag("olemacro_prefer_contentdisposition"),
        longest: number("olemacro_max_file", 1_024_000.0),
        documents: matcher(
            "olemacro_exts",
            "(?:doc|docx|dot|pot|ppa|pps|ppt|rtf|sldm|xl|xla|xls|xlsx|xlt|xltx|xslb)$",
        )?,
        with_macros: matcher(
            "olemacro_macro_exts",
            "(?:docm|dotm|ppam|potm|ppst|ppsm|pptm|sldm|xlm|xlam|xlsb|xlsm|xltm|xps)$",
        )?,
        skipped: matcher("olemacro_skip_exts", "(?:dotx|potx|ppsx|pptx|sldx)$")?,
        skipped_types: matcher("olemacro_skip_ctypes", r"^(?:text\/)")?,
        zips: matcher("olemacro_zips", "(?:zip)$")?,
        download: matcher("olemacro_download_marker", r"(?:cmd(?:\.exe)? \/c ms\^h\^ta ht\^tps?:\/\^\/)")?,
    })
}

/// What they have found in one message.
#[derive(Debug, Default)]
pub(crate) struct Found {
    documents: Documents,
    extracted: Option<Extracted>,
    pdfs: OnceLock<Pdfs>,
    office: OnceLock<Office>,
    languages: OnceLock<Languages>,
    countries: OnceLock<Vec<Told>>,
}

impl Found {
    /// Puts the text of attachments where it is read, and keeps what else was taken out of them.
    pub(crate) fn begin(plugins: &Plugins, tree: &super::Tree, documents: Documents) -> Found {
        let extracted = plugins.extract.as_ref().and_then(|extract| extract.extract(tree, &documents));
        Found { documents, extracted, ..Found::default() }
    }
}

impl Texts<'_> {
    /// PDFInfo; nothing where it is not loaded.
    pub(crate) fn pdfs(&self) -> &Pdfs {
        let read = || if self.settings.plugins.pdf { Pdfs::of(&self.tree) } else { Pdfs::default() };
        self.found.pdfs.get_or_init(read)
    }

    /// OLEVBMacro; nothing where it is not loaded.
    pub(crate) fn office(&self) -> &Office {
        let looking = self.settings.plugins.office.as_ref();
        let look = |looking: &Looking| looking.look(&self.tree, &self.found.documents);
        self.found.office.get_or_init(|| looking.map(look).unwrap_or_default())
    }

    /// TextCat; None where it is not loaded or has no models.
    pub(crate) fn languages(&self) -> Option<&Languages> {
        let guessing = self.settings.plugins.languages.as_ref()?;
        Some(self.found.languages.get_or_init(|| guessing.guess(self.body())))
    }

    /// RelayCountry; nothing where it is not loaded or nobody knows countries.
    fn countries(&self) -> &[Told] {
        let Some(countries) = &self.settings.plugins.countries else { return &[] };
        self.found.countries.get_or_init(|| country::told(self.relays(), &**countries))
    }

    /// A pseudo header.
    pub(crate) fn made(&self, name: &str) -> Option<Bytes> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if is("X-Languages") {
            return Some(self.languages()?.names.join(" ").into());
        } else if is("X-Languages-Length") {
            return Some(self.languages()?.length.to_string().into());
        } else if name.len() > 14 && name[..14].eq_ignore_ascii_case("X-ExtractText-") {
            let fields = &self.found.extracted.as_ref()?.fields;
            return fields.iter().find(|(field, _)| is(field)).map(|(_, value)| value.clone().into());
        }
        if name.len() < 17 || !name[..17].eq_ignore_ascii_case("X-Relay-Countries") {
            return None;
        }
        let found = self.countries().iter().find(|(field, _, _)| is(field));
        found.map(|(_, _, countries)| countries.join(" ").into())
    }

    /// Addresses that stand in attachments.
    pub(crate) fn attached_uris(&self) -> impl Iterator<Item = &Bytes> {
        self.pdfs().uris.iter().chain(&self.office().redirects)
    }

    /// Tags of templates that are known before any rule runs.
    pub fn tags(&self) -> Tags {
        let mut tags = Tags::new();
        let one = |value: &str| vec![value.as_bytes().to_vec()];
        if let Some(languages) = self.languages() {
            tags.push(("LANGUAGES".into(), one(&languages.names.join(" "))));
            if let Some(results) = &languages.results {
                tags.push(("TEXTCATRESULTS".into(), one(results)));
            }
        }
        for (_, tag, countries) in self.countries() {
            let values = countries.iter().map(|country| country.clone().into_bytes());
            tags.push(((*tag).into(), values.collect()));
        }
        if self.settings.plugins.pdf {
            let all = self.pdfs().tags.iter();
            tags.extend(all.map(|(tag, value)| ((*tag).to_owned(), vec![value.clone()])));
        }
        for (field, value) in self.found.extracted.iter().flat_map(|extracted| &extracted.fields) {
            tags.push((field["X-".len()..].replace('-', "").to_uppercase(), one(value)));
        }
        tags
    }
}
