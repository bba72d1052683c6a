//! Mails that others made to test readers of mail. Skipped where the folder with them is absent.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use gatepost_mail::{Budget, Defect, DefectKind, FileKind, FileType, Limits, Message, Part, PartId, text};

fn suites(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("GATEPOST_SUITES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/suites"), PathBuf::from);
    let folder = root.join(folder);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {} is absent", folder.display());
    None
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder that can be listed");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|found| found == extension));
    files.sort();
    files
}

fn read(file: &Path) -> Message {
    let raw = std::fs::read(file).expect("a file that can be read");
    Message::read(Bytes::from(raw), &mut Budget::new(&Limits::default()))
}

#[test]
fn hidden_names_are_found() {
    let Some(folder) = suites("mime-evasion") else { return };
    let mut missed = Vec::new();
    for file in files(&folder, "eml") {
        let message = read(&file);
        let how = message.headers.text("Subject").unwrap_or_default();
        for (part, extension) in [(1, ".txt"), (2, ".zip")] {
            let names = &message.parts[part].names;
            if !names.iter().any(|name| name.ends_with(extension)) && !how.contains(".png") {
                missed.push(format!("{how}: {names:?}"));
            }
        }
    }
    assert!(missed.is_empty(), "{} missed:\n{}", missed.len(), missed.join("\n"));
}

/// The contents of the leaves that mime4j found, in order: the files its report names.
fn expected_leaves(report: &Path) -> Vec<Vec<u8>> {
    let xml = std::fs::read_to_string(report).unwrap_or_default();
    let folder = report.parent().expect("a folder");
    let names = xml.split("-body name=\"").skip(1).filter_map(|rest| rest.split('"').next());
    names.map(|name| std::fs::read(folder.join(name)).unwrap_or_default()).collect()
}

/// Without CR and without the line break at the end, where readers differ.
fn normal(bytes: &[u8]) -> Vec<u8> {
    let mut text: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != b'\r').collect();
    text.truncate(text.trim_ascii_end().len());
    text
}

/// Where we read otherwise, and why.
const OTHERWISE: &[(&str, &str)] = &[
    ("basic-plain-with-bad-header-separator", "lines that are no fields begin the body"),
    ("malformedHeader-noheader", "lines that are no fields begin the body"),
    ("malformedHeaderStartsBody-noheader", "lines that are no fields begin the body"),
    ("malformedHeaderStartsBody-nocrlfcrlf", "one bad line before a good one stays in the header"),
    ("hdr-fakeout", "lines that are no fields begin the body"),
    ("missing-boundary", "a multipart that cannot be split is a leaf"),
    ("missing-inner-boundary", "a multipart that cannot be split is a leaf"),
    ("missing-inner-start-boundary", "a multipart that cannot be split is a leaf"),
    ("multipartnopart", "a multipart that cannot be split is a leaf"),
    ("badbound", "a boundary that never appears is guessed from the body"),
    ("frag", "the last group of base64 counts even if it is short"),
    ("multi-frag", "the last group of base64 counts even if it is short"),
];

#[test]
fn structure_is_that_of_mime4j() {
    let mut differing = Vec::new();
    for folder in ["mime4j/testmsgs", "mime4j/mimetools-testmsgs"] {
        let Some(folder) = suites(folder) else { return };
        for file in files(&folder, "msg") {
            let message = read(&file);
            let stem = file.file_stem().expect("a name").to_string_lossy().into_owned();
            let expected = expected_leaves(&folder.join(format!("{stem}_decoded.xml")));
            let expected: Vec<Vec<u8>> = expected.iter().map(|leaf| normal(leaf)).collect();
            // Uuencoded files, text outside of parts, and what only other readers would find are ours alone.
            let is_leaf = |(id, part): &(PartId, &Part)| {
                let other = |defect: &Defect| defect.kind == DefectKind::OtherReading && defect.part == *id;
                !part.container
                    && (part.span.is_some() || !part.headers.fields.is_empty())
                    && !message.defects.iter().any(other)
            };
            let found: Vec<Vec<u8>> =
                message.parts().filter(is_leaf).map(|(_, part)| normal(&part.body)).collect();
            if found != expected && !OTHERWISE.iter().any(|(known, _)| *known == stem) {
                let sizes = |leaves: &[Vec<u8>]| leaves.iter().map(Vec::len).collect::<Vec<_>>();
                differing.push(format!("{stem}: {:?}, expected {:?}", sizes(&found), sizes(&expected)));
            }
        }
    }
    assert!(differing.is_empty(), "{} differ:\n{}", differing.len(), differing.join("\n"));
}

/// Real mail is read without defects that speak of its MIME structure, and its header comes back byte for byte.
#[test]
fn real_mail_is_ordinary() {
    let Some(folder) = suites("ham-signed") else { return };
    for file in files(&folder, "eml") {
        let message = read(&file);
        let spans: Vec<u8> = message
            .headers
            .fields
            .iter()
            .flat_map(|field| message.headers.raw_field(field).to_vec())
            .collect();
        assert_eq!(spans, message.headers.raw, "{}", file.display());
        assert!(message.raw.starts_with(&message.headers.raw));
        let strange: Vec<&Defect> = message
            .defects
            .iter()
            .filter(|defect| {
                !matches!(
                    defect.kind,
                    DefectKind::LongLine | DefectKind::EightBitHeader | DefectKind::DuplicateHeader
                )
            })
            .collect();
        assert!(strange.is_empty(), "{}: {strange:?}", file.display());
    }
}

/// What is told of the mails in a folder, and below it; run by hand with `GATEPOST_CORPUS=FOLDER`, as `time_of_reading` is.
#[test]
#[ignore = "a measurement, not a test"]
fn defects_of_a_corpus() {
    let Some(folder) = std::env::var_os("GATEPOST_CORPUS") else { return };
    let mut counts: std::collections::BTreeMap<&str, (usize, String)> = std::collections::BTreeMap::new();
    let files = below(Path::new(&folder));
    let mut ambiguous = 0;
    for file in &files {
        let message = read(file);
        let mut kinds: Vec<&str> = message.defects.iter().map(|defect| defect.kind.name()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        ambiguous += usize::from(kinds.contains(&DefectKind::OtherReading.name()));
        for kind in kinds {
            let entry = counts.entry(kind).or_default();
            entry.0 += 1;
            if entry.0 <= 12 {
                let of_kind = message.defects.iter().find(|defect| defect.kind.name() == kind);
                let detail = of_kind.map_or("", |defect| &defect.detail);
                entry.1 += &format!("\n        {} {detail}", file.file_name().unwrap_or_default().display());
            }
        }
    }
    println!("{} mails, {ambiguous} with other readings", files.len());
    for (kind, (count, examples)) in counts {
        println!("{count:6} {kind}{examples}");
    }
}

/// How long reading takes; run by hand: `cargo test --release -p gatepost-mail --test suites -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a test"]
fn time_of_reading() {
    let Some(folder) = suites("ham-signed") else { return };
    let mails: Vec<Bytes> =
        files(&folder, "eml").iter().map(|file| std::fs::read(file).expect("a mail").into()).collect();
    let bytes: usize = mails.iter().map(Bytes::len).sum();
    const ROUNDS: u32 = 20;
    let mut parts = 0;
    let start = std::time::Instant::now();
    for _ in 0..ROUNDS {
        for mail in &mails {
            let message = Message::read(mail.clone(), &mut Budget::new(&Limits::default()));
            parts += message.parts.len();
        }
    }
    let reading = start.elapsed();
    let start = std::time::Instant::now();
    let mut links = 0;
    for mail in &mails {
        let message = Message::read(mail.clone(), &mut Budget::new(&Limits::default()));
        links += message.parts.iter().filter_map(text::of).map(|text| text.links.len()).sum::<usize>();
    }
    let with_text = start.elapsed();
    let count = u32::try_from(mails.len()).expect("not so many");
    println!(
        "{count} mails of {} bytes, {} parts each: {:?} a mail; with text and {} links each: {:?}",
        bytes / mails.len(),
        parts / mails.len() / ROUNDS as usize,
        reading / count / ROUNDS,
        links / mails.len(),
        with_text / count,
    );
}

/// All files below a folder.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder that can be listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

#[test]
fn types_of_real_files() {
    let expected: &[(&str, &[&str], &[FileType])] = &[
        ("archives/lha", &["lzh", "lzs", "pma"], &[FileType::LHA]),
        ("archives/tnef", &["tnef"], &[FileType::TNEF]),
        ("office", &["doc", "dot", "xls", "xlt", "xla", "ppt", "pps", "pot"], &[FileType::OLE]),
        ("office", &["docx", "docm", "dotx", "dotm"], &[FileType::DOCX, FileType::DOCM, FileType::OLE]),
        (
            "office",
            &["pptx", "pptm", "potx", "potm", "ppsx", "ppsm"],
            &[FileType::PPTX, FileType::PPTM, FileType::OLE],
        ),
        ("office", &["odt", "ods", "odp"], &[FileType::ODT, FileType::ODS, FileType::ODP]),
        ("office", &["rtf"], &[FileType::RTF]),
    ];
    for (folder, extensions, types) in expected {
        let Some(folder) = suites(folder) else { return };
        for file in below(&folder) {
            let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            if extensions.contains(&extension) {
                let found = FileType::detect(&std::fs::read(&file).expect("a file that can be read"));
                assert!(types.contains(&found), "{}: {}", file.display(), found.name);
            }
        }
    }
}

/// The archives of libarchive's tests, uuencoded as they are, are found in a mail and known for what they are.
#[test]
fn uuencoded_archives_are_found() {
    let Some(folder) = suites("archives/libarchive") else { return };
    let limits = Limits { bytes: 1 << 32, time: std::time::Duration::from_secs(600), ..Limits::default() };
    let mut known = 0;
    let files = files(&folder, "uu");
    for file in &files {
        let raw = [b"\n", std::fs::read(file).expect("a file that can be read").as_slice()].concat();
        let message = Message::read(raw.into(), &mut Budget::new(&limits));
        assert!((2..=3).contains(&message.parts.len()), "{}", file.display());
        let kind = message.parts[1].detected.kind;
        known += usize::from(matches!(kind, FileKind::Archive | FileKind::Compressed));
    }
    // The others are pieces of split archives, programs that unpack themselves, or text.
    assert!(known * 100 >= files.len() * 88, "{known} of {}", files.len());
}
