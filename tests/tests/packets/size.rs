//! Frames that are more than a packet, or more than a buffer: all of them is counted.

use anyhow::{Result, ensure};
use ollama_guard::class::Class;
use ollama_guard_common::Outcome;
use ollama_guard_common::abi::Counter;
use tests::packet::Packet;
use tests::stand::{Stand, Way};
use tests::{require, requires};

#[test]
fn an_aggregate_counts_as_what_it_was_merged_from() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    Stand::run(|stand| {
        let mut loaded = stand.load("", Class::Guarded)?;
        for packet in [Packet::v4(11434), Packet::v6(11434)] {
            let frame = Packet { payload: 3000, ..packet }.bytes();
            for way in [Way::Tc, Way::TcLayer3] {
                for merged in [0, 1, 2, 44] {
                    let (passed, counted) = loaded.meet_merged(way, &frame, merged)?;
                    ensure!(!passed && counted.len() == 1, "{way:?}: {counted:?}");
                    let expected = Counter { packets: merged.max(1).into(), bytes: frame.len() as u64 };
                    ensure!(counted[0].counter == expected, "{way:?}, merged from {merged}: {counted:?}");
                }
            }
        }
        Ok(())
    })
}

#[test]
fn a_frame_of_many_buffers_is_counted_whole() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    Stand::run(|stand| {
        let mut loaded = stand.load("", Class::Guarded)?;
        for payload in [3000, 4000, 9000, 40_000, 60_000] {
            for packet in [Packet::v4(11434), Packet::v6(11434), Packet::v6(22)] {
                let frame = Packet { payload, ..packet }.bytes();
                let told = loaded.meet(Way::Xdp, &frame)?;
                ensure!(told == loaded.model.expects(Way::Xdp, &frame), "{} bytes: {told:?}", frame.len());
            }
        }
        Ok(())
    })
}

/// No driver is known to do that; if one does, nothing gets through.
#[test]
fn a_port_behind_the_first_buffer_is_ambiguous() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    Stand::run(|stand| {
        let mut loaded = stand.load("", Class::Guarded)?;
        let packet = Packet { payload: 2000, ..Packet::v6(11434) };
        let frame = packet.bytes();
        for linear in [14, 20, 53, 57, 58, 100] {
            let (passed, counted) = match loaded.meet_in_buffers(&frame, linear) {
                Ok(told) => told,
                // Kernels before 6.18 let no test say how long the first buffer is.
                Err(error) => {
                    requires::skipped(&format!("a first buffer of {linear} bytes: {error:#}"));
                    return Ok(());
                }
            };
            let outcome = if linear < 58 { Outcome::DroppedTruncated } else { Outcome::DroppedUntrusted };
            ensure!(!passed && counted.len() == 1 && counted[0].outcome == outcome, "{linear}: {counted:?}");
            ensure!(counted[0].counter.bytes == frame.len() as u64, "{linear}: {counted:?}");
        }
        Ok(())
    })
}
