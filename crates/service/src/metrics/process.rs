//! Memory, descriptors and processor time of this process, read from Linux's `/proc` when they are asked for.

use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// In what `/proc` counts time: Linux shows every user 100 of them a second, whatever the kernel's own clock.
const TICKS_PER_SECOND: f64 = 100.0;
const KIB: u64 = 1024;

/// The standard names of Prometheus's client libraries. Where there is no `/proc` there are none.
#[derive(Debug)]
pub(super) struct Process {
    /// Since the Unix epoch.
    started_s: Option<f64>,
}

impl Process {
    pub(super) fn new() -> Self {
        let started_s = || {
            let since_boot = Stat::read()?.started_ticks / TICKS_PER_SECOND;
            Some(boot_s(&fs::read_to_string("/proc/stat").ok()?)? + since_boot)
        };
        Self { started_s: started_s() }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut gauge = |name, help, unit: Option<Unit>, value: Option<f64>| match value {
            Some(value) => {
                let metric = ConstGauge::new(value);
                metric.encode(encoder.encode_descriptor(name, help, unit.as_ref(), metric.metric_type())?)
            }
            None => Ok(()),
        };
        let memory = fs::read_to_string("/proc/self/status").ok();
        let bytes = |name| memory.as_deref().and_then(|status| kib(status, name)).map(|kib| (kib * KIB) as f64);
        gauge("process_resident_memory", "Memory in RAM", Some(Unit::Bytes), bytes("VmRSS:"))?;
        gauge("process_resident_memory_max", "Memory in RAM at its highest", Some(Unit::Bytes), bytes("VmHWM:"))?;
        gauge("process_virtual_memory", "Address space in use", Some(Unit::Bytes), bytes("VmSize:"))?;
        gauge("process_open_fds", "Open file descriptors", None, open_fds())?;
        let limits = fs::read_to_string("/proc/self/limits").ok();
        gauge("process_max_fds", "File descriptors that may be open", None, limits.as_deref().and_then(max_fds))?;
        let started = "Start of the process since the Unix epoch";
        gauge("process_start_time", started, Some(Unit::Seconds), self.started_s)?;
        if let Some(stat) = Stat::read() {
            let metric = ConstCounter::new(stat.cpu_ticks / TICKS_PER_SECOND);
            let help = "Processor time, user and system";
            metric.encode(encoder.encode_descriptor(
                "process_cpu",
                help,
                Some(&Unit::Seconds),
                metric.metric_type(),
            )?)?;
        }
        Ok(())
    }
}

/// What is needed of `/proc/self/stat` (proc_pid_stat(5)).
struct Stat {
    cpu_ticks: f64,
    /// Since the machine's boot.
    started_ticks: f64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The second field is the program's name in brackets, which may hold anything; the third follows the last
        // bracket.
        let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
        let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
        Some(Self { cpu_ticks: ticks(14)? + ticks(15)?, started_ticks: ticks(22)? })
    }
}

fn boot_s(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn kib(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.trim().strip_suffix(" kB")?.parse().ok()
}

fn open_fds() -> Option<f64> {
    // One of them is the directory that is being read.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

fn max_fds(limits: &str) -> Option<f64> {
    limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_name_may_hold_anything() {
        let text = "4711 (a) S 9 (x) R 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 9 0 123456 1000 10";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.cpu_ticks, stat.started_ticks), (300.0, 123_456.0));
        assert!(Stat::parse("").is_none() && Stat::parse("1 (a) S 1").is_none());
    }

    #[test]
    fn figures_are_found_by_name() {
        assert_eq!(kib("Name:\tx\nVmHWM:\t   20 kB\nVmRSS:\t   12 kB\n", "VmRSS:"), Some(12));
        assert_eq!(boot_s("cpu 1 2\nbtime 1700000000\n"), Some(1_700_000_000.0));
        let limits = "Limit Soft Hard Units\nMax open files            1024                 4096   files\n";
        assert_eq!(max_fds(limits), Some(1024.0));
        assert_eq!(max_fds("Max open files            unlimited            unlimited            files"), None);
    }
}
