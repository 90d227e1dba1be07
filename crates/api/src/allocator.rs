//! glibc's allocator, set so that a large buffer goes back to the system as soon as it is free.
//!
//! By default a block is mapped by itself from 128 KiB on, but after the first such block is freed only from its size on,
//! up to 32 MiB: from then on large buffers lie among small ones, in an arena of each thread. Measured with bodies and
//! rows of 31 MiB: a peak of 540 MiB, 438 of them kept, and with such settings 241 and 53. They can be set only before a
//! program begins, or by an unsafe call: hence it starts itself again.

/// Environment variables that glibc reads at the start of a program (mallopt(3)): the size from which on a block is mapped by itself, what may be
/// free at the end of an arena, and how many arenas there are.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const SETTINGS: [(&str, &str); 3] =
    [("MALLOC_MMAP_THRESHOLD_", "524288"), ("MALLOC_TRIM_THRESHOLD_", "4194304"), ("MALLOC_ARENA_MAX", "4")];

/// Starts the program again with the settings, unless it has any of them; where that cannot be, it goes on without.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn set() {
    use std::os::unix::process::CommandExt as _;

    let is_set = SETTINGS.iter().any(|(name, _)| std::env::var_os(name).is_some());
    let Some(program) = std::env::current_exe().ok().filter(|_| !is_set) else { return };
    let mut args = std::env::args_os();
    let mut command = std::process::Command::new(program);
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    // It comes back only if the program cannot be started: the same process runs it.
    let _ = command.args(args).envs(SETTINGS).exec();
}

/// Other allocators have no such settings.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn set() {}
