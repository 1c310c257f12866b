//! The allocator of handlers.
//!
//! A call makes about twenty small allocations, most of them for the event's
//! attributes, and gives all of them back when it ends. The system's allocator
//! takes a third of a small handler's time for that. So freed blocks of small sizes are
//! kept in a list for each size, where the next call finds them; larger blocks are the
//! system's. The memory of the lists is never given back, and never more than what
//! was once in use.

#![allow(unsafe_code, reason = "an allocator hands out raw memory")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr;

/// Sizes of blocks: the powers of two from this on, ...
const SMALLEST: usize = 16;
/// ... this many of them: up to 2 KiB.
const SIZES: usize = 8;
/// Taken from the system at a time, and cut into blocks.
const CHUNK: usize = 16 * 1024;

/// Lists of free blocks by size, in front of the system's allocator.
///
/// A handler's instance runs on one thread; where there could be more, this must not be used.
pub struct FreeLists {
    lists: UnsafeCell<Lists>,
}

struct Lists {
    /// The first free block of each size; it begins with the address of the next one.
    free: [*mut u8; SIZES],
    /// What is left of the last chunk.
    rest: *mut u8,
    left: usize,
}

// SAFETY: wasm32-wasip2 has no threads, and nothing in here calls back.
unsafe impl Sync for FreeLists {}

impl FreeLists {
    /// Without a block yet.
    pub const fn new() -> FreeLists {
        FreeLists { lists: UnsafeCell::new(Lists { free: [ptr::null_mut(); SIZES], rest: ptr::null_mut(), left: 0 }) }
    }
}

impl Default for FreeLists {
    fn default() -> FreeLists {
        FreeLists::new()
    }
}

/// Which list has blocks for this layout. A block is aligned to its size, up to 16.
#[inline]
fn list_for(layout: Layout) -> Option<usize> {
    let size = layout.size().max(SMALLEST);
    let list = (usize::BITS - (size - 1).leading_zeros()).saturating_sub(SMALLEST.trailing_zeros()) as usize;
    (list < SIZES && layout.align() <= SMALLEST).then_some(list)
}

impl Lists {
    /// A block of `SMALLEST << list` bytes, or null where the system has no memory.
    #[inline]
    fn take(&mut self, list: usize) -> *mut u8 {
        let block = self.free[list];
        if block.is_null() {
            return self.cut(SMALLEST << list);
        }
        // SAFETY: every block in a list is at least 16 bytes, aligned to 16, and holds the next one's address.
        self.free[list] = unsafe { block.cast::<*mut u8>().read() };
        block
    }

    #[cold]
    fn cut(&mut self, size: usize) -> *mut u8 {
        if self.left < size {
            // What is left over goes into the lists, the largest blocks first.
            for list in (0..SIZES).rev() {
                while self.left >= SMALLEST << list {
                    let block = self.advance(SMALLEST << list);
                    self.give(list, block);
                }
            }
            // SAFETY: the layout is not empty.
            let chunk = unsafe { System.alloc(Layout::from_size_align_unchecked(CHUNK, SMALLEST)) };
            if chunk.is_null() {
                return chunk;
            }
            (self.rest, self.left) = (chunk, CHUNK);
        }
        self.advance(size)
    }

    /// Cuts `size` bytes off what is left, which has that many.
    fn advance(&mut self, size: usize) -> *mut u8 {
        let block = self.rest;
        // SAFETY: `left` bytes follow `rest` in its chunk.
        self.rest = unsafe { block.add(size) };
        self.left -= size;
        block
    }

    #[inline]
    fn give(&mut self, list: usize, block: *mut u8) {
        // SAFETY: the block is ours again, at least 16 bytes, aligned to 16.
        unsafe { block.cast::<*mut u8>().write(self.free[list]) };
        self.free[list] = block;
    }
}

// SAFETY: a block is in a list or handed out, never both; sizes are multiples of 16 cut from
// chunks aligned to 16; what is not small is the system's.
unsafe impl GlobalAlloc for FreeLists {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match list_for(layout) {
            // SAFETY: one thread, and no reference outlives the call.
            Some(list) => unsafe { &mut *self.lists.get() }.take(list),
            // SAFETY: as the caller promises.
            None => unsafe { System.alloc(layout) },
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match list_for(layout) {
            // SAFETY: as above; the block came from `alloc` with this layout, so from this list.
            Some(list) => unsafe { &mut *self.lists.get() }.give(list, block),
            // SAFETY: as the caller promises.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller promises, the size fits a layout.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (list_for(layout), list_for(wanted)) {
            (Some(has), Some(needs)) if has == needs => block,
            // SAFETY: as the caller promises; both layouts are the system's.
            (None, None) => unsafe { System.realloc(block, layout, size) },
            _ => {
                // SAFETY: two blocks that do not overlap, each as long as its layout.
                unsafe {
                    let moved = self.alloc(wanted);
                    if !moved.is_null() {
                        ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                        self.dealloc(block, layout);
                    }
                    moved
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn sizes_round_up_to_powers_of_two() {
        let lists = [(0, 0), (1, 0), (16, 0), (17, 1), (32, 1), (33, 2), (2048, 7)];
        for (size, list) in lists {
            assert_eq!(list_for(layout(size, 1)), Some(list), "{size}");
        }
        assert_eq!(list_for(layout(2049, 1)), None);
        assert_eq!(list_for(layout(8, 32)), None);
        assert_eq!(list_for(layout(usize::MAX / 2, 1)), None);
    }

    #[test]
    fn a_freed_block_is_the_next_one_of_its_size() {
        let lists = FreeLists::new();
        unsafe {
            let first = lists.alloc(layout(40, 8));
            let second = lists.alloc(layout(40, 8));
            assert_ne!(first, second);
            lists.dealloc(first, layout(40, 8));
            assert_eq!(lists.alloc(layout(64, 1)), first);
            assert_eq!(lists.realloc(second, layout(40, 8), 64), second);
        }
    }

    /// Thousands of blocks of all sizes, taken, grown and given back in any order: each keeps
    /// what was written into it, so no two overlap.
    #[test]
    fn blocks_never_overlap() {
        let lists = FreeLists::new();
        let mut state = 1u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        let mut held: Vec<(*mut u8, Layout, u8)> = Vec::new();
        let check = |block: *mut u8, size: usize, mark: u8| unsafe {
            assert!(std::slice::from_raw_parts(block, size).iter().all(|byte| *byte == mark));
        };
        for step in 0..200_000u64 {
            let mark = step as u8;
            match random(3) {
                0 => {
                    let magnitude = random(13);
                    let layout = layout(random(1 << magnitude) as usize + 1, 1 << random(6));
                    let block = unsafe { lists.alloc(layout) };
                    assert_eq!(block as usize % layout.align(), 0);
                    unsafe { block.write_bytes(mark, layout.size()) };
                    held.push((block, layout, mark));
                }
                1 if !held.is_empty() => {
                    let (block, layout, mark) = held.swap_remove(random(held.len() as u64) as usize);
                    check(block, layout.size(), mark);
                    unsafe { lists.dealloc(block, layout) };
                }
                2 if !held.is_empty() => {
                    let at = random(held.len() as u64) as usize;
                    let (block, old, mark_of) = held[at];
                    let magnitude = random(13);
                    let size = random(1 << magnitude) as usize + 1;
                    let moved = unsafe { lists.realloc(block, old, size) };
                    check(moved, old.size().min(size), mark_of);
                    unsafe { moved.write_bytes(mark, size) };
                    held[at] = (moved, layout(size, old.align()), mark);
                }
                _ => {}
            }
        }
        for (block, layout, mark) in held {
            check(block, layout.size(), mark);
            unsafe { lists.dealloc(block, layout) };
        }
    }
}
