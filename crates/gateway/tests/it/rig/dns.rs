//! A real name server (unbound) that knows a few names and nothing else.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use super::{Process, folder, free_address, program};

/// A running name server.
pub struct Dns {
    _process: Process,
    /// Where it answers.
    pub address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Dns {
    /// Starts it with zones that end in nothing but NXDOMAIN, and records in them: `2.0.0.127.bl.test. A 127.0.0.2`.
    pub fn start(zones: &[&str], records: &[&str]) -> Dns {
        let folder = folder();
        let address = free_address();
        let mut config = format!(
            "server:\n interface: 127.0.0.1@{}\n do-ip6: no\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n \
             directory: {:?}\n pidfile: \"\"\n use-syslog: no\n logfile: \"\"\n num-threads: 1\n \
             access-control: 127.0.0.0/8 allow\n do-not-query-localhost: yes\n module-config: \"iterator\"\n \
             local-zone: \".\" refuse\n",
            address.port(),
            folder.path(),
        );
        for zone in zones {
            config.push_str(&format!(" local-zone: \"{zone}\" static\n"));
        }
        for record in records {
            config.push_str(&format!(" local-data: '{record}'\n"));
        }
        let file = folder.path().join("unbound.conf");
        std::fs::write(&file, config).expect("write");
        let mut command = Command::new(program("unbound"));
        command.arg("-d").arg("-c").arg(&file);
        let mut process = Process::start("unbound", &mut command, &folder.path().join("log"));
        process.wait_until(|| asked(address));
        Dns { _process: process, address, _folder: folder }
    }

    /// Configuration that looks names up there.
    pub fn config(&self) -> String {
        format!("[checks.dns]\nservers = [\"{}\"]\n", self.address)
    }
}

/// A TXT record, in strings that are short enough.
pub fn txt(name: &str, text: &str) -> String {
    let pieces: Vec<String> =
        text.as_bytes().chunks(200).map(|piece| format!("\"{}\"", String::from_utf8_lossy(piece))).collect();
    format!("{name}. TXT {}", pieces.join(" "))
}

/// Whether it answers a question at all (NS of the root).
fn asked(address: SocketAddr) -> Option<()> {
    let socket = UdpSocket::bind("127.0.0.1:0").ok()?;
    socket.set_read_timeout(Some(Duration::from_millis(200))).ok()?;
    socket.send_to(b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\0\0\x02\0\x01", address).ok()?;
    socket.recv(&mut [0; 512]).ok().map(drop)
}
