//! How far a long command is: a line that changes at a terminal, and a plain line now and then elsewhere.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::messages::Messages;

/// How often a plain line is printed.
const INTERVAL: Duration = Duration::from_secs(10);

/// The progress of a command. It disappears when it is dropped.
pub(crate) struct Progress {
    messages: Messages,
    bar: Option<ProgressBar>,
    /// What is counted, such as `revoked`.
    what: &'static str,
    total: Option<u64>,
    done: u64,
    reported: Instant,
}

impl Progress {
    /// Begins to count. Nothing is shown with `--quiet`.
    pub(crate) fn start(messages: &Messages, what: &'static str, total: Option<u64>) -> Self {
        let bar = messages.has_bar().then(|| bar(what, total));
        messages.set_bar(bar.clone());
        Self {
            messages: messages.clone(),
            bar,
            what,
            total,
            done: 0,
            reported: Instant::now(),
        }
    }

    /// Says how much is done, of how much, and more about it.
    pub(crate) fn set(&mut self, done: u64, total: u64, detail: &str) {
        (self.done, self.total) = (done, Some(total));
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(format!("{} {done} of {total}, {detail}", self.what));
        } else if self.reported.elapsed() >= INTERVAL {
            self.reported = Instant::now();
            let what = self.what;
            self.messages
                .note(&format!("{what} {done} of {total}, {detail}"));
        }
    }

    /// Begins to count, with more to say than numbers.
    pub(crate) fn start_detailed(messages: &Messages, what: &'static str) -> Self {
        let progress = Self::start(messages, what, Some(0));
        let style = ProgressStyle::with_template("{msg} {wide_bar} {eta} left");
        if let (Some(bar), Ok(style)) = (&progress.bar, style) {
            bar.set_style(style);
        }
        progress
    }

    /// Begins to wait for one thing.
    fn start_waiting(messages: &Messages, what: &'static str) -> Self {
        let progress = Self::start(messages, what, None);
        let style = ProgressStyle::with_template("{spinner} {msg}: {elapsed} so far");
        if let (Some(bar), Ok(style)) = (&progress.bar, style) {
            bar.set_style(style);
        }
        progress
    }

    /// Counts more.
    pub(crate) fn add(&mut self, more: usize) {
        self.done += more as u64;
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        } else if self.reported.elapsed() >= INTERVAL {
            self.reported = Instant::now();
            let (done, what) = (self.done, self.what);
            match self.total {
                Some(total) => self.messages.note(&format!("{what} {done} of {total}")),
                None => self.messages.note(&format!("{what} {done}")),
            }
        }
    }
}

/// Shows that something takes a while, until it is dropped. It never ends.
pub(crate) async fn show_wait(messages: &Messages, what: &'static str) -> Infallible {
    let started = Instant::now();
    let progress = Progress::start_waiting(messages, what);
    loop {
        tokio::time::sleep(INTERVAL).await;
        if progress.bar.is_none() {
            let seconds = started.elapsed().as_secs();
            messages.note(&format!("{what}: {seconds} s so far"));
        }
    }
}

fn bar(what: &'static str, total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{msg} {human_pos} of {human_len} {wide_bar} {per_sec}, {eta} left",
        ),
        None => (
            ProgressBar::no_length(),
            "{spinner} {msg} {human_pos} ({per_sec})",
        ),
    };
    // At most 10 draws in a second.
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.messages.set_bar(None);
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
