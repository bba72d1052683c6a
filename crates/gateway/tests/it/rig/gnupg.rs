//! The program gpg with a home of its own; its agent ends with it. Tests of the code beside which it signs use it too.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Keys and signatures.
pub struct Gnupg {
    home: tempfile::TempDir,
}

impl Gnupg {
    /// One without keys.
    pub fn new() -> Gnupg {
        let home = tempfile::tempdir().expect("a temporary folder");
        let private = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(home.path(), private).expect("close the folder");
        Gnupg { home }
    }

    /// A place in its home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Runs it, without a question to anybody; what it prints.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new("gpg")
            .env("GNUPGHOME", self.home.path())
            .args([
                "--batch",
                "--yes",
                "--quiet",
                "--no-tty",
                "--passphrase",
                "",
                "--pinentry-mode",
                "loopback",
            ])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("gpg runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Makes a key for a user.
    pub fn generate(&self, user: &str, algorithm: &str, usage: &str, expires: &str) {
        self.run(&["--quick-generate-key", user, algorithm, usage, expires]);
    }

    /// Writes the public keys of these users into a file.
    pub fn export(&self, users: &[&str], armored: bool, file: &Path) {
        let armor: &[&str] = if armored { &["--armor"] } else { &[] };
        self.run(&[armor, &["--output", plain(file), "--export"], users].concat());
    }

    /// Signs a file; the signature is another. With `options`, as gpg takes them.
    pub fn sign(&self, user: &str, file: &Path, signature: &Path, options: &[&str]) {
        let to = ["--local-user", user, "--output", plain(signature)];
        self.run(&[&to[..], options, &["--detach-sign", plain(file)]].concat());
    }
}

impl Drop for Gnupg {
    fn drop(&mut self) {
        let mut end = Command::new("gpgconf");
        let _ = end.env("GNUPGHOME", self.home.path()).args(["--kill", "all"]).status();
    }
}

fn plain(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}
