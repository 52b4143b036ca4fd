//! The process as the kernel sees it, by the names that every client library of Prometheus gives them.
//!
//! Sources: proc(5), `/proc/self/stat`, `/proc/stat` and `/proc/self/fd`.

use std::fs;

use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

use super::{
    family::{CPU, MAX_FDS, OPEN_FDS, RESIDENT, STARTED, THREADS, VIRTUAL},
    page::Page,
};

/// Fields of `/proc/self/stat` behind the name, which may hold anything: state is the first of them, number 3 of proc(5).
const FIRST: usize = 3;

/// Writes what can be read; what cannot is left out.
pub(super) fn write(page: &mut Page) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let field = |number: usize| fields.get(number - FIRST).and_then(|text| text.parse::<u64>().ok());
    let seconds = |ticks: u64| ticks as f64 / clock_ticks_per_second() as f64;
    if let Some((user, kernel)) = field(14).zip(field(15)) {
        page.family(&CPU).real(&[], seconds(user + kernel));
    }
    if let Some(pages) = field(24) {
        page.family(&RESIDENT).add(&[], pages * page_size() as u64);
    }
    if let Some(bytes) = field(23) {
        page.family(&VIRTUAL).add(&[], bytes);
    }
    if let Some(threads) = field(20) {
        page.family(&THREADS).add(&[], threads);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // Without the one that looks.
        page.family(&OPEN_FDS).add(&[], (open.count() as u64).saturating_sub(1));
    }
    page.family(&MAX_FDS).add(&[], getrlimit(Resource::Nofile).current.unwrap_or(0));
    if let Some((since_boot, boot)) = field(22).zip(boot_time()) {
        page.family(&STARTED).real(&[], boot as f64 + seconds(since_boot));
    }
}

/// When the machine started, seconds since 1970.
fn boot_time() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}
