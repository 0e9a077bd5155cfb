//! One error type for whole commands: the cause, whose turn it is, and a hint.

use std::{error::Error, fmt, io};

/// Whose turn it is after a failure; it decides the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The user can put it right: a wrong name, a missing file, a bad value in a file. Exit status 1.
    User,
    /// Nobody expected this: a full disk, a fault of ours. Exit status 2.
    Unexpected,
}

/// What a failure may be made from: a message, or any error with its own chain of causes.
pub type Cause = Box<dyn Error + Send + Sync>;

/// An error as a command reports it: a chain of causes and, apart from it, what to do next.
pub struct CliError {
    failure: Failure,
    cause: anyhow::Error,
    closed_pipe: bool,
    hint: Option<String>,
}

impl CliError {
    /// A failure that the user can put right.
    pub fn user(cause: impl Into<Cause>) -> Self {
        Self::new(Failure::User, cause.into())
    }

    /// A failure that is nobody's mistake at the keyboard.
    pub fn unexpected(cause: impl Into<Cause>) -> Self {
        Self::new(Failure::Unexpected, cause.into())
    }

    fn new(failure: Failure, cause: Cause) -> Self {
        let closed_pipe = is_closed_pipe(&*cause);
        Self { failure, cause: anyhow::Error::from_boxed(cause), closed_pipe, hint: None }
    }

    /// Adds what to do next. It is printed after a blank line, apart from the error.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts the failure into its context: `cannot add client "anna"` before `the registry is locked`.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display + Send + Sync + 'static) -> Self {
        self.cause = self.cause.context(context);
        self
    }

    pub fn failure(&self) -> Failure {
        self.failure
    }

    /// The hint, if there is one.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The messages from the outermost to the root cause.
    pub fn chain(&self) -> impl Iterator<Item = String> + '_ {
        self.cause.chain().map(ToString::to_string)
    }

    /// Whether the reader of our output went away, which is no failure at all (`vmsgate … | head`).
    pub(crate) fn is_closed_pipe(&self) -> bool {
        self.closed_pipe
    }
}

/// Of `winerror.h`; no kind of error stands for it.
const ERROR_PIPE_NOT_CONNECTED: i32 = 233;

fn is_closed_pipe(error: &(dyn Error + 'static)) -> bool {
    let closed = |error: &io::Error| {
        error.kind() == io::ErrorKind::BrokenPipe
            || cfg!(windows) && error.raw_os_error() == Some(ERROR_PIPE_NOT_CONNECTED)
    };
    error.downcast_ref().is_some_and(closed) || error.source().is_some_and(is_closed_pipe)
}

impl fmt::Debug for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {:#}", self.failure, self.cause)?;
        self.hint.iter().try_for_each(|hint| write!(f, " (hint: {hint})"))
    }
}

/// `?` on an unclassified error makes it an unexpected one.
impl From<anyhow::Error> for CliError {
    fn from(cause: anyhow::Error) -> Self {
        let closed_pipe = is_closed_pipe(&*cause);
        Self { failure: Failure::Unexpected, cause, closed_pipe, hint: None }
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        Self::unexpected(error)
    }
}

/// Classifies the error of a `Result` on its way out of a command.
pub trait OrFail<T> {
    /// The user can put it right; `context` says what could not be done.
    fn or_user(self, context: impl fmt::Display + Send + Sync + 'static) -> Result<T, CliError>;
    /// It is nobody's mistake at the keyboard; `context` says what could not be done.
    fn or_unexpected(self, context: impl fmt::Display + Send + Sync + 'static) -> Result<T, CliError>;
}

impl<T, E: Error + Send + Sync + 'static> OrFail<T> for Result<T, E> {
    fn or_user(self, context: impl fmt::Display + Send + Sync + 'static) -> Result<T, CliError> {
        self.map_err(|error| CliError::user(error).context(context))
    }

    fn or_unexpected(self, context: impl fmt::Display + Send + Sync + 'static) -> Result<T, CliError> {
        self.map_err(|error| CliError::unexpected(error).context(context))
    }
}

/// Adds a hint to the error of a `Result`.
pub trait WithHint<T> {
    fn hint(self, hint: impl Into<String>) -> Result<T, CliError>;
}

impl<T, E: Into<CliError>> WithHint<T> for Result<T, E> {
    fn hint(self, hint: impl Into<String>) -> Result<T, CliError> {
        self.map_err(|error| error.into().hint(hint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_runs_from_the_context_to_the_root_cause() {
        let root = io::Error::new(io::ErrorKind::NotFound, "no such file");

        let error = Err::<(), _>(root).or_user("cannot open the keystore").unwrap_err();

        assert_eq!(error.chain().collect::<Vec<_>>(), ["cannot open the keystore", "no such file"]);
        assert_eq!(error.failure(), Failure::User);
    }

    #[test]
    fn a_hint_does_not_change_whose_turn_it_is() {
        let error = Err::<(), _>(CliError::user("unknown role")).hint("use smart-client").unwrap_err();

        assert_eq!((error.failure(), error.hint_text()), (Failure::User, Some("use smart-client")));
    }

    #[test]
    fn a_closed_pipe_is_recognised_below_a_context() {
        let closed = io::Error::from(io::ErrorKind::BrokenPipe);

        assert!(CliError::from(closed).context("cannot print the table").is_closed_pipe());
        let closed = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("cannot print");
        assert!(CliError::from(closed).is_closed_pipe());
        assert!(!CliError::user("broken pipe").is_closed_pipe());
    }
}
