//! What the heap keeps, in a process of its own. Without a harness, which runs tests on a thread: the heap in question is that of the thread that called `main`.
#![allow(unsafe_code, clippy::print_stdout, clippy::useless_conversion)]

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn main() {
    // What runs tests one by one asks first.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let mapped = written(40).min(written(40));
    if mapped == 0 {
        println!("this system counts no page faults, or its allocator is another one");
        return;
    }
    advect_kernels::keep_freed_memory();
    // The last one is larger than what the heap grows by.
    for mebibytes in [1, 40, 600] {
        let first = written(mebibytes);
        let again = written(mebibytes);
        assert!(again < 20 || again * 10 < first, "{mebibytes} MiB: {first} page faults, then {again}");
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn main() {}

/// Page faults of writing a new vector of so many MiB.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn written(mebibytes: usize) -> i64 {
    let before = faults();
    std::hint::black_box(vec![1_u8; mebibytes << 20]);
    faults() - before
}

/// Those of this process that no disk took part in.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn faults() -> i64 {
    // SAFETY: numbers only, which the call fills.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage.ru_minflt.into()
    }
}
