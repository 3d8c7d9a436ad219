//! How many rows each table of a database has: what a backup records, and what a restore is compared with. Bounded, because
//! it is kept in the manifest: the first tables by name are recorded each, the rest as a sum, so that nothing is left out
//! of the comparison. Knows neither SQLite nor PostgreSQL.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// How many tables are recorded each by its name.
pub const RECORDED_TABLES: usize = 1000;
/// How many differences are told.
const TOLD: usize = 5;
/// Longest name of a table in a text for people, in characters.
const TOLD_NAME: usize = 80;

/// Every table's rows, by name.
pub type Counts = BTreeMap<String, u64>;

/// The recorded counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rows {
    /// Rows of the first [`RECORDED_TABLES`] tables in the order of their names.
    pub tables: Counts,
    /// How many tables there are beyond those.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_tables: u64,
    /// How many rows those have together.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_rows: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Whether there may be tables that were not backed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// The database was made by the restore alone.
    None,
    /// It had other tables before.
    Allowed,
}

impl Rows {
    /// Records counts.
    pub fn record(mut counts: Counts) -> Self {
        let rest = match counts.keys().nth(RECORDED_TABLES).cloned() {
            Some(first) => counts.split_off(&first),
            None => Counts::new(),
        };
        let more_tables = u64::try_from(rest.len()).unwrap_or(u64::MAX);
        Self { tables: counts, more_tables, more_rows: rest.values().fold(0, |sum, rows| sum.saturating_add(*rows)) }
    }

    /// How many tables there are in all.
    pub fn table_count(&self) -> u64 {
        u64::try_from(self.tables.len()).unwrap_or(u64::MAX).saturating_add(self.more_tables)
    }

    /// How many rows there are in all.
    pub fn row_count(&self) -> u64 {
        self.tables.values().fold(self.more_rows, |sum, rows| sum.saturating_add(*rows))
    }

    /// Compares what is there now with what was recorded.
    pub fn compare(&self, found: Counts, others: Others) -> Result<(), RowsDiffer> {
        let mut differences = Vec::new();
        for (table, expected) in &self.tables {
            match found.get(table) {
                None => differences.push(Difference::Missing { table: table.clone(), expected: *expected }),
                Some(rows) if rows != expected => {
                    differences.push(Difference::Rows { table: table.clone(), expected: *expected, found: *rows });
                }
                Some(_) => {}
            }
        }
        if others == Others::None {
            let found = Self::record(found);
            let added = found.tables.keys().filter(|table| !self.tables.contains_key(*table));
            differences.extend(added.map(|table| Difference::Added { table: table.clone() }));
            let rest = |rows: &Self| (rows.more_tables, rows.more_rows);
            if differences.is_empty() && rest(&found) != rest(self) {
                differences.push(Difference::Rest { expected: rest(self), found: rest(&found) });
            }
        }
        if differences.is_empty() { Ok(()) } else { Err(RowsDiffer { differences }) }
    }
}

/// One table that is not as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Difference {
    Missing { table: String, expected: u64 },
    Rows { table: String, expected: u64, found: u64 },
    Added { table: String },
    Rest { expected: (u64, u64), found: (u64, u64) },
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { table, expected } => {
                write!(formatter, "table {} with {expected} rows is missing", shown(table))
            }
            Self::Rows { table, expected, found } => {
                write!(formatter, "table {} has {found} rows instead of {expected}", shown(table))
            }
            Self::Added { table } => write!(formatter, "table {} was not in the backup", shown(table)),
            Self::Rest { expected, found } => write!(
                formatter,
                "the tables after the first {RECORDED_TABLES} are {} with {} rows instead of {} with {}",
                found.0, found.1, expected.0, expected.1
            ),
        }
    }
}

/// A name for people's eyes: without control characters, and not endless.
fn shown(name: &str) -> String {
    let short: String = name.chars().take(TOLD_NAME).map(|c| if c.is_control() { '?' } else { c }).collect();
    if name.chars().nth(TOLD_NAME).is_some() { format!("{short}...") } else { short }
}

/// A restored database has not the rows that were backed up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct RowsDiffer {
    differences: Vec<Difference>,
}

impl fmt::Display for RowsDiffer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told: Vec<String> = self.differences.iter().take(TOLD).map(ToString::to_string).collect();
        write!(formatter, "{}", told.join("; "))?;
        match self.differences.len().saturating_sub(TOLD) {
            0 => Ok(()),
            more => write!(formatter, "; and {more} more differences"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(tables: &[(&str, u64)]) -> Counts {
        tables.iter().map(|(table, rows)| ((*table).to_owned(), *rows)).collect()
    }

    fn many(tables: usize) -> Counts {
        (0..tables).map(|number| (format!("t{number:06}"), 2)).collect()
    }

    #[test]
    fn equal_counts_do_not_differ() {
        let rows = Rows::record(counts(&[("jobs", 3), ("parts", 0)]));
        assert_eq!(rows.compare(counts(&[("jobs", 3), ("parts", 0)]), Others::None), Ok(()));
    }

    #[test]
    fn each_kind_of_difference_is_told_with_its_table() {
        let rows = Rows::record(counts(&[("jobs", 3), ("parts", 7)]));
        let differ = rows.compare(counts(&[("jobs", 2), ("spools", 1)]), Others::None).unwrap_err();
        let expected = "table jobs has 2 rows instead of 3; table parts with 7 rows is missing; table spools was not in the backup";
        assert_eq!(differ.to_string(), expected);
    }

    #[test]
    fn tables_that_were_there_before_are_no_difference_where_they_may_be() {
        let rows = Rows::record(counts(&[("jobs", 3)]));
        assert_eq!(rows.compare(counts(&[("jobs", 3), ("spools", 1)]), Others::Allowed), Ok(()));
        assert!(rows.compare(counts(&[("jobs", 4), ("spools", 1)]), Others::Allowed).is_err());
    }

    #[test]
    fn of_many_tables_the_first_are_recorded_and_the_rest_is_still_compared() {
        let rows = Rows::record(many(RECORDED_TABLES + 20));
        assert_eq!((rows.tables.len(), rows.more_tables, rows.more_rows), (RECORDED_TABLES, 20, 40));
        assert_eq!((rows.table_count(), rows.row_count()), (1020, 2040));
        assert_eq!(rows.compare(many(RECORDED_TABLES + 20), Others::None), Ok(()));
        let mut fewer = many(RECORDED_TABLES + 20);
        fewer.insert(format!("t{:06}", RECORDED_TABLES + 7), 1);
        let told = rows.compare(fewer, Others::None).unwrap_err().to_string();
        assert!(told.contains("are 20 with 39 rows instead of 20 with 40"), "{told}");
    }

    #[test]
    fn a_long_list_of_differences_is_cut_and_names_cannot_forge_lines() {
        let rows = Rows::record(many(40));
        let told = rows.compare(Counts::new(), Others::None).unwrap_err().to_string();
        assert!(told.ends_with("and 35 more differences"), "{told}");
        let forged = Rows::record(counts(&[("a\nb\u{1b}[2J", 1)])).compare(Counts::new(), Others::None).unwrap_err();
        assert_eq!(forged.to_string(), "table a?b?[2J with 1 rows is missing");
    }

    #[test]
    fn what_is_recorded_survives_the_manifest() {
        let rows = Rows::record(many(RECORDED_TABLES + 1));
        let json = serde_json::to_string(&rows).unwrap();
        assert_eq!(serde_json::from_str::<Rows>(&json).unwrap(), rows);
    }
}
