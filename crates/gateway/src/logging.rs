//! Logging: lines to standard error, for people, for log collectors, or for the system's journal.

use std::fmt;
use std::io::IsTerminal;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::config::typed::{Log, LogFormat};

/// Changes the level while the program runs.
pub struct Logging {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl Logging {
    /// Takes the level of a new configuration. The format stays.
    pub fn set_level(&self, log: &Log) {
        if let Err(error) = self.filter.reload(filter(log)) {
            tracing::warn!("the log level stays as it is: {error}");
        }
    }
}

/// Starts logging as configured. Under systemd lines carry a syslog priority and no time, since the journal has both.
///
/// # Errors
/// If logging was started already.
pub fn start(log: &Log) -> Result<Logging, String> {
    let (filter, handle) = reload::Layer::new(filter(log));
    let journal = is_journal();
    let layer: Box<dyn Layer<_> + Send + Sync> = match log.format {
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_ansi(false)
            .with_writer(std::io::stderr)
            .map_event_format(|inner| OneLine { journal, inner })
            .boxed(),
        LogFormat::Text if journal => tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(std::io::stderr)
            .event_format(OneLine { journal, inner: journal_format() })
            .boxed(),
        LogFormat::Text => tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(std::io::stderr)
            .event_format(OneLine { journal, inner: Format::default().with_target(false).with_ansi(false) })
            .boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(layer)
        .try_init()
        .map_err(|error| format!("logging cannot be started: {error}"))?;
    Ok(Logging { filter: handle })
}

/// Whether somebody watches standard error on a terminal.
pub fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}

fn journal_format() -> Format<Full, ()> {
    Format::default().with_target(false).with_level(false).with_ansi(false).without_time()
}

/// The level for our own lines; libraries tell what is wrong only, unless everything is asked for.
fn filter(log: &Log) -> EnvFilter {
    let others = match log.level.as_str() {
        "error" => "error",
        "trace" => "debug",
        _ => "warn",
    };
    EnvFilter::new(format!("{others},gatepost={}", log.level))
}

/// Whether standard error leads to the system's journal: JOURNAL_STREAM names its device and inode (systemd.exec(5)).
fn is_journal() -> bool {
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let same = |stat: nix::sys::stat::FileStat| stream == format!("{}:{}", stat.st_dev, stat.st_ino);
    nix::sys::stat::fstat(std::io::stderr()).is_ok_and(same)
}

/// Keeps an event on one line whatever the mail says that is quoted in it, so that nobody can forge log lines; puts
/// the syslog priority before it for the journal.
struct OneLine<F> {
    journal: bool,
    inner: F,
}

impl<S, N, F> FormatEvent<S, N> for OneLine<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if self.journal {
            write!(writer, "<{}>", priority(*event.metadata().level()))?;
        }
        let mut line = FormattedFields::<N>::new(String::new());
        self.inner.format_event(context, line.as_writer(), event)?;
        writer.write_str(&one_line(&line.fields))?;
        writer.write_char('\n')
    }
}

/// Priority as syslog counts (RFC 5424 section 6.2.1).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// Control characters written out.
fn one_line(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    for c in line.trim_end_matches('\n').chars() {
        match c {
            '\t' => text.push(' '),
            // U+2028 and U+2029 end lines in some viewers.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => text.extend(c.escape_default()),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(journal: bool, log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .event_format(OneLine { journal, inner: journal_format() });
        let filter = filter(&Log { level: "info".into(), ..Log::default() });
        tracing::subscriber::with_default(tracing_subscriber::registry().with(filter).with(layer), log);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_journal_gets_priorities() {
        let text = logged(true, || {
            tracing::error!("a");
            tracing::warn!("b");
            tracing::info!(id = 7, "c");
            tracing::debug!("d");
            tracing::info!(target: "library", "e");
            tracing::warn!(target: "library", "f");
        });
        assert_eq!(text, "<3>a\n<4>b\n<6>c id=7\n<4>f\n");
    }

    #[test]
    fn a_quoted_mail_cannot_forge_lines() {
        let subject = "x\n<3>forged\r\u{1b}[2J\u{2028}";
        let text = logged(false, || tracing::info!("Subject: {subject}"));
        assert_eq!(text.lines().count(), 1, "{text:?}");
        assert!(!text.trim_end().chars().any(char::is_control), "{text:?}");
    }

    #[test]
    fn every_level_is_a_filter() {
        for level in ["error", "warn", "info", "debug", "trace"] {
            let filter = filter(&Log { level: level.into(), ..Log::default() });
            assert!(filter.to_string().contains(&format!("gatepost={level}")), "{filter}");
        }
    }
}
