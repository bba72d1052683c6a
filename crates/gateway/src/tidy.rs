//! Rules of this source tree that no compiler holds.

use std::fs;
use std::path::{Path, PathBuf};

/// What no module of a layer may name. Everything may use `config` and the pure crates.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("checks", &["verdict", "effects", "records", "front", "pipeline", "build", "serve", "cli"]),
    ("verdict", &["checks", "effects", "records", "resources", "front", "pipeline", "build", "serve", "cli"]),
    ("effects", &["checks", "verdict", "records", "front", "pipeline", "build", "serve", "cli"]),
    ("records", &["checks", "verdict", "effects", "resources", "front", "pipeline", "build", "serve", "cli"]),
    ("resources", &["checks", "verdict", "effects", "records", "front", "pipeline", "build", "serve", "cli"]),
    (
        "config",
        &[
            "checks",
            "verdict",
            "effects",
            "records",
            "resources",
            "front",
            "pipeline",
            "build",
            "serve",
            "cli",
        ],
    ),
    ("pipeline", &["front", "build", "serve", "cli"]),
    ("front", &["build", "serve", "cli"]),
];

#[test]
fn layers_do_not_name_each_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in sources(&root) {
        let inside = file.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).unwrap();
        // Tests may use what they like.
        if inside.ends_with("/tests.rs") {
            continue;
        }
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        for (layer, forbidden) in FORBIDDEN {
            if inside != format!("{layer}.rs") && !inside.starts_with(&format!("{layer}/")) {
                continue;
            }
            for name in *forbidden {
                assert!(!text.contains(&format!("crate::{name}")), "{inside} names crate::{name}");
            }
        }
    }
}

#[test]
fn verdict_is_pure() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/verdict");
    for file in sources(&root) {
        let text = fs::read_to_string(&file).unwrap();
        for word in ["async ", "tokio", "std::fs", "std::net::Tcp", "Instant::now", "Timestamp::now"] {
            assert!(!text.contains(word), "{} says {word:?}", file.display());
        }
    }
}

/// The pure crates know no runtime and open nothing. What they need from outside is handed in.
#[test]
fn pure_crates_do_no_io() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for name in ["auth", "disarm", "mail", "milter", "unpack", "wire"] {
        let manifest = fs::read_to_string(crates.join(name).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let dependencies = manifest["dependencies"].as_table().unwrap();
        for runtime in ["tokio", "hickory-resolver", "async-std", "smol", "mio"] {
            assert!(!dependencies.contains_key(runtime), "crates/{name} depends on {runtime}");
        }
        for file in sources(&crates.join(name).join("src")) {
            if file.ends_with("tests.rs") || file.components().any(|part| part.as_os_str() == "tests") {
                continue;
            }
            let text = fs::read_to_string(&file).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            for word in ["tokio::", "std::fs", "net::Tcp", "net::Udp", "os::unix::net", "std::process"] {
                assert!(!text.contains(word), "{} says {word:?}", file.display());
            }
        }
    }
}

#[test]
fn every_module_says_what_it_is() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for file in
        sources(crates).into_iter().filter(|file| file.components().any(|part| part.as_os_str() == "src"))
    {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//!"), "{} does not begin with //!", file.display());
    }
}

#[test]
fn functions_fit_on_a_screen() {
    const MOST: usize = 80;
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for file in
        sources(crates).into_iter().filter(|file| file.components().any(|part| part.as_os_str() == "src"))
    {
        // Tables of cases may be as long as they like.
        if file.file_name().is_some_and(|name| name == "tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        let mut open: Option<(usize, usize, String)> = None;
        for (number, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let head = line.trim_start();
            let begins = [
                "fn ",
                "pub fn ",
                "async fn ",
                "pub async fn ",
                "pub(super) fn ",
                "pub(super) async fn ",
                "const fn ",
                "pub const fn ",
                "pub(crate) fn ",
                "pub(crate) async fn ",
            ];
            if begins.iter().any(|begin| head.starts_with(begin))
                && !head.ends_with(';')
                && !head.ends_with('}')
            {
                open = Some((number, indent, head.to_owned()));
            } else if let Some((began, at, name)) = &open
                && indent == *at
                && head == "}"
            {
                let lines = number - began;
                assert!(lines <= MOST, "{}:{}: {name} has {lines} lines", file.display(), began + 1);
                open = None;
            }
        }
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}
