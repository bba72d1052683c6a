//! How this host is: its load average and free disk space, read by one task once a second, so that asking costs nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// What can be asked of a host. Both may block.
pub trait Machine: Send + Sync {
    /// Load average over one minute.
    fn load(&self) -> io::Result<f64>;

    /// Bytes that we may yet write in a folder.
    fn free(&self, folder: &Path) -> io::Result<u64>;
}

/// The host we run on.
pub struct Host {
    /// A file that begins with the load average: /proc/loadavg.
    pub load_file: PathBuf,
}

impl Machine for Host {
    fn load(&self) -> io::Result<f64> {
        let text = std::fs::read_to_string(&self.load_file)?;
        let load = text.split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
        load.filter(|load| load.is_finite())
            .ok_or_else(|| io::Error::other("does not begin with a load average"))
    }

    fn free(&self, folder: &Path) -> io::Result<u64> {
        let disk = nix::sys::statvfs::statvfs(folder)?;
        // Their width depends on the system.
        #[allow(clippy::useless_conversion)]
        Ok(u64::from(disk.blocks_available()).saturating_mul(u64::from(disk.fragment_size())))
    }
}

/// What was last read. Nothing is known at first, and nothing where it cannot be read.
pub struct Gauge {
    /// The bits of an f64; NaN when not known.
    load: AtomicU64,
    /// u64::MAX when not known.
    free: AtomicU64,
}

impl Default for Gauge {
    fn default() -> Gauge {
        Gauge { load: AtomicU64::new(f64::NAN.to_bits()), free: AtomicU64::new(u64::MAX) }
    }
}

impl Gauge {
    /// Load average over one minute.
    pub fn load(&self) -> Option<f64> {
        Some(f64::from_bits(self.load.load(Ordering::Relaxed))).filter(|load| !load.is_nan())
    }

    /// Free bytes in the fullest of the folders.
    pub fn free(&self) -> Option<u64> {
        Some(self.free.load(Ordering::Relaxed)).filter(|&free| free != u64::MAX)
    }

    /// Reads both; gives what could not be read. May block.
    pub fn read(&self, machine: &dyn Machine, folders: &[PathBuf]) -> Vec<String> {
        let mut failed = Vec::new();
        let load = machine.load().unwrap_or_else(|error| {
            failed.push(format!("load average: {error}"));
            f64::NAN
        });
        self.load.store(load.to_bits(), Ordering::Relaxed);
        let mut least = u64::MAX;
        for folder in folders {
            match machine.free(folder) {
                Ok(free) => least = least.min(free),
                Err(error) => failed.push(format!("free space of {}: {error}", folder.display())),
            }
        }
        self.free.store(least, Ordering::Relaxed);
        failed
    }

    /// Reads them again and again, as long as anybody else has the gauge. What cannot be read counts as not known, and the
    /// log says so once.
    pub fn tend(self: &Arc<Gauge>, machine: Arc<dyn Machine>, folders: Vec<PathBuf>) {
        let gauge = Arc::downgrade(self);
        let folders = Arc::new(folders);
        tokio::spawn(async move {
            let mut told = Vec::new();
            let mut ticks = tokio::time::interval(EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let Some(gauge) = gauge.upgrade() else { return };
                let (machine, folders) = (machine.clone(), folders.clone());
                let reading = tokio::task::spawn_blocking(move || gauge.read(machine.as_ref(), &folders));
                let failed = reading.await.unwrap_or_default();
                if failed != told {
                    failed.iter().for_each(|why| tracing::warn!("cannot be read, taken as good: {why}"));
                    told = failed;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake(io::Result<f64>, u64);

    impl Machine for Fake {
        fn load(&self) -> io::Result<f64> {
            self.0.as_ref().copied().map_err(|error| io::Error::other(error.to_string()))
        }
        fn free(&self, folder: &Path) -> io::Result<u64> {
            match folder.to_str() {
                Some("none") => Err(io::Error::other("is not there")),
                Some("full") => Ok(7),
                _ => Ok(self.1),
            }
        }
    }

    #[test]
    fn the_fullest_folder_counts_and_what_cannot_be_read_is_not_known() {
        let gauge = Gauge::default();
        assert_eq!((gauge.load(), gauge.free()), (None, None));
        let folders = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert!(gauge.read(&Fake(Ok(1.5), 100), &folders(&["a", "full"])).is_empty());
        assert_eq!((gauge.load(), gauge.free()), (Some(1.5), Some(7)));
        let failed = gauge.read(&Fake(Err(io::Error::other("no")), 100), &folders(&["none"]));
        assert_eq!(failed, ["load average: no", "free space of none: is not there"]);
        assert_eq!((gauge.load(), gauge.free()), (None, None));
    }

    #[test]
    fn this_host() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("load");
        let host = Host { load_file: file.clone() };
        assert!(host.load().is_err());
        for (text, expected) in [("12.34 1 1 1/1 1\n", Some(12.34)), ("", None), ("nan 1", None), ("x", None)]
        {
            std::fs::write(&file, text).unwrap();
            assert_eq!(host.load().ok(), expected, "{text}");
        }
        assert!(host.free(folder.path()).unwrap() > 0);
        assert!(host.free(&folder.path().join("none")).is_err());
    }
}
