//! A loop on all processors, entered in about a microsecond.
//!
//! Rayon's pool is made for work that is cut as it goes: a call from a thread outside of it puts that thread to sleep and wakes others, some 30 to 50
//! microseconds each way, longer than many operators of a small network take. Here the caller works too, the others wait in a short spin before they sleep, and
//! nobody waits for one who did not come. How many threads there are is Rayon's to say (`RAYON_NUM_THREADS`, or the pool that the caller runs in).
use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// How long a thread waits in a spin before it sleeps: longer than what a small network's training step does between two operators (waking one that sleeps
/// takes 50 microseconds). In time, not in turns: a pause takes three times as long on some processors as on others.
const PATIENCE: Duration = Duration::from_micros(200);
/// Turns between two looks at the clock.
const TURNS: u32 = 64;

/// Runs `task` for all numbers below `count`, in any order, at the same time as far as there are threads.
pub(crate) fn for_each(count: usize, task: impl Fn(usize) + Sync) {
    for_each_init(count, || (), |(), index| task(index));
}

/// The same with something that each thread makes for itself.
pub(crate) fn for_each_init<T>(count: usize, init: impl Fn() -> T + Sync, task: impl Fn(&mut T, usize) + Sync) {
    let threads = rayon::current_num_threads();
    let shares = Shares::new(count, threads);
    let work = || {
        let mut claims = shares.claims(NUMBER.get());
        let Some(first) = claims.next() else { return };
        let mut own = init();
        task(&mut own, first);
        for index in claims {
            task(&mut own, index);
        }
    };
    if count < 2 || threads < 2 {
        return work();
    }
    Pool::get().run(&work);
}

thread_local! {
    /// Which of the threads this is: 0 whoever calls from outside, the others from 1 on.
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}

/// Shares of the numbers below a count. A thread begins with its own, and goes on with those of others that have not come or are late. So the same part of
/// a weight, or of what the operator before has made, comes to the same thread each time, and is still in its cache.
struct Shares {
    /// How many of a share are taken.
    taken: [Taken; Self::MOST],
    shares: usize,
    count: usize,
}

/// A line of the cache of its own.
#[repr(align(64))]
struct Taken(AtomicUsize);

impl Shares {
    const MOST: usize = 16;

    fn new(count: usize, threads: usize) -> Self {
        Self { taken: [const { Taken(AtomicUsize::new(0)) }; Self::MOST], shares: threads.clamp(1, Self::MOST), count }
    }

    /// What the thread of this number takes, until nothing is left.
    fn claims(&self, number: usize) -> impl Iterator<Item = usize> {
        (0..self.shares).flat_map(move |turn| {
            let share = (number + turn) % self.shares;
            let (first, end) = (share * self.count / self.shares, (share + 1) * self.count / self.shares);
            let claim = move || Some(first + self.taken[share].0.fetch_add(1, Ordering::Relaxed));
            std::iter::from_fn(move || claim().filter(|index| *index < end))
        })
    }
}

/// The same with things that the caller makes for the threads: what they allocate themselves lies in heaps of their own, which grow in small pages.
#[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")), allow(dead_code))]
pub(crate) fn for_each_given<T: Send>(count: usize, make: impl Fn() -> T + Sync, task: impl Fn(&mut T, usize) + Sync) {
    let made = Mutex::new((0..count.min(rayon::current_num_threads())).map(|_| make()).collect::<Vec<T>>());
    let take = || made.lock().unwrap_or_else(PoisonError::into_inner).pop();
    for_each_init(count, || take().unwrap_or_else(&make), task);
}

/// Runs `task` for all chunks of `len` elements (the last may be shorter), with their indices.
pub(crate) fn for_each_chunk<T: Send>(values: &mut [T], len: usize, task: impl Fn(usize, &mut [T]) + Sync) {
    let chunks = Chunks::new(values, len);
    // SAFETY: each index comes once.
    for_each(chunks.count(), |index| task(index, unsafe { chunks.get(index) }));
}

/// The same with something that each thread makes for itself.
pub(crate) fn for_each_chunk_init<T: Send, S>(
    values: &mut [T],
    len: usize,
    init: impl Fn() -> S + Sync,
    task: impl Fn(&mut S, usize, &mut [T]) + Sync,
) {
    let chunks = Chunks::new(values, len);
    // SAFETY: each index comes once.
    for_each_init(chunks.count(), init, |own, index| task(own, index, unsafe { chunks.get(index) }));
}

/// The same with chunks of two slices, of as many.
pub(crate) fn for_each_chunk_pair<T: Send, U: Send>(
    (first, first_len): (&mut [T], usize),
    (second, second_len): (&mut [U], usize),
    task: impl Fn(usize, &mut [T], &mut [U]) + Sync,
) {
    let (first, second) = (Chunks::new(first, first_len), Chunks::new(second, second_len));
    assert!(first.count() == second.count());
    // SAFETY: each index comes once.
    for_each(first.count(), |index| unsafe { task(index, first.get(index), second.get(index)) });
}

/// A slice whose chunks go to different threads.
struct Chunks<'a, T> {
    start: *mut T,
    all: usize,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: it hands elements to other threads, which `T` allows.
unsafe impl<T: Send> Sync for Chunks<'_, T> {}

impl<'a, T> Chunks<'a, T> {
    fn new(values: &'a mut [T], len: usize) -> Self {
        assert!(len > 0);
        Self { start: values.as_mut_ptr(), all: values.len(), len, slice: PhantomData }
    }

    fn count(&self) -> usize {
        self.all.div_ceil(self.len)
    }

    /// # Safety
    ///
    /// It is a chunk, and nobody else has it.
    #[allow(clippy::mut_from_ref)]
    unsafe fn get(&self, index: usize) -> &mut [T] {
        let first = index * self.len;
        debug_assert!(first < self.all);
        // SAFETY: the chunks lie inside the slice and do not overlap.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(first), self.len.min(self.all - first)) }
    }
}

/// What `task` gives for all numbers below `count`, in their order.
pub(crate) fn map<T: Send>(count: usize, task: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let mut results: Vec<MaybeUninit<T>> = (0..count).map(|_| MaybeUninit::uninit()).collect();
    for_each_chunk(&mut results, 1, |index, slot| {
        slot[0].write(task(index));
    });
    // SAFETY: each was written.
    results.into_iter().map(|result| unsafe { result.assume_init() }).collect()
}

/// What every thread that comes does, once.
type Work<'a> = &'a (dyn Fn() + Sync);

/// The threads that wait for work.
struct Pool {
    /// One caller at a time; others do their work alone.
    caller: Mutex<()>,
    /// From high to low: the number of the work (32 bits), whether it is open (1), how many other threads are in it (31).
    state: AtomicU64,
    /// The work that is open: the two pointers of a trait object. (As numbers they would forget what they may point at.)
    work: [AtomicPtr<()>; 2],
    failed: AtomicBool,
    sleepers: AtomicUsize,
    bed: Mutex<()>,
    bell: Condvar,
}

const OPEN: u64 = 1 << 31;

impl Pool {
    fn get() -> &'static Self {
        static POOL: OnceLock<Pool> = OnceLock::new();
        static STARTED: OnceLock<()> = OnceLock::new();
        let pool = POOL.get_or_init(|| Self {
            caller: Mutex::new(()),
            state: AtomicU64::new(0),
            work: [const { AtomicPtr::new(std::ptr::null_mut()) }; 2],
            failed: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            bed: Mutex::new(()),
            bell: Condvar::new(),
        });
        STARTED.get_or_init(|| {
            for index in 1..rayon::current_num_threads() {
                // Without another thread the caller does everything.
                let thread = std::thread::Builder::new().name(format!("advect-{index}"));
                let _ = thread.spawn(move || {
                    NUMBER.set(index);
                    pool.wait();
                });
            }
        });
        pool
    }

    /// Has `work` done by the caller and by those who come meanwhile; returns when all who came have left.
    fn run(&self, work: Work<'_>) {
        let _caller = match self.caller.try_lock() {
            Ok(caller) => caller,
            Err(TryLockError::Poisoned(caller)) => caller.into_inner(),
            Err(TryLockError::WouldBlock) => return work(),
        };
        // SAFETY: a reference to a trait object is two pointers; it is read only by those who come while it is open.
        let pointers = unsafe { std::mem::transmute::<Work<'_>, [*mut (); 2]>(work) };
        for (slot, pointer) in self.work.iter().zip(pointers) {
            slot.store(pointer, Ordering::Relaxed);
        }
        let number = (self.state.load(Ordering::Relaxed) >> 32).wrapping_add(1) & u64::from(u32::MAX);
        self.state.store(number << 32 | OPEN, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            // Who is about to sleep holds the lock until it does.
            drop(self.bed.lock().unwrap_or_else(PoisonError::into_inner));
            self.bell.notify_all();
        }
        let own = catch_unwind(AssertUnwindSafe(work));
        self.state.fetch_and(!OPEN, Ordering::SeqCst);
        let mut turns = 0_u32;
        while self.state.load(Ordering::Acquire) & (OPEN - 1) != 0 {
            turns += 1;
            if turns.is_multiple_of(256) {
                std::thread::yield_now();
            }
            std::hint::spin_loop();
        }
        match own {
            Err(panic) => resume_unwind(panic),
            Ok(()) => assert!(!self.failed.swap(false, Ordering::Relaxed), "a thread of a fused operator panicked"),
        }
    }

    /// Waits for work, does it, for ever.
    fn wait(&self) {
        let (mut done, mut turns, mut since) = (0, 0_u32, Instant::now());
        loop {
            let state = self.state.load(Ordering::Acquire);
            if state & OPEN != 0 && state >> 32 != done {
                // Being counted before it closes is what keeps the work alive.
                if self.state.compare_exchange_weak(state, state + 1, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                    let pointers = self.work.each_ref().map(|slot| slot.load(Ordering::Relaxed));
                    // SAFETY: these pointers were stored before this work was opened, and the caller waits for this thread.
                    let work = unsafe { std::mem::transmute::<[*mut (); 2], Work<'_>>(pointers) };
                    if catch_unwind(AssertUnwindSafe(work)).is_err() {
                        self.failed.store(true, Ordering::Relaxed);
                    }
                    (done, since) = (state >> 32, Instant::now());
                    self.state.fetch_sub(1, Ordering::Release);
                }
                continue;
            }
            turns = turns.wrapping_add(1);
            if !turns.is_multiple_of(TURNS) || since.elapsed() < PATIENCE {
                std::hint::spin_loop();
                continue;
            }
            self.sleepers.fetch_add(1, Ordering::SeqCst);
            let mut bed = self.bed.lock().unwrap_or_else(PoisonError::into_inner);
            let nothing = || {
                let state = self.state.load(Ordering::SeqCst);
                state & OPEN == 0 || state >> 32 == done
            };
            while nothing() {
                bed = self.bell.wait(bed).unwrap_or_else(PoisonError::into_inner);
            }
            drop(bed);
            self.sleepers.fetch_sub(1, Ordering::SeqCst);
            since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Miri takes a second for what takes others a millisecond.
    const ROUNDS: usize = if cfg!(miri) { 20 } else { 2000 };

    #[test]
    fn every_index_comes_once_from_many_threads_at_once() {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let count = (round * 7 + thread) % 50;
                        let seen: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                        for_each(count, |i| {
                            seen[i].fetch_add(1, Ordering::Relaxed);
                        });
                        assert!(seen.iter().all(|s| s.load(Ordering::Relaxed) == 1));
                        let mut values = vec![0; count * 3 + 1];
                        for_each_chunk(&mut values, 4, |index, chunk| chunk.fill(index + 1));
                        assert!(values.iter().enumerate().all(|(i, v)| *v == i / 4 + 1));
                        assert_eq!(map(count, |i| vec![i]), (0..count).map(|i| vec![i]).collect::<Vec<_>>());
                    }
                });
            }
        });
    }

    #[test]
    fn a_loop_in_a_loop_and_after_a_sleep() {
        let sum = AtomicUsize::new(0);
        for _ in 0..5 {
            for_each(8, |i| {
                for_each(5, |j| {
                    sum.fetch_add(i * j, Ordering::Relaxed);
                });
            });
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(sum.into_inner(), 5 * 28 * 10);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_leaves_the_pool_usable() {
        for _ in 0..ROUNDS / 100 + 2 {
            let caught = catch_unwind(|| {
                for_each(64, |i| {
                    std::thread::sleep(std::time::Duration::from_micros(20));
                    assert!(i != 63, "the last one");
                });
            });
            assert!(caught.is_err());
            assert_eq!(map(10, |i| i).len(), 10);
        }
    }
}
