//! The id of a reservation: it says what is needed to settle it, and is sealed, so that no store keeps an item for it.

use recoup_money::Amount;
use recoup_store::{LeaseName, Settlement};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::people::Pseudonyms;

const PREFIX: &str = "rsv_";
const PURPOSE: &str = "reservation";
/// Bytes of the seal that travel.
const SEAL_BYTES: usize = 10;
/// Bytes that tell the keys of askers apart.
const HOLDER_BYTES: usize = 4;
/// Bytes of an id: when it ends, the lease, the number, the holder, the amount and the seal.
const BYTES: usize = 4 + 8 + 4 + HOLDER_BYTES + 16 + SEAL_BYTES;

/// Whoever asked for it: the id of its API key, as far as an id of a reservation tells.
pub(crate) type Holder = [u8; HOLDER_BYTES];

/// A reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reservation {
    pub(crate) settlement: Settlement,
    pub(crate) holder: Holder,
}

/// The holder with an API key; `None`: the operator at the machine.
pub(crate) fn holder(key_id: Option<&str>) -> Holder {
    let digest = Sha256::digest(key_id.unwrap_or_default());
    let mut holder = Holder::default();
    holder.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    holder
}

impl Reservation {
    /// When it ends, nanoseconds since 1970-01-01T00:00:00Z.
    pub(crate) fn expires_ns(&self) -> i64 {
        i64::from(self.settlement.lease.ends_minute).saturating_mul(60_000_000_000)
    }

    pub(crate) fn to_text(self, pseudonyms: &Pseudonyms) -> String {
        let mut bytes = self.body();
        let seal = pseudonyms.seal(PURPOSE, &bytes);
        bytes.extend(seal.iter().take(SEAL_BYTES));
        let mut digits = [0; 2 * BYTES];
        let written = hex::encode_to_slice(&bytes, &mut digits);
        let digits = written.ok().and_then(|()| std::str::from_utf8(&digits).ok());
        format!("{PREFIX}{}", digits.unwrap_or_default())
    }

    /// The reservation that an id names; `None`: we gave out no such id.
    pub(crate) fn from_text(text: &str, pseudonyms: &Pseudonyms) -> Option<Self> {
        let mut bytes = [0_u8; BYTES];
        hex::decode_to_slice(text.strip_prefix(PREFIX)?, &mut bytes).ok()?;
        let (body, seal) = bytes.split_at_checked(BYTES.checked_sub(SEAL_BYTES)?)?;
        let expected = pseudonyms.seal(PURPOSE, body);
        if !bool::from(expected.get(..SEAL_BYTES)?.ct_eq(seal)) {
            return None;
        }
        let (ends_minute, rest) = body.split_first_chunk()?;
        let (id, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (holder, rest) = rest.split_first_chunk()?;
        let (pico, _) = rest.split_first_chunk()?;
        let lease = LeaseName { ends_minute: u32::from_be_bytes(*ends_minute), id: u64::from_be_bytes(*id) };
        let amount = Amount::from_pico(i128::from_be_bytes(*pico));
        let settlement = Settlement { lease, number: u32::from_be_bytes(*number), amount };
        Some(Self { settlement, holder: *holder })
    }

    fn body(&self) -> Vec<u8> {
        let Settlement { lease, number, amount } = self.settlement;
        let mut body = Vec::with_capacity(BYTES);
        body.extend(lease.ends_minute.to_be_bytes());
        body.extend(lease.id.to_be_bytes());
        body.extend(number.to_be_bytes());
        body.extend(self.holder);
        body.extend(amount.pico().to_be_bytes());
        body
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    #[test]
    fn bud_3_an_id_is_read_as_it_was_made_and_no_other_is() {
        let pseudonyms = Pseudonyms::new([7; 32]);
        let lease = LeaseName { ends_minute: 29_900_000, id: u64::MAX };
        let settlement = Settlement { lease, number: 9, amount: "12.500000000001".parse().unwrap() };
        let made = Reservation { settlement, holder: holder(Some("k1")) };
        let text = made.to_text(&pseudonyms);
        assert_eq!(Reservation::from_text(&text, &pseudonyms), Some(made));
        assert!(text.len() <= 100, "{text}");
        let changed = |at: usize| {
            let mut letters: Vec<char> = text.chars().collect();
            letters[at] = if letters[at] == '0' { '1' } else { '0' };
            letters.into_iter().collect::<String>()
        };
        for at in 4..text.len() {
            assert_eq!(Reservation::from_text(&changed(at), &pseudonyms), None, "letter {at}");
        }
        for other in ["", "rsv_", "rsv_00", &text[1..], &format!("{text}00")] {
            assert_eq!(Reservation::from_text(other, &pseudonyms), None, "{other}");
        }
        assert_eq!(Reservation::from_text(&text, &Pseudonyms::new([8; 32])), None, "of another organisation");
    }
}
