//! The documentation holds: its examples load, its lists are those of the code, its links lead somewhere; and the
//! package's files are what they should be.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use gatepost::config::Config;
use gatepost::config::load::load_with;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// README, CONTRIBUTING and the pages of docs/src, with their names.
fn pages() -> Vec<(String, String)> {
    let mut files = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    for entry in std::fs::read_dir(root().join("docs/src")).unwrap() {
        files.push(entry.unwrap().path());
    }
    files.sort();
    let name = |file: &Path| file.file_name().unwrap().to_string_lossy().into_owned();
    files.iter().map(|file| (name(file), std::fs::read_to_string(file).unwrap())).collect()
}

/// Loads a configuration, without the environment of whoever runs the tests.
fn load(text: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gatepost.toml");
    std::fs::write(&file, text).unwrap();
    let told = |problems: Vec<gatepost::config::Located>| {
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let loaded = load_with(Some(&file), []).map_err(told)?;
    let mut problems = loaded.locate(gatepost::build::problems(&loaded.config));
    // Examples name files of the reader's system: rules, hash lists, certificates.
    problems.retain(|problem| !problem.message.contains("No such file"));
    if problems.is_empty() { Ok(loaded.config) } else { Err(told(problems)) }
}

#[tokio::test]
async fn every_example_loads() {
    let mut examples = 0;
    for (page, text) in pages() {
        for (place, block) in text.split("```toml\n").skip(1).enumerate() {
            let block = block.split("```").next().unwrap();
            if let Err(problems) = load(block) {
                panic!("{page}, example {}:\n{problems}\n{block}", place + 1);
            }
            examples += 1;
        }
    }
    assert!(examples >= 20, "only {examples} examples were found");
}

#[test]
fn links_lead_somewhere() {
    for (page, text) in pages() {
        let folder =
            if page == "README.md" || page == "CONTRIBUTING.md" { root() } else { root().join("docs/src") };
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap();
            if !path.is_empty() && !path.contains("://") {
                assert!(folder.join(path).exists(), "{page} links to {link}");
            }
        }
    }
    let summary = std::fs::read_to_string(root().join("docs/src/SUMMARY.md")).unwrap();
    for (page, _) in pages() {
        let listed = ["README.md", "CONTRIBUTING.md", "SUMMARY.md"].contains(&page.as_str());
        assert!(listed || summary.contains(&format!("({page})")), "SUMMARY.md does not list {page}");
    }
}

#[test]
fn docs_symbols_is_up_to_date() {
    let mut text = String::from(
        "<!-- Written from the catalogue of checks by the tests with UPDATE=1. -->\n\n# Symbols\n\nWhat checks may find. \
         A policy can give each other points (`weights.NAME = 2.5`, 0 turns it off) or a category\n(`categories.NAME = \
         \"banned\"`). Each DNS block list has a symbol of its own, `DNSBL_` and its name in capitals.\n",
    );
    for entry in gatepost::checks::CHECKS {
        let symbols = entry.symbols(&Config::default());
        if symbols.is_empty() {
            continue;
        }
        let (name, meaning) = (entry.name, entry.meaning);
        let _ = writeln!(text, "\n## {name}: {meaning}\n\n| symbol | counts | meaning |\n|---|---|---|");
        for symbol in symbols {
            let counts = match symbol.counts {
                gatepost_mail::Counts::Points(points) => format!("{points} points"),
                gatepost_mail::Counts::As(category) => format!("as `{}`", category.name()),
            };
            let meaning = symbol.meaning.replace('|', "\\|");
            let _ = writeln!(text, "| `{}` | {counts} | {meaning} |", symbol.name);
        }
    }
    let path = root().join("docs/src/symbols.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "docs/src/symbols.md is out of date; run the tests again with UPDATE=1");
}

#[test]
fn the_package_has_its_files_and_its_configuration_loads() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cargo: toml::Table = std::fs::read_to_string(manifest.join("Cargo.toml")).unwrap().parse().unwrap();
    let deb = &cargo["package"]["metadata"]["deb"];
    for asset in deb["assets"].as_array().unwrap() {
        let source = asset[0].as_str().unwrap();
        let folder = source.strip_suffix("*.md").unwrap_or(source);
        assert!(source.starts_with("target/") || manifest.join(folder).exists(), "{source}");
    }
    for script in ["postinst", "prerm", "postrm"] {
        let path = manifest.join(deb["maintainer-scripts"].as_str().unwrap()).join(script);
        let status = std::process::Command::new("sh").arg("-n").arg(&path).status().unwrap();
        assert!(status.success(), "{}", path.display());
    }
    let packaged = std::fs::read_to_string(root().join("packaging/gatepost.toml")).unwrap();
    let loaded =
        load_with(Some(&root().join("packaging/gatepost.toml")), []).map_err(|problems| problems.len());
    assert_eq!(loaded.unwrap().config.data, PathBuf::from("/var/lib/gatepost"), "{packaged}");
}

/// systemd's own check of the units, where it is installed.
#[test]
fn systemd_accepts_the_units() {
    let folder = tempfile::tempdir().unwrap();
    let units = ["gatepost.service", "gatepost.socket"].map(|name| {
        let text = std::fs::read_to_string(root().join("packaging/systemd").join(name)).unwrap();
        let path = folder.path().join(name);
        // The program is not installed here.
        std::fs::write(&path, text.replace("/usr/bin/gatepost", "/bin/true")).unwrap();
        path
    });
    match std::process::Command::new("systemd-analyze").arg("verify").args(&units).output() {
        Ok(output) => {
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!told.lines().any(|line| line.contains("gatepost")), "{told}");
        }
        Err(_) => println!("skipped: systemd-analyze is not installed"),
    }
}
