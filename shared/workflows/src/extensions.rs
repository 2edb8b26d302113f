//! Extensions: more for one period of a budget, asked for by one person and decided by another (BUD-6).
//!
//! Four eyes belong to two people, so both have to be known: by the person of an API key, or by the entry of `[[people]]` that
//! names a Slack user. Two keys that name nobody, or the operator at the machine and a key, may be one and the same human; and
//! so may two names, unless both are people of the organisation file. Where it has no `[[people]]`, two names are two people.

use recoup_budgets::PeriodKind;
use recoup_budgets::admission::Extended;
use recoup_model::organisation::{Budget, Organisation};
use recoup_money::Amount;
use recoup_store::Expect;
use serde_json::json;

use crate::access::{Principal, is_person};
use crate::alerts::{Tell, outbox_put};
use crate::app::App;
pub use crate::authorize::limits::{Extension, ExtensionState};
use crate::authorize::limits::{extension, extension_key};
use crate::budgets::team_of;
use crate::error::Refusal;
use crate::lists::{List, Listed, Window};
use crate::people::Pseudonyms;
use crate::records;

/// Characters of a reason.
pub const REASON_CHARS_MAX: usize = 1_000;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionRequest {
    /// The budget's scope as the organisation file names it.
    pub scope: String,
    /// `month`, `week` or `day`; `None`: the only budget of that scope.
    pub kind: Option<String>,
    /// How much more.
    pub amount: Amount,
    /// Why.
    pub reason: String,
    /// The alert that it is asked for from.
    pub alert: Option<String>,
}

/// The budget that is meant.
fn budget_of<'a>(budgets: &'a [Budget], scope: &str, kind: Option<&str>) -> Result<&'a Budget, Refusal> {
    let is_meant = |budget: &&Budget| budget.scope == scope && kind.is_none_or(|kind| budget.period == kind);
    let mut meant = budgets.iter().filter(is_meant);
    match (meant.next(), meant.next()) {
        (Some(budget), None) => Ok(budget),
        (Some(_), Some(_)) => {
            let detail = format!("`{scope}` has several budgets; say `month`, `week` or `day`");
            Err(Refusal::invalid("ambiguous-budget", "period", detail))
        }
        (None, _) => Err(Refusal::NotFound(format!("`{scope}` has no such budget; see GET /v1/budgets"))),
    }
}

/// Refuses what would make a limit that cannot be held (MON-3).
fn check_limit(budgets: &[Budget], extension: &Extension, approved: &Extended) -> Result<(), Refusal> {
    let held = approved.get(&(extension.scope.clone(), extension.period.clone())).copied().unwrap_or_default();
    let more = held.checked_add(extension.amount);
    let mut ours = budgets.iter().filter(|budget| budget.scope == extension.scope);
    if more.is_some_and(|more| ours.all(|budget| budget.limit.checked_add(more).is_some())) {
        return Ok(());
    }
    let detail = format!(
        "{} more than the limit and the {held} that were approved is more than an amount can be; decline it, and ask for less",
        extension.amount
    );
    Err(Refusal::Conflict { kind: "limit-too-large", detail })
}

impl App {
    /// Asks for more in the period that it is now.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] unless a known person acts for the team or finance, [`Refusal::Invalid`] naming the field,
    /// [`Refusal::NotFound`] for a budget or an alert that there is not, [`Refusal::Conflict`] for an alert of another period.
    pub async fn request_extension(
        &self,
        principal: &Principal,
        request: ExtensionRequest,
    ) -> Result<Extension, Refusal> {
        let world = self.world().await?;
        let today = world.history.calendar().day_of(self.now_ns());
        let organisation = &world.history.on(today).organisation;
        // Before the budget is looked up: whoever may not act for it does not learn whether there is one.
        let team = team_of(&request.scope, organisation).map(str::to_owned);
        principal.may_act_for(team.as_deref())?;
        let budget = budget_of(&organisation.budgets, &request.scope, request.kind.as_deref())?;
        known_person(principal, organisation, &self.pseudonyms)?;
        if request.amount <= Amount::ZERO {
            return Err(Refusal::invalid("out-of-range", "amount", "ask for more than 0"));
        }
        let reason = request.reason.trim();
        if reason.is_empty() || reason.chars().count() > REASON_CHARS_MAX {
            let detail = format!("an extension needs a reason of 1 to {REASON_CHARS_MAX} characters");
            return Err(Refusal::invalid("invalid-reason", "reason", detail));
        }
        let Some(kind) = PeriodKind::from_name(&budget.period) else {
            return Err(Refusal::computation("ask for an extension", format!("`{}`?", budget.period)));
        };
        if let Some(alert) = &request.alert {
            let alert = self.budget_alert(principal, alert).await?;
            if alert.period != kind.period_of(today) {
                let detail =
                    format!("the alert is of {}, which is not the period that it is now; ask without it", alert.period);
                return Err(Refusal::Conflict { kind: "period-over", detail });
            }
        }
        let extension = Extension {
            id: new_id()?,
            scope: budget.scope.clone(),
            period: kind.period_of(today),
            amount: request.amount,
            reason: reason.to_owned(),
            state: ExtensionState::Pending,
            requested_by: principal.who(),
            requested_at: self.now_text(),
            decided_by: None,
            decided_at: None,
            alert: request.alert,
        };
        let key = extension_key(&extension.period, &extension.id);
        let tell = Tell::ExtensionRequested { extension: extension.clone(), team };
        let detail = json!({ "scope": extension.scope, "amount": extension.amount, "reason": extension.reason });
        let mut writes = vec![
            records::put(key, &extension, Expect::Absent)?,
            outbox_put(&tell)?,
            self.audit_put(principal, "extension-requested", &extension.id, detail)?,
        ];
        writes.extend(extension.entries()?);
        self.books().write(writes).await?;
        self.has_decided(&tell).await;
        Ok(extension)
    }

    /// Approves or declines a request. Whoever asked cannot decide. The limit is another one when this returns; the tiers that
    /// this resolves and who is told of it follow.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] without the role, for nobody's key or for one's own request; [`Refusal::Conflict`] where it is
    /// decided already, the period is over or nobody knows who asked; [`Refusal::NotFound`] without such a request.
    pub async fn decide_extension(&self, principal: &Principal, id: &str, approve: bool) -> Result<Extension, Refusal> {
        principal.may_run()?;
        let (extension, version) =
            extension(self, id).await?.ok_or_else(|| Refusal::NotFound(format!("there is no extension `{id}`")))?;
        if extension.state != ExtensionState::Pending {
            let by = extension.decided_by.as_deref().unwrap_or("somebody");
            let detail = format!("it is {} already, by {by}", name_of(extension.state));
            return Err(Refusal::Conflict { kind: "already-decided", detail });
        }
        let world = self.world().await?;
        let today = world.history.calendar().day_of(self.now_ns());
        let organisation = &world.history.on(today).organisation;
        four_eyes(&extension, principal, approve, (organisation, &self.pseudonyms))?;
        let is_over =
            PeriodKind::of_period(&extension.period).is_none_or(|kind| kind.period_of(today) != extension.period);
        if is_over {
            let detail = format!("{} is over; ask for more in the period that it is now", extension.period);
            return Err(Refusal::Conflict { kind: "period-over", detail });
        }
        if approve {
            let periods = std::collections::BTreeSet::from([extension.period.clone()]);
            check_limit(&organisation.budgets, &extension, &self.approved_for(&periods).await?)?;
        }
        let decided = Extension {
            state: if approve { ExtensionState::Approved } else { ExtensionState::Declined },
            decided_by: Some(principal.who()),
            decided_at: Some(self.now_text()),
            ..extension
        };
        let team = team_of(&decided.scope, organisation).map(str::to_owned);
        let tell = Tell::ExtensionDecided { extension: decided.clone(), team };
        let action = if approve { "extension-approved" } else { "extension-declined" };
        let detail = json!({ "scope": decided.scope, "period": decided.period, "amount": decided.amount });
        let writes = vec![
            records::put(extension_key(&decided.period, id), &decided, Expect::Version(version))?,
            outbox_put(&tell)?,
            self.audit_put(principal, action, id, detail)?,
        ];
        self.books().write(writes).await?;
        self.forget_extended();
        self.has_decided(&tell).await;
        Ok(decided)
    }

    /// Requests for more that the caller may see, newest first.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for a key that may not read.
    pub async fn extensions(&self, principal: &Principal, window: Window) -> Result<Listed<Extension>, Refusal> {
        let team = principal.seen_team()?;
        let organisation = self.organisation_today().await?;
        let is_seen =
            |extension: &Extension| team.is_none_or(|team| team_of(&extension.scope, &organisation) == Some(team));
        self.listed(List::Extensions, window, is_seen).await
    }
}

/// The person who acts.
fn known_person<'a>(
    principal: &'a Principal,
    organisation: &Organisation,
    pseudonyms: &Pseudonyms,
) -> Result<&'a str, Refusal> {
    let Some(who) = principal.known_person() else {
        let whose = match principal.key_id {
            Some(_) => "this API key names nobody",
            None => "the operator at the machine is nobody",
        };
        return Err(Refusal::Forbidden(format!(
            "{whose}, and more is asked for by one person and decided by another: make each of them a key with \
             `recoup keys create --role ROLE --person ID` and use it with `recoup --server URL --key KEY`, or use Slack"
        )));
    };
    if pseudonyms.are_known(who, organisation) {
        return Ok(who);
    }
    Err(Refusal::Forbidden(format!(
        "{}, and more is asked for by one of them and decided by another: make the key with `recoup keys create --role ROLE \
         --person ID`, where ID is the id of one of them, or add the person to the file",
        not_of_people(who)
    )))
}

/// What is wrong with a name.
pub(crate) fn not_of_people(name: &str) -> String {
    format!("`{name}` is not the id of one of the [[people]] in the organisation file")
}

/// Whoever asked cannot decide, and what nobody known asked for cannot be approved (BUD-6).
fn four_eyes(
    extension: &Extension,
    principal: &Principal,
    approve: bool,
    (organisation, pseudonyms): (&Organisation, &Pseudonyms),
) -> Result<(), Refusal> {
    let who = known_person(principal, organisation, pseudonyms)?;
    let asker = extension.requested_by.as_str();
    if is_same_person(asker, who, pseudonyms) {
        let detail = "whoever asked for more cannot decide about it; somebody else with the role `finance` may";
        return Err(Refusal::Forbidden(detail.to_owned()));
    }
    let unknown = match is_person(asker) {
        false => format!("`{asker}`, who asked for it, is no known person"),
        true if !pseudonyms.are_known(asker, organisation) => format!("{}, and asked for it", not_of_people(asker)),
        true => return Ok(()),
    };
    if !approve {
        return Ok(());
    }
    let detail = format!(
        "{unknown}; decline it, and have it asked for with a key that names one: `recoup keys create --role ROLE --person ID`"
    );
    Err(Refusal::Conflict { kind: "unknown-requester", detail })
}

/// Whether two names are those of one person: by another door they may be written with other spaces or cases, or be the
/// pseudonym where the name was erased.
fn is_same_person(one: &str, other: &str, pseudonyms: &Pseudonyms) -> bool {
    let plain = |name: &str| name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let is_erased = |name: &str, pseudonym: &str| *pseudonyms.of(name) == *pseudonym;
    plain(one) == plain(other) || is_erased(one, other) || is_erased(other, one)
}

const fn name_of(state: ExtensionState) -> &'static str {
    match state {
        ExtensionState::Pending => "pending",
        ExtensionState::Approved => "approved",
        ExtensionState::Declined => "declined",
    }
}

fn new_id() -> Result<String, Refusal> {
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(|error| Refusal::computation("name an extension", error))?;
    Ok(format!("ext_{}", hex::encode(random)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bud_6_one_person_is_one_by_any_door() {
        let pseudonyms = Pseudonyms::new([7; 32]);
        let is_same = |one: &str, other: &str| is_same_person(one, other, &pseudonyms);
        for other in ["ana lee", " Ana  Lee ", "ANA LEE", "ana\tlee", &pseudonyms.of("ana lee")] {
            assert!(is_same("ana lee", other) && is_same(other, "ana lee"), "{other}");
        }
        for other in ["ana", "finn", &pseudonyms.of("ana")] {
            assert!(!is_same("ana lee", other), "{other}");
        }
        assert!(is_same("Ärzu", "äRZU"));
    }
}
