//! Keeping the bench on one core, by running it again under `taskset` of util-linux.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The cores this process may run on, as Linux writes them: `0-7`, `3`.
#[must_use]
pub fn cores() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    Some(list.trim().to_owned())
}

/// Whether this process runs on one core, or on any: a few words for the report.
#[must_use]
pub fn report() -> String {
    match cores() {
        Some(cores) if cores.parse::<usize>().is_ok() => format!("pinned to core {cores}"),
        Some(cores) => format!("free on cores {cores}"),
        None => "free".to_owned(),
    }
}

/// Returns if this process already keeps to this core; else replaces it by one that does.
///
/// # Errors
///
/// `taskset` that cannot be started.
pub fn pin(core: usize) -> io::Result<()> {
    if cores().is_some_and(|cores| cores == core.to_string()) {
        return Ok(());
    }
    // A core that is not there would otherwise have taskset run us again and again.
    if std::env::var_os(AGAIN).is_some() {
        return Err(io::Error::other(format!("taskset did not pin to core {core}")));
    }
    let program = std::env::current_exe()?;
    let error = Command::new("taskset")
        .arg("-c")
        .arg(core.to_string())
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(AGAIN, "1")
        .exec();
    Err(error)
}

const AGAIN: &str = "FIXP_BENCHES_PINNED";
