//! Query arguments: each is checked, an unknown one is an error.

use std::collections::BTreeMap;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use chrono::{Days, NaiveDate};
use recoup_model::limits::{PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX};
use recoup_workflows::audit::AuditFrom;
use recoup_workflows::lists::Window;
use recoup_workflows::queries::{DayRange, Paging};
use recoup_workflows::{App, Refusal};
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// Days shown when a question names none.
const DEFAULT_DAYS: u64 = 31;

/// The variable parts of a path.
pub(crate) struct At<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(error) => Err(Problem::invalid("invalid-path", "path", error.body_text())),
        }
    }
}

/// The query arguments of a request.
pub(crate) struct Arguments(BTreeMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Arguments {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(pairs) = Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::invalid("invalid-query", "query", error.to_string()))?;
        let mut arguments = BTreeMap::new();
        for (name, value) in pairs {
            if arguments.insert(name.clone(), value).is_some() {
                let detail = format!("the argument `{name}` is given twice; give it once");
                return Err(Problem::invalid("invalid-argument", &name, detail));
            }
        }
        Ok(Self(arguments))
    }
}

impl Arguments {
    /// Refuses arguments that are not among these.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), Problem> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => {
                let detail = format!("there is no argument `{name}`; known: {}", known.join(", "));
                Err(Problem::invalid("unknown-argument", name, detail))
            }
        }
    }

    /// An argument as text; an empty one counts as absent.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// An argument as a value of another type.
    pub(crate) fn parsed<T: FromStr>(&self, name: &str, example: &str) -> Result<Option<T>, Problem> {
        self.text(name).map(|text| parse(name, text, example)).transpose()
    }

    /// An argument that has to be there.
    pub(crate) fn required<T: FromStr>(&self, name: &str, example: &str) -> Result<T, Problem> {
        self.parsed(name, example)?.ok_or_else(|| {
            Problem::invalid("missing-argument", name, format!("the argument `{name}` is missing; write {example}"))
        })
    }

    /// A flag: `true` or `false`.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Problem> {
        Ok(self.parsed(name, "true or false")?.unwrap_or(false))
    }

    /// `limit` and `cursor`.
    pub(crate) fn paging(&self) -> Result<Paging, Problem> {
        Ok(Paging {
            skip: self.parsed("cursor", "the next_cursor of the last answer")?.unwrap_or(0),
            limit: self.limit()?,
        })
    }

    /// `limit` and `cursor` of a list that is read by its parts.
    pub(crate) fn window(&self) -> Result<Window, Problem> {
        let limit = self.limit()?;
        self.text("cursor")
            .map_or(Ok(Window::first(limit)), |cursor| Window::after(cursor, limit).ok_or_else(Self::no_cursor))
    }

    /// Where the page before of the audit record ended.
    pub(crate) fn audit_cursor(&self) -> Result<Option<AuditFrom>, Problem> {
        self.text("cursor").map(|cursor| AuditFrom::cursor(cursor).ok_or_else(Self::no_cursor)).transpose()
    }

    pub(crate) fn no_cursor() -> Problem {
        let detail = "no page of this list has such a cursor; write the `next_cursor` of the last answer";
        Problem::invalid("invalid-argument", "cursor", detail)
    }

    /// `limit`.
    pub(crate) fn limit(&self) -> Result<usize, Problem> {
        let limit = self.parsed("limit", "100")?.unwrap_or(PAGE_ROWS_DEFAULT);
        if limit == 0 || limit > PAGE_ROWS_MAX {
            let detail = format!("`limit` has to lie between 1 and {PAGE_ROWS_MAX}");
            return Err(Problem::invalid("invalid-argument", "limit", detail));
        }
        Ok(limit)
    }

    /// `from` and `to`, half-open local days; by default the last [`DEFAULT_DAYS`] days up to today.
    pub(crate) async fn range(&self, app: &App) -> Result<DayRange, Problem> {
        let from: Option<NaiveDate> = self.parsed("from", "2026-10-01")?;
        let to: Option<NaiveDate> = self.parsed("to", "2026-11-01")?;
        let to = match to {
            Some(to) => to,
            None => {
                let calendar = app.world().await?.history.calendar();
                let today = calendar.day_of(app.ports.clock.now_ns());
                today.checked_add_days(Days::new(1)).unwrap_or(today)
            }
        };
        let from = from.or_else(|| to.checked_sub_days(Days::new(DEFAULT_DAYS))).unwrap_or(to);
        Ok(DayRange::new(from, to)?)
    }
}

/// Reads an argument's text.
pub(crate) fn parse<T: FromStr>(name: &str, text: &str, example: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| {
        Problem::from(Refusal::invalid("invalid-argument", name, format!("`{text}` is not right; write {example}")))
    })
}
