//! A stream of lines, or a JSON array, cut into requests; every event remembers its line.

use std::io::{self, BufRead, Read as _};

use serde_json::value::RawValue;

/// Bytes of one request; the service takes twice as many.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest line that is sent. The service refuses far shorter ones in its own words; longer ones are no events.
pub(crate) const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Largest JSON array.
const ARRAY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// One request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    /// The line of each event, from 1; in an array its place.
    pub(crate) lines: Vec<u64>,
    /// The events, one per line.
    pub(crate) body: Vec<u8>,
}

impl Batch {
    fn add(&mut self, number: u64, line: &[u8]) {
        self.lines.push(number);
        self.body.extend_from_slice(line);
        self.body.push(b'\n');
    }
}

/// What comes out of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A request.
    Batch(Batch),
    /// A line that is too long to be an event.
    TooLong {
        /// Its number, from 1.
        line: u64,
        /// Its length.
        bytes: u64,
    },
}

/// The pieces of a stream, in order.
pub(crate) struct Pieces {
    source: Source,
    events_max: usize,
    pending: Batch,
    too_long: Option<Piece>,
    /// Why the stream could not be read to its end.
    failed: Option<io::Error>,
    is_over: bool,
}

enum Source {
    Lines { reader: Box<dyn BufRead + Send>, number: u64 },
    Items(std::iter::Enumerate<std::vec::IntoIter<Vec<u8>>>),
}

enum Line {
    Held(u64, Vec<u8>),
    TooLong(u64, u64),
}

impl Pieces {
    /// The pieces of a stream, at most `events_max` events in each.
    ///
    /// # Errors
    /// When the stream cannot be read or is a JSON array that is broken or too large.
    pub(crate) fn of(mut reader: Box<dyn BufRead + Send>, events_max: usize) -> io::Result<Self> {
        let source = if starts_an_array(&mut reader)? {
            Source::Items(items(reader)?.into_iter().enumerate())
        } else {
            Source::Lines { reader, number: 0 }
        };
        let events_max = events_max.max(1);
        Ok(Self { source, events_max, pending: Batch::default(), too_long: None, failed: None, is_over: false })
    }

    /// What an event is called when it is spoken of.
    pub(crate) const fn noun(&self) -> &'static str {
        match self.source {
            Source::Lines { .. } => "line",
            Source::Items(_) => "item",
        }
    }

    fn is_full(&self, next_bytes: usize) -> bool {
        let bytes = self.pending.body.len().saturating_add(next_bytes);
        self.pending.lines.len() >= self.events_max || (bytes >= BATCH_BYTES_MAX && !self.pending.lines.is_empty())
    }

    fn take_pending(&mut self) -> Option<Piece> {
        (!self.pending.lines.is_empty()).then(|| Piece::Batch(std::mem::take(&mut self.pending)))
    }

    fn step(&mut self) -> io::Result<Option<Piece>> {
        if let Some(piece) = self.too_long.take() {
            return Ok(Some(piece));
        }
        while !self.is_over {
            match self.source.next_line() {
                // What was read before is given first.
                Err(error) => {
                    self.is_over = true;
                    self.failed = Some(error);
                }
                Ok(None) => self.is_over = true,
                Ok(Some(Line::TooLong(line, bytes))) => {
                    self.too_long = Some(Piece::TooLong { line, bytes });
                    return Ok(self.take_pending().or_else(|| self.too_long.take()));
                }
                Ok(Some(Line::Held(number, line))) => {
                    let full = if self.is_full(line.len()) { self.take_pending() } else { None };
                    self.pending.add(number, &line);
                    if full.is_some() {
                        return Ok(full);
                    }
                }
            }
        }
        match (self.take_pending(), self.failed.take()) {
            (Some(piece), failed) => {
                self.failed = failed;
                Ok(Some(piece))
            }
            (None, Some(error)) => Err(error),
            (None, None) => Ok(None),
        }
    }
}

impl Iterator for Pieces {
    type Item = io::Result<Piece>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

impl Source {
    /// The next line that is not blank.
    fn next_line(&mut self) -> io::Result<Option<Line>> {
        match self {
            Self::Items(items) => Ok(items.next().map(|(at, item)| {
                let number = u64::try_from(at).unwrap_or(u64::MAX).saturating_add(1);
                Line::Held(number, item)
            })),
            Self::Lines { reader, number } => loop {
                let mut line = Vec::new();
                let bytes = read_line(reader, &mut line)?;
                if bytes == 0 {
                    return Ok(None);
                }
                *number = number.saturating_add(1);
                if bytes > u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX) {
                    return Ok(Some(Line::TooLong(*number, bytes)));
                }
                let text = line.trim_ascii();
                if !text.is_empty() {
                    return Ok(Some(Line::Held(*number, text.to_vec())));
                }
            },
        }
    }
}

/// Reads a line with its end; keeps at most [`LINE_BYTES_MAX`] bytes of it, and says how many it had.
fn read_line(reader: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    let mut bytes = 0_u64;
    loop {
        let available = reader.fill_buf()?;
        if available.is_empty() {
            return Ok(bytes);
        }
        let end = available.iter().position(|byte| *byte == b'\n').map(|at| at.saturating_add(1));
        let taken = end.unwrap_or(available.len());
        let room = LINE_BYTES_MAX.saturating_sub(line.len());
        line.extend(available.iter().take(taken.min(room)));
        bytes = bytes.saturating_add(u64::try_from(taken).unwrap_or(u64::MAX));
        reader.consume(taken);
        if end.is_some() {
            return Ok(bytes);
        }
    }
}

/// Whether the first sign is the bracket of an array. A byte order mark is taken away.
fn starts_an_array(reader: &mut dyn BufRead) -> io::Result<bool> {
    if reader.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    Ok(reader.fill_buf()?.trim_ascii_start().first() == Some(&b'['))
}

fn items(reader: Box<dyn BufRead + Send>) -> io::Result<Vec<Vec<u8>>> {
    let mut bytes = Vec::new();
    reader.take(ARRAY_BYTES_MAX.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > ARRAY_BYTES_MAX {
        let text = format!("a JSON array may have {ARRAY_BYTES_MAX} bytes; write one event per line instead");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let items: Vec<Box<RawValue>> = serde_json::from_slice(&bytes)?;
    // In JSON a line's end can only stand between values, so that a blank may take its place.
    let blank = |byte: u8| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte };
    Ok(items.iter().map(|item| item.get().bytes().map(blank).collect()).collect())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::io::{BufReader, Cursor, Read};

    use super::{BATCH_BYTES_MAX, Batch, LINE_BYTES_MAX, Piece, Pieces};

    fn pieces(text: impl Into<Vec<u8>>, events_max: usize) -> Vec<Piece> {
        // A small buffer, so that lines cross its end.
        let reader = BufReader::with_capacity(7, Cursor::new(text.into()));
        Pieces::of(Box::new(reader), events_max).unwrap().map(Result::unwrap).collect()
    }

    fn batch(lines: &[u64], body: &str) -> Piece {
        Piece::Batch(Batch { lines: lines.to_vec(), body: body.into() })
    }

    #[test]
    fn blank_lines_count_as_lines_and_not_as_events() {
        let found = pieces("{\"a\":1}\n\n  \r\n{\"b\":2}\r\n{\"c\":3}", 2);
        assert_eq!(found, [batch(&[1, 4], "{\"a\":1}\n{\"b\":2}\n"), batch(&[5], "{\"c\":3}\n")]);
        assert_eq!(pieces("\n\n", 2), []);
    }

    #[test]
    fn a_line_that_is_too_long_is_named_and_the_rest_goes_on() {
        let long = "x".repeat(LINE_BYTES_MAX);
        let found = pieces(format!("{{}}\n{long}\n[1]\n"), 10);
        let bytes = u64::try_from(LINE_BYTES_MAX).unwrap() + 1;
        assert_eq!(found, [batch(&[1], "{}\n"), Piece::TooLong { line: 2, bytes }, batch(&[3], "[1]\n")]);
        let just_fits = "y".repeat(LINE_BYTES_MAX - 1);
        assert_eq!(pieces(format!("{just_fits}\n"), 10), [batch(&[1], &format!("{just_fits}\n"))]);
    }

    #[test]
    fn a_request_is_closed_before_it_is_too_large() {
        let line = "z".repeat(LINE_BYTES_MAX - 1);
        let found = pieces([line.as_str(); 9].join("\n"), 1_000);
        assert_eq!(found.len(), 3);
        for piece in found {
            let Piece::Batch(batch) = piece else { unreachable!() };
            assert!(batch.body.len() <= BATCH_BYTES_MAX);
        }
    }

    #[test]
    fn what_was_read_before_a_stream_breaks_is_given_first() {
        let broken = Cursor::new("{\"a\":1}\n{\"b\":2}\n{\"c\"").chain(Breaks);
        let mut pieces = Pieces::of(Box::new(BufReader::with_capacity(7, broken)), 10).unwrap();
        assert_eq!(pieces.next().unwrap().unwrap(), batch(&[1, 2], "{\"a\":1}\n{\"b\":2}\n"));
        assert_eq!(pieces.next().unwrap().unwrap_err().to_string(), "it broke");
        assert!(pieces.next().is_none());
    }

    struct Breaks;

    impl Read for Breaks {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("it broke"))
        }
    }

    #[test]
    fn an_array_is_read_item_by_item() {
        let found = pieces("\u{feff} [ {\"a\":\n 1},\n {\"b\": \"[\\n\"} ]\n", 1);
        assert_eq!(found, [batch(&[1], "{\"a\":  1}\n"), batch(&[2], "{\"b\": \"[\\n\"}\n")]);
        let broken = Pieces::of(Box::new(Cursor::new(b"[1, 2".to_vec())), 1);
        assert!(broken.is_err());
    }
}
