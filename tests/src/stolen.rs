//! How much of the processors' time the machine did not get: what a hypervisor gave to
//! others while somebody here wanted to run.

/// The processors' time so far, in the kernel's ticks.
#[derive(Clone, Copy, Debug)]
pub struct ProcessorTime {
    all: u64,
    stolen: u64,
}

impl ProcessorTime {
    /// As `/proc/stat` has it; see proc_stat(5).
    pub fn now() -> ProcessorTime {
        let stat = std::fs::read_to_string("/proc/stat").expect("the kernel's statistics");
        ProcessorTime::of(stat.lines().next().unwrap_or_default())
    }

    fn of(line: &str) -> ProcessorTime {
        // user, nice, system, idle, iowait, irq, softirq, steal; a guest's time is in user's.
        let times: Vec<u64> = line.split_whitespace().skip(1).take(8).filter_map(|time| time.parse().ok()).collect();
        assert_eq!(times.len(), 8, "not the line of all processors: {line:?}");
        ProcessorTime { all: times.iter().sum(), stolen: times[7] }
    }

    /// The share of the time since then that was stolen, from 0 to 1.
    pub fn stolen_since(self, then: ProcessorTime) -> f64 {
        self.stolen.saturating_sub(then.stolen) as f64 / self.all.saturating_sub(then.all).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_that_was_stolen() {
        let then = ProcessorTime::of("cpu  100 0 50 800 0 0 0 50 10 0");
        let now = ProcessorTime::of("cpu  160 0 60 810 5 5 0 60 70 0");
        assert_eq!(now.stolen_since(then), 0.1);
        assert_eq!(then.stolen_since(then), 0.0);
        ProcessorTime::now();
    }
}
