//! Costs by user in columns.

use recoup_attribution::facts::{UserKey, UserValue};
use recoup_model::Id;
use serde::{Deserialize, Serialize};

use super::columns::{Column, Pico, Runs, Texts, all_are, kind_code, kind_of, value_of};

/// Costs by user.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Users {
    texts: Vec<Id>,
    team: Runs,
    project: Runs,
    user: Runs,
    agent: Runs,
    task_type: Runs,
    model: Runs,
    kind: Runs,
    cost: Column<Pico>,
    events: Runs,
    unpriced: Runs,
    tasks: Runs,
}

impl Users {
    pub(super) fn of(rows: &[(&UserKey, &UserValue)]) -> Self {
        let mut all = Self::default();
        let mut texts = Texts::new();
        for (key, value) in rows {
            texts.push([
                (&mut all.team, key.team.as_ref()),
                (&mut all.project, key.project.as_ref()),
                (&mut all.user, key.user.as_ref()),
                (&mut all.agent, key.agent.as_ref()),
                (&mut all.task_type, key.task_type.as_ref()),
                (&mut all.model, key.model.as_ref()),
            ]);
            all.kind.push(kind_code(key.kind));
            all.cost.push(Pico(value.cost));
            all.events.push(count(value.events));
            all.unpriced.push(count(value.unpriced));
            all.tasks.push(count(value.tasks));
        }
        all.texts = texts.codes.values;
        all
    }

    /// Adds the rows; `None` where a record does not hold what was written.
    pub(super) fn into_rows(self, rows: &mut Vec<(UserKey, UserValue)>) -> Option<()> {
        let text = |code| value_of(&self.texts, code);
        let names = [&self.team, &self.project, &self.user, &self.agent, &self.task_type, &self.model];
        let others = [&self.kind, &self.events, &self.unpriced, &self.tasks];
        all_are(names.into_iter().chain(others).map(Runs::len), self.cost.len())?;
        let [mut team, mut project, mut user, mut agent, mut task_type, mut model] = names.map(Runs::rows);
        let [mut kind, mut events, mut unpriced, mut tasks] = others.map(Runs::rows);
        rows.reserve(self.cost.len());
        for cost in self.cost.iter() {
            let key = UserKey {
                team: text(team.next()?)?,
                project: text(project.next()?)?,
                user: text(user.next()?)?,
                agent: text(agent.next()?)?,
                task_type: text(task_type.next()?)?,
                model: text(model.next()?)?,
                kind: kind_of(kind.next()?)?,
            };
            let [events, unpriced, tasks] = [events.next()?, unpriced.next()?, tasks.next()?].map(u64::try_from);
            let (events, unpriced, tasks) = (events.ok()?, unpriced.ok()?, tasks.ok()?);
            rows.push((key, UserValue { cost: cost.0, events, unpriced, tasks }));
        }
        Some(())
    }
}

/// No day has more events than fit.
fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use recoup_model::Kind;

    use super::*;

    #[test]
    fn rows_are_read_as_they_were_written() {
        let name = |name: &str| Some(Id::from(name));
        let key = |team: Option<Id>, user: &str, model: Option<Id>, kind| UserKey {
            team,
            project: name("p"),
            user: name(user),
            agent: None,
            task_type: name(user),
            model,
            kind,
        };
        let value =
            |cost: &str, events, tasks| UserValue { cost: cost.parse().unwrap(), events, unpriced: events / 3, tasks };
        let rows = vec![
            (key(None, "u_1", None, Kind::Agent), value("0", 0, 1)),
            (key(name("a"), "u_1", name("m"), Kind::Llm), value("-0.000000000001", 7, 0)),
            (key(name("a"), "u_2", name("m"), Kind::Llm), value("99999999999999999999", 1, 0)),
        ];
        let given: Vec<_> = rows.iter().map(|(key, value)| (key, value)).collect();
        let packed = Users::of(&given);
        let text = serde_json::to_string(&packed).unwrap();
        let mut read = Vec::new();
        serde_json::from_str::<Users>(&text).unwrap().into_rows(&mut read).unwrap();
        assert_eq!(read, rows);
        let cut = Users { unpriced: Runs::default(), ..packed };
        assert_eq!(cut.into_rows(&mut Vec::new()), None, "a column is missing");
    }
}
