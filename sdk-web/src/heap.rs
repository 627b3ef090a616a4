//! Memory for WebAssembly: for each power of two a list of the free blocks of that size. Blocks are neither split nor
//! merged: taking and giving back cost the same however many there are, and the code is a tenth of a general
//! allocator's, at the price of up to twice the memory.

/// The smallest block: room for the list's link.
const MIN_BYTES: u32 = 8;
/// What blocks are aligned to at most.
const MAX_ALIGN: u32 = 16;

/// Where blocks are. Addresses are never 0.
pub(crate) trait Memory {
    /// Makes room for this many more bytes at least, all addresses below 2^31; gives the new end, or `None`.
    fn grow(&mut self, bytes: u32) -> Option<u32>;
    /// What [`write`](Self::write) wrote to the beginning of a block that is free since.
    fn read(&self, at: u32) -> u32;
    /// Writes to the beginning of a free block.
    fn write(&mut self, at: u32, value: u32);
}

/// An allocator in a memory.
#[derive(Debug)]
pub(crate) struct Heap<M> {
    memory: M,
    /// The first free block of 2^n bytes; 0: none.
    free: [u32; 32],
    /// From here to `end` nothing was ever handed out.
    top: u32,
    end: u32,
}

/// The size of the block, a power of two as an exponent, that is taken for `size` bytes.
pub(crate) fn class(size: usize, align: usize) -> Option<u32> {
    let size = u32::try_from(size.max(align)).ok()?.max(MIN_BYTES);
    let fits = size <= 1 << 30 && align <= MAX_ALIGN as usize;
    fits.then(|| size.next_power_of_two().trailing_zeros())
}

impl<M: Memory> Heap<M> {
    /// `end` is where the memory ends that others use, aligned as blocks are.
    pub(crate) const fn new(memory: M, end: u32) -> Self {
        Self {
            memory,
            free: [0; 32],
            top: end,
            end,
        }
    }

    /// The address of a block of 2^`class` bytes.
    pub(crate) fn take(&mut self, class: u32) -> Option<u32> {
        let first = self.free.get_mut(class as usize)?;
        if *first != 0 {
            let block = *first;
            *first = self.memory.read(block);
            return Some(block);
        }
        let size = 1 << class;
        let align = size.min(MAX_ALIGN) - 1;
        let block = (self.top + align) & !align;
        let top = block + size;
        if top > self.end {
            self.end = self.memory.grow(top - self.end)?;
        }
        self.top = top;
        Some(block)
    }

    /// Takes back what [`take`](Self::take) gave for this class.
    pub(crate) fn give(&mut self, block: u32, class: u32) {
        if let Some(first) = self.free.get_mut(class as usize) {
            self.memory.write(block, *first);
            *first = block;
        }
    }
}

#[cfg(target_arch = "wasm32")]
mod wasm {
    #![allow(unsafe_code, reason = "an allocator hands out raw memory")]

    use core::alloc::{GlobalAlloc, Layout};
    use core::arch::wasm32::{memory_grow, memory_size};
    use core::cell::UnsafeCell;
    use core::ptr::null_mut;

    use super::{Heap, Memory, class};

    const PAGE: u32 = 1 << 16;

    struct Linear;

    impl Memory for Linear {
        fn grow(&mut self, bytes: u32) -> Option<u32> {
            // Blocks lie behind what the compiler has placed: in pages that are asked for.
            memory_grow::<0>(bytes.div_ceil(PAGE) as usize);
            let end = u32::try_from(memory_size::<0>()).ok()?.checked_mul(PAGE)?;
            (end < 1 << 31).then_some(end)
        }

        fn read(&self, at: u32) -> u32 {
            // SAFETY: `Heap` reads free blocks only, which are its own, aligned and large enough.
            unsafe { *(at as *const u32) }
        }

        fn write(&mut self, at: u32, value: u32) {
            // SAFETY: as above.
            unsafe { *(at as *mut u32) = value }
        }
    }

    struct Global(UnsafeCell<Option<Heap<Linear>>>);

    // SAFETY: this module is built without threads.
    unsafe impl Sync for Global {}

    #[global_allocator]
    static GLOBAL: Global = Global(UnsafeCell::new(None));

    // SAFETY: blocks are as large and aligned as asked, and are one owner's until they are given back.
    unsafe impl GlobalAlloc for Global {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: one thread, and nothing below calls back.
            let heap = unsafe { &mut *self.0.get() };
            let heap =
                heap.get_or_insert_with(|| Heap::new(Linear, memory_size::<0>() as u32 * PAGE));
            class(layout.size(), layout.align())
                .and_then(|class| heap.take(class))
                .map_or(null_mut(), |at| at as *mut u8)
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            // SAFETY: as above.
            let heap = unsafe { &mut *self.0.get() };
            if let (Some(heap), Some(class)) = (heap, class(layout.size(), layout.align())) {
                heap.give(block as u32, class);
            }
        }

        unsafe fn realloc(&self, block: *mut u8, old: Layout, size: usize) -> *mut u8 {
            if class(old.size(), old.align()) == class(size, old.align()) {
                return block;
            }
            // SAFETY: the caller keeps what `GlobalAlloc` asks of the layouts and of the block.
            unsafe {
                let new = Layout::from_size_align_unchecked(size, old.align());
                let to = self.alloc(new);
                if !to.is_null() {
                    to.copy_from_nonoverlapping(block, old.size().min(size));
                    self.dealloc(block, old);
                }
                to
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::{Heap, Memory, class};

    /// 64 KiB, a quarter of a page at a time.
    #[derive(Default)]
    struct Small {
        end: u32,
        links: BTreeMap<u32, u32>,
    }

    impl Memory for Small {
        fn grow(&mut self, bytes: u32) -> Option<u32> {
            self.end += bytes.next_multiple_of(1 << 14);
            (self.end <= 1 << 16).then_some(self.end)
        }
        fn read(&self, at: u32) -> u32 {
            self.links[&at]
        }
        fn write(&mut self, at: u32, value: u32) {
            self.links.insert(at, value);
        }
    }

    proptest! {
        #[test]
        fn blocks_are_large_enough_aligned_and_never_shared(
            calls in prop::collection::vec((any::<prop::sample::Index>(), 0..600_usize, 0..5_u32, any::<bool>()), 0..200),
        ) {
            let start = 1 << 12;
            let mut heap = Heap::new(Small { end: start, ..Small::default() }, start);
            let mut held: Vec<(u32, u32, u32)> = Vec::new();
            for (index, size, align, give) in calls {
                if give && !held.is_empty() {
                    let (block, class, _) = held.swap_remove(index.index(held.len()));
                    heap.give(block, class);
                    continue;
                }
                let align = 1 << align;
                let Some(class) = class(size, align) else { panic!("it is small") };
                let Some(block) = heap.take(class) else { continue };
                let end = block + size as u32;
                prop_assert!(size <= 1 << class && block % align as u32 == 0);
                prop_assert!(block >= start && end <= heap.end && heap.end <= 1 << 16);
                for (other, _, other_end) in &held {
                    prop_assert!(end <= *other || *other_end <= block || size == 0);
                }
                held.push((block, class, end));
            }
        }
    }

    #[test]
    fn what_is_given_back_is_taken_again() {
        let mut heap = Heap::new(
            Small {
                end: 16,
                ..Small::default()
            },
            16,
        );
        for _ in 0..10_000 {
            let blocks = [5, 6, 7].map(|class| heap.take(class).map(|block| (block, class)));
            for (block, class) in blocks.into_iter().flatten() {
                heap.give(block, class);
            }
        }
        assert!(heap.top < 300, "{}", heap.top);
    }

    #[test]
    fn what_no_memory_has_is_refused() {
        assert_eq!(class(usize::MAX, 1), None);
        assert_eq!(class((1 << 30) + 1, 1), None);
        assert_eq!(class(8, 32), None);
        let mut heap = Heap::new(
            Small {
                end: 16,
                ..Small::default()
            },
            16,
        );
        assert_eq!(heap.take(17), None);
    }
}
