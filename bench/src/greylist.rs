//! Greylisting with very many triplets: how long a decision takes, and how much memory and disk what is remembered costs.
//! Decisions are asked for as the daemon asks for them, through the embedded store on a real disk; only the time is made
//! up, so that nobody has to wait for the delay.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gatepost::checks::greylist::{Decision, Greylist};
use gatepost::config::Config;
use gatepost::resources::state::{Clock, Embedded, Settings, State};

/// Options of `greylist`.
#[derive(clap::Args)]
pub struct Options {
    /// Triplets that are new, at first.
    #[arg(long, default_value_t = 1_000_000)]
    triplets: u64,
    /// Decisions in each of the rounds after it.
    #[arg(long, default_value_t = 200_000)]
    round: u64,
    /// Decisions asked for at once.
    #[arg(long, default_value_t = 64)]
    at_once: u64,
    /// Folder for the file.
    #[arg(long)]
    folder: PathBuf,
    /// Bytes of the file that are kept in memory.
    #[arg(long, default_value_t = 64 << 20)]
    cache: usize,
    /// Where the results are added, as a JSON object a line.
    #[arg(long)]
    results: Option<PathBuf>,
}

/// Runs all rounds.
pub async fn run(options: Options) -> io::Result<()> {
    let (clock, hands) = Clock::standing(1_800_000_000);
    let path = options.folder.join("state.redb");
    let settings =
        Settings { path: path.clone(), cache: options.cache, most: u64::MAX, clock: clock.clone() };
    let state: Arc<dyn State> = Arc::new(Embedded::open(&settings).map_err(io::Error::other)?);
    let config = Config::default();
    let greylist = Greylist::new(&config.checks.greylist, &config, state.clone(), clock)
        .map_err(|problems| io::Error::other(format!("{problems:?}")))?;
    let bench = Bench { greylist: Arc::new(greylist), state, options, path };
    let (all, round) = (bench.options.triplets, bench.options.round.min(bench.options.triplets));
    let step = (all / round.max(1)).max(1);
    bench
        .round("new", (0..all).collect(), |decision| matches!(decision, Decision::Wait { early: false, .. }))
        .await?;
    hands.move_on(Duration::from_secs(301));
    let sample: Vec<u64> = (0..round).map(|place| place * step).collect();
    let came = |decision: &Decision| matches!(decision, Decision::CameAgain { .. } | Decision::KnownClient);
    bench.round("came again", sample.clone(), came).await?;
    let known = |decision: &Decision| matches!(decision, Decision::Known | Decision::KnownClient);
    bench.round("known", sample, known).await?;
    bench.round("new, beside all others", (all..all + round).collect(), |_| true).await
}

struct Bench {
    greylist: Arc<Greylist>,
    state: Arc<dyn State>,
    options: Options,
    path: PathBuf,
}

impl Bench {
    /// Asks for a decision about each of these, and tells how it went. `right`: what is to be decided.
    async fn round(&self, name: &str, which: Vec<u64>, right: fn(&Decision) -> bool) -> io::Result<()> {
        let (which, next) = (Arc::new(which), Arc::new(AtomicU64::new(0)));
        let began = Instant::now();
        let tasks: Vec<_> = (0..self.options.at_once)
            .map(|_| {
                let (which, next, greylist) = (which.clone(), next.clone(), self.greylist.clone());
                tokio::spawn(async move {
                    let mut times = Vec::new();
                    while let Some(&number) = which.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                        let (client, sender, recipient) = knock(number);
                        let asked = Instant::now();
                        let decision = greylist.decide(client.into(), None, &sender, &recipient).await;
                        times.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
                        match decision {
                            Ok(decision) if right(&decision) => {}
                            other => return Err(io::Error::other(format!("number {number}: {other:?}"))),
                        }
                    }
                    Ok(times)
                })
            })
            .collect();
        let mut times = Vec::with_capacity(which.len());
        for task in tasks {
            times.extend(task.await.map_err(io::Error::other)??);
        }
        let elapsed = began.elapsed();
        self.state.flush().await.map_err(io::Error::other)?;
        times.sort_unstable();
        let at = |part: f64| times.get((times.len() as f64 * part) as usize).copied().unwrap_or_default();
        let line = format!(
            "{{\"round\":\"{name}\",\"triplets\":{},\"decisions\":{},\"per_second\":{:.0},\"p50_us\":{},\"p99_us\":{},\
             \"p999_us\":{},\"resident_mb\":{},\"peak_mb\":{},\"file_mb\":{}}}",
            self.options.triplets,
            times.len(),
            times.len() as f64 / elapsed.as_secs_f64(),
            at(0.5),
            at(0.99),
            at(0.999),
            memory("VmRSS:")? / 1024,
            memory("VmHWM:")? / 1024,
            std::fs::metadata(&self.path)?.len() >> 20,
        );
        println!("{line}");
        if let Some(path) = &self.options.results {
            use io::Write as _;
            writeln!(std::fs::File::options().create(true).append(true).open(path)?, "{line}")?;
        }
        Ok(())
    }
}

/// Client, sender and recipient of a number: all over the address space, as those are who never come back.
fn knock(number: u64) -> ([u8; 4], String, String) {
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23) ^ number;
    let [a, b, c, d, e, f, ..] = mixed.to_le_bytes();
    let client = [1 + a % 223, b, c, d];
    // Letters, since numbers would be folded.
    let name: String = format!("{number:x}").bytes().map(|digit| char::from(b'a' + digit % 26)).collect();
    let sender = format!(
        "{name}.{}@domain{}.example.org",
        ["news", "info", "mail"][usize::from(e % 3)],
        mixed % 50_000
    );
    (client, sender, format!("user{}@example.com", u16::from(f) * 40 + u16::from(e) % 40))
}

/// A line of /proc/self/status, in KiB.
fn memory(name: &str) -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("/proc/self/status has no {name}")))
}
