//! What a process has used, as Linux tells it under `/proc`.

use std::{fs, io};

/// Processor seconds of all threads of a process since its start, those that ended too. Counted in ticks of 10 ms, so
/// what is measured should use a second or more.
///
/// ```
/// let used = nexarch::bench::usage::cpu_seconds(std::process::id())?;
/// assert!((0.0..3600.0).contains(&used));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn cpu_seconds(pid: u32) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let per_second = rustix::param::clock_ticks_per_second();
    ticks(&stat).map(|ticks| ticks as f64 / per_second as f64).ok_or_else(|| unreadable("stat"))
}

/// Memory of a process that is in use now (resident set), in bytes.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    kibibytes(&status, "VmRSS:").map(|kib| kib * 1024).ok_or_else(|| unreadable("status"))
}

/// User and system time, fields 14 and 15. The name in field 2 may hold anything, so counting begins behind it.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn kibibytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

fn unreadable(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("/proc/…/{what} is not as expected"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) R 1 7 7 0 -1 0 99 0 0 0 120 34 5 6 20 0 1 0 60 0";
        assert_eq!(ticks(stat), Some(154));
        assert_eq!(ticks("7 (a"), None);
    }

    #[test]
    fn memory_is_read_in_kibibytes() {
        assert_eq!(kibibytes("VmHWM:\t 9 kB\nVmRSS:\t  4096 kB\n", "VmRSS:"), Some(4096));
        assert_eq!(kibibytes("VmRSS: x", "VmRSS:"), None);
        assert!(resident_bytes(std::process::id()).unwrap() > 100_000);
    }
}
