//! A web server that serves a folder: Python's, which knows If-Modified-Since. By some paths it misbehaves.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use super::swaks::certificate_for;
use super::{Process, answers, folder, free_address, program};

/// `/hang/…` is never answered, `/cut/…` ends before its announced length, `/stall/…` stops half-way; all others are files.
const SERVER: &str = r#"
import http.server, os, ssl, sys, time
class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        kind, _, name = self.path[1:].partition('/')
        if kind == 'hang':
            self.log_message('hang')
            time.sleep(600)
        if kind in ('cut', 'stall'):
            content = open(name, 'rb').read()
            self.send_response(200)
            self.send_header('Content-Length', str(len(content)))
            self.end_headers()
            self.wfile.write(content[:len(content) // 2])
            self.wfile.flush()
            self.log_message(kind)
            if kind == 'stall':
                time.sleep(600)
            self.close_connection = True
            return
        super().do_GET()
    def log_message(self, format, *args):
        sys.stderr.write(format % args + '\n')
        sys.stderr.flush()
port, certificate, key = int(sys.argv[1]), sys.argv[2], sys.argv[3]
server = http.server.ThreadingHTTPServer(('127.0.0.1', port), Handler)
if certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

/// A running web server.
pub struct Site {
    _process: Process,
    address: SocketAddr,
    /// Its certificate, which is its own authority.
    pub certificate: Option<PathBuf>,
    folder: tempfile::TempDir,
}

impl Site {
    /// Starts it, over TLS or not.
    pub fn start(tls: bool) -> Site {
        let (folder, address) = (folder(), free_address());
        let root = folder.path().join("root");
        std::fs::create_dir(&root).expect("a folder");
        // It vouches for itself, and for no others.
        let own = || certificate_for("IP:127.0.0.1", folder.path(), &["basicConstraints=critical,CA:FALSE"]);
        let keys = tls.then(own);
        let shown = |path: Option<&PathBuf>| path.map(|path| path.display().to_string()).unwrap_or_default();
        let mut command = Command::new(program("python3"));
        command.args(["-c", SERVER, &address.port().to_string()]);
        command.arg(shown(keys.as_ref().map(|(certificate, _)| certificate)));
        command.arg(shown(keys.as_ref().map(|(_, key)| key))).current_dir(&root);
        let mut process = Process::start("web server", &mut command, &folder.path().join("log"));
        process.wait_until(|| answers(address).then_some(()));
        Site { _process: process, address, certificate: keys.map(|(certificate, _)| certificate), folder }
    }

    /// The folder that it serves.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// The URL of a file.
    pub fn url(&self, name: &str) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/{name}", self.address)
    }

    /// All that it was asked, a line each.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}
