//! A line in the daemon's log for every packet that is judged: the feature `debug-log`, for whoever changes the programs.

use ollama_guard_common::Decision;

/// Says what was decided.
#[inline(never)]
pub(crate) fn tell(decision: &Decision, interface: u32) {
    let Decision { outcome, service, source } = *decision;
    let [a, b, c, d] = source.words.map(u32::from_be);
    aya_log_ebpf::info!(
        (),
        "interface {}, service {}, outcome {}, source {:x}:{:x}:{:x}:{:x}",
        interface,
        service.get(),
        outcome as u8,
        a,
        b,
        c,
        d
    );
}
