//! What every server begins with: its configuration, its log, its metrics and its traces.

use std::{fs, process::ExitCode, sync::Arc};

use headgate_crds::v1alpha1::{Otlp, Telemetry};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use tracing::warn;

use super::{Serve, complain, complain_of, exit};
use crate::{
    config::{self, Config, ConfigError, Watched, open_files},
    telemetry::{
        log::{self, Log},
        metrics::Metrics,
        refusals,
        trace::{self, Traces},
    },
};

/// What a server begins with.
#[derive(Debug)]
pub struct Base {
    /// The log of the process; what waits is written when it is dropped.
    pub log: Log,
    /// The configuration.
    pub watched: Watched,
    /// What counts.
    pub metrics: Arc<Metrics>,
    /// What makes spans.
    pub traces: Traces,
    /// Where spans go; [`follow`] keeps it.
    pub otlp: watch::Sender<Option<Otlp>>,
    /// The limit on open files, raised as far as it goes; `None` is no limit.
    pub files_max: Option<u64>,
    /// What runs beside the server. If one of these tasks ends, so does the process.
    pub essential: JoinSet<()>,
    /// Sends spans until every [`Traces`] is gone. Await it for a moment at the end, so that the
    /// last ones arrive.
    pub sending: JoinHandle<()>,
}

/// Reads the manifest, opens the log at its level, and starts what runs beside the server, on the
/// runtime that calls.
///
/// # Errors
///
/// With the code to exit with, once standard error says why.
pub fn start(options: &Serve) -> Result<Base, ExitCode> {
    let (watcher, watched) = config::open(options.source()).map_err(|error| refuse(&error))?;
    let Telemetry { log_level, otlp } = watched.document.spec.telemetry.clone();
    let log = log::start(options.log_format, log_level).map_err(|error| {
        complain(&error);
        ExitCode::from(exit::INTERNAL)
    })?;
    let (traces, exporter) = trace::traces(trace::Process {
        gateway: watched.document.name.clone(),
        namespace: watched.document.namespace.clone(),
        instance: host(),
    });
    let (otlp, collector) = watch::channel(otlp);
    let metrics = Arc::new(Metrics::new());
    let mut essential = JoinSet::new();
    essential.spawn(watcher.run());
    essential.spawn(refusals::run(Arc::clone(&metrics)));
    let sending = tokio::spawn(exporter.run(collector));
    let files_max = open_files::raise();
    Ok(Base { log, watched, metrics, traces, otlp, files_max, essential, sending })
}

/// Keeps the log's level and the collector as the configuration has them, until it is gone.
pub async fn follow(
    mut config: watch::Receiver<Arc<Config>>,
    log: log::Handle,
    otlp: watch::Sender<Option<Otlp>>,
) {
    let mut level = None;
    loop {
        let Telemetry { log_level, otlp: collector } =
            config.borrow_and_update().spec.telemetry.clone();
        // A new level makes every call site ask again whether it is logged.
        if level.replace(log_level) != Some(log_level) {
            log.set_level(log_level);
        }
        otlp.send_if_modified(|current| {
            let is_new = *current != collector;
            *current = collector;
            is_new
        });
        if config.changed().await.is_err() {
            return;
        }
    }
}

/// The connections that fit, with a warning where those are fewer than the manifest wants.
pub fn capacity(config: &Config, files_max: Option<u64>) -> u32 {
    let wanted = config.spec.max_connections;
    let capacity = open_files::capacity(wanted, files_max);
    if capacity < wanted {
        warn!(event = "files_limit", wanted, capacity, "the limit on open files is too low");
    }
    capacity
}

fn refuse(error: &ConfigError) -> ExitCode {
    match error {
        ConfigError::Refused { path, findings } => {
            complain_of(path, findings);
            ExitCode::from(exit::REFUSED)
        }
        ConfigError::Unreadable { .. } => {
            complain(error);
            ExitCode::from(exit::NO_INPUT)
        }
    }
}

/// The host's name: in a pod, the pod's.
fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}
