//! swaks, the Swiss army knife for SMTP, as an independent client; and certificates from openssl.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::program;

/// Runs swaks against a server and returns its transcript.
pub fn swaks(server: SocketAddr, arguments: &[&str]) -> String {
    let output = Command::new(program("swaks"))
        .arg("--server")
        .arg(server.ip().to_string())
        .arg("--port")
        .arg(server.port().to_string())
        .args(["--helo", "client.test", "--timeout", "30"])
        .args(arguments)
        .env("LC_ALL", "C")
        .output()
        .expect("swaks runs");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A self-signed certificate and its key, in PEM, for `gatepost.test`.
pub fn certificate(folder: &Path) -> (PathBuf, PathBuf) {
    certificate_for("DNS:gatepost.test", folder, &[])
}

/// The same for a name or address, as `subjectAltName` has it, with further extensions.
pub fn certificate_for(name: &str, folder: &Path, extensions: &[&str]) -> (PathBuf, PathBuf) {
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let subject = format!("/CN={}", name.split_once(':').map_or(name, |(_, name)| name));
    let output = Command::new(program("openssl"))
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", &subject, "-addext", &format!("subjectAltName={name}")])
        .args(extensions.iter().flat_map(|extension| ["-addext", extension]))
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (certificate, key)
}
