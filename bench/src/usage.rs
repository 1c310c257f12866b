//! What this process has used.

use std::io;
use std::time::Duration;

/// CPU time of all threads, user and system.
///
/// # Errors
/// If the system does not tell.
#[allow(unsafe_code, reason = "getrusage has no safe form in the standard library")]
pub fn cpu_time() -> io::Result<Duration> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the call fills the struct in whenever it answers 0, and only then is it read.
    let usage = unsafe {
        if libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        usage.assume_init()
    };
    let duration = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    Ok(duration(usage.ru_utime) + duration(usage.ru_stime))
}

/// Resident memory of a process in KiB: `VmRSS` now, `VmHWM` at its peak.
///
/// Not `ru_maxrss`: that begins with the size of the process that forked this one.
///
/// # Errors
/// If the process is gone or `/proc` is not there.
pub fn memory_kib(process: &str, field: &str) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|number| number.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("/proc/{process}/status has no {field}")))
}
