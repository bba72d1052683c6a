//! A gpg with a home of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{folder, program};

/// Keys and signatures; its agent ends with it.
pub struct Gpg {
    home: tempfile::TempDir,
}

impl Gpg {
    /// With a signing key for each of these users.
    pub fn with(users: &[&str]) -> Gpg {
        use std::os::unix::fs::PermissionsExt;
        let home = folder();
        let private = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(home.path(), private).expect("close the folder");
        let gpg = Gpg { home };
        for user in users {
            gpg.run(&["--quick-generate-key", user, "ed25519", "sign", "never"]);
        }
        gpg
    }

    fn run(&self, arguments: &[&str]) {
        let output = Command::new(program("gpg"))
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
            .output()
            .expect("gpg runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The key of a user, armored, as a file.
    pub fn key(&self, user: &str) -> PathBuf {
        let path = self.home.path().join(format!("{user}.asc"));
        self.run(&["--armor", "--output", path.to_str().expect("a plain path"), "--export", user]);
        path
    }

    /// Signs a file; the signature lies beside it, with `.asc` behind its name. With `options`, as gpg takes them.
    pub fn sign(&self, user: &str, file: &Path, options: &[&str]) {
        let file = file.to_str().expect("a plain path");
        self.run(&[&["--armor", "--local-user", user], options, &["--detach-sign", file]].concat());
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let mut end = Command::new("gpgconf");
        let _ = end.env("GNUPGHOME", self.home.path()).args(["--kill", "all"]).status();
    }
}
