//! Use of pools in columns.

use recoup_attribution::SettlementFacts;
use recoup_attribution::facts::PoolUse;
use recoup_attribution::settlement::{Rows, UseOf};
use recoup_model::Id;
use serde::{Deserialize, Serialize};

use super::columns::{Column, Numbered, Pico, Read, Runs, all_are};

/// Who used a pool, and how much.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Pools {
    texts: Vec<Id>,
    pool: Runs,
    team: Runs,
    via: Runs,
    agent: Runs,
    invocations: Column<u64>,
    tokens: Column<u64>,
    duration_ms: Column<u64>,
    cost: Column<Pico>,
}

impl Pools {
    pub(super) fn of(rows: &[(UseOf, PoolUse)], facts: &SettlementFacts) -> Self {
        let mut all = Self::default();
        let mut texts = Numbered::of(facts);
        for (key, value) in rows {
            texts.push([
                (&mut all.pool, key.pool),
                (&mut all.team, key.team),
                (&mut all.via, key.via),
                (&mut all.agent, key.agent),
            ]);
            all.invocations.push(value.invocations);
            all.tokens.push(value.tokens);
            all.duration_ms.push(value.duration_ms);
            all.cost.push(Pico(value.cost));
        }
        all.texts = texts.texts;
        all
    }

    /// Adds the rows; `None` where a record does not hold what was written.
    pub(super) fn into_rows(self, rows: &mut Rows) -> Option<()> {
        let texts = Read::of(&self.texts, &mut rows.names);
        let names = [&self.pool, &self.team, &self.via, &self.agent];
        let figures = [&self.invocations, &self.tokens, &self.duration_ms];
        all_are(names.into_iter().map(Runs::len).chain(figures.map(|figures| figures.len())), self.cost.len())?;
        let [mut pool, mut team, mut via, mut agent] = names.map(Runs::rows);
        let [mut invocations, mut tokens, mut duration_ms] = figures.map(|figures| figures.iter().copied());
        rows.uses.reserve(self.cost.len());
        for cost in self.cost.iter() {
            let key = UseOf {
                pool: texts.required(pool.next()?)?,
                team: texts.code(team.next()?)?,
                via: texts.code(via.next()?)?,
                agent: texts.code(agent.next()?)?,
            };
            let (invocations, tokens) = (invocations.next()?, tokens.next()?);
            let value = PoolUse { invocations, tokens, duration_ms: duration_ms.next()?, cost: cost.0 };
            rows.uses.push((key, value));
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use chrono::NaiveDate;

    use super::*;

    #[test]
    fn rows_are_read_as_they_were_written() {
        let day = NaiveDate::default();
        let mut rows = Rows::default();
        let mut push = |[pool, team, via]: [&str; 3], (invocations, cost): (u64, &str)| {
            let mut code = |name: &str| rows.names.code(Some(&Id::from(name)).filter(|name| !name.is_empty()));
            let key = UseOf { pool: code(pool), team: code(team), via: code(via), agent: code(pool) };
            let value = PoolUse { invocations, tokens: u64::MAX, duration_ms: 0, cost: cost.parse().unwrap() };
            rows.uses.push((key, value));
        };
        push(["safety", "a", ""], (1, "99999999999999999999"));
        push(["audit", "", ""], (0, "0"));
        push(["audit", "a", "safety"], (3, "-0.000000000001"));
        let facts = rows.in_order(day).unwrap();
        let packed = Pools::of(facts.uses(), &facts);
        assert_eq!(packed.texts, ["audit", "a", "safety"].map(Id::from), "in the order of rows, each once");
        let text = serde_json::to_string(&packed).unwrap();
        let mut read = Rows::default();
        serde_json::from_str::<Pools>(&text).unwrap().into_rows(&mut read).unwrap();
        assert_eq!(read.in_order(day).unwrap(), facts);
        let cut = Pools { tokens: Column::default(), ..packed };
        assert_eq!(cut.into_rows(&mut Rows::default()), None, "a column is missing");
    }
}
