//! Tests of the vault.

use super::super::samples::{ORIGINAL, held};
use super::*;

fn vault(folder: &tempfile::TempDir) -> Vault {
    Vault::open(&folder.path().join("vault"), 0).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = files(folder.to_owned())
        .map(|path| path.unwrap().strip_prefix(folder).unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn messages_come_back_byte_for_byte_with_their_envelope() {
    let folder = tempfile::tempdir().unwrap();
    let vault = vault(&folder);
    for (id, original) in [("l1", ORIGINAL.to_vec()), ("Empty", Vec::new()), ("Large", vec![b'x'; 9 << 20])] {
        let entry = held(id);
        let key = vault.put(&entry, &original).unwrap();
        assert_eq!(key, format!("{}/{id}", &id[..1]));
        let (back, raw) = vault.get(&key).unwrap();
        assert!(raw == original, "{id}");
        assert_eq!(serde_json::to_value(&back).unwrap(), serde_json::to_value(&entry).unwrap());
        assert_eq!(vault.peek(&key).unwrap().record.id, id);
    }
    let envelope = vault.get("l/l1").unwrap().0.envelope();
    assert_eq!(envelope.sender, Address::new("Sender@Example.net"), "as it was written");
    assert!(envelope.parameters.eight_bit && !envelope.parameters.smtputf8);
    assert_eq!(envelope.parameters.other, ["RET=HDRS"]);
    let recipients: Vec<_> =
        envelope.recipients.iter().map(|r| (r.address.to_string(), &r.parameters[..])).collect();
    let notify = ["NOTIFY=NEVER".to_owned()];
    assert_eq!(
        recipients,
        [("one@example.org".to_owned(), &notify[..]), ("Two@sub.example.org".to_owned(), &[][..])],
        "only those it is held for"
    );
}

#[test]
fn listed_counted_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let vault = vault(&folder);
    assert_eq!(vault.usage().unwrap(), Usage::default());
    for id in ["a1", "a2", "B1"] {
        vault.put(&held(id), ORIGINAL).unwrap();
    }
    fs::write(vault.folder().join("a/not-ours"), "").unwrap();
    fs::write(vault.folder().join("stray"), "").unwrap();
    let mut keys: Vec<_> = vault.list().map(Result::unwrap).collect();
    keys.sort();
    assert_eq!(keys, ["B/B1", "a/a1", "a/a2"]);
    assert_eq!(vault.usage().unwrap().messages, 3);
    assert!(vault.usage().unwrap().bytes >= 3 * 512);
    assert!(vault.contains("a/a1"));
    assert!(vault.delete("a/a1").unwrap());
    assert!(!vault.delete("a/a1").unwrap());
    assert!(!vault.contains("a/a1"));
    assert!(matches!(vault.get("a/a1"), Err(VaultError::NotFound(_))));
}

#[test]
fn nothing_outside_the_vault_can_be_named() {
    let folder = tempfile::tempdir().unwrap();
    let vault = vault(&folder);
    fs::write(folder.path().join("secret"), "").unwrap();
    for key in ["../secret", "a/../../secret", "/etc/passwd", "a", "a/b1", "", "a/", "a/a/1", "a/a\0", "é/é"]
    {
        assert!(matches!(vault.get(key), Err(VaultError::NotFound(_))), "{key:?}");
        assert!(vault.delete(key).is_err(), "{key:?}");
        assert!(!vault.contains(key), "{key:?}");
    }
    let mut bad = held("a1");
    bad.record.id = "../x".into();
    assert!(vault.put(&bad, ORIGINAL).is_err());
}

#[test]
fn files_are_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    vault(&folder).put(&held("a1"), ORIGINAL).unwrap();
    for (name, mode) in [("", 0o700), ("a", 0o700), ("a/a1", 0o600)] {
        assert_eq!(fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o777, mode, "{name:?}");
    }
}

#[test]
fn a_message_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let vault = vault(&folder);
    vault.put(&held("a1"), ORIGINAL).unwrap();
    let Err(VaultError::Io(error)) = vault.put(&held("a1"), b"other") else { panic!("it is there already") };
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(vault.get("a/a1").unwrap().1, ORIGINAL);
    assert_eq!(names(vault.folder()), ["a/a1"]);
}

#[test]
fn every_damaged_byte_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let vault = vault(&folder);
    vault.put(&held("a1"), ORIGINAL).unwrap();
    let path = vault.folder().join("a/a1");
    let whole = fs::read(&path).unwrap();
    let is_refused = |bytes: &[u8], what: &str| {
        fs::write(&path, bytes).unwrap();
        // A bit of the frame's header that means nothing may change, but then the message is still the same.
        match vault.get("a/a1") {
            Err(VaultError::Corrupt(key, _)) => assert_eq!(key, "a/a1"),
            Ok((_, raw)) => assert_eq!(raw, ORIGINAL, "{what}"),
            Err(error) => panic!("{what}: {error}"),
        }
    };
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x41;
        is_refused(&bytes, &format!("byte {place} changed"));
        is_refused(&whole[..place], &format!("cut to {place}"));
    }
    let mut longer = whole.clone();
    longer.extend_from_slice(b"tail");
    fs::write(&path, &longer).unwrap();
    assert!(matches!(vault.get("a/a1"), Err(VaultError::Corrupt(..))));
}

#[test]
fn a_small_file_cannot_unpack_to_a_large_message() {
    let folder = tempfile::tempdir().unwrap();
    let vault = vault(&folder);
    vault.put(&held("a1"), ORIGINAL).unwrap();
    let path = vault.folder().join("a/a1");
    let mut bytes = fs::read(&path).unwrap();
    let length = u32::from_be_bytes(bytes[8..12].try_into().unwrap()) as usize;
    bytes.truncate(44 + length);
    bytes.extend(zstd::encode_all(io::repeat(0).take(1 << 30), 1).unwrap());
    fs::write(&path, bytes).unwrap();
    let started = std::time::Instant::now();
    assert!(matches!(vault.get("a/a1"), Err(VaultError::Corrupt(..))));
    assert!(started.elapsed().as_secs() < 1, "it stops after the size the header says");
}

#[test]
fn below_the_floor_nothing_is_put() {
    let folder = tempfile::tempdir().unwrap();
    let free = vault(&folder).free_bytes().unwrap();
    let full = Vault::open(&folder.path().join("vault"), free * 2).unwrap();
    assert!(matches!(full.put(&held("a1"), ORIGINAL), Err(VaultError::NoSpace)));
    assert_eq!(names(full.folder()), Vec::<String>::new());
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = super::super::samples::SmallDisk::mount(folder.path(), "1m") else { return };
    let vault = Vault::open(disk.path(), 0).unwrap();
    vault.put(&held("a1"), ORIGINAL).unwrap();
    let noise: Vec<u8> = std::iter::repeat_with(new_id).take(60_000).flat_map(String::into_bytes).collect();
    let mut put = 0;
    let error = (2..100)
        .find_map(|place| {
            let result = vault.put(&held(&format!("a{place}")), &noise[..700_000]);
            put += u32::from(result.is_ok());
            result.err()
        })
        .expect("the disk becomes full");
    assert!(matches!(error, VaultError::NoSpace), "{error}");
    assert_eq!(names(vault.folder()).len() as u32, 1 + put);
    assert_eq!(vault.get("a/a1").unwrap().1, ORIGINAL);
    // Past the check of free space, the write itself fails.
    let entry = held("b1");
    let path = vault.subfolder(&vault.folder().join("b/b1")).unwrap().join(".tmp-b1");
    let result = (0..4).try_for_each(|_| {
        let _ = fs::remove_file(&path);
        write_file(&path, &entry, &[&noise[..], &noise, &noise].concat())
    });
    assert!(matches!(result, Err(VaultError::NoSpace)), "{result:?}");
}

#[test]
fn remains_of_dead_writers_are_swept() {
    let folder = tempfile::tempdir().unwrap();
    let vault = vault(&folder);
    vault.put(&held("a1"), ORIGINAL).unwrap();
    fs::write(vault.folder().join("a/.tmp-a2-x"), "half").unwrap();
    let living = vault.folder().join("a/.tmp-a3-y");
    let file = File::create(&living).unwrap();
    file.lock().unwrap();
    assert_eq!(vault.list().count(), 1, "temporary files are no messages");
    assert_eq!(vault.sweep_temp().unwrap(), 1);
    assert_eq!(names(vault.folder()), ["a/.tmp-a3-y", "a/a1"]);
    drop(file);
    assert_eq!(vault.sweep_temp().unwrap(), 1);
    assert_eq!(names(vault.folder()), ["a/a1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_asynchronous_forms_do_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let vault = vault(&folder);
    let key = vault.put_async(held("a1"), Bytes::from_static(ORIGINAL)).await.unwrap();
    assert_eq!(vault.get_async(&key).await.unwrap().1, ORIGINAL);
    assert!(vault.delete_async(&key).await.unwrap());
}
