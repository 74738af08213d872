//! `ollama-guard run`: the service.

use std::path::Path;

use anyhow::Context;

use crate::config;
use crate::exit::Exit;
use crate::exporter::activation;
use crate::{logs, service};

/// Large buffers go back to the kernel once they are freed. The GNU C library would learn to keep them, although the
/// counters of tens of thousands of sources are read but now and then.
fn keep_no_large_buffers() {
    #[cfg(target_env = "gnu")]
    // SAFETY: changes a setting of the allocator; there are no other threads yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 << 10);
    }
}

/// Enforces and stays.
pub(super) fn run(file: Option<&Path>) -> anyhow::Result<Exit> {
    keep_no_large_buffers();
    let sockets = activation::sockets();
    let mut file = config::File::at(file);
    let policy = match file.news() {
        Ok(policy) => policy.unwrap_or_else(config::built_in),
        Err(error) => {
            eprintln!("{error}");
            return Ok(Exit::Usage);
        }
    };
    logs::init();
    let closed = service::close(policy)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("the port is closed, but its daemon cannot run")?.block_on(service::run(closed, file, sockets));
    Ok(Exit::Fine)
}
