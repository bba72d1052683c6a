//! Keys and signatures by a real gpg.

#[path = "../../../tests/it/rig/gnupg.rs"]
mod gnupg;

use std::fs;
use std::process::{Command, Stdio};

use super::*;
use gnupg::Gnupg;

struct Gpg(Gnupg);

impl Gpg {
    fn new() -> Option<Gpg> {
        let there = Command::new("gpg").arg("--version").stdout(Stdio::null()).status();
        if !there.is_ok_and(|status| status.success()) {
            println!("skipped: gpg is not installed (package gnupg)");
            return None;
        }
        Some(Gpg(Gnupg::new()))
    }

    fn run(&self, arguments: &[&str]) {
        self.0.run(arguments);
    }

    fn generate(&self, user: &str, algorithm: &str, usage: &str, expires: &str) {
        self.0.generate(user, algorithm, usage, expires);
    }

    fn fingerprint(&self, user: &str) -> String {
        let text = self.0.run(&["--with-colons", "--list-keys", user]);
        let line = text.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    /// The keys of these users as a file, armored or not.
    fn keys(&self, users: &[&str], armored: bool) -> Vec<u8> {
        let path = self.0.path("keys");
        self.0.export(users, armored, &path);
        fs::read(path).unwrap()
    }

    fn sign(&self, user: &str, content: &[u8], options: &[&str]) -> Vec<u8> {
        let (file, signature) = (self.0.path("content"), self.0.path("signature"));
        fs::write(&file, content).unwrap();
        self.0.sign(user, &file, &signature, options);
        fs::read(signature).unwrap()
    }
}

const CONTENT: &[u8] = b"rule a { condition: false }\r\nand more\n";

fn why(result: Result<Signed, String>) -> String {
    result.map_or_else(|why| why, |signed| format!("good: {}", signed.by))
}

#[test]
fn signatures_of_gpg_in_every_form() {
    let Some(gpg) = Gpg::new() else { return };
    for (user, algorithm) in
        [("ed", "ed25519"), ("rsa", "rsa3072"), ("nist", "nistp256"), ("brain", "brainpoolP256r1")]
    {
        gpg.generate(user, algorithm, "sign", "1y");
        let keys = Keys::parse(&gpg.keys(&[user], true));
        if user == "brain" {
            // A curve that rPGP does not verify by: no key, or no good signature, but nothing worse.
            let signature = gpg.sign(user, CONTENT, &[]);
            assert!(keys.and_then(|keys| keys.verify(CONTENT, &signature)).is_err());
            continue;
        }
        let keys = keys.unwrap();
        for options in [&[][..], &["--armor"], &["--textmode"], &["--digest-algo", "SHA512", "--armor"]] {
            let signature = gpg.sign(user, CONTENT, options);
            let signed = keys.verify(CONTENT, &signature).unwrap();
            assert_eq!(signed.by.to_uppercase(), gpg.fingerprint(user), "{user} {options:?}");
            assert!(
                SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() - signed.at < 600
            );
            for wrong in [&CONTENT[1..], b"", &[CONTENT, b"x"].concat()] {
                let why = keys.verify(wrong, &signature).unwrap_err();
                assert!(why.contains("is not of this content"), "{why}");
            }
            // Of an armored one the last line may be missing.
            if options.is_empty() {
                for end in (0..signature.len()).step_by(7) {
                    assert!(keys.verify(CONTENT, &signature[..end]).is_err(), "{user} cut at {end}");
                }
                let mut damaged = signature.clone();
                let last = damaged.len() - 1;
                damaged[last] ^= 1;
                assert!(keys.verify(CONTENT, &damaged).is_err());
            }
        }
    }
}

#[test]
fn keys_of_others_and_several_keys() {
    let Some(gpg) = Gpg::new() else { return };
    gpg.generate("one", "ed25519", "sign", "never");
    gpg.generate("two", "ed25519", "sign", "never");
    let by_two = gpg.sign("two", CONTENT, &[]);
    let one = Keys::parse(&gpg.keys(&["one"], false)).unwrap();
    assert!(why(one.verify(CONTENT, &by_two)).contains("which is none of the keys"));
    // Both in one block, in two blocks one behind the other, and unarmored.
    let blocks = [gpg.keys(&["one"], true), gpg.keys(&["two"], true)].concat();
    for file in [gpg.keys(&["one", "two"], true), blocks, gpg.keys(&["one", "two"], false)] {
        let both = Keys::parse(&file).unwrap();
        assert!(why(both.verify(CONTENT, &by_two)).starts_with("good: "));
    }
    // Two signatures in one file: one that counts is enough.
    let signatures = [gpg.sign("two", CONTENT, &[]), gpg.sign("one", CONTENT, &[])].concat();
    assert!(why(one.verify(CONTENT, &signatures)).starts_with("good: "));

    for (bytes, expected) in [
        (&b""[..], "no OpenPGP key"),
        (b"nonsense", "no OpenPGP key"),
        (&[0xff; 300], "OpenPGP key"),
        (&by_two, "OpenPGP key"),
    ] {
        let why = Keys::parse(bytes).unwrap_err();
        assert!(why.contains(expected), "{why}");
        assert!(one.verify(CONTENT, bytes).is_err());
    }
    let missing = Keys::read(Path::new("/nonexistent/key.asc")).unwrap_err();
    assert!(missing.starts_with("/nonexistent/key.asc: "), "{missing}");
}

#[test]
fn what_a_key_may_not_do() {
    let Some(gpg) = Gpg::new() else { return };
    // A signing subkey; the primary key only certifies.
    gpg.generate("sub", "ed25519", "cert", "never");
    let fingerprint = gpg.fingerprint("sub");
    gpg.run(&["--quick-add-key", &fingerprint, "ed25519", "sign", "1y"]);
    let signature = gpg.sign("sub", CONTENT, &[]);
    let keys = Keys::parse(&gpg.keys(&["sub"], true)).unwrap();
    assert_eq!(why(keys.verify(CONTENT, &signature)).to_uppercase(), format!("GOOD: {fingerprint}"));

    // Only a key that may sign.
    gpg.generate("cert", "ed25519", "cert", "never");
    let said = Keys::parse(&gpg.keys(&["cert"], true)).unwrap_err();
    assert!(said.contains("may not sign"), "{said}");

    // Digests that can be forged.
    gpg.generate("weak", "rsa2048", "sign", "never");
    let keys = Keys::parse(&gpg.keys(&["weak"], true)).unwrap();
    let signature = gpg.sign("weak", CONTENT, &["--digest-algo", "SHA1"]);
    assert!(why(keys.verify(CONTENT, &signature)).contains("can be forged"));

    // A signature that has expired, and one that is of tomorrow.
    let signature = gpg.sign("weak", CONTENT, &["--default-sig-expire", "seconds=5"]);
    let at = |seconds: u64| SystemTime::now() + Duration::from_secs(seconds);
    assert!(why(keys.verify_at(CONTENT, &signature, at(1000))).contains("has expired"));
    let yesterday = SystemTime::now() - Duration::from_secs(86_400);
    assert!(why(keys.verify_at(CONTENT, &signature, yesterday)).contains("in the future"));

    // Revoked.
    let certificate = gpg.0.path("openpgp-revocs.d").join(format!("{}.rev", gpg.fingerprint("weak")));
    let text = fs::read_to_string(&certificate).unwrap().replace(":-----BEGIN", "-----BEGIN");
    fs::write(&certificate, text).unwrap();
    gpg.run(&["--import", certificate.to_str().unwrap()]);
    let said = Keys::parse(&gpg.keys(&["weak"], true)).unwrap_err();
    assert!(said.contains("is revoked"), "{said}");
}

/// A key that has expired vouches for what was signed before, and for nothing after.
#[test]
fn an_expired_key() {
    let Some(gpg) = Gpg::new() else { return };
    let day = 86_400;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let faked = |days: u64| format!("{}!", now - days * day);
    let generated = faked(30);
    let make = ["--faked-system-time", &generated, "--quick-generate-key", "old", "ed25519", "sign", "10d"];
    gpg.run(&make);
    let keys = Keys::parse(&gpg.keys(&["old"], true)).unwrap();
    let before = gpg.sign("old", CONTENT, &["--faked-system-time", &faked(25)]);
    let signed = keys.verify(CONTENT, &before).unwrap();
    assert!(signed.at.abs_diff(now - 25 * day) < 100);
    // gpg itself does not sign by an expired key, so that of another date is told to have been made before.
    let later = Signer { expires: Some(now - 26 * day), ..keys.signers.into_iter().next().unwrap() };
    let keys = Keys { signers: vec![later] };
    assert!(why(keys.verify(CONTENT, &before)).contains("had expired"));
}

/// SpamAssassin's key is of 2005, and signed by itself over SHA-1.
#[test]
fn keys_by_their_ids() {
    const PRIMARY: &str = "5e541dc959cb8bac7c78dfdc4056a61a5244ec45";
    let keys = || Keys::parse(include_bytes!("../../updating/channels/spamassassin.asc")).unwrap();
    assert_eq!(keys().names(), [PRIMARY]);
    for (id, expected) in [
        // The primary key's name stands for its subkeys, too.
        ("5244EC45", 2),
        ("4056A61A5244EC45", 2),
        (PRIMARY, 2),
        ("24f434ce", 1),
        ("0C2B1D7175B852C64B3CDC716C55397824F434CE", 1),
        ("5244EC46", 0),
        ("0000000000000000000000000000000000000000005244EC45", 0),
    ] {
        assert_eq!(keys().named(&[id.to_owned()]).signers.len(), expected, "{id}");
    }
    let both = keys().named(&["24F434CE".into()]).and(keys().named(&["5244EC45".into()]));
    assert!(both.signers.len() == 3 && both.names() == [PRIMARY] && !both.is_empty());
    assert!(keys().named(&[]).is_empty());
}
