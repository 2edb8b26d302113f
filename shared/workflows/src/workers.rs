//! The threads that pure work in parts is done by.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};

use recoup_ledger::Workers;

/// More parts than threads, so that the last one to finish has little left.
const PARTS_PER_THREAD: usize = 2;

/// A thread for each processor, this one included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Threads;

impl Workers for Threads {
    fn parts(&self) -> usize {
        match threads() {
            1 => 1,
            threads => threads.saturating_mul(PARTS_PER_THREAD),
        }
    }

    fn run(&self, count: usize, part: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    break;
                }
                part(number);
            }
        };
        std::thread::scope(|scope| {
            // One that cannot be started leaves its parts to the others.
            let start = |_| drop(std::thread::Builder::new().spawn_scoped(scope, work));
            (1..threads().min(count)).for_each(start);
            work();
        });
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn every_part_is_taken_once() {
        for count in [0, 1, 2, 100] {
            let taken = Mutex::new(Vec::new());
            Threads.run(count, &|number| {
                if let Ok(mut taken) = taken.lock() {
                    taken.push(number);
                }
            });
            let mut taken = taken.into_inner().unwrap_or_default();
            taken.sort_unstable();
            assert_eq!(taken, (0..count).collect::<Vec<_>>());
        }
        assert!(Threads.parts() > 0);
    }
}
