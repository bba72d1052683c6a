//! Countries and providers of addresses, from databases of MaxMind's format.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use gatepost_rules::conf::Settings;
use gatepost_rules::texts::Countries;
use maxminddb::{PathElement, Reader, path};

/// Where such databases are looked for, and under which names, if the settings tell no file.
const FOLDERS: [&str; 4] =
    ["/usr/local/share/GeoIP", "/usr/share/GeoIP", "/var/lib/GeoIP", "/opt/share/GeoIP"];
const NAMES: [&str; 8] = [
    "GeoIP2-City.mmdb",
    "GeoLite2-City.mmdb",
    "dbip-city.mmdb",
    "dbip-city-lite.mmdb",
    "GeoIP2-Country.mmdb",
    "GeoLite2-Country.mmdb",
    "dbip-country.mmdb",
    "dbip-country-lite.mmdb",
];
/// Names of those that know providers.
const PROVIDERS: [&str; 2] = ["GeoIP2-ISP.mmdb", "GeoLite2-ISP.mmdb"];
/// The largest file read, in bytes: those of cities have some 100 MB.
const LARGEST: u64 = 1 << 30;

/// Databases in memory.
#[derive(Debug, Default)]
pub struct Databases {
    countries: Option<Reader<Vec<u8>>>,
    providers: Option<Reader<Vec<u8>>>,
}

impl Countries for Databases {
    fn know_countries(&self) -> bool {
        self.countries.is_some()
    }

    fn country(&self, ip: IpAddr) -> Option<String> {
        text(&self.countries, ip, &path!["country", "iso_code"])
    }

    fn continent(&self, ip: IpAddr) -> Option<String> {
        text(&self.countries, ip, &path!["continent", "code"])
    }

    fn provider(&self, ip: IpAddr) -> Option<String> {
        text(&self.providers, ip, &path!["isp"])
    }
}

impl Databases {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.countries.is_none() && self.providers.is_none()
    }

    /// Reads what is wanted, countries and providers; notes the files in `read`, and what is wrong in `warnings`. The files
    /// are those that the settings name (`geodb_options`, `geodb_search_path`), or else the first there are in the usual places.
    pub fn read(
        settings: &Settings,
        wanted: (bool, bool),
        read: &mut Vec<PathBuf>,
        warnings: &mut Vec<String>,
    ) -> Databases {
        let mut open = |kinds: &[&str], names: &[&[&str]]| {
            let file =
                named(settings, kinds).or_else(|| names.iter().find_map(|names| usual(settings, names)));
            let Some(file) = file else {
                warnings.push("geodb: No supported database could be loaded".into());
                return None;
            };
            let content = super::read_bounded(&file, LARGEST).map_err(|why| why.to_string());
            let made =
                content.and_then(|content| Reader::from_source(content).map_err(|why| why.to_string()));
            let made = made.map_err(|why| warnings.push(format!("geodb: {}: {why}", file.display()))).ok();
            read.push(file);
            made
        };
        // Those of cities first, wherever they lie.
        let (cities, countries) = NAMES.split_at(4);
        Databases {
            countries: wanted.0.then(|| open(&["city", "country"], &[cities, countries])).flatten(),
            providers: wanted.1.then(|| open(&["isp"], &[&PROVIDERS])).flatten(),
        }
    }
}

fn text(database: &Option<Reader<Vec<u8>>>, ip: IpAddr, path: &[PathElement<'_>]) -> Option<String> {
    let text = database.as_ref()?.lookup(ip).ok()?.decode_path::<String>(path);
    text.ok().flatten().filter(|text| !text.is_empty())
}

/// `geodb_options country:/file city:/file`, the later ones first. That of cities knows countries, too.
fn named(settings: &Settings, kinds: &[&str]) -> Option<PathBuf> {
    let lines = settings.lines("geodb_options").iter();
    let options: Vec<&str> = lines.flat_map(|line| line.split_whitespace()).collect();
    let start =
        options.iter().rposition(|option| option.eq_ignore_ascii_case("reset")).map_or(0, |at| at + 1);
    kinds.iter().find_map(|kind| {
        let file = |option: &&str| {
            let (name, file) = option.split_once(':')?;
            (name.eq_ignore_ascii_case(kind) && !file.is_empty()).then(|| PathBuf::from(file))
        };
        options[start..].iter().rev().find_map(file)
    })
}

fn usual(settings: &Settings, names: &[&str]) -> Option<PathBuf> {
    let lines = settings.lines("geodb_search_path").iter();
    let written: Vec<&str> = lines.flat_map(|line| line.split_whitespace()).collect();
    let start = written.iter().rposition(|word| *word == "reset").map_or(0, |at| at + 1);
    let folders = if written[start..].is_empty() { &FOLDERS[..] } else { &written[start..] };
    let mut files = folders.iter().flat_map(|folder| names.iter().map(|name| Path::new(folder).join(name)));
    files.find(|file| file.is_file())
}
