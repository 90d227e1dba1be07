//! The clock that never steps: the time since this machine's boot, and which boot that was.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Linux counts the time of suspension too; elsewhere no clock of POSIX does.
#[cfg(target_os = "linux")]
const SINCE_BOOT: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const SINCE_BOOT: ClockId = ClockId::Monotonic;

/// The time since this machine's boot. No setting of the clock changes it.
pub fn since_boot() -> Duration {
    let time = clock_gettime(SINCE_BOOT);
    Duration::new(time.tv_sec.max(0).unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Names the boot of this machine, the same for all programs until the next one; none where the system does not tell.
pub fn boot_id() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    boot_of(&text)
}

/// Half of a UUID is enough to tell two boots apart.
fn boot_of(uuid: &str) -> Option<u64> {
    let digits: String = uuid.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    u64::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_since_boot_goes_on() {
        let before = since_boot();
        assert!(before > Duration::ZERO && since_boot() >= before);
    }

    #[test]
    fn a_boot_has_a_number() {
        assert_eq!(boot_of("0190a6f2-7b1c-4c3e-9d7a-2f1b5c8e4a10\n"), Some(0x0190_a6f2_7b1c_4c3e));
        assert_eq!(boot_of(""), None);
        assert_eq!(boot_of("0190a6f2"), None);
        assert_eq!(boot_id(), boot_id());
    }
}
