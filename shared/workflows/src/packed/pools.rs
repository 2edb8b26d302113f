//! Use of pools in columns.

use chrono::NaiveDate;
use recoup_attribution::facts::{PoolUse, PoolUseKey};
use recoup_model::Id;
use serde::{Deserialize, Serialize};

use super::columns::{Packed, Pico, Runs, Texts, all_are, value_of};

/// Who used a pool, and how much.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Pools {
    texts: Vec<Id>,
    pool: Runs,
    team: Runs,
    via: Runs,
    agent: Runs,
    invocations: Vec<u64>,
    tokens: Vec<u64>,
    duration_ms: Vec<u64>,
    cost: Vec<Pico>,
}

impl Packed for Pools {
    type Key = PoolUseKey;
    type Value = PoolUse;

    fn pack<'a>(_: NaiveDate, rows: impl Iterator<Item = (&'a PoolUseKey, &'a PoolUse)>) -> Self {
        let mut all = Self::default();
        let mut texts = Texts::new();
        for (key, value) in rows {
            texts.push([
                (&mut all.pool, Some(&key.pool)),
                (&mut all.team, key.team.as_ref()),
                (&mut all.via, key.via.as_ref()),
                (&mut all.agent, key.agent.as_ref()),
            ]);
            all.invocations.push(value.invocations);
            all.tokens.push(value.tokens);
            all.duration_ms.push(value.duration_ms);
            all.cost.push(Pico(value.cost));
        }
        all.texts = texts.codes.values;
        all
    }

    fn unpack(self, _: NaiveDate, rows: &mut Vec<(PoolUseKey, PoolUse)>) -> Option<()> {
        let text = |code| value_of(&self.texts, code);
        let names = [&self.pool, &self.team, &self.via, &self.agent];
        let figures = [&self.invocations, &self.tokens, &self.duration_ms];
        all_are(names.into_iter().map(Runs::len).chain(figures.map(Vec::len)), self.cost.len())?;
        let [mut pool, mut team, mut via, mut agent] = names.map(Runs::rows);
        let [mut invocations, mut tokens, mut duration_ms] = figures.map(|figures| figures.iter().copied());
        rows.reserve(self.cost.len());
        for cost in &self.cost {
            let key = PoolUseKey {
                pool: text(pool.next()?)??,
                team: text(team.next()?)?,
                via: text(via.next()?)?,
                agent: text(agent.next()?)?,
            };
            let (invocations, tokens) = (invocations.next()?, tokens.next()?);
            rows.push((key, PoolUse { invocations, tokens, duration_ms: duration_ms.next()?, cost: cost.0 }));
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn rows_are_read_as_they_were_written() {
        let day = NaiveDate::default();
        let name = |name: &str| Some(Id::from(name));
        let key = |pool: &str, team: Option<Id>, via: Option<Id>| PoolUseKey {
            pool: Id::from(pool),
            team,
            via,
            agent: name(pool),
        };
        let value = |invocations, cost: &str| PoolUse {
            invocations,
            tokens: u64::MAX,
            duration_ms: 0,
            cost: cost.parse().unwrap(),
        };
        let rows = vec![
            (key("audit", None, None), value(0, "0")),
            (key("audit", name("a"), name("safety")), value(3, "-0.000000000001")),
            (key("safety", name("a"), None), value(1, "99999999999999999999")),
        ];
        let packed = Pools::pack(day, rows.iter().map(|(key, value)| (key, value)));
        let text = serde_json::to_string(&packed).unwrap();
        let mut read = Vec::new();
        serde_json::from_str::<Pools>(&text).unwrap().unpack(day, &mut read).unwrap();
        assert_eq!(read, rows);
        let cut = Pools { tokens: Vec::new(), ..packed };
        assert_eq!(cut.unpack(day, &mut Vec::new()), None, "a column is missing");
    }
}
