//! What a process has in RAM over a run.

use std::time::Duration;

use crate::process::Process;

/// Points of the curve that a report shows.
const POINTS: usize = 10;

/// Samples of one program's memory, over all its processes.
#[derive(Clone, Debug)]
pub struct Curve {
    length: Duration,
    /// The most of each tenth of the run.
    points: [u64; POINTS],
    peak_kib: u64,
}

impl Curve {
    /// Of a run of so long.
    pub fn new(length: Duration) -> Self {
        Self { length, points: [0; POINTS], peak_kib: 0 }
    }

    /// Looks at the process, if it is there, so long after the start.
    pub fn sample(&mut self, at: Duration, process: Option<&mut Process>) {
        let Some(process) = process else { return };
        let (Ok(now), Ok(peak)) = (process.resident_kib(), process.resident_kib_max()) else { return };
        let tenth = (at.as_secs_f64() / self.length.as_secs_f64() * POINTS as f64) as usize;
        let point = &mut self.points[tenth.min(POINTS - 1)];
        *point = now.max(*point);
        self.peak_kib = peak.max(self.peak_kib);
    }
}

impl std::fmt::Display for Curve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "peak {:.1} MiB; over the run", self.peak_kib as f64 / 1024.0)?;
        self.points.iter().try_for_each(|kib| write!(f, " {:.1}", *kib as f64 / 1024.0))
    }
}
