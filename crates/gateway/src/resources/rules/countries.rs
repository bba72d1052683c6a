//! Countries of addresses, from a database of MaxMind's format.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use gatepost_rules::conf::Settings;
use gatepost_rules::texts::Countries;
use maxminddb::{Reader, path};

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
/// The largest file read, in bytes: those of cities have some 100 MB.
const LARGEST: u64 = 1 << 30;

/// A database in memory.
#[derive(Debug)]
pub struct Database(Reader<Vec<u8>>);

impl Countries for Database {
    fn country(&self, ip: IpAddr) -> Option<String> {
        let code = self.0.lookup(ip).ok()?.decode_path::<String>(&path!["country", "iso_code"]);
        code.ok().flatten().filter(|code| !code.is_empty())
    }
}

/// The file that the settings name (`geodb_options`, `geodb_search_path`), or else the first there is in the usual places.
pub fn file(settings: &Settings) -> Option<PathBuf> {
    named(settings).or_else(|| usual(settings))
}

/// Reads a database.
pub fn read(file: &Path) -> Result<Database, String> {
    let content = super::read_bounded(file, LARGEST).map_err(|why| why.to_string())?;
    Ok(Database(Reader::from_source(content).map_err(|why| why.to_string())?))
}

/// `geodb_options country:/file city:/file`, the later ones first. That of cities knows countries, too.
fn named(settings: &Settings) -> Option<PathBuf> {
    let lines = settings.lines("geodb_options").iter();
    let options: Vec<&str> = lines.flat_map(|line| line.split_whitespace()).collect();
    let start =
        options.iter().rposition(|option| option.eq_ignore_ascii_case("reset")).map_or(0, |at| at + 1);
    ["city", "country"].into_iter().find_map(|kind| {
        let file = |option: &&str| {
            let (name, file) = option.split_once(':')?;
            (name.eq_ignore_ascii_case(kind) && !file.is_empty()).then(|| PathBuf::from(file))
        };
        options[start..].iter().rev().find_map(file)
    })
}

fn usual(settings: &Settings) -> Option<PathBuf> {
    let lines = settings.lines("geodb_search_path").iter();
    let written: Vec<&str> = lines.flat_map(|line| line.split_whitespace()).collect();
    let start = written.iter().rposition(|word| *word == "reset").map_or(0, |at| at + 1);
    let folders = if written[start..].is_empty() { &FOLDERS[..] } else { &written[start..] };
    // Those of cities first, wherever they lie.
    let (cities, countries) = NAMES.split_at(4);
    let find = |names: &[&str]| {
        let files = folders.iter().flat_map(|folder| names.iter().map(|name| Path::new(folder).join(name)));
        files.into_iter().find(|file| file.is_file())
    };
    find(cities).or_else(|| find(countries))
}
