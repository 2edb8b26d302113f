//! How a command ends: its exit code, and what stderr says.

use std::io::{self, Write as _};
use std::process::ExitCode;

use serde::Deserialize;
use serde_json::Value;

/// What a command that ran to its end has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Done: exit code 0.
    Yes,
    /// The answer is no: exit code 1.
    No,
}

impl Verdict {
    /// [`Verdict::Yes`] where it holds.
    pub(crate) const fn of(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }

    /// Its exit code.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Yes => 0,
            Self::No => 1,
        }
    }
}

/// Why a command did not run to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command or a file given to it is wrong: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The service refused the request in problem+json (RFC 9457): exit code 2, or 3 where trying again may help.
    #[error("{}", .0.sentence())]
    Refused(Box<Problem>),
    /// The store or the server failed: exit code 3.
    #[error("{doing}")]
    Failed {
        /// What was being done and, where it helps, what to do.
        doing: String,
        /// Why it failed.
        #[source]
        cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The output could not be written: exit code 3, or 0 where its reader simply had enough.
    #[error("could not write the output")]
    Output(#[from] io::Error),
}

/// The body of a refusal.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    /// The HTTP status; taken from the response, not from its body.
    #[serde(skip)]
    pub(crate) http_status: u16,
    /// In a few words.
    pub(crate) title: String,
    /// What is wrong and what to do.
    pub(crate) detail: String,
    /// Each of several problems.
    pub(crate) problems: Vec<Value>,
}

impl Problem {
    fn sentence(&self) -> String {
        let said = if self.detail.is_empty() { &self.title } else { &self.detail };
        if said.is_empty() { format!("the server answered {}", self.http_status) } else { said.clone() }
    }

    fn lines(&self) -> impl Iterator<Item = String> {
        self.problems.iter().map(|problem| match problem {
            Value::String(text) => text.clone(),
            Value::Object(fields) => match fields.get("detail").and_then(Value::as_str) {
                Some(detail) => detail.to_owned(),
                None => problem.to_string(),
            },
            other => other.to_string(),
        })
    }
}

impl Failure {
    /// A wrong command, or a wrong file.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    /// Something below failed, in words only.
    pub(crate) fn failed(doing: impl Into<String>) -> Self {
        Self::Failed { doing: doing.into(), cause: None }
    }

    /// Something below failed, for a reason.
    pub(crate) fn caused(doing: impl Into<String>, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed { doing: doing.into(), cause: Some(cause.into()) }
    }

    /// Its exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Refused(problem) if problem.http_status < 500 && problem.http_status != 429 => 2,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Refused(_) | Self::Failed { .. } | Self::Output(_) => 3,
        }
    }

    /// Whether trying again may help.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Refused(problem) => problem.http_status >= 502 || problem.http_status == 429,
            Self::Failed { .. } => true,
            Self::Usage(_) | Self::Output(_) => false,
        }
    }

    /// What stderr says: the sentence, each of several problems, and the chain of causes.
    pub(crate) fn report(&self) -> Vec<String> {
        let mut lines = vec![format!("error: {self}")];
        if let Self::Refused(problem) = self {
            lines.extend(problem.lines().map(|line| format!("  {line}")));
        }
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            lines.push(format!("  because {error}"));
            cause = error.source();
        }
        lines
    }
}

/// Prints what is left to say and turns a result into the exit code of the process.
pub(crate) fn finish(result: Result<Verdict, Failure>) -> ExitCode {
    match result {
        Ok(verdict) => ExitCode::from(verdict.code()),
        Err(failure) => {
            let code = failure.code();
            if code != 0 {
                let text = failure.report().join("\n");
                let mut stderr = io::stderr().lock();
                // Nobody is left to be told when stderr is closed.
                drop(writeln!(stderr, "{text}"));
            }
            ExitCode::from(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, Problem};
    use serde_json::json;

    fn refused(http_status: u16) -> Failure {
        let problems = vec![json!("line 3: unknown team"), json!({ "detail": "line 9: no id" })];
        Failure::Refused(Box::new(Problem { http_status, detail: "2 problems".into(), problems, ..Problem::default() }))
    }

    #[test]
    fn what_the_caller_can_mend_is_2_and_the_rest_is_3() {
        assert_eq!(Failure::usage("no").code(), 2);
        assert_eq!([400, 401, 404, 409, 413, 422].map(|status| refused(status).code()), [2; 6]);
        assert_eq!([429, 500, 503].map(|status| refused(status).code()), [3; 3]);
        assert_eq!(Failure::failed("broke").code(), 3);
        assert_eq!(Failure::Output(std::io::ErrorKind::BrokenPipe.into()).code(), 0);
    }

    #[test]
    fn every_problem_and_every_cause_is_told() {
        let lines = refused(422).report();
        assert_eq!(lines, ["error: 2 problems", "  line 3: unknown team", "  line 9: no id"]);
        let lines = Failure::caused("could not read `a`", std::io::Error::other("gone")).report();
        assert_eq!(lines, ["error: could not read `a`", "  because gone"]);
        let silent = Failure::Refused(Box::new(Problem { http_status: 502, ..Problem::default() }));
        assert_eq!(silent.report(), ["error: the server answered 502"]);
    }
}
