//! The host's name, the user, folders and rule files.

use std::ffi::CString;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::AccessFlags;

use super::Line;
use crate::config::Config;
use crate::config::typed::ListenerProtocol;
use crate::config::update::Source;
use crate::privileges;
use crate::updating;

/// The host's name and the user to become.
pub(super) fn host(config: &Config) -> Vec<Line> {
    let mut lines = Vec::new();
    if !config.hostname.contains('.') {
        let detail =
            "has no domain; mail servers expect a full name such as mail.example.org. Set `hostname`";
        lines.push(Line::doubtful(format!("host name {}", config.hostname), detail));
    }
    if !config.user.is_empty() {
        let user = privileges::find_user(&config.user);
        let detail = user.map(|user| format!("uid {}, gid {}", user.uid, user.gid));
        lines.push(Line::of(format!("user {}", config.user), detail));
    }
    lines
}

/// The processes that unpack: one is started, and tries what it must not be able to do.
pub(super) fn workers(config: &Config) -> Vec<Line> {
    const WHAT: &str = "workers";
    if !config.worker.enabled {
        let detail = "none: archives and documents are unpacked in the daemon itself. Set `worker.enabled`";
        return vec![Line::doubtful(WHAT, detail)];
    }
    let line = |tried| match tried {
        Ok((can, missing)) if Vec::is_empty(&missing) => Line::good(WHAT, can),
        Ok((can, missing)) => {
            Line::doubtful(WHAT, format!("{can}, but there is no {} here", missing.join(" and no ")))
        }
        Err(error) => Line::bad(WHAT, error),
    };
    crate::worker::self_test(config).map(line).into_iter().collect()
}

/// The data folder, the vault and the journal.
pub(super) fn folders(config: &Config) -> Vec<Line> {
    let mut lines = vec![folder("data folder", &config.data, config)];
    if config.quarantine.vault.is_some() {
        lines.push(folder("vault", &config.vault_folder(), config));
    }
    if let Some(parent) = config.journal.path.as_deref().and_then(Path::parent) {
        lines.push(folder("journal's folder", parent, config));
    }
    if let Some(line) = free_space(config) {
        lines.push(line);
    }
    lines
}

/// Rules and hash lists that are fetched: their keys, and whether they are there.
pub(super) fn updates(config: &Config) -> Vec<Line> {
    let line = |(name, source): (&String, &Source)| {
        let what = format!("update source {name}");
        match updating::check(config, name, source) {
            Ok(true) => Line::good(what, "installed"),
            Ok(false) => Line::doubtful(what, "not fetched yet; `gatepost update` does it now"),
            Err(why) => Line::bad(what, why),
        }
    };
    let mut lines: Vec<Line> = config.update.source.iter().map(line).collect();
    for (name, installed) in updating::channels::check(config) {
        let what = format!("rule channel {name}");
        lines.push(match installed {
            Ok(Some(number)) => Line::good(what, format!("version {number} is installed")),
            Ok(None) => Line::doubtful(what, "not fetched yet; `gatepost rules update` does it now"),
            Err(why) => Line::bad(what, why),
        });
    }
    lines
}

/// Folders of Sendmail's queues: they are Sendmail's, so they must be there.
pub(super) fn queues(config: &Config) -> Vec<Line> {
    let mut lines = Vec::new();
    for queue in config.queues() {
        let mut devices = Vec::new();
        for (name, path) in [("incoming", &queue.incoming), ("outgoing", &queue.outgoing)] {
            let what = format!("queue {}: {name} folder {}", queue.name, path.display());
            lines.push(queue_folder(what, path, config));
            devices.extend(path.metadata().map(|metadata| metadata.dev()));
        }
        if let [incoming, outgoing] = devices[..]
            && incoming != outgoing
        {
            let detail = "the folders are on different file systems: each message is copied";
            lines.push(Line::doubtful(format!("queue {}", queue.name), detail));
        }
        if config.quarantine.release_to.is_empty() {
            let detail = "no quarantine.release_to: held mail cannot be released";
            lines.push(Line::doubtful(format!("queue {}", queue.name), detail));
        }
    }
    lines
}

fn queue_folder(what: String, path: &Path, config: &Config) -> Line {
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        Err(error) => return Line::bad(what, error.to_string()),
    };
    if !metadata.is_dir() {
        return Line::bad(what, "is not a folder");
    }
    if let Ok(user) = privileges::find_user(&config.user)
        && !user.uid.is_root()
        && metadata.uid() != user.uid.as_raw()
    {
        let detail = "belongs to another user, and Sendmail takes no queue file of a stranger: run gatepost as root or as that user";
        return Line::bad(what, detail);
    }
    match nix::unistd::access(path, AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) => Line::good(what, "readable and writable"),
        Err(error) => Line::bad(what, format!("is not readable and writable: {}", error.desc())),
    }
}

/// One folder: there and writable, or creatable. For the user it will belong to, as far as its modes tell.
pub(super) fn folder(name: &str, path: &Path, config: &Config) -> Line {
    let what = format!("{name} {}", path.display());
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return creatable(what, path),
        Err(error) => return Line::bad(what, error.to_string()),
    };
    if !metadata.is_dir() {
        return Line::bad(what, "is not a folder");
    }
    if let Ok(user) = privileges::find_user(&config.user)
        && nix::unistd::geteuid().is_root()
        && metadata.uid() != user.uid.as_raw()
    {
        let detail = format!("belongs to another user; run chown -R {} {}", config.user, path.display());
        return Line::doubtful(what, detail);
    }
    if metadata.mode() & 0o007 != 0 {
        return Line::doubtful(what, format!("others can look into it; run chmod 750 {}", path.display()));
    }
    match nix::unistd::access(path, AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) => Line::good(what, "writable"),
        Err(error) => Line::bad(what, format!("is not writable: {}", error.desc())),
    }
}

fn creatable(what: String, path: &Path) -> Line {
    let nearest =
        path.ancestors().skip(1).find(|ancestor| !ancestor.as_os_str().is_empty() && ancestor.exists());
    let nearest = nearest.unwrap_or(Path::new("."));
    match nix::unistd::access(nearest, AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) if nearest.is_dir() => Line::good(what, "would be created"),
        Ok(()) => Line::bad(what, format!("cannot be created: {} is not a folder", nearest.display())),
        Err(error) => {
            Line::bad(what, format!("cannot be created in {}: {}", nearest.display(), error.desc()))
        }
    }
}

/// Space for the vault, against its floor.
fn free_space(config: &Config) -> Option<Line> {
    let vault = config.vault_folder();
    let present = vault.ancestors().find(|ancestor| !ancestor.as_os_str().is_empty() && ancestor.exists());
    let statistics = nix::sys::statvfs::statvfs(present.unwrap_or(Path::new("."))).ok()?;
    let free = statistics.blocks_available().saturating_mul(statistics.fragment_size());
    let floor = config.quarantine.disk_floor;
    (free < floor.bytes()).then(|| {
        let detail =
            format!("{} MiB free, under quarantine.disk_floor ({floor}): nothing could be held", free >> 20);
        Line::bad(format!("vault {}", vault.display()), detail)
    })
}

/// YARA rules and hash lists: there and readable. What is in them is judged when the checks are built.
pub(super) fn rules(config: &Config) -> Vec<Line> {
    let embedded = &config.checks.embedded;
    let mut lines = Vec::new();
    if !embedded.enabled {
        return lines;
    }
    if let Some(folder) = &embedded.rules {
        let what = format!("YARA rules {}", folder.display());
        lines.push(match readable_files(folder, &["yar", "yara"]) {
            Ok(0) => Line::doubtful(what, "there is no *.yar or *.yara file in it"),
            Ok(files) => Line::good(what, format!("{files} files readable")),
            Err(detail) => Line::bad(what, detail),
        });
    }
    for path in &embedded.hashes {
        let what = format!("hash list {}", path.display());
        lines.push(match readable_files(path, &["hdb", "hsb"]) {
            Ok(0) => Line::doubtful(what, "there is no *.hdb or *.hsb file in it"),
            Ok(1) => Line::good(what, "readable"),
            Ok(files) => Line::good(what, format!("{files} files readable")),
            Err(detail) => Line::bad(what, detail),
        });
    }
    lines
}

/// Folders that the messages of AM.PDP clients lie in, and those of its sockets.
pub(super) fn ampdp(config: &Config) -> Vec<Line> {
    let mut lines = Vec::new();
    let listeners = config.listeners().into_iter();
    for listener in listeners.filter(|listener| listener.protocol == ListenerProtocol::AmPdp) {
        for folder in &listener.mail_folders {
            lines.push(mail_folder(&listener.name, folder, config));
        }
        let sockets = listener.listen.iter().filter_map(|text| text.strip_prefix("unix:"));
        for folder in sockets.filter_map(|socket| Path::new(socket).parent()) {
            if !listener.require_secret && anybody_may_enter(folder) {
                let what = format!("listener {}: socket's folder {}", listener.name, folder.display());
                let detail = "everybody on this host may enter it, and have held mail released; close it, \
                              or set require_secret";
                lines.push(Line::doubtful(what, detail));
            }
        }
    }
    lines
}

fn mail_folder(listener: &str, folder: &Path, config: &Config) -> Line {
    let what = format!("listener {listener}: mail folder {}", folder.display());
    let metadata = match folder.metadata() {
        Ok(metadata) if metadata.is_dir() => metadata,
        Ok(_) => return Line::bad(what, "is not a folder"),
        Err(error) => return Line::doubtful(what, error.to_string()),
    };
    let readable = match privileges::find_user(&config.user) {
        Ok(user) if nix::unistd::geteuid().is_root() => {
            let groups = CString::new(user.name).ok();
            let groups = groups.and_then(|name| nix::unistd::getgrouplist(&name, user.gid).ok());
            let in_group = groups.unwrap_or_default().iter().any(|group| group.as_raw() == metadata.gid());
            let needed = match (metadata.uid() == user.uid.as_raw(), in_group) {
                (true, _) => 0o500,
                (_, true) => 0o050,
                _ => 0o005,
            };
            metadata.mode() & needed == needed
        }
        _ => nix::unistd::access(folder, AccessFlags::R_OK | AccessFlags::X_OK).is_ok(),
    };
    let group = nix::unistd::Group::from_gid(metadata.gid().into()).ok().flatten();
    let group = group.map_or_else(|| metadata.gid().to_string(), |group| group.name);
    match readable {
        true => Line::good(what, "readable"),
        false => {
            Line::bad(what, format!("gatepost cannot look into it; put its user into the group {group}"))
        }
    }
}

fn anybody_may_enter(folder: &Path) -> bool {
    let enterable = |folder: &Path| folder.metadata().is_ok_and(|metadata| metadata.mode() & 0o001 != 0);
    folder.ancestors().filter(|ancestor| !ancestor.as_os_str().is_empty()).all(enterable)
}

/// Opens a file, or the files in a folder that have one of these endings; tells how many.
fn readable_files(path: &Path, endings: &[&str]) -> Result<usize, String> {
    let wrong = |path: &Path, error: std::io::Error| {
        if path.is_dir() {
            format!("{}: {error}", path.display())
        } else {
            format!("cannot be read: {error}")
        }
    };
    if !path.is_dir() {
        return std::fs::File::open(path).map(|_| 1).map_err(|error| wrong(path, error));
    }
    let mut files = 0;
    for entry in std::fs::read_dir(path).map_err(|error| wrong(path, error))? {
        let file = entry.map_err(|error| wrong(path, error))?.path();
        if file.extension().is_some_and(|ending| endings.iter().any(|known| ending == *known)) {
            std::fs::File::open(&file).map_err(|error| format!("{}: {error}", file.display()))?;
            files += 1;
        }
    }
    Ok(files)
}
