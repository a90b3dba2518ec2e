//! The tokio runtime that a command runs on.

use std::future::Future;

use tokio::runtime::Builder;

use crate::failure::Failure;

/// Runs a command that waits more than it works.
pub(crate) fn small<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    run(&mut Builder::new_current_thread(), command)
}

/// Runs a command on all processors.
pub(crate) fn large<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    run(&mut Builder::new_multi_thread(), command)
}

fn run<T>(builder: &mut Builder, command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = builder.enable_all().build().map_err(Failure::System)?;
    let result = runtime.block_on(command);
    // Nothing that still blocks may hold up the end.
    runtime.shutdown_background();
    result
}
