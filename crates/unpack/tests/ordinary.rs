//! Mail that people sent in good faith: how much of it is told of. The corpora are used where they are at hand:
//! `GATEPOST_SUITES` names the folder of suites, `GATEPOST_HAM` one of mails.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gatepost_mail::{FeatureKind, FileType, Limits};
use gatepost_unpack::read;

/// Every mail of a folder with the kinds of features it has.
fn features(folder: &Path) -> (usize, BTreeMap<FeatureKind, Vec<String>>) {
    let (mut count, mut scripts, mut found) = (0, 0, BTreeMap::<FeatureKind, Vec<String>>::new());
    for entry in std::fs::read_dir(folder).expect("a folder").flatten().filter(|entry| entry.path().is_file())
    {
        let Ok(raw) = std::fs::read(entry.path()) else { continue };
        count += 1;
        let message = read(raw.into(), &Limits::default());
        // What is detected by its look alone must not be seen in letters.
        const BY_LOOK: [FileType; 4] = [FileType::JS, FileType::VBS, FileType::PS1, FileType::BATCH];
        for (id, part) in message.parts().filter(|(_, part)| BY_LOOK.contains(&part.detected)) {
            let text = String::from_utf8_lossy(&part.body[..part.body.len().min(200)]);
            println!("{} part {}: {} {text:?}", entry.path().display(), id.0, part.detected.name);
            scripts += 1;
        }
        for feature in &message.features {
            let line = format!("{}: {}", entry.file_name().display(), feature.detail);
            found.entry(feature.kind).or_default().push(line);
        }
    }
    assert!(scripts <= count / 1000, "{scripts} scripts in {count} mails");
    (count, found)
}

#[test]
fn ordinary_mail_has_little_of_it() {
    let suites = std::env::var_os("GATEPOST_SUITES").map(PathBuf::from);
    let suites =
        suites.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/suites"));
    let folders = [Some(suites.join("ham-signed")), std::env::var_os("GATEPOST_HAM").map(PathBuf::from)];
    for folder in folders.into_iter().flatten() {
        if !folder.is_dir() {
            println!("skipped: no folder {}", folder.display());
            continue;
        }
        let (count, found) = features(&folder);
        for (kind, lines) in &found {
            println!("{} {}: {} of {count}", folder.display(), kind.name(), lines.len());
            lines.iter().take(8).for_each(|line| println!("    {line}"));
            let free =
                matches!(kind, FeatureKind::HtmlScript | FeatureKind::QrLink | FeatureKind::EmbeddedFile);
            // Half of a percent, and one more mail where there are few.
            assert!(free || lines.len() <= count / 200 + 1, "{}: {lines:?}", kind.name());
        }
    }
}
