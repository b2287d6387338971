//! The log, on standard error.
//!
//! A line never blocks who logs it: whoever started the process may not read its standard error, as test fixtures with
//! pipes do. Lines that find no room are dropped and counted.

use std::io::{self, IsTerminal, Write};
use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How many lines wait to be written.
const MAX_WAITING: usize = 4_096;

/// How long lines are collected once others were written. Waking the thread that writes costs who logs a system call.
const COLLECTED: Duration = Duration::from_millis(2);

/// How long the last lines may take when the process ends.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(300);

/// A log that is being written.
pub(crate) struct Log {
    writer: Writer,
}

#[derive(Clone)]
struct Writer {
    messages: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

enum Message {
    Line(Vec<u8>),
    /// Everything before this was written once the other end of the sender is dropped.
    Flush(SyncSender<()>),
}

impl Log {
    /// A filter for what the client says with so many `-v`. Crates below it are left out: they know no secrets from
    /// other text.
    pub(crate) fn of_client(verbosity: u8) -> Targets {
        let level = match verbosity {
            0 | 1 => LevelFilter::INFO,
            2 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        };
        Targets::new().with_target("shieldcert", level)
    }

    /// A filter for what a service says with so many `-v`.
    pub(crate) fn of_service(verbosity: u8, is_quiet: bool) -> Targets {
        match (verbosity, is_quiet) {
            (0, true) => Targets::new().with_target("shieldcert", LevelFilter::WARN),
            (0, false) => Targets::new()
                .with_target("shieldcert", LevelFilter::WARN)
                .with_target("shieldcert_fleet", LevelFilter::INFO),
            _ => Self::of_client(verbosity),
        }
    }

    /// Logs from now on what the filter lets pass.
    pub(crate) fn start(filter: Targets) -> io::Result<Self> {
        let (messages, waiting) = sync_channel(MAX_WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            messages,
            dropped: dropped.clone(),
        };
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(&waiting, &dropped))?;
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(writer.clone())
            .with_ansi(io::stderr().is_terminal())
            .with_target(false);
        tracing_subscriber::registry()
            .with(filter)
            .with(layer)
            .init();
        Ok(Self { writer })
    }

    /// Waits until the lines so far are written, but not for long.
    pub(crate) fn flush(&self) {
        const INTERVAL: Duration = Duration::from_millis(5);
        let until = Instant::now() + FLUSH_TIMEOUT;
        let (done, written) = sync_channel(1);
        let mut flush = Message::Flush(done);
        while let Err(TrySendError::Full(again)) = self.writer.messages.try_send(flush) {
            if Instant::now() >= until {
                return;
            }
            flush = again;
            std::thread::sleep(INTERVAL);
        }
        // An error means that it is done, or takes too long.
        let _ = written.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

fn write_all(waiting: &Receiver<Message>, dropped: &AtomicU64) {
    let mut err = io::stderr();
    let mut lines = Vec::new();
    while let Ok(first) = waiting.recv() {
        let mut flushes = Vec::new();
        for message in iter::once(first).chain(waiting.try_iter().take(MAX_WAITING)) {
            match message {
                Message::Line(line) => lines.extend_from_slice(&line),
                Message::Flush(done) => flushes.push(done),
            }
        }
        let missing = dropped.swap(0, Ordering::Relaxed);
        if missing > 0 {
            // If nobody reads it anymore, nothing can be done.
            let _ = writeln!(
                err,
                "{missing} lines of the log were dropped, because standard error was not read"
            );
        }
        let _ = err.write_all(&lines);
        lines.clear();
        drop(flushes);
        std::thread::sleep(COLLECTED);
    }
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Takes one line at a time: the formatter writes each as a whole.
impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.messages.try_send(Message::Line(line.to_vec())) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
