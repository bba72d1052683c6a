//! Archives that others made, where they are at hand. `GATEPOST_SUITES` names the folder.

mod make;
mod peers;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use gatepost_mail::{Limits, Message};
use gatepost_unpack::{Format, open, read};

fn suites() -> Option<PathBuf> {
    let named = std::env::var_os("GATEPOST_SUITES").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/suites");
    let folder = named.unwrap_or(beside);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: no suites in {}", folder.display());
    None
}

fn attached(file: &[u8]) -> Message {
    // What is encrypted stays so: the passwords of these files stand nowhere, and trying others takes its time.
    let limits = Limits { passwords: [].into(), ..Limits::default() };
    let head =
        b"From: a@example.org\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream; name=file\r\n\
                 Content-Transfer-Encoding: binary\r\n\r\n";
    read([&head[..], file].concat().into(), &limits)
}

/// The contents of a uuencoded file; lines that make no sense are left out.
fn uudecode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let lines = text.split(|&byte| byte == b'\n').skip_while(|line| !line.starts_with(b"begin "));
    for line in lines.skip(1).take_while(|line| !line.starts_with(b"end")) {
        let value = |place: usize| line.get(place).map_or(0, |byte| byte.wrapping_sub(32) & 63);
        let count = usize::from(value(0));
        let mut bytes = Vec::new();
        for at in (1..=count.div_ceil(3) * 4).step_by(4) {
            let [a, b, c, d] = [value(at), value(at + 1), value(at + 2), value(at + 3)];
            bytes.extend([a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]);
        }
        out.extend(&bytes[..count]);
    }
    out
}

/// Whatever libarchive's own tests hold, fuzz crashers included: no panic, no hang.
#[test]
fn libarchive_samples() {
    let Some(folder) = suites() else { return };
    let mut opened = 0;
    for entry in std::fs::read_dir(folder.join("archives/libarchive")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".uu") {
            continue;
        }
        let start = Instant::now();
        let message = attached(&uudecode(&std::fs::read(&path).unwrap()));
        assert!(start.elapsed() < Duration::from_secs(10), "{name}");
        opened += usize::from(message.parts.len() > 1);
        let honest = [".zip.uu", ".tar.uu", ".tgz.uu"].iter().any(|end| name.ends_with(end));
        // Those without any member: empty, or so malformed that nobody reads one.
        let bare = ["malformed1", "bz2_hang", "empty", "negative_size", "pax_g_large"];
        if honest && !bare.iter().any(|word| name.contains(word)) {
            assert!(message.parts.len() > 1, "{name} was not opened");
        }
    }
    assert!(opened > 100, "{opened}");
}

/// Whatever bsdtar takes out of the zips, 7z archives and compressed files of libarchive's tests is taken out here too, or a
/// defect says what is in the way.
#[test]
fn what_bsdtar_takes_out_is_taken_out() {
    let Some(folder) = suites() else { return };
    if !peers::has("bsdtar") || !peers::has("timeout") {
        return;
    }
    let mine = [
        "zip", "7z", ".gz", "bz2", ".xz", "lzma", "lzip", ".tlz", "lzop", "lz4", "zst", ".Z.", "tgz", "tbz",
        ".jar",
    ];
    let scratch = peers::Folder::new("bsdtar");
    let (mut compared, mut missing) = (0, Vec::new());
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder.join("archives/libarchive"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    // bsdtar asks for a password and waits; one becomes 4 GiB.
    let left_out = ["_in_rar", "4gib", "encrypt", "winzip_aes", "aes256"];
    for path in paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".uu")
            || !mine.iter().any(|word| name.contains(word))
            || left_out.iter().any(|word| name.contains(word))
        {
            continue;
        }
        let file = uudecode(&std::fs::read(&path).unwrap());
        let theirs = scratch.0.join("file");
        std::fs::write(&theirs, &file).unwrap();
        let mut command = std::process::Command::new("timeout");
        command.args(["5", "bsdtar", "-cf", "-", "--format=gnutar"]).arg(format!("@{}", theirs.display()));
        let tar = command.stdin(std::process::Stdio::null()).output().unwrap().stdout;
        let theirs = open(Format::Tar, tar.into(), &Limits { depth: 1, ..Limits::default() });
        let theirs = theirs.parts.iter().skip(1).filter(|part| part.parent == Some(gatepost_mail::PartId(0)));
        let ours = attached(&file);
        for member in theirs.filter(|part| !part.body.is_empty()) {
            compared += 1;
            if !ours.parts.iter().any(|part| part.body == member.body) && ours.defects.is_empty() {
                missing.push(format!("{name}: {:?} ({} bytes)", member.name(), member.body.len()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(compared > 150, "{compared}");
}

/// Debian's clamav-testfiles: the file that ClamAV knows comes out of each container read here.
#[test]
fn clamav_test_files() {
    let folder = PathBuf::from("/usr/share/clamav-testfiles");
    let Ok(known) = std::fs::read(folder.join("clam.exe")) else {
        println!("skipped: clamav-testfiles is not installed");
        return;
    };
    let names = [
        "clam.exe",
        "clam.zip",
        "clam.bz2.zip",
        "clam.d64.zip",
        "clam.impl.zip",
        "clam.7z",
        "clam.exe.bz2",
        "clam.tar.gz",
        "clam_cache_emax.tgz",
        "clam.mail",
        "clam.exe.mbox.base64",
        "clam.exe.mbox.uu",
        "clam.arj",
        "clam.cab",
        "clam.chm",
        "clam.exe.szdd",
        "clam_IScab_ext.exe",
        "clam_IScab_int.exe",
        "clam_ISmsi_ext.exe",
        "clam_ISmsi_int.exe",
    ];
    for name in names {
        let message = attached(&std::fs::read(folder.join(name)).unwrap());
        assert!(message.parts.iter().any(|part| part.body == known), "{name}");
    }
}
