//! Whether a request comes from Slack: its signature, and that it is not an old one.

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Seconds that a request's time may be off, both ways. Within them a replay is possible; what a request does has to stand
/// that.
pub const WINDOW_S: i64 = 300;
/// What a signature begins with.
const VERSION: &str = "v0=";

/// Why a request is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// `X-Slack-Request-Timestamp` is no number of seconds.
    #[error("the time of the request is no number of seconds")]
    NoTime,
    /// It is too old, or of the future.
    #[error("the time of the request is {off_s} s off, at most {WINDOW_S} s are accepted")]
    OutsideWindow {
        /// By how much, without its sign.
        off_s: u64,
    },
    /// `X-Slack-Signature` is not `v0=` and 64 hexadecimal digits.
    #[error("the signature has not the form `v0=` and 64 hexadecimal digits")]
    Malformed,
    /// Somebody else signed it, or signed something else.
    #[error("the signature does not match the request")]
    Mismatch,
}

/// Checks a request: `timestamp` is `X-Slack-Request-Timestamp`, `signature` is `X-Slack-Signature`, `body` its bytes as
/// they came (decoded, where a gateway hands them over in base64), `now_s` the time in seconds since 1970.
///
/// # Errors
/// Which check failed. The comparison takes the same time wherever the signatures differ.
pub fn verify(secret: &str, timestamp: &str, signature: &str, body: &[u8], now_s: i64) -> Result<(), SignatureError> {
    let sent_s: i64 = timestamp.parse().map_err(|_| SignatureError::NoTime)?;
    let off_s = now_s.abs_diff(sent_s);
    if off_s > WINDOW_S.unsigned_abs() {
        return Err(SignatureError::OutsideWindow { off_s });
    }
    let digits = signature.strip_prefix(VERSION).ok_or(SignatureError::Malformed)?;
    let mut claimed = [0; 32];
    hex::decode_to_slice(digits, &mut claimed).map_err(|_| SignatureError::Malformed)?;
    // Keys of any length are taken.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|_| SignatureError::Mismatch)?;
    for part in [b"v0:", timestamp.as_bytes(), b":", body] {
        mac.update(part);
    }
    mac.verify_slice(&claimed).map_err(|_| SignatureError::Mismatch)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slack's documented example.
    const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
    const SENT: &str = "1531420618";
    const SENT_S: i64 = 1_531_420_618;
    const SIGNATURE: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    const BODY: &[u8] =
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V\
        &channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=\
        &response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN\
        &trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";

    #[test]
    fn the_documented_example_is_believed() {
        assert_eq!(verify(SECRET, SENT, SIGNATURE, BODY, SENT_S), Ok(()));
    }

    #[test]
    fn the_window_is_closed_on_both_sides() {
        for off in [-300, 300] {
            assert_eq!(verify(SECRET, SENT, SIGNATURE, BODY, SENT_S + off), Ok(()), "{off}");
        }
        for off in [-301, 301] {
            let expected = Err(SignatureError::OutsideWindow { off_s: 301 });
            assert_eq!(verify(SECRET, SENT, SIGNATURE, BODY, SENT_S + off), expected, "{off}");
        }
        let far = verify(SECRET, "-9223372036854775808", SIGNATURE, BODY, i64::MAX);
        assert_eq!(far, Err(SignatureError::OutsideWindow { off_s: u64::MAX }));
    }

    #[test]
    fn what_was_signed_otherwise_is_refused() {
        let mut body = BODY.to_vec();
        body.push(b'&');
        let other = SIGNATURE.replace("a2114", "b2114");
        let cases = [
            (SECRET, SENT, SIGNATURE, body.as_slice()),
            ("another secret", SENT, SIGNATURE, BODY),
            ("", SENT, SIGNATURE, BODY),
            (SECRET, "1531420619", SIGNATURE, BODY),
            (SECRET, SENT, other.as_str(), BODY),
        ];
        for (secret, sent, signature, body) in cases {
            assert_eq!(verify(secret, sent, signature, body, SENT_S), Err(SignatureError::Mismatch));
        }
    }

    #[test]
    fn what_is_no_time_or_no_signature_is_named() {
        for sent in ["", "now", "1531420618.5", " 1531420618", "99999999999999999999"] {
            assert_eq!(verify(SECRET, sent, SIGNATURE, BODY, SENT_S), Err(SignatureError::NoTime), "{sent}");
        }
        let digits = &SIGNATURE["v0=".len()..];
        for signature in ["", "v0=", digits, "v1=00", &SIGNATURE[..SIGNATURE.len() - 2], &format!("{SIGNATURE}00")] {
            assert_eq!(verify(SECRET, SENT, signature, BODY, SENT_S), Err(SignatureError::Malformed), "{signature}");
        }
    }
}
