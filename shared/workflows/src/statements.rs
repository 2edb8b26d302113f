//! Statements that were issued: list, fetch, and their lines for later corrections.

use std::collections::BTreeMap;

use recoup_documents::{Statement, statement_csv};
use recoup_ledger::Line;
use recoup_model::{Digest, Id, Period};
use serde::{Deserialize, Serialize};

use crate::access::Principal;
use crate::app::App;
use crate::close::{self, PeriodRecord};
use crate::error::Refusal;

/// How long an address of a document works.
pub const LINK_SECONDS: u64 = 300;

/// A statement that was issued.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Issued {
    /// The team.
    pub team: String,
    /// The month.
    pub period: Period,
    /// Its number.
    pub statement: String,
    /// From 1.
    pub revision: u32,
    /// SHA-256 of its canonical JSON.
    pub digest: Digest,
    /// The total in the currency's minor unit.
    pub total: String,
    /// `showback` or `chargeback`.
    pub mode: String,
    /// When it was issued, RFC 3339; no part of the statement.
    pub issued_at: String,
    /// Where it lies among the documents.
    pub path: String,
}

/// Formats of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Canonical JSON: the one that is hashed.
    Json,
    /// CSV by RFC 4180.
    Csv,
}

impl Format {
    /// The format of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }

    /// Its media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }
}

impl App {
    /// Statements of a month, or of all months, that the key may see, in order of month and team.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for a key that may not read.
    pub async fn list_statements(&self, principal: &Principal, period: Option<Period>) -> Result<Vec<Issued>, Refusal> {
        let team = principal.seen_team()?;
        let closed = close::period_records(self.books()).await?;
        let issued = closed
            .into_iter()
            .filter(|record| record.is_closed() && period.is_none_or(|period| record.period == period))
            .flat_map(|record| record.statements);
        Ok(issued.filter(|issued| team.is_none_or(|team| issued.team == team)).collect())
    }

    /// One statement in a format.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when it was not issued; [`Refusal::Forbidden`] for another team's key.
    pub async fn statement(
        &self,
        principal: &Principal,
        (period, team, revision): (Period, &str, Option<u32>),
        format: Format,
    ) -> Result<(Issued, Vec<u8>), Refusal> {
        let issued = self.issued(principal, (period, team, revision)).await?;
        let bytes = self.document(&issued).await?;
        let bytes = match format {
            Format::Json => bytes,
            Format::Csv => statement_csv(&read(&bytes)?).into_bytes(),
        };
        Ok((issued, bytes))
    }

    /// An address at which anybody who has it can read a statement's JSON for [`LINK_SECONDS`]; `None`: the documents have no
    /// such addresses, so that it is read by [`App::statement`].
    ///
    /// # Errors
    /// As [`App::statement`].
    pub async fn statement_link(
        &self,
        principal: &Principal,
        wanted: (Period, &str, Option<u32>),
    ) -> Result<Option<String>, Refusal> {
        let issued = self.issued(principal, wanted).await?;
        Ok(self.ports.documents.link(&issued.path, LINK_SECONDS).await?)
    }

    async fn issued(
        &self,
        principal: &Principal,
        (period, team, revision): (Period, &str, Option<u32>),
    ) -> Result<Issued, Refusal> {
        principal.may_see_team(team)?;
        let all = self.list_statements(principal, Some(period)).await?;
        let mut ours: Vec<Issued> = all.into_iter().filter(|issued| issued.team == team).collect();
        ours.sort_by_key(|issued| issued.revision);
        let last = ours.last().map(|issued| issued.revision);
        let mut wanted = ours.into_iter().filter(|issued| revision.is_none_or(|revision| issued.revision == revision));
        let is_closed = |record: &PeriodRecord| record.is_closed() && record.period == period;
        let is_closed = close::period_records(self.books()).await?.iter().any(is_closed);
        wanted.next_back().ok_or_else(|| {
            Refusal::NotFound(match (revision, last) {
                (Some(revision), Some(last)) => {
                    format!("the statement of {team} in {period} has no revision {revision}; the last one is {last}")
                }
                _ if is_closed => {
                    format!("{team} has no statement in {period}: nothing was charged to a team of this name")
                }
                _ => format!("no statement was issued for {team} in {period}; close the month with `recoup close`"),
            })
        })
    }

    /// The manifest of a closed month and its digest. It holds counts and digests only, so that whoever may read a statement
    /// of the month may read it.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for a month that is not closed; [`Refusal::Forbidden`] for a key that may not read.
    pub async fn manifest(&self, principal: &Principal, period: Period) -> Result<(Digest, Vec<u8>), Refusal> {
        let digest = self.manifest_digest(principal, period).await?;
        let path = close::manifest_path(period);
        let bytes = self.ports.documents.get(&path).await?;
        let bytes =
            bytes.ok_or_else(|| Refusal::computation("read a manifest", format!("the document {path} is gone")))?;
        if Digest::of(&bytes) != digest {
            let detail = format!("the document {path} was altered: its digest is not the one of the close");
            return Err(Refusal::computation("read a manifest", detail));
        }
        Ok((digest, bytes))
    }

    /// An address for the manifest of a closed month, as [`App::statement_link`].
    ///
    /// # Errors
    /// As [`App::manifest`].
    pub async fn manifest_link(&self, principal: &Principal, period: Period) -> Result<Option<String>, Refusal> {
        self.manifest_digest(principal, period).await?;
        Ok(self.ports.documents.link(&close::manifest_path(period), LINK_SECONDS).await?)
    }

    async fn manifest_digest(&self, principal: &Principal, period: Period) -> Result<Digest, Refusal> {
        principal.seen_team()?;
        let closed = close::period_records(self.books()).await?;
        let record = closed.into_iter().find(|record| record.is_closed() && record.period == period);
        let record = record
            .ok_or_else(|| Refusal::NotFound(format!("{period} is not closed; close the month with `recoup close`")))?;
        Ok(record.manifest)
    }

    async fn document(&self, issued: &Issued) -> Result<Vec<u8>, Refusal> {
        let bytes = self.ports.documents.get(&issued.path).await?;
        let bytes = bytes
            .ok_or_else(|| Refusal::computation("read a statement", format!("the document {} is gone", issued.path)))?;
        if Digest::of(&bytes) != issued.digest {
            let detail = format!("the document {} was altered: its digest is not the one issued", issued.path);
            return Err(Refusal::computation("read a statement", detail));
        }
        Ok(bytes)
    }

    /// The lines of the statements of a closed period, by team.
    pub(crate) async fn lines_of_statements(&self, record: &PeriodRecord) -> Result<BTreeMap<Id, Vec<Line>>, Refusal> {
        let mut lines = BTreeMap::new();
        for issued in record.statements.iter().filter(|issued| issued.revision == 1) {
            let statement = read(&self.document(issued).await?)?;
            let own = statement.lines.into_iter().map(|line| line.line);
            lines.insert(Id::from(issued.team.as_str()), own.collect());
        }
        Ok(lines)
    }
}

/// Reads a statement's JSON.
pub(crate) fn read(bytes: &[u8]) -> Result<Statement, Refusal> {
    serde_json::from_slice(bytes).map_err(|error| {
        Refusal::invalid("invalid-statement", "body", format!("this is not a statement of recoup: {error}"))
    })
}
