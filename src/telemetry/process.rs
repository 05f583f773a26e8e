//! What the kernel says about this process: memory, processor time, descriptors, threads.
//!
//! Read at every scrape from `/proc/self`, which is no disk: it needs neither syncing nor simulating, so it does not
//! go through `env`. Where `/proc` is missing or not understood, the gauges are left out.

use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Linux reports times to user space in hundredths of a second on every architecture (`USER_HZ`).
const TICKS_PER_SECOND: u32 = 100;

/// The process at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProcessSample {
    /// Resident memory.
    pub resident_bytes: u64,
    /// Processor time in user and kernel mode since the start.
    pub cpu_seconds: f64,
    /// Open file descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
}

impl ProcessSample {
    /// Takes one. `None` where `/proc/self` cannot be read.
    #[must_use]
    pub fn take() -> Option<Self> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let descriptors = fs::read_dir("/proc/self/fd").ok()?.count();
        Some(Self {
            resident_bytes: field(&status, "VmRSS:")?.checked_mul(1024)?,
            cpu_seconds: cpu_seconds(&stat)?,
            descriptors: u64::try_from(descriptors).ok()?,
            threads: field(&status, "Threads:")?,
        })
    }
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    // The second field is the command in parentheses and may itself hold spaces and parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let kernel: u32 = fields.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(kernel)) / f64::from(TICKS_PER_SECOND))
}

/// Encodes a fresh sample at every scrape.
#[derive(Debug)]
pub(super) struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(sample) = ProcessSample::take() else { return Ok(()) };
        gauge(&mut encoder, "process_resident_memory", "Resident memory", Some(&Unit::Bytes), sample.resident_bytes)?;
        gauge(&mut encoder, "process_open_fds", "Open file descriptors", None, sample.descriptors)?;
        gauge(&mut encoder, "process_threads", "Threads", None, sample.threads)?;
        let cpu = ConstCounter::new(sample.cpu_seconds);
        let help = "Processor time in user and kernel mode";
        let metric = encoder.encode_descriptor("process_cpu", help, Some(&Unit::Seconds), cpu.metric_type())?;
        cpu.encode(metric)
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: u64,
) -> Result<(), std::fmt::Error> {
    let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    let metric = encoder.encode_descriptor(name, help, unit, gauge.metric_type())?;
    gauge.encode(metric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 1 1 1 1";
        assert_eq!(cpu_seconds(stat), Some(3.0));
    }

    #[test]
    fn this_process_has_memory_threads_and_descriptors() {
        let sample = ProcessSample::take().expect("tests run on Linux");
        assert!(sample.resident_bytes > 100_000 && sample.descriptors > 2 && sample.threads > 0);
    }
}
