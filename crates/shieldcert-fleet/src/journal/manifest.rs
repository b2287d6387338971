//! The manifest, as a temporary table beside the journal. So a million rows are compared with the journal without being
//! in memory.

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use super::database::Journal;
use super::generation::json;
use crate::error::Result;
use crate::manifest::Device;
use crate::name::DeviceName;

/// What is in the manifest twice: the rows that have it, too.
#[derive(Debug)]
pub(crate) struct Duplicate {
    pub(crate) name: Option<u64>,
    pub(crate) output: Option<u64>,
}

const CREATE: &str = "
DROP TABLE IF EXISTS temp.manifest;
CREATE TEMP TABLE manifest (
    row INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    output TEXT UNIQUE,
    device TEXT NOT NULL
) STRICT;
";

/// What fills the table.
pub(crate) struct ManifestTable<'a> {
    connection: &'a Connection,
}

impl ManifestTable<'_> {
    /// Adds a device, and the file that it alone may write. A name or a file that is there already is a duplicate.
    pub(crate) fn add(
        &self,
        row: u64,
        device: &Device,
        output: Option<&str>,
    ) -> rusqlite::Result<Result<(), Duplicate>> {
        let json = serde_json::to_string(device)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        let inserted = self
            .connection
            .prepare_cached(
                "INSERT INTO temp.manifest (row, name, output, device) VALUES (?, ?, ?, ?)",
            )?
            .execute(params![row as i64, device.name.as_str(), output, json]);
        match inserted {
            Ok(_) => Ok(Ok(())),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                let other = |column: &str, value: Option<&str>| {
                    let sql = format!("SELECT row FROM temp.manifest WHERE {column} = ?");
                    let mut statement = self.connection.prepare_cached(&sql)?;
                    let row = statement.query_row([value], |row| row.get::<_, i64>(0));
                    Ok::<_, rusqlite::Error>(row.optional()?.map(i64::unsigned_abs))
                };
                Ok(Err(Duplicate {
                    name: other("name", Some(device.name.as_str()))?,
                    output: other("output", output)?,
                }))
            }
            Err(error) => Err(error),
        }
    }
}

impl Journal {
    /// Replaces the manifest's table by what `fill` adds.
    pub(crate) fn load_manifest<T>(
        &self,
        fill: impl FnOnce(&ManifestTable<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        self.read(|connection| {
            connection.execute_batch(CREATE)?;
            // One transaction on the temporary database: without it each row is a write of its own. The journal itself
            // is not locked by it.
            connection.execute_batch("BEGIN DEFERRED")?;
            let filled = fill(&ManifestTable { connection });
            match &filled {
                Ok(_) => connection.execute_batch("COMMIT")?,
                Err(_) => connection.execute_batch("ROLLBACK")?,
            }
            filled
        })
    }

    /// Returns the row of a device.
    pub(crate) fn manifest_row(&self, name: &DeviceName) -> Result<Option<Device>> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT device FROM temp.manifest WHERE name = ?")?
                .query_row([name.as_str()], |row| json(row, 0))
                .optional()
        })
    }

    /// Adds the devices of the manifest that the journal does not know yet, in its order.
    pub(crate) fn add_devices(&self) -> Result<usize> {
        self.write(|transaction| {
            transaction.execute(
                "INSERT INTO devices (name) SELECT name FROM temp.manifest WHERE true ORDER BY row ON CONFLICT DO NOTHING",
                [],
            )
        })
    }
}
