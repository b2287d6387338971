//! Watches the trace for secrets.

use std::cell::RefCell;
use std::io::Write;
use std::sync::Once;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The token of every client of the simulation.
pub(super) const TOKEN: &str = "sim-t0ken-that-must-not-show";

thread_local! {
    static FOUND: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Watch;

impl Write for Watch {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        if text.contains(TOKEN) || text.contains("PRIVATE KEY") {
            FOUND.with_borrow_mut(|found| found.push(format!("a secret is traced: {text}")));
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Watch {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Watch
    }
}

/// Starts watching, once for the process. What is found is kept by thread.
pub(super) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::DEBUG)
            .with_ansi(false)
            .without_time()
            .with_writer(Watch)
            .finish();
        // Another test may have set one.
        let _ = tracing::subscriber::set_global_default(subscriber);
    });
    FOUND.take();
}

pub(super) fn found() -> Vec<String> {
    FOUND.take()
}
