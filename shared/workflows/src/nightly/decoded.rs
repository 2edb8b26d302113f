//! Blocks that several days of a run read: a trace that reaches beyond its day makes each of its days read the others' blocks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::rows::DayBlock;

/// Bytes of decoded blocks that are kept for the days to come; a day that misses one reads it again.
const KEPT_BYTES_MAX: usize = 352 * 1024 * 1024;

/// Decoded blocks, kept while a run goes through its days.
#[derive(Default)]
pub(crate) struct DecodedBlocks(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    runs: usize,
    blocks: BTreeMap<u64, Arc<DayBlock>>,
    bytes: usize,
}

/// Blocks are kept as long as somebody has this.
pub(super) struct Keeping<'a>(&'a DecodedBlocks);

impl Drop for Keeping<'_> {
    fn drop(&mut self) {
        let Ok(mut kept) = self.0.0.lock() else { return };
        kept.runs = kept.runs.saturating_sub(1);
        if kept.runs == 0 {
            *kept = Kept::default();
        }
    }
}

impl DecodedBlocks {
    /// Keeps what is read from now on.
    pub(super) fn keep(&self) -> Keeping<'_> {
        if let Ok(mut kept) = self.0.lock() {
            kept.runs = kept.runs.saturating_add(1);
        }
        Keeping(self)
    }

    pub(super) fn find(&self, seqs: &[u64]) -> Vec<Option<Arc<DayBlock>>> {
        match self.0.lock() {
            Ok(kept) => seqs.iter().map(|seq| kept.blocks.get(seq).cloned()).collect(),
            Err(_) => vec![None; seqs.len()],
        }
    }

    pub(super) fn add(&self, seqs: &[u64], blocks: &[Arc<DayBlock>]) {
        let Ok(mut kept) = self.0.lock() else { return };
        if kept.runs > 0 {
            seqs.iter().zip(blocks).for_each(|(seq, block)| kept.add(*seq, block));
        }
    }
}

impl Kept {
    fn add(&mut self, seq: u64, block: &Arc<DayBlock>) {
        self.bytes = self.bytes.saturating_add(block.weight);
        if let Some(before) = self.blocks.insert(seq, Arc::clone(block)) {
            self.bytes = self.bytes.saturating_sub(before.weight);
        }
        // Days are done in order, so that the first blocks are done with.
        while self.bytes > KEPT_BYTES_MAX {
            let Some((_, first)) = self.blocks.pop_first() else { break };
            self.bytes = self.bytes.saturating_sub(first.weight);
        }
    }
}

#[cfg(test)]
mod tests {
    use recoup_store::block::columns::Columns;

    use super::*;

    fn block(weight: usize) -> Arc<DayBlock> {
        Arc::new(DayBlock { columns: Columns::default(), prints: Vec::new(), weight })
    }

    fn held(decoded: &DecodedBlocks, seqs: &[u64]) -> Vec<bool> {
        decoded.find(seqs).iter().map(Option::is_some).collect()
    }

    #[test]
    fn blocks_are_kept_up_to_a_limit_while_a_run_lasts() {
        let decoded = DecodedBlocks::default();
        decoded.add(&[1], &[block(1)]);
        assert_eq!(held(&decoded, &[1]), [false], "no run lasts");
        let keeping = decoded.keep();
        decoded.add(&[1, 2, 3], &[block(1), block(2), block(KEPT_BYTES_MAX - 3)]);
        assert_eq!(held(&decoded, &[1, 2, 3]), [true; 3]);
        decoded.add(&[3], &[block(KEPT_BYTES_MAX - 3)]);
        assert_eq!(held(&decoded, &[1, 2, 3]), [true; 3], "a block is counted once");
        decoded.add(&[4], &[block(1)]);
        assert_eq!(held(&decoded, &[1, 2, 3, 4]), [false, true, true, true], "the first one gives way");
        let another = decoded.keep();
        drop(keeping);
        assert_eq!(held(&decoded, &[4]), [true], "another run lasts");
        drop(another);
        assert_eq!(held(&decoded, &[2, 3, 4]), [false; 3]);
    }
}
