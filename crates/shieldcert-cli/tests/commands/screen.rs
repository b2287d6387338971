//! A terminal: tmux, whose screen can be read and keys pressed.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long the screen may take to show something.
const PATIENCE: Duration = Duration::from_secs(60);

/// A tmux server of its own, with one window in which a shell command runs.
pub(crate) struct Terminal<'a> {
    folder: &'a Path,
}

impl<'a> Terminal<'a> {
    pub(crate) fn run(folder: &'a Path, width: u32, command: &str) -> Self {
        let terminal = Self { folder };
        let width = width.to_string();
        // The window stays when the command has ended.
        let command = format!("{command}; echo \"code: $?\"; exec sleep 1000");
        let started = terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &width,
            "-y",
            "40",
            &command,
        ]);
        assert!(started.is_some(), "tmux starts");
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> Option<String> {
        let output = Command::new("tmux")
            .arg("-S")
            .arg(self.folder.join("tmux"))
            .args(arguments)
            .current_dir(self.folder)
            .env("HOME", self.folder)
            .env("SHELL", "/bin/sh")
            .output()
            .expect("tmux runs");
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What the screen shows.
    pub(crate) fn screen(&self) -> String {
        let screen = self
            .tmux(&["capture-pane", "-p"])
            .expect("the window is there");
        screen.trim_end().to_owned()
    }

    /// Waits until the screen shows a text, and returns all of it.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        let start = Instant::now();
        loop {
            let screen = self.screen();
            if screen.contains(text) {
                return screen;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "{text:?} does not appear:\n{screen}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Types a text and presses Enter.
    pub(crate) fn enter(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text])
            .expect("keys are pressed");
        self.tmux(&["send-keys", "Enter"])
            .expect("a key is pressed");
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}
