//! Messages on standard error.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use anstyle::{AnsiColor, Style};
use indicatif::ProgressBar;
use shieldcert_fleet::commands::escape;

use crate::failure::Failure;

/// Writes messages to standard error, above the progress bar if there is one. Clones share it.
#[derive(Clone)]
pub(crate) struct Messages {
    inner: Arc<Inner>,
}

struct Inner {
    is_quiet: bool,
    has_color: bool,
    has_bar: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl Messages {
    /// Of messages that are interleaved with a log, which writes for itself, there is no progress bar.
    pub(crate) fn new(is_quiet: bool, has_log: bool) -> Self {
        let has_color = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
        Self {
            inner: Arc::new(Inner {
                is_quiet,
                has_color,
                has_bar: io::stderr().is_terminal() && !is_quiet && !has_log,
                bar: Mutex::new(None),
            }),
        }
    }

    /// Whether progress is a bar, and not a line now and then.
    pub(super) fn has_bar(&self) -> bool {
        self.inner.has_bar
    }

    /// Says something that is no result and no problem. Not with `--quiet`.
    pub(crate) fn note(&self, text: &str) {
        if !self.inner.is_quiet {
            self.line(&escape(text));
        }
    }

    /// Warns of something that the command went on after.
    pub(crate) fn warning(&self, text: &str) {
        self.labelled("warning", AnsiColor::Yellow, text);
    }

    /// Reports a failure with its hints.
    pub(crate) fn error(&self, failure: &Failure) {
        self.labelled("error", AnsiColor::Red, &failure.message);
        for hint in &failure.hints {
            self.labelled("hint", AnsiColor::Cyan, hint);
        }
    }

    fn labelled(&self, label: &str, color: AnsiColor, text: &str) {
        let style = match self.inner.has_color {
            true => Style::new().bold().fg_color(Some(color.into())),
            false => Style::new(),
        };
        self.line(&format!("{style}{label}:{style:#} {}", escape(text)));
    }

    fn line(&self, text: &str) {
        // If nobody reads it, nothing can be done.
        self.suspend(|| {
            let _ = writeln!(io::stderr(), "{text}");
        });
    }

    /// Does something without the progress bar on the screen.
    pub(super) fn suspend<T>(&self, action: impl FnOnce() -> T) -> T {
        let bar = self.bar().clone();
        match bar {
            Some(bar) => bar.suspend(action),
            None => action(),
        }
    }

    pub(super) fn set_bar(&self, bar: Option<ProgressBar>) {
        *self.bar() = bar;
    }

    fn bar(&self) -> std::sync::MutexGuard<'_, Option<ProgressBar>> {
        self.inner
            .bar
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
