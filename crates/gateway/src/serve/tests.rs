//! Tests of the daemon that need no process of their own.

use super::*;
use crate::config::typed::LogFormat;

#[test]
fn what_takes_a_restart_is_kept_whole() {
    let config = |text: &str| toml::from_str::<Config>(text).unwrap();
    let old = config("data = 'a'\n[limits]\nsessions = 5");
    let mut new = config(
        "data = 'b'\nuser = 'mail'\nlog.format = 'json'\nmetrics.listen = '127.0.0.1:1'\n\
         quarantine.disk_floor = 1\nlimits.sessions = 6",
    );
    let told = keep_until_restart(&old, &mut new);
    let keys: Vec<_> = told.iter().map(|(key, ..)| *key).collect();
    assert_eq!(
        keys,
        [
            "data",
            "user",
            "journal.path",
            "quarantine.vault",
            "quarantine.disk_floor",
            "state.path",
            "metrics.listen",
            "log.format"
        ]
    );
    assert_eq!((told[0].1.as_str(), told[0].2.as_str()), ("a", "b"));
    assert_eq!(build::spool(&new), build::spool(&old));
    assert_eq!((new.vault_folder(), new.journal_path()), (old.vault_folder(), old.journal_path()));
    assert_eq!((new.user.as_str(), &new.metrics.listen), ("", &old.metrics.listen));
    assert_eq!((new.quarantine.disk_floor, new.log.format), (old.quarantine.disk_floor, LogFormat::Text));
    assert_eq!(new.limits.sessions, 6, "the rest is new");
    assert!(keep_until_restart(&old, &mut old.clone()).is_empty());
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What a session says until `wanted` stands in it.
async fn read_until(stream: &mut tokio::net::TcpStream, wanted: &str) -> String {
    use tokio::io::AsyncReadExt as _;
    let mut text = String::new();
    let reading = async {
        while !text.contains(wanted) {
            let mut buffer = [0; 1024];
            let length = stream.read(&mut buffer).await.unwrap();
            assert!(length > 0, "the session ended with {text:?}");
            text.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reading).await.expect(wanted);
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_goes_by_reload_and_its_sessions_are_waited_for() {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpStream;
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (free_port(), free_port());
    let file = folder.path().join("gatepost.toml");
    let write = |ports: &[u16]| {
        let mut text = format!(
            "hostname = 'gate.test'\nmetrics.listen = ''\ndata = '{}'\nquarantine.disk_floor = 0\n",
            folder.path().join("data").display()
        );
        for port in ports {
            text.push_str(&format!("[[listener]]\nlisten = ['127.0.0.1:{port}']\nname = 'n{port}'\n"));
        }
        std::fs::write(&file, text).unwrap();
        load::load_with(Some(&file), []).unwrap()
    };
    let loaded = write(&[first]);
    std::fs::create_dir_all(build::spool(&loaded.config)).unwrap();
    let sockets = prepare(&loaded.config).unwrap();
    let logging = logging::start(&loaded.config.log).unwrap();
    let mut daemon = Daemon::start(Some(file.clone()), loaded, logging, sockets).await.unwrap();
    let mut session = TcpStream::connect(("127.0.0.1", first)).await.unwrap();
    read_until(&mut session, "220 ").await;
    session.write_all(b"EHLO a.test\r\n").await.unwrap();
    read_until(&mut session, "250 ").await;
    session.write_all(b"MAIL FROM:<a@a.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n").await.unwrap();
    read_until(&mut session, "354 ").await;

    // Of two new addresses one is taken: nothing changes.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    write(&[second, taken.local_addr().unwrap().port()]);
    assert!(daemon.try_reload().await.unwrap_err().contains("cannot listen on"));
    assert!(TcpStream::connect(("127.0.0.1", first)).await.is_ok());
    assert!(TcpStream::connect(("127.0.0.1", second)).await.is_err());

    write(&[second]);
    daemon.try_reload().await.unwrap();
    assert!(TcpStream::connect(("127.0.0.1", second)).await.is_ok());
    assert_eq!(daemon.leaving.len(), 1);
    let draining = tokio::spawn(daemon.drain());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!draining.is_finished(), "a message is under way");
    session.write_all(b"Subject: x\r\n\r\nx\r\n.\r\n").await.unwrap();
    read_until(&mut session, "250 ").await;
    tokio::time::timeout(Duration::from_secs(10), draining).await.expect("drained").unwrap();
}
