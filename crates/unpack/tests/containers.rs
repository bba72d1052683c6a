//! Containers as other programs make them: what went in comes out. A form whose program is missing is skipped, and told of.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gatepost_mail::{DefectKind, Limits, Message};
use gatepost_unpack::read_file;

/// A folder that goes with its owner.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("gatepost-unpack-{name}-{}", std::process::id()));
        std::fs::create_dir_all(path.join("tree/dir/sub")).expect("a folder");
        let tree = path.join("tree");
        for (name, content) in files() {
            std::fs::write(tree.join(name), content).expect("a file");
        }
        Scratch(path)
    }

    /// Runs a script in the folder; None where a program that it needs is missing.
    fn run(&self, programs: &[&str], script: &str) -> Option<()> {
        let missing: Vec<_> = programs.iter().filter(|program| !available(program)).collect();
        if !missing.is_empty() {
            println!("skipped: needs {missing:?}");
            return None;
        }
        let mut shell = Command::new("sh");
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        shell.args(["-e", "-c", script]).current_dir(&self.0).env("PATH", path);
        let done = shell.stdin(Stdio::null()).output().expect("a shell");
        assert!(done.status.success(), "{script}\n{}", String::from_utf8_lossy(&done.stderr));
        Some(())
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.join(name)).expect("what was made")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _left: std::io::Result<()> = std::fs::remove_dir_all(&self.0);
    }
}

fn available(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/sbin"]);
    folders.into_iter().any(|folder| Path::new(folder).join(program).exists())
}

/// Text, a name that is long, a program in disguise, and something that does not compress.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    vec![
        ("a.txt", b"hello\n".to_vec()),
        ("dir/invoice.pdf.exe", b"MZ fake".to_vec()),
        ("dir/random.bin", (0..100_000).map(|_| noise()).collect()),
        ("dir/sub/A rather long name with spaces.txt", b"line\n".repeat(5000)),
    ]
}

fn opened(file: Vec<u8>) -> Message {
    read_file(file.into(), None, &Limits::default())
}

/// Asserts that all files are there, whole, under names that end as theirs do, and that nothing is said against it.
#[track_caller]
fn expect_files(what: &str, message: &Message, with_names: bool) {
    for (name, content) in files() {
        let last = name.rsplit('/').next().unwrap_or(name).to_lowercase();
        let same = message.parts.iter().filter(|part| part.body == content);
        let found = same.flat_map(|part| &part.names).any(|seen| seen.to_lowercase().ends_with(&last));
        let there = message.parts.iter().any(|part| part.body == content);
        assert!(there && (found || !with_names), "{what}: {name} in {:?}", names(message));
    }
    assert_eq!(message.defects, [], "{what}");
}

fn names(message: &Message) -> Vec<&[String]> {
    message.parts.iter().map(|part| &part.names[..]).collect()
}

/// Makes `out` from the folder `tree`.
const ARCHIVES: &[(&str, &[&str], &str)] = &[
    ("tar v7", &["tar"], "tar --format=v7 -cf out tree"),
    ("tar ustar", &["tar"], "tar --format=ustar -cf out tree"),
    ("tar old GNU", &["tar"], "tar --format=oldgnu -cf out tree"),
    ("tar GNU", &["tar"], "tar --format=gnu -cf out tree"),
    ("tar pax", &["tar"], "tar --format=pax -cf out tree"),
    ("tar by bsdtar", &["bsdtar"], "bsdtar --format pax -cf out tree"),
    ("cpio odc", &["cpio"], "find tree | cpio -o -H odc --quiet > out"),
    ("cpio newc", &["cpio"], "find tree | cpio -o -H newc --quiet > out"),
    ("cpio crc", &["cpio"], "find tree | cpio -o -H crc --quiet > out"),
    ("cpio binary", &["cpio"], "find tree | cpio -o -H bin --quiet > out"),
    ("cpio binary, swapped", &["cpio", "python3"], "find tree | cpio -o -H bin --quiet > o; python3 -c \"$SWAP\""),
    ("cpio hpodc", &["cpio"], "find tree | cpio -o -H hpodc --quiet > out"),
    ("cpio by bsdtar", &["bsdtar"], "bsdtar --format newc -cf out tree"),
    ("ar GNU", &["ar"], "ar qc out $(find tree -type f | grep -v ' ') 'tree/dir/sub/A rather long name with spaces.txt'"),
    ("ar BSD", &["bsdtar"], "bsdtar --format arbsd -cf out $(find tree -type f | grep -v ' ') tree/dir/sub/A*"),
    (
        "deb",
        &["dpkg-deb"],
        "mkdir tree/DEBIAN; printf 'Package: x\\nVersion: 1\\nArchitecture: all\\nMaintainer: a <a@b>\\nDescription: x\\n' \
         > tree/DEBIAN/control; dpkg-deb -Zgzip -b tree out >/dev/null; rm -r tree/DEBIAN",
    ),
    ("Joliet and Rock Ridge", &["genisoimage"], "genisoimage -quiet -J -R -o out tree"),
    ("Joliet", &["genisoimage"], "genisoimage -quiet -J -o out tree"),
    ("Rock Ridge", &["genisoimage"], "genisoimage -quiet -R -o out tree"),
    ("UDF", &["genisoimage"], "genisoimage -quiet -udf -R -o out tree"),
    ("ISO by xorriso", &["xorriso"], "xorriso -as mkisofs -quiet -J -R -o out tree"),
    (
        "raw sectors, mode 1",
        &["genisoimage", "python3"],
        "genisoimage -quiet -R -o o tree; python3 -c \"$RAW\" 1",
    ),
    (
        "raw sectors, mode 2",
        &["genisoimage", "python3"],
        "genisoimage -quiet -R -o o tree; python3 -c \"$RAW\" 2",
    ),
    ("FAT12", &["mkfs.fat", "mcopy"], "truncate -s 1440k out; mkfs.fat -F 12 out; mcopy -s -i out tree/a.txt tree/dir ::"),
    ("FAT16", &["mkfs.fat", "mcopy"], "truncate -s 20m out; mkfs.fat -F 16 out; mcopy -s -i out tree/a.txt tree/dir ::"),
    ("FAT32", &["mkfs.fat", "mcopy"], "truncate -s 70m out; mkfs.fat -F 32 out; mcopy -s -i out tree/a.txt tree/dir ::"),
    (
        "VHD, fixed",
        &["mkfs.fat", "mcopy", "qemu-img"],
        "truncate -s 4m o; mkfs.fat o; mcopy -s -i o tree/a.txt tree/dir ::
         qemu-img convert -f raw -O vpc -o subformat=fixed o out",
    ),
    (
        "VHD, dynamic, partitions",
        &["mkfs.fat", "mcopy", "qemu-img", "sfdisk"],
        "truncate -s 4m o; mkfs.fat o; mcopy -s -i o tree/a.txt tree/dir ::
         truncate -s 12m d; printf '2048,8192,e\\n' | sfdisk -q d; dd if=o of=d bs=512 seek=2048 conv=notrunc status=none
         qemu-img convert -f raw -O vpc d out",
    ),
    (
        "VHDX, GPT",
        &["mkfs.fat", "mcopy", "qemu-img", "sfdisk"],
        "truncate -s 4m o; mkfs.fat o; mcopy -s -i o tree/a.txt tree/dir ::
         truncate -s 12m d; printf 'label: gpt\\n2048,8192\\n' | sfdisk -q d
         dd if=o of=d bs=512 seek=2048 conv=notrunc status=none; qemu-img convert -f raw -O vhdx d out",
    ),
    (
        "a logical partition",
        &["mkfs.fat", "mcopy", "sfdisk"],
        "truncate -s 4m o; mkfs.fat o; mcopy -s -i o tree/a.txt tree/dir ::
         truncate -s 12m out; printf 'out1 : start=2048,size=20000,type=5\\nout5 : start=4096,size=8192,type=e\\n' | sfdisk -q out
         dd if=o of=out bs=512 seek=4096 conv=notrunc status=none",
    ),
    (
        "NTFS",
        &["mkntfs", "ntfscp"],
        "truncate -s 6m out; mkntfs -F -q -Q out; cd tree; for f in a.txt dir/invoice.pdf.exe dir/random.bin; do
         ntfscp -q ../out $f ${f##*/}; done; ntfscp -q ../out dir/sub/A* 'A rather long name with spaces.txt'",
    ),
    ("HFS+ behind Apple's map", &["xorriso"], "xorriso -as mkisofs -quiet -hfsplus -o out tree; dd if=/dev/zero of=out bs=2048 seek=16 count=16 conv=notrunc status=none"),
    (
        "MSI",
        &["wixl"],
        "{ echo '<Wix xmlns=\"http://schemas.microsoft.com/wix/2006/wi\"><Product Name=\"T\" Id=\"*\" Language=\"1033\"
         UpgradeCode=\"87654321-4321-4321-4321-110987654321\" Version=\"1.0.0\" Manufacturer=\"X\">
         <Package Id=\"*\" InstallerVersion=\"200\" Compressed=\"yes\"/>'
         n=0; find tree -type f | while read -r f; do n=$((n+1)); echo \"<Binary Id=\\\"B$n\\\" SourceFile=\\\"$f\\\"/>\"; done
         echo '</Product></Wix>'; } > t.wxs; wixl -o out t.wxs",
    ),
];

/// Words of two bytes swapped, and each file's data swapped back, as a machine of the other kind writes it.
const SWAP: &str = "
import struct
d = open('o', 'rb').read(); out = b''; at = 0
while at + 26 <= len(d):
    h = struct.unpack_from('<13H', d, at)
    if h[0] != 0o070707: break
    n = (h[10] + 1) // 2 * 2; size = h[11] << 16 | h[12]
    out += struct.pack('>13H', *h) + d[at + 26:at + 26 + n + (size + 1) // 2 * 2]
    at += 26 + n + (size + 1) // 2 * 2
open('out', 'wb').write(out)";

/// An image with its sectors in raw form.
const RAW: &str = "
import sys
d = open('o', 'rb').read(); mode = int(sys.argv[1])
head = b'\\0' + b'\\xff' * 10 + b'\\0' + b'\\0\\2\\0' + bytes([mode]) + b'\\0' * (8 * (mode - 1))
out = b''.join((head + d[i:i + 2048]).ljust(2352, b'\\0') for i in range(0, len(d), 2048))
open('out', 'wb').write(out)";

#[test]
fn what_other_programs_pack_comes_out() {
    let scratch = Scratch::new("peers");
    for (what, programs, script) in ARCHIVES {
        for name in ["o", "d", "out"] {
            let _absent: std::io::Result<()> = std::fs::remove_file(scratch.0.join(name));
        }
        let script =
            script.replace("$SWAP", &SWAP.replace('"', "\\\"")).replace("$RAW", &RAW.replace('\\', "\\\\"));
        if scratch.run(programs, &script).is_some() {
            let message = opened(scratch.read("out"));
            expect_files(what, &message, *what != "MSI");
        }
    }
}

/// Sparse members are given as they are extracted.
#[test]
fn sparse_members_of_tar() {
    let scratch = Scratch::new("sparse");
    let mut content = b"begin".repeat(100);
    content.resize(40_000, 0);
    content.extend_from_slice(&[b'x'; 5000]);
    content.resize(60_000, 0);
    for how in
        ["oldgnu", "posix --sparse-version=0.0", "posix --sparse-version=0.1", "posix --sparse-version=1.0"]
    {
        let script = format!(
            "rm -f s; printf %0500d 0 | sed 's/00000/begin/g' | head -c 500 > s
             head -c 5000 /dev/zero | tr '\\0' x | dd of=s bs=1000 seek=40 status=none; truncate -s 60000 s
             tar -S --format={how} -cf out s"
        );
        if scratch.run(&["tar"], &script).is_some() {
            let message = opened(scratch.read("out"));
            assert!(
                message.parts.iter().any(|part| part.body == content && part.name() == Some("s")),
                "{how}"
            );
        }
    }
}

/// Streams beside a file's own, and what NTFS itself compresses.
#[test]
fn streams_of_ntfs() {
    let scratch = Scratch::new("ntfs");
    let script = "truncate -s 6m out; mkntfs -F -q -Q out; ntfscp -q out tree/a.txt a.txt
                  ntfscp -q -N hidden out tree/dir/random.bin a.txt";
    if scratch.run(&["mkntfs", "ntfscp"], script).is_some() {
        let message = opened(scratch.read("out"));
        let found = |name: &str| {
            message.parts.iter().find(|part| part.name() == Some(name)).map(|part| part.body.len())
        };
        assert_eq!(
            (found("a.txt"), found("a.txt:hidden")),
            (Some(6), Some(100_000)),
            "{:?}",
            names(&message)
        );
    }
}

/// An image that is cut anywhere yields what is left, and a defect.
#[test]
fn cut_images_are_told_of() {
    let scratch = Scratch::new("cut");
    for (programs, script) in [
        (&["genisoimage"][..], "genisoimage -quiet -J -R -o out tree"),
        (
            &["mkfs.fat", "mcopy"],
            "rm -f out; truncate -s 1440k out; mkfs.fat out; mcopy -s -i out tree/a.txt tree/dir ::",
        ),
        (&["cpio"], "find tree | cpio -o -H newc --quiet > out"),
        (&["ar"], "rm -f out; ar qc out $(find tree -type f | grep -v ' ')"),
    ] {
        if scratch.run(programs, script).is_some() {
            let file = scratch.read("out");
            let content = &files()[2].1;
            let at = memchr::memmem::find(&file, content).expect("stored as it is");
            let message = opened(file[..at + 50_000].to_vec());
            let half = message.parts.iter().any(|part| part.body == content[..50_000]);
            let told = message.defects.iter().any(|defect| defect.kind == DefectKind::TruncatedArchive);
            assert!(half && told, "{script}: {:?} {:?}", names(&message), message.defects);
        }
    }
}

/// What `tnef` takes out of each sample of its own suite, name and content, is among what we take out.
#[test]
fn tnef_as_the_program_of_that_name_reads_it() {
    let named = std::env::var_os("GATEPOST_SUITES").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/suites");
    let folder = named.unwrap_or(beside).join("archives/tnef");
    let Ok(list) = std::fs::read_dir(&folder) else { return println!("skipped: no {}", folder.display()) };
    let samples: Vec<PathBuf> = list.map(|entry| entry.expect("an entry").path()).collect();
    let scratch = Scratch::new("tnef");
    for sample in samples.iter().filter(|path| path.extension().is_some_and(|end| end == "tnef")) {
        let script = format!("rm -rf out; mkdir out; tnef --save-body -C out {} || true", sample.display());
        if scratch.run(&["tnef"], &script).is_none() {
            return;
        }
        let message = opened(std::fs::read(sample).expect("a sample"));
        for file in std::fs::read_dir(scratch.0.join("out")).expect("a folder") {
            let file = file.expect("an entry");
            let content = std::fs::read(file.path()).expect("a file");
            let name = file.file_name().to_string_lossy().into_owned();
            let named =
                |part: &gatepost_mail::Part| part.names.contains(&name) || name.starts_with("message.");
            // It leaves what kind of object it is before an object.
            let same = |body: &[u8]| {
                body == content || content.get(16..) == Some(body) && body.starts_with(b"\xd0\xcf")
            };
            let found = message.parts.iter().any(|part| same(&part.body) && named(part));
            assert!(found, "{}: {name}, {} bytes, in {:?}", sample.display(), content.len(), names(&message));
        }
    }
}
