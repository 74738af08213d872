//! What one packet costs: programs run by the kernel on one frame, a hundred thousand times at once.

use anyhow::{Result, ensure};
use tests::guard::Guard;
use tests::netns::Netns;

use crate::arena::{Host, POLICY, XdpFilter, ours};
use crate::bpf::{Kind, Program};
use crate::frames::{GUARDED, OTHER, Shape};
use crate::measure::{Contender, Samples, busy, pin, race};
use crate::table::{Goal, Row};

const REPEAT: u32 = 100_000;
const ROUNDS: usize = 41;

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const TC_PASS: u32 = u32::MAX; // TC_ACT_UNSPEC
const TC_DROP: u32 = 2;

struct Subject<'a> {
    name: &'static str,
    program: &'a Program,
    interface: u32,
    answer: u32,
}

/// The rows of the first table.
pub(crate) fn rows() -> Result<Vec<Row>> {
    let outside = Netns::new("outside")?;
    let (host, other) = (Host::new("guarded")?, Host::new("filter")?);
    let (xdp, tc) = (host.door(&outside, "xdp0")?.inside, host.door(&outside, "tc0")?.inside);
    other.door(&outside, "filter0")?;
    let guard = Guard::start(&host.ns, POLICY)?;
    let filter = XdpFilter::start(&other, "filter0")?;
    let (ours_xdp, ours_tc) = (ours(&guard, Kind::Xdp)?, ours(&guard, Kind::Tc)?);
    for (name, program) in [("XDP", &ours_xdp), ("TC", &ours_tc)] {
        let size = program.size()?;
        println!(
            "{name}: {} instructions, {} bytes of machine code, {} instructions verified",
            size.instructions, size.machine, size.verified
        );
    }
    let (bare_pass, bare_drop) = (Program::bare(Kind::Xdp, 2)?, Program::bare(Kind::Xdp, 1)?);
    let (tc_pass, tc_drop) = (Program::bare(Kind::Tc, -1)?, Program::bare(Kind::Tc, 2)?);

    let mut rows = Vec::new();
    for shape in [Shape::Tcp4, Shape::Udp4, Shape::Tcp6, Shape::Udp6] {
        let subjects = [
            Subject { name: "bare XDP", program: &bare_pass, interface: xdp, answer: XDP_PASS },
            Subject { name: "our XDP", program: &ours_xdp, interface: xdp, answer: XDP_PASS },
            Subject { name: "xdp-filter", program: &filter.program, interface: xdp, answer: XDP_PASS },
            Subject { name: "bare TC", program: &tc_pass, interface: tc, answer: TC_PASS },
            Subject { name: "our TC", program: &ours_tc, interface: tc, answer: TC_PASS },
        ];
        let samples = host.ns.enter(|| measure(&subjects, &shape.frame(OTHER)))??;
        let what = format!("pass {}", shape.name());
        rows.push(Row::cost(&samples, &what, "our XDP", "bare XDP", Goal::AtMost(1.25))?);
        rows.push(Row::cost(&samples, &what, "our XDP", "xdp-filter", Goal::AtMost(1.0))?);
        rows.push(Row::cost(&samples, &what, "our TC", "bare TC", Goal::AtMost(1.25))?);
    }
    for shape in [Shape::Tcp4, Shape::Tcp6] {
        let subjects = [
            Subject { name: "bare XDP", program: &bare_drop, interface: xdp, answer: XDP_DROP },
            Subject { name: "our XDP", program: &ours_xdp, interface: xdp, answer: XDP_DROP },
            Subject { name: "xdp-filter", program: &filter.program, interface: xdp, answer: XDP_DROP },
            Subject { name: "bare TC", program: &tc_drop, interface: tc, answer: TC_DROP },
            Subject { name: "our TC", program: &ours_tc, interface: tc, answer: TC_DROP },
        ];
        let samples = host.ns.enter(|| measure(&subjects, &shape.frame(GUARDED)))??;
        let what = format!("drop {}", shape.name());
        rows.push(Row::cost(&samples, &what, "our XDP", "bare XDP", Goal::None)?);
        rows.push(Row::cost(&samples, &what, "our XDP", "xdp-filter", Goal::AtMost(3.0))?);
        rows.push(Row::cost(&samples, &what, "our TC", "bare TC", Goal::None)?);
    }
    Ok(rows)
}

/// On a thread of the guarded host's namespace, where the interfaces' indices mean something.
fn measure(subjects: &[Subject<'_>], frame: &[u8]) -> Result<Samples> {
    pin()?;
    let contenders = subjects.iter().map(|subject| Contender {
        name: subject.name.to_owned(),
        work: Box::new(move || {
            let (answer, time) = busy(|| subject.program.run(frame, subject.interface, REPEAT))?;
            ensure!(answer == subject.answer, "answered {answer} instead of {}", subject.answer);
            Ok(time.as_secs_f64() * 1e9 / f64::from(REPEAT))
        }),
    });
    race(contenders.collect(), ROUNDS)
}
