//! The log: one event a line, on standard output, as text or as JSON.
//!
//! A thread of its own writes, so that a pipe nobody reads cannot stop a worker: what does not fit
//! into the queue is dropped, and a metric counts it. Standard error is for what a person at a
//! terminal has to read before there is a log: usage, and a manifest that is refused.

mod line;

use std::io;

use headgate_crds::v1alpha1::LogLevel;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    Registry,
    filter::Targets,
    layer::{Layered, SubscriberExt as _},
    reload,
    util::{SubscriberInitExt as _, TryInitError},
};

use self::line::Lines;

/// Lines that wait for a reader before the next are dropped.
const LINES_MAX: usize = 8_192;

/// The modules whose events follow `telemetry.logLevel`; what other crates say stays at `warn`.
///
/// HTTP and TLS libraries write headers and frames at their lower levels, and there are tokens in
/// them. None of that may reach the log at any level.
const OURS: &str = "headgate_gateway";

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: `TIME LEVEL words event=name field=value`.
    #[default]
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// The log of the process. What waits is written when this is dropped.
#[derive(Debug)]
pub struct Log {
    handle: Handle,
    _writer: WorkerGuard,
}

/// What changes the log, and what it says of itself.
#[derive(Clone, Debug)]
pub struct Handle {
    level: reload::Handle<Targets, Registry>,
    dropped: ErrorCounter,
}

/// Starts the log of this process, on standard output.
///
/// # Errors
///
/// If the process already has one.
pub fn start(format: Format, level: LogLevel) -> Result<Log, TryInitError> {
    let (log, subscriber) = build(format, level, io::stdout());
    subscriber.try_init()?;
    Ok(log)
}

type Filtered = Layered<reload::Layer<Targets, Registry>, Registry>;

fn build(
    format: Format,
    level: LogLevel,
    output: impl io::Write + Send + 'static,
) -> (Log, Layered<Lines, Filtered>) {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_MAX)
        .lossy(true)
        .thread_name("log")
        .finish(output);
    let (filter, level) = reload::Layer::new(targets(level));
    let handle = Handle { level, dropped: writer.error_counter() };
    let subscriber = tracing_subscriber::registry().with(filter).with(Lines { format, writer });
    (Log { handle, _writer: guard }, subscriber)
}

impl Log {
    /// What changes the log while it runs.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Handle {
    /// Logs from here on what is at least as important as `level`.
    pub fn set_level(&self, level: LogLevel) {
        // It fails only when the log is gone, and then there is nothing to filter.
        let _ = self.level.reload(targets(level));
    }

    /// How many lines were dropped because nobody took them.
    pub fn lines_dropped(&self) -> u64 {
        self.dropped.dropped_lines() as u64
    }
}

fn targets(level: LogLevel) -> Targets {
    let ours = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new()
        .with_target(OURS, ours)
        // What it has to say are events of ours.
        .with_target("async_nats", LevelFilter::OFF)
        .with_default(ours.min(LevelFilter::WARN))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use parking_lot::Mutex;
    use tracing::{debug, info, trace, warn};

    use super::*;

    /// Where the log of a test goes.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `events` write, without the time at the beginning of each line.
    fn logged(format: Format, level: LogLevel, events: impl FnOnce(&Handle)) -> String {
        let page = Page::default();
        let (log, subscriber) = build(format, level, page.clone());
        tracing::subscriber::with_default(subscriber, || events(&log.handle()));
        drop(log);
        let text = String::from_utf8(page.0.lock().clone()).unwrap();
        text.lines().map(|line| line.split_once('Z').unwrap().1.to_owned() + "\n").collect()
    }

    #[test]
    fn a_line_is_an_event_and_its_fields() {
        let events =
            |_: &Handle| info!(event = "e", public = %"0.0.0.0:80", n = 3, ok = true, "the words");

        assert_eq!(
            logged(Format::Text, LogLevel::Info, events),
            " INFO the words event=e public=0.0.0.0:80 n=3 ok=true\n"
        );
        assert_eq!(
            logged(Format::Json, LogLevel::Info, events),
            "\",\"level\":\"INFO\",\"message\":\"the words\",\
             \"target\":\"headgate_gateway::telemetry::log::tests\",\
             \"event\":\"e\",\"public\":\"0.0.0.0:80\",\"n\":3,\"ok\":true}\n"
        );
    }

    #[test]
    fn control_characters_stay_on_their_line_and_out_of_the_terminal() {
        let events = |_: &Handle| info!(evil = "a\n2026 ERROR \x1b[31m\u{9b}\u{202e}\"", "x");

        assert_eq!(
            logged(Format::Text, LogLevel::Info, events),
            " INFO x evil=\"a\\n2026 ERROR \\u{1b}[31m\\u{9b}\\u{202e}\\\"\"\n"
        );
        let json = logged(Format::Json, LogLevel::Info, events);
        assert!(json.contains(r#""evil":"a\n2026 ERROR \u001b[31m\u009b\u202e\"""#), "{json}");
    }

    #[test]
    fn a_field_is_cut_at_256_bytes_between_characters() {
        let long = "é".repeat(200);

        let text = logged(Format::Text, LogLevel::Info, |_| info!(%long, after = 1, "x"));

        assert_eq!(text, format!(" INFO x long={}… after=1\n", "é".repeat(128)));
    }

    #[test]
    fn a_change_of_level_counts_at_once() {
        let text = logged(Format::Text, LogLevel::Warn, |handle| {
            info!("one");
            handle.set_level(LogLevel::Debug);
            debug!("two");
            handle.set_level(LogLevel::Error);
            warn!("three");
        });

        assert_eq!(text, " DEBUG two\n");
    }

    #[test]
    fn what_libraries_write_below_warn_is_never_logged() {
        let text = logged(Format::Text, LogLevel::Trace, |_| {
            trace!("ours");
            trace!(target: "hyper::proto::h1::io", "authorization: Bearer secret");
            info!(target: "h2::codec", "secret");
            warn!(target: "rustls::conn", "theirs");
        });

        assert_eq!(text, " TRACE ours\n WARN theirs\n");
    }

    /// A pipe that nobody reads until the other end of the channel is dropped.
    struct Stuck(mpsc::Receiver<()>);

    impl io::Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stops_loses_lines_and_stops_nobody() {
        let (unblock, blocked) = mpsc::channel();
        let (log, subscriber) = build(Format::Text, LogLevel::Info, Stuck(blocked));

        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..LINES_MAX + 100 {
                info!("x");
            }
        });

        let dropped = log.handle().lines_dropped();
        assert!((90..=100).contains(&dropped), "{dropped}");
        drop(unblock);
    }
}
