//! Setting a budget: its entry in the organisation file is changed or added, and the file is applied as a new version.
//!
//! There is no limit beside the organisation file. Its text is edited, not written anew: comments and order stay.
//! I/O: as applying a file; where the limit holds from today on, a look at the budgets, and for a scope that had none the
//! blocks of the running periods.

use chrono::{Days, NaiveDate};
use recoup_budgets::PeriodKind;
use recoup_model::organisation::{Budget, FileProblem, History, Unavailable, Version, parse};
use recoup_money::Amount;
use recoup_store::causes;
use serde_json::json;
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use crate::access::Principal;
use crate::app::App;
use crate::error::Refusal;
use crate::organisation::{Applied, Noted, Wanted};

/// The period of a budget that names none.
const PERIOD_DEFAULT: &str = "month";

/// A budget as it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetRequest {
    /// `organisation`, or `team:`, `project:`, `agent:`, `user:`, `task:` and an id.
    pub scope: String,
    /// `month`, `week` or `day`; `None`: month.
    pub period: Option<String>,
    /// The limit.
    pub limit: Amount,
    /// Percentages at which somebody is told; `None`: as they are, for a new budget the default ones.
    pub tiers: Option<Vec<u32>>,
    /// What non-critical work is told when it cannot be read (BUD-5); `None`: as it is, for a new budget that it is refused.
    pub unavailable: Option<Unavailable>,
}

/// From when on it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// The next local midnight, as with a file that is applied.
    Tomorrow,
    /// The local day that it is now: at once, for the whole of the running period.
    Today,
    /// A local day.
    Day(NaiveDate),
}

impl BudgetRequest {
    fn period(&self) -> &str {
        self.period.as_deref().unwrap_or(PERIOD_DEFAULT)
    }

    fn is(&self, budget: &Budget) -> bool {
        budget.scope == self.scope && budget.period == self.period()
    }

    fn holds_in(&self, version: &Version) -> bool {
        let same = |budget: &Budget| {
            budget.limit == self.limit
                && self.tiers.as_ref().is_none_or(|tiers| *tiers == budget.tiers)
                && self.unavailable.is_none_or(|unavailable| unavailable == budget.unavailable)
        };
        version.organisation.budgets.iter().any(|budget| self.is(budget) && same(budget))
    }

    /// What a field of the file has to say where it says something else.
    fn changes(&self, known: Option<&Budget>) -> Vec<(&'static str, Value)> {
        let mut fields = Vec::new();
        if known.is_none_or(|known| known.limit != self.limit) {
            fields.push(("limit", Value::from(self.limit.to_string())));
        }
        if let Some(tiers) = &self.tiers
            && known.is_none_or(|known| known.tiers != *tiers)
        {
            fields.push(("tiers", Value::Array(tiers.iter().map(|tier| i64::from(*tier)).collect::<Array>())));
        }
        if let Some(unavailable) = self.unavailable
            && known.is_none_or(|known| known.unavailable != unavailable)
        {
            let name = match unavailable {
                Unavailable::Deny => "deny",
                Unavailable::Allow => "allow",
            };
            fields.push(("unavailable", Value::from(name)));
        }
        fields
    }
}

impl App {
    /// Sets the limit of a budget, or adds a budget, from a local day on; or only shows what that would change.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] unless the key has the role `finance` or `admin`; [`Refusal::Invalid`] naming the field;
    /// [`Refusal::Conflict`] without an organisation file, or where somebody changed it meanwhile.
    pub async fn set_budget(
        &self,
        principal: &Principal,
        request: &BudgetRequest,
        since: Since,
        dry_run: bool,
    ) -> Result<Applied, Refusal> {
        principal.may_run()?;
        if PeriodKind::from_name(request.period()).is_none() {
            let detail = format!("`{}` is not known here; write month, week or day", request.period());
            return Err(Refusal::invalid("invalid-budget", "period", detail));
        }
        // As it stands in the books: another process may have applied a version that this one does not know.
        self.forget_world();
        let world = self.world().await?;
        let history = &world.history;
        let today = history.calendar().day_of(self.now_ns());
        let day = match since {
            Since::Tomorrow => today.checked_add_days(Days::new(1)).unwrap_or(today),
            Since::Today => today,
            Since::Day(day) => day,
        };
        let day = self.effective_day(history, Some(day)).await?;
        let version = history.on(day);
        let known = version.organisation.budgets.iter().find(|budget| request.is(budget));
        let text = edited(&version.text, request, known)?;
        parse(&text).map_err(|problems| refuse(&problems))?;
        let detail = json!({
            "scope": request.scope, "period": request.period(), "limit": request.limit,
            "before": known.map(|known| known.limit),
        });
        let noted = Noted { principal, action: "budget-set", target: request.scope.clone(), detail };
        let wanted = Wanted { effective: Some(day), dry_run, noted: Some(noted) };
        let mut applied = self.apply_over(Some(history), &text, wanted).await?;
        applied.notices.extend(later_versions(history, day, request));
        if applied.applied && day <= today {
            self.look_at_once().await;
        }
        Ok(applied)
    }

    /// What a new limit brings at once. Should it fail, the next look or the next night finds it.
    async fn look_at_once(&self) {
        // Where processes share the books the log may be too long for a request: there the next night counts a new scope.
        if !self.sharing
            && let Err(error) = self.true_up_counters().await
        {
            tracing::error!(error = causes(&error), "the counters of a new budget wait for the next night");
        }
        if let Err(error) = self.watch_budgets(None).await {
            tracing::error!(error = causes(&error), "the budgets could not be looked at");
        }
    }
}

/// Versions that hold from later days on and say something else, so that nobody is surprised by them.
fn later_versions(history: &History, day: NaiveDate, request: &BudgetRequest) -> Vec<String> {
    let is_later = |version: &&Version| version.effective.is_some_and(|from| from > day);
    let differing = history.versions().iter().filter(is_later).filter(|version| !request.holds_in(version));
    differing
        .filter_map(|version| {
            let from = version.effective?;
            let number = version.number;
            Some(format!(
                "version {number} of the organisation file holds from {from} on and does not say so; set it from {from} on too"
            ))
        })
        .collect()
}

/// The problem of the budget, by its field.
fn refuse(problems: &[FileProblem]) -> Refusal {
    let of_budget = problems.iter().find(|problem| problem.path.starts_with("budgets")).or_else(|| problems.first());
    let Some(FileProblem { path, problem, remedy, .. }) = of_budget else {
        return Refusal::computation("edit the organisation file", "it has a problem that has no name");
    };
    let field = path.split_once("].").map_or(path.as_str(), |(_, field)| field);
    let field = field.split_once('[').map_or(field, |(name, _)| name);
    Refusal::invalid("invalid-budget", field, format!("{problem}; {remedy}"))
}

/// The text with the budget as it has to be.
fn edited(text: &str, request: &BudgetRequest, known: Option<&Budget>) -> Result<String, Refusal> {
    let unreadable = |why: String| Refusal::computation("edit the organisation file", why);
    let mut document: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| unreadable(error.to_string()))?;
    let changes = request.changes(known);
    match document.entry("budgets").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new())) {
        Item::ArrayOfTables(tables) => {
            let at = tables.iter().position(|table| is_entry(table, request));
            match at.and_then(|at| tables.get_mut(at)) {
                Some(table) => fill(table, changes),
                None => {
                    let mut table = Table::new();
                    fill(&mut table, with_name(request, changes));
                    tables.push(table);
                }
            }
        }
        Item::Value(Value::Array(list)) => {
            let is_it = |value: &Value| value.as_inline_table().is_some_and(|table| is_entry(table, request));
            let at = list.iter().position(is_it);
            match at.and_then(|at| list.get_mut(at)).and_then(Value::as_inline_table_mut) {
                Some(table) => fill(table, changes),
                None => {
                    let mut table = InlineTable::new();
                    fill(&mut table, with_name(request, changes));
                    list.push(table);
                }
            }
        }
        _ => return Err(unreadable("`budgets` is no list".to_owned())),
    }
    Ok(document.to_string())
}

fn is_entry(table: &dyn TableLike, request: &BudgetRequest) -> bool {
    let text = |name: &str| table.get(name).and_then(Item::as_str);
    text("scope") == Some(&request.scope) && text("period").unwrap_or(PERIOD_DEFAULT) == request.period()
}

fn with_name(request: &BudgetRequest, changes: Vec<(&'static str, Value)>) -> Vec<(&'static str, Value)> {
    let name = [("scope", Value::from(request.scope.as_str())), ("period", Value::from(request.period()))];
    name.into_iter().chain(changes).collect()
}

fn fill(table: &mut dyn TableLike, changes: Vec<(&'static str, Value)>) {
    for (name, mut value) in changes {
        match table.get_mut(name).and_then(Item::as_value_mut) {
            Some(old) => {
                // A comment behind the value stays.
                *value.decor_mut() = old.decor().clone();
                *old = value;
            }
            None => {
                table.insert(name, Item::Value(value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const FILE: &str = r#"# ours
[organisation]
name = "A"
currency = "USD"
time_zone = "UTC"
[[teams]]
id = "support" # a comment
[[budgets]]
# agreed in spring
scope = "team:support"
limit = "40.00" # a month
[[budgets]]
scope = "team:support"
period = "day"
limit = "5"
[[task_types]]
id = "ticket"
"#;

    fn request(scope: &str, period: Option<&str>, limit: &str) -> BudgetRequest {
        BudgetRequest {
            scope: scope.into(),
            period: period.map(str::to_owned),
            limit: limit.parse().unwrap(),
            tiers: None,
            unavailable: None,
        }
    }

    fn set(text: &str, request: &BudgetRequest) -> String {
        let organisation = parse(text).unwrap();
        let known = organisation.budgets.iter().find(|budget| request.is(budget));
        edited(text, request, known).unwrap()
    }

    #[test]
    fn bud_1_only_the_line_of_the_limit_is_another_one() {
        let changed = set(FILE, &request("team:support", None, "12.5"));
        assert_eq!(changed, FILE.replace("\"40.00\" # a month", "\"12.5\" # a month"));
        let day = set(FILE, &request("team:support", Some("day"), "6"));
        assert_eq!(day, FILE.replace("limit = \"5\"", "limit = \"6\""));
    }

    #[test]
    fn bud_1_what_is_so_already_changes_no_byte() {
        let same = BudgetRequest { tiers: Some(vec![70, 90, 100]), ..request("team:support", Some("month"), "40") };
        assert_eq!(set(FILE, &same), FILE);
    }

    #[test]
    fn bud_1_a_new_budget_is_added_behind_the_others() {
        let wanted = BudgetRequest {
            tiers: Some(vec![50, 100]),
            unavailable: Some(Unavailable::Allow),
            ..request("project:x", Some("week"), "7")
        };
        for text in [FILE, FILE.split_once("[[budgets]]").unwrap().0] {
            let changed = set(text, &wanted);
            assert!(changed.contains("# ours") && changed.contains("# a comment"), "{changed}");
            let budget = parse(&changed).unwrap().budgets.pop().unwrap();
            assert_eq!((budget.scope.as_str(), budget.period.as_str()), ("project:x", "week"));
            assert_eq!((budget.tiers, budget.unavailable), (vec![50, 100], Unavailable::Allow));
        }
    }

    #[test]
    fn bud_1_budgets_in_one_line_are_edited_too() {
        let head = FILE.split_once("[[teams]]").unwrap().0;
        let text = format!("budgets = [{{ scope = \"organisation\", limit = \"5\" }}]\n{head}");
        let changed = set(&text, &request("organisation", None, "6"));
        assert_eq!(changed, text.replace("\"5\"", "\"6\""));
        let added = parse(&set(&text, &request("project:x", None, "7"))).unwrap();
        assert_eq!(added.budgets.len(), 2);
    }
}
