//! Real documents, cleaned: our own reader finds no macro in what comes out, 7-Zip and LibreOffice open it. Documents come
//! from the suites, which lie outside of this repository; where they are not, or a program is not installed, this says so.

use std::path::{Path, PathBuf};

use gatepost_disarm::{Unreadable, remove_macros};
use gatepost_mail::{DefectKind, FeatureKind, FileType, Limits, Message};

/// The folder of office documents, if it is here.
fn documents() -> Vec<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/suites");
    let root = std::env::var_os("GATEPOST_SUITES").map_or(beside, PathBuf::from).join("office");
    let mut found = Vec::new();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    if found.is_empty() {
        eprintln!("skipped: no suites");
    }
    found
}

/// What should be gone, as our own reader tells it.
fn macros(message: &Message) -> Vec<String> {
    const KINDS: &[FeatureKind] = &[
        FeatureKind::Macro,
        FeatureKind::MacroAuto,
        FeatureKind::MacroSuspicious,
        FeatureKind::MacroStomped,
        FeatureKind::MacroXlm,
        FeatureKind::Dde,
    ];
    let found = message.features.iter().filter(|feature| KINDS.contains(&feature.kind));
    found.map(|feature| format!("{}: {}", feature.kind.name(), feature.detail)).collect()
}

fn opened(content: &[u8], path: &Path) -> Message {
    let name = path.file_name().and_then(|name| name.to_str());
    gatepost_unpack::read_file(content.to_vec().into(), name, &Limits::default())
}

#[test]
fn documents_of_the_suites() {
    let mut cleaned = 0;
    for path in documents() {
        let content = std::fs::read(&path).expect("a file");
        let made = remove_macros(&content, FileType::detect(&content), &Limits::default());
        // To try passwords takes long.
        if made == Err(Unreadable::Encrypted) {
            continue;
        }
        let before = opened(&content, &path);
        let what = format!("{}: {:?}", path.display(), macros(&before));
        match made {
            Ok(Some(made)) => {
                let after = opened(&made, &path);
                assert_eq!(macros(&after), [""; 0], "{what}");
                let broken = |message: &Message| {
                    message.defects.iter().filter(|defect| defect.kind != DefectKind::Encrypted).count()
                };
                assert!(broken(&after) <= broken(&before), "{what}: {:?}", after.defects);
                let again = remove_macros(&made, FileType::detect(&made), &Limits::default());
                assert_eq!(again, Ok(None), "{what} is not settled");
                cleaned += 1;
                eprintln!("cleaned {what}");
            }
            Ok(None) => assert_eq!(macros(&before), [""; 0], "{what}"),
            Err(error) => eprintln!("{error}: {what}"),
        }
    }
    eprintln!("{cleaned} documents cleaned");
}
