//! Logs: an event and its fields, as text or JSON, on standard output.

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, Registry, layer::SubscriberExt, reload, util::SubscriberInitExt};

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Changes the level while the process runs; keeps the writer alive.
#[derive(Debug)]
pub struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    _writer: WorkerGuard,
}

/// Other people's crates never say more than warnings: their debug output holds headers.
fn filter(level: &str) -> EnvFilter {
    EnvFilter::new(format!("warn,headgate_gateway={level}"))
}

/// Starts logging. A reader that stops reading loses lines rather than stopping a worker.
pub fn start(format: Format) -> Log {
    let (writer, guard): (NonBlocking, _) =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(16_384).finish(std::io::stdout());
    let (filter, handle) = reload::Layer::new(filter("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    // A second start in one process, as in tests, keeps the first one's subscriber.
    let _ = match format {
        Format::Text => registry.with(lines).try_init(),
        Format::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    Log { filter: handle, _writer: guard }
}

impl Log {
    /// Changes the level.
    pub fn set_level(&self, level: headgate_crds::v1alpha1::LogLevel) {
        let _ = self.filter.reload(filter(&format!("{level:?}")));
    }
}
