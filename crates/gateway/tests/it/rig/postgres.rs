//! A real PostgreSQL with a cluster of its own in a temporary folder.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{Process, folder, free_port};

/// A running PostgreSQL, user `gatepost`, password `secret`, database `mail`.
pub struct Postgres {
    process: Option<Process>,
    /// Its port on 127.0.0.1.
    pub port: u16,
    // Last, so that the process is gone before its folder is.
    folder: tempfile::TempDir,
}

/// Where Debian keeps the programs of the newest version there is; None where it is not installed.
pub fn postgres_programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let folders = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    folders.filter(|folder| folder.join("initdb").exists()).max()
}

impl Postgres {
    /// Starts it and runs these statements.
    pub fn start(statements: &str) -> Postgres {
        let folder = folder();
        let password = folder.path().join("password");
        std::fs::write(&password, "secret\n").expect("write");
        if let Some((user, group)) = somebody() {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).expect("chown");
        }
        let mut postgres = Postgres { process: None, port: free_port(), folder };
        let data = postgres.folder.path().join("data");
        let made = postgres
            .command("initdb")
            .args(["--no-sync", "-U", "gatepost", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8"])
            .arg("--pwfile")
            .arg(&password)
            .arg("-D")
            .arg(&data)
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        postgres.restart();
        postgres.run("postgres", "CREATE DATABASE mail");
        postgres.run("mail", statements);
        postgres
    }

    /// Starts it again after [`Postgres::stop`].
    pub fn restart(&mut self) {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.folder.path().join("data")).args(["-F", "-p", &self.port.to_string()]);
        command.args(["-c", "listen_addresses=127.0.0.1"]).arg("-c");
        command.arg(format!("unix_socket_directories={}", self.folder.path().display()));
        let mut process = Process::start("postgres", &mut command, &self.folder.path().join("log"));
        process.wait_until(|| {
            let asked = self.psql("postgres").args(["-c", "SELECT 1"]).output().ok()?;
            asked.status.success().then_some(())
        });
        self.process = Some(process);
    }

    /// Ends it.
    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.signal(nix::sys::signal::Signal::SIGINT);
            process.end();
        }
    }

    /// Runs statements in a database.
    pub fn run(&self, database: &str, statements: &str) {
        let done = self.psql(database).args(["-v", "ON_ERROR_STOP=1", "-c", statements]).output();
        let done = done.expect("psql runs");
        assert!(done.status.success(), "{statements}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn psql(&self, database: &str) -> Command {
        let mut command = self.command("psql");
        command.env("PGPASSWORD", "secret").stdin(Stdio::null());
        command.args([
            "-X",
            "-q",
            "-h",
            "127.0.0.1",
            "-U",
            "gatepost",
            "-p",
            &self.port.to_string(),
            database,
        ]);
        command
    }

    /// One of its programs, as somebody who is not root.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(postgres_programs().expect("PostgreSQL").join(name));
        command.current_dir(self.folder.path());
        if let Some((user, group)) = somebody() {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The server does not run as root; its package brings a user.
fn somebody() -> Option<(u32, u32)> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let user = nix::unistd::User::from_name("postgres").ok().flatten().expect("the user postgres");
    Some((user.uid.as_raw(), user.gid.as_raw()))
}
