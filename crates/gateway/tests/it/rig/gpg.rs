//! A gpg with signing keys.

use std::path::{Path, PathBuf};

use super::gnupg::Gnupg;

/// Keys and signatures; its agent ends with it.
pub struct Gpg(Gnupg);

impl Gpg {
    /// With a signing key for each of these users.
    pub fn with(users: &[&str]) -> Gpg {
        let gpg = Gnupg::new();
        users.iter().for_each(|user| gpg.generate(user, "ed25519", "sign", "never"));
        Gpg(gpg)
    }

    /// The key of a user, armored, as a file.
    pub fn key(&self, user: &str) -> PathBuf {
        let path = self.0.path(&format!("{user}.asc"));
        self.0.export(&[user], true, &path);
        path
    }

    /// Signs a file; the signature lies beside it, with `.asc` behind its name. With `options`, as gpg takes them.
    pub fn sign(&self, user: &str, file: &Path, options: &[&str]) {
        let mut signature = file.as_os_str().to_owned();
        signature.push(".asc");
        self.0.sign(user, file, Path::new(&signature), &[&["--armor"], options].concat());
    }
}
