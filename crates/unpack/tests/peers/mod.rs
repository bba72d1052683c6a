//! Other programs that write archives, where they are installed.
#![allow(dead_code, reason = "each test file uses some")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gatepost_mail::Message;

/// Whether a program is there; it is said where not.
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

/// What a program makes of that input.
pub fn piped(command: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    if !has(command[0]) {
        return None;
    }
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("no panic").expect("it reads");
    // compress ends with 2 where it did not make the file smaller.
    let ended = output.status.success() || (command[0] == "compress" && output.status.code() == Some(2));
    assert!(ended, "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(output.stdout)
}

/// Runs a program in a folder.
pub fn run(folder: &Path, command: &[&str]) -> Option<()> {
    if !has(command[0]) {
        return None;
    }
    let output =
        Command::new(command[0]).args(&command[1..]).current_dir(folder).stdin(Stdio::null()).output();
    let output = output.expect("it starts");
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&text));
    Some(())
}

/// A folder that is removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("gatepost-unpack-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Contents that packers treat differently: nothing, a byte, text, noise, runs, and this program's own code.
pub fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12345);
        (state >> 16) as u8
    };
    let random: Vec<u8> = (0..100_000).map(|_| noise()).collect();
    let text: Vec<u8> =
        (0..20_000).flat_map(|n: u32| format!("line {} of the text\n", n * n % 977).into_bytes()).collect();
    let own = std::fs::read(std::env::current_exe().expect("a path")).expect("it can be read");
    let middle = own.len() / 2;
    let code = own[middle..own.len().min(middle + 400_000)].to_vec();
    vec![
        ("nothing", Vec::new()),
        ("one byte", b"x".to_vec()),
        ("text", text),
        ("noise", random),
        ("runs", [vec![0; 70_000], vec![7; 300], vec![0; 70_000]].concat()),
        ("code", code),
    ]
}

/// Files of the samples in a folder, and the archive that a command makes of them there.
pub fn packed(name: &str, command: &[&str], archive: &str) -> Option<Vec<u8>> {
    let folder = Folder::new(name);
    for (name, data) in samples() {
        std::fs::write(folder.0.join(name.replace(' ', "-")), data).expect("written");
    }
    run(&folder.0, command)?;
    Some(std::fs::read(folder.0.join(archive)).expect("an archive"))
}

/// Every sample is among the members, under its name, and nothing is wrong.
#[track_caller]
pub fn expect_samples(message: &Message, what: &str) {
    for (name, data) in samples() {
        let name = name.replace(' ', "-");
        let member = message.parts.iter().find(|part| part.name() == Some(&name));
        let body = member.map(|part| &part.body[..]);
        assert!(body == Some(&data[..]), "{what}: {name} {:?}", message.defects);
    }
    assert_eq!(message.defects, [], "{what}");
}

/// The samples' names, as files.
pub const FILES: &str = "nothing one-byte text noise runs code";
