//! Documents as they are frozen in the books before they are written: compressed, since a month's are large and each line of
//! them is much like the one before.

use recoup_store::books::VALUE_BYTES_MAX;
use recoup_store::{Books, Expect, Key, StoreError, Write};

use crate::records;

/// How hard a document is compressed; the books hold it for as long as the month is kept, and making it must not take longer
/// than writing it plainly would.
const LEVEL: i32 = 1;

/// A compressed document, as hexadecimal pieces in JSON: values of the books are text.
pub(super) struct Frozen(Vec<String>);

impl Frozen {
    pub(super) fn of(document: &[u8]) -> Result<Self, StoreError> {
        let frozen = zstd::bulk::compress(document, LEVEL);
        let frozen = frozen.map_err(|error| StoreError::unavailable("compress a document", error))?;
        let pieces = frozen.chunks(VALUE_BYTES_MAX.div_euclid(4)).map(|piece| records::to_json(&hex::encode(piece)));
        pieces.collect::<Result<_, _>>().map(Self)
    }

    /// The puts that store it.
    pub(super) fn puts(&self, partition: &str, name: &str) -> impl Iterator<Item = Write> {
        self.0.iter().enumerate().map(move |(number, piece)| Write::Put {
            key: Key::new(partition, format!("frozen/{name}/{number:06}")),
            value: piece.clone(),
            expect: Expect::Any,
            until_s: None,
        })
    }

    /// What [`Frozen::puts`] stored; a close that an earlier release began holds its documents as plain text.
    pub(super) async fn read(books: &dyn Books, partition: &str, name: &str) -> Result<Vec<u8>, StoreError> {
        let digits = records::text(books, partition, &format!("frozen/{name}/")).await?;
        if digits.is_empty() {
            return Ok(records::text(books, partition, &format!("documents/{name}/")).await?.into_bytes());
        }
        let damaged =
            |detail: String| StoreError::Damaged { what: format!("the record {partition}/frozen/{name}"), detail };
        let frozen = hex::decode(digits).map_err(|error| damaged(error.to_string()))?;
        zstd::stream::decode_all(frozen.as_slice()).map_err(|error| damaged(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use recoup_store::Write;
    use recoup_store::books::VALUE_BYTES_MAX;

    use super::Frozen;

    #[test]
    fn a_document_comes_back_whole_and_no_piece_is_too_large() {
        // Numbers that do not repeat cannot be compressed below the size of several pieces.
        let mut number = 1_u64;
        let mut next = || {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            number
        };
        let document: Vec<u8> = (0..200_000).flat_map(|_| next().to_le_bytes()).collect();
        let puts: Vec<Write> = Frozen::of(&document).expect("compressed").puts("partition", "000001").collect();
        assert!(puts.len() > 1, "{}", puts.len());
        let mut digits = String::new();
        for put in puts {
            let Write::Put { value, .. } = put else { unreachable!("only puts") };
            assert!(value.len() <= VALUE_BYTES_MAX, "{}", value.len());
            digits.push_str(&serde_json::from_str::<String>(&value).expect("a text"));
        }
        let frozen = hex::decode(digits).expect("digits");
        assert_eq!(zstd::stream::decode_all(frozen.as_slice()).expect("thawed"), document);
    }
}
