//! Why a command did not succeed, and what the process ends with.

pub(crate) use shieldcert_fleet::commands::ExitCode;
use shieldcert_fleet::commands::counted;

/// The failure of a command: `what: what is wrong with it; what to do`.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: ExitCode,
    pub(crate) message: String,
}

pub(crate) type Result<T = ExitCode> = std::result::Result<T, Failure>;

impl Failure {
    pub(crate) fn new(code: ExitCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(ExitCode::Failed, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(ExitCode::Usage, message)
    }

    /// A failure of the server.
    pub(crate) fn server(
        what: impl std::fmt::Display,
        error: &(dyn std::error::Error + 'static),
    ) -> Self {
        // Not every error of the client has the status as its source.
        let mut causes = std::iter::successors(Some(error), |error| error.source());
        let unavailable = tonic::Code::Unavailable.description();
        if causes.any(|cause| cause.to_string().contains(unavailable)) {
            return Self::failed(
                "the Temporal server can't be reached any more; when it is back, give the command again, which goes on \
                 where it was",
            );
        }
        Self::failed(format!("{what}: {}", deepest(error)))
    }
}

impl From<shieldcert_fleet::Error> for Failure {
    fn from(error: shieldcert_fleet::Error) -> Self {
        use shieldcert_fleet::Error as Fleet;
        match &error {
            Fleet::Manifest {
                path,
                problems,
                more,
                ..
            } => {
                let mut lines: Vec<String> = problems
                    .iter()
                    .map(|problem| {
                        format!("{}:{}: {}", path.display(), problem.line, problem.message)
                    })
                    .collect();
                lines.push(format!(
                    "{}: {}; nothing was done",
                    path.display(),
                    counted(problems.len() as u64 + more, "problem")
                ));
                Self::usage(lines.join("\n"))
            }
            Fleet::Config(_) | Fleet::OpenManifest(_) | Fleet::Token { .. } => {
                Self::usage(error.to_string())
            }
            Fleet::Client(cause) if cause.is_not_allowed() => {
                Self::new(ExitCode::NotAllowed, error.to_string())
            }
            _ => Self::failed(error.to_string()),
        }
    }
}

/// The deepest cause of an error.
pub(crate) fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
