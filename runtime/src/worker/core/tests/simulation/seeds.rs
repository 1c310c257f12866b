//! Many seeds on all cores.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Happened, simulate};

/// The seeds that have not begun. Where one panics, it is printed and no other begins.
struct Seeds {
    next: AtomicU64,
    end: u64,
}

impl Seeds {
    fn run(&self) -> Happened {
        struct Running<'a>(&'a Seeds, u64);
        impl Drop for Running<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    eprintln!("failed with OUTRIGGER_SEED={}", self.1);
                    self.0.next.store(self.0.end, Relaxed);
                }
            }
        }
        let mut all = Happened::default();
        loop {
            let seed = self.next.fetch_add(1, Relaxed);
            if seed >= self.end {
                return all;
            }
            let _running = Running(self, seed);
            all += simulate(seed);
        }
    }
}

/// All seeds, on all cores.
pub fn simulate_all(seeds: Range<u64>) -> Happened {
    let seeds = Seeds { next: AtomicU64::new(seeds.start), end: seeds.end };
    let mut all = Happened::default();
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(|| seeds.run())).collect();
        threads.into_iter().for_each(|thread| all += thread.join().expect("a seed failed"));
    });
    all
}
