//! Why a command did not succeed: what is printed, and what the process ends with.

use std::io;
use std::path::Path;

use shieldcert::{Error, InvalidInput};

use crate::exit_code::ExitCode;

/// The failure of a command.
///
/// Its message says what happened, to which certificate or file, and what to do; hints are for what deserves a line of
/// its own, such as a command.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: ExitCode,
    pub(crate) message: String,
    pub(crate) hints: Vec<String>,
    /// Nobody reads the output any more.
    pub(crate) is_broken_pipe: bool,
}

/// What a command ends with.
pub(crate) type Result<T = ExitCode> = std::result::Result<T, Failure>;

impl Failure {
    pub(crate) fn new(code: ExitCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hints: Vec::new(),
            is_broken_pipe: false,
        }
    }

    /// Something went wrong for which there is no code of its own.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(ExitCode::Failed, message)
    }

    /// The command can't be run as it was given.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(ExitCode::Usage, message)
    }

    /// A failure to write to standard output.
    pub(crate) fn output(error: &io::Error) -> Self {
        Self {
            is_broken_pipe: error.kind() == io::ErrorKind::BrokenPipe,
            ..Self::failed(format!("standard output: {error}"))
        }
    }

    /// A failure to read a file that was given. That it is not there, or no file, is a usage error.
    pub(crate) fn input(path: &Path, error: &io::Error) -> Self {
        use io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
        let message = match error.kind() {
            NotFound => "there is no such file; check its path".to_owned(),
            IsADirectory => "it is a folder; give a file".to_owned(),
            _ => error.to_string(),
        };
        let code = match error.kind() {
            NotFound | IsADirectory | NotADirectory => ExitCode::Usage,
            _ => ExitCode::Failed,
        };
        Self::new(code, format!("{}: {message}", path.display()))
    }

    /// A failure to write a file, or a folder.
    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        let problem = match error.kind() {
            io::ErrorKind::NotFound => match path.parent() {
                Some(folder) if folder != Path::new("") && !folder.exists() => {
                    let folder = folder.display();
                    format!("there is no folder {folder}; make it, or give another file")
                }
                _ => "there is no such file".to_owned(),
            },
            _ => error.to_string(),
        };
        Self::failed(format!("{}: {problem}", path.display()))
    }

    /// Names what the failure is about, in front of the message.
    pub(crate) fn about(mut self, what: impl std::fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Adds a line that says what to do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// What to do where the service refuses the credentials.
pub(crate) const CREDENTIALS_FIX: &str = "give a token with the permission \"SSL and Certificates: Edit\" (\"Read\" to list) \
     for this zone; `shieldcert doctor` shows which one is used";

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let failure = Self::new(ExitCode::from(&error), error.to_string());
        match failure.code {
            ExitCode::NotAllowed => failure.hint(CREDENTIALS_FIX),
            _ => failure,
        }
    }
}

impl From<InvalidInput> for Failure {
    fn from(error: InvalidInput) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<shieldcert_fleet::Error> for Failure {
    fn from(error: shieldcert_fleet::Error) -> Self {
        use shieldcert_fleet::Error as Fleet;
        match error {
            Fleet::Client(error) => error.into(),
            Fleet::Config(_)
            | Fleet::OpenManifest(_)
            | Fleet::Manifest { .. }
            | Fleet::RestoredJournal
            | Fleet::Token { .. } => Self::usage(error.to_string()),
            Fleet::TooManyRevocations { devices, .. } => Self::usage(error.to_string()).hint(format!(
                "to see them: shieldcert fleet plan --fields device,action,reason; to confirm: shieldcert fleet apply --confirm-revoke {devices}"
            )),
            other => Self::failed(other.to_string()),
        }
    }
}

#[cfg(feature = "emulator")]
impl From<shieldcert_emulator::Error> for Failure {
    fn from(error: shieldcert_emulator::Error) -> Self {
        Self::failed(error.to_string())
    }
}
