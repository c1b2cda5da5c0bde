//! How many accounts there are, by scope.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::error::Context;
use super::{Snapshot, SnapshotError};
use crate::config::{Guards, Per};
use crate::model::SourceName;
use crate::plan::{Count, Population, ou_of};

impl Snapshot {
    /// How many accounts there are, as a whole and in each source.
    pub async fn population(&mut self) -> Result<Population, SnapshotError> {
        let mut population = Population::default();
        let rows = self
            .counts(
                "SELECT source, coalesce(sum(count) FILTER (WHERE lifecycle = 'active'), 0), sum(count)
                 FROM account_counts WHERE lifecycle <> 'deleted' AND count > 0 GROUP BY source",
            )
            .await?;
        for (source, count) in rows {
            population.active += count.active;
            population.all += count.all;
            population.by_source.insert(SourceName::new(source), count);
        }
        Ok(population)
    }

    /// Adds how many accounts there are in each domain and OU, where a limit asks for it.
    pub async fn population_by_scope(
        &mut self,
        population: &mut Population,
        guards: &Guards,
    ) -> Result<(), SnapshotError> {
        if guards.counts_per(Per::Domain) {
            // The right end of the address without an `@` in it.
            let rows = self
                .counts(
                    "SELECT substr(email, length(rtrim(email, replace(email, '@', ''))) + 1),
                        count(*) FILTER (WHERE lifecycle = 'active'), count(*)
                     FROM accounts WHERE lifecycle <> 'deleted' AND instr(email, '@') > 0 GROUP BY 1",
                )
                .await?;
            population.by_domain.extend(rows);
        }
        if guards.counts_per(Per::Ou) {
            // Two spellings of a name are one, so the names are read here and not by SQLite.
            let rows = self
                .counts(
                    "SELECT dn, lifecycle = 'active', 1 FROM accounts WHERE lifecycle <> 'deleted'",
                )
                .await?;
            for (dn, count) in rows {
                if let Some(ou) = ou_of(&dn) {
                    population.by_ou.entry(ou).or_default().add(count);
                }
            }
        }
        Ok(())
    }

    /// The rows of a query that gives a text, and how many are active, and all.
    async fn counts(&mut self, query: &'static str) -> Result<Vec<(String, Count)>, SnapshotError> {
        let read = |row: &SqliteRow| -> Result<_, sqlx::Error> {
            let count = |at: usize| row.try_get::<i64, _>(at).map(i64::unsigned_abs);
            let count = Count {
                active: count(1)?,
                all: count(2)?,
            };
            Ok((row.try_get(0)?, count))
        };
        sqlx::query(query)
            .fetch_all(&mut self.connection)
            .await
            .and_then(|rows| rows.iter().map(read).collect())
            .at(&self.path)
    }
}
