//! Failed attempts that wait for the time of their next one.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Instant;

/// What waits, by the time it is due; what is due at the same time comes out in
/// the order it went in.
///
/// The queue has no bound of its own: who pushes holds the records that wait,
/// and their number is bounded by the partition's buffer.
#[derive(Debug)]
pub struct RetryQueue<T> {
    heap: BinaryHeap<Waiting<T>>,
    pushed: u64,
}

#[derive(Debug)]
struct Waiting<T> {
    due: Instant,
    order: u64,
    item: T,
}

impl<T> RetryQueue<T> {
    /// An empty queue; it allocates nothing.
    pub fn new() -> RetryQueue<T> {
        RetryQueue { heap: BinaryHeap::new(), pushed: 0 }
    }

    /// Puts an item in, to come out at `due` or later.
    pub fn push(&mut self, due: Instant, item: T) {
        self.heap.push(Waiting { due, order: self.pushed, item });
        self.pushed += 1;
    }

    /// Takes out the item that is due the longest, if one is due at `now`.
    pub fn pop_due(&mut self, now: Instant) -> Option<T> {
        if self.next_due()? > now {
            return None;
        }
        self.heap.pop().map(|waiting| waiting.item)
    }

    /// When the next item is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.heap.peek().map(|waiting| waiting.due)
    }

    /// How many items wait, due or not.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Drops the items that `keep` does not want; the others keep their order.
    /// Linear in the length: for a partition that is taken away.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.heap.retain(|waiting| keep(&waiting.item));
    }
}

impl<T> Default for RetryQueue<T> {
    fn default() -> Self {
        RetryQueue::new()
    }
}

// The heap gives out its greatest: the greater one is due sooner.
impl<T> Ord for Waiting<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.due, other.order).cmp(&(self.due, self.order))
    }
}

impl<T> PartialOrd for Waiting<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Waiting<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Waiting<T> {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_comes_out_before_it_is_due() {
        let begin = Instant::now();
        let due = begin + Duration::from_millis(10);
        let mut queue = RetryQueue::new();
        assert_eq!((queue.next_due(), queue.pop_due(begin)), (None, None));
        queue.push(due, 'a');
        assert_eq!(queue.next_due(), Some(due));
        assert_eq!(queue.pop_due(due - Duration::from_nanos(1)), None);
        assert_eq!(queue.pop_due(due), Some('a'));
        assert!(queue.is_empty());
    }

    #[test]
    fn equal_times_keep_their_order() {
        let now = Instant::now();
        let mut queue = RetryQueue::new();
        for item in 0..100 {
            queue.push(now, item);
        }
        assert_eq!(std::iter::from_fn(|| queue.pop_due(now)).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(u64),
        Pop(u64),
        /// Drops the items that divide by it.
        Retain(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..20u64).prop_map(Step::Push),
            3 => (0..20u64).prop_map(Step::Pop),
            1 => (2..5usize).prop_map(Step::Retain),
        ]
    }

    proptest! {
        /// Against a list that is searched through for the earliest.
        #[test]
        fn agrees_with_a_plain_list(steps in prop::collection::vec(step(), 0..200)) {
            let begin = Instant::now();
            let at = |millis| begin + Duration::from_millis(millis);
            let mut queue = RetryQueue::new();
            let mut list: Vec<(u64, usize)> = Vec::new();
            for (item, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Push(due) => {
                        queue.push(at(due), item);
                        list.push((due, item));
                    }
                    Step::Pop(now) => {
                        let due = list.iter().filter(|(due, _)| *due <= now).min().copied();
                        list.retain(|waiting| Some(*waiting) != due);
                        prop_assert_eq!(queue.pop_due(at(now)), due.map(|(_, item)| item));
                    }
                    Step::Retain(divisor) => {
                        queue.retain(|item| item % divisor != 0);
                        list.retain(|(_, item)| item % divisor != 0);
                    }
                }
                prop_assert_eq!(queue.next_due(), list.iter().min().map(|(due, _)| at(*due)));
                prop_assert_eq!((queue.len(), queue.is_empty()), (list.len(), list.is_empty()));
            }
        }
    }
}
