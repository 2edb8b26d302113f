//! Fingerprints of events beside their blocks: derived, so that they may be missing, but never wrong.

use chrono::NaiveDate;
use recoup_model::Digest;
use recoup_store::StoreError;
use recoup_store::block::prints::{PRINT_BYTES, Print, checksum};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use crate::failure::{damaged, failed};

/// Keeps the prints of a block, in the order of its events.
pub(crate) fn keep(
    transaction: &Transaction<'_>,
    (block, digest): (i64, &Digest),
    prints: &[Print],
) -> rusqlite::Result<()> {
    const INSERT: &str = "INSERT INTO block_prints (block, checksum, prints) VALUES (?1, ?2, ?3)";
    let row = params![block, checksum(digest, prints), prints.as_flattened()];
    transaction.prepare_cached(INSERT)?.execute(row)?;
    Ok(())
}

/// The prints of blocks, in the order asked for.
pub(crate) fn read(connection: &Connection, blocks: &[u64]) -> Result<Vec<Option<Vec<Print>>>, StoreError> {
    blocks.iter().map(|block| of_block(connection, *block)).collect()
}

fn of_block(connection: &Connection, block: u64) -> Result<Option<Vec<Print>>, StoreError> {
    const SELECT: &str = "SELECT blocks.digest, blocks.events, kept.checksum, kept.prints FROM blocks \
                          LEFT JOIN block_prints AS kept ON kept.block = blocks.seq WHERE blocks.seq = ?1";
    let query = || {
        let mut select = connection.prepare_cached(SELECT)?;
        let found = select.query_row(params![block.cast_signed()], |row| {
            let Some(sum) = row.get::<_, Option<u32>>(2)? else { return Ok(None) };
            Ok(holding(&Digest(row.get(0)?), (row.get(1)?, sum), row.get_ref(3)?.as_blob()?))
        });
        found.optional()
    };
    let found = query().map_err(failed("read the prints of a block"))?;
    found.ok_or_else(|| damaged(format!("block {block}"), "it is not in the log"))
}

/// The prints, where they are what was kept for this block.
fn holding(digest: &Digest, (events, sum): (usize, u32), bytes: &[u8]) -> Option<Vec<Print>> {
    let (prints, rest) = bytes.as_chunks::<PRINT_BYTES>();
    let holds = prints.len() == events && rest.is_empty() && checksum(digest, prints) == sum;
    holds.then(|| prints.to_vec())
}

/// Forgets the prints of a UTC day. Their pages are used again by what is written next.
pub(crate) fn forget(connection: &Connection, utc_day: NaiveDate) -> Result<(), StoreError> {
    const DELETE: &str = "DELETE FROM block_prints WHERE block IN (SELECT seq FROM blocks WHERE utc_day = ?1)";
    let delete = || connection.prepare_cached(DELETE)?.execute(params![utc_day.to_string()]);
    delete().map(drop).map_err(failed("drop the prints of a day"))
}
