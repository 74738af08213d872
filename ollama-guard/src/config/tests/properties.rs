//! What holds for every file.

use std::path::Path;

use proptest::prelude::*;

use super::super::{ConfigError, parse};
use crate::policy::{MAX_SERVICES, OLLAMA, Policy, Protocol, ServiceName};

/// Lines that a configuration could have, sound and faulty ones.
fn line() -> impl Strategy<Value = String> {
    let fixed = prop::sample::select(vec![
        "[[service]]",
        "[interfaces]",
        "[interfaces.attach]",
        "[[allow]]",
        "[sources]",
        "[metrics]",
        "[paths]",
        "name = \"ollama\"",
        "name = \"web\"",
        "mode = \"observe\"",
        "profile = \"lan\"",
        "wall = false",
        "ollama = false",
        "trusted = [\"lo\", \"wg*\"]",
        "containers = []",
        "service = \"web\"",
        "insist = true",
        "listen = \"\"",
        "listen = \"0.0.0.0:9\"",
        "eth0 = \"tc\"",
        "bpf = \"/a\"",
        "run = \"/a\"",
        "protocols = [\"udp\"]",
        "é = \"ü\"",
    ]);
    prop_oneof![
        4 => fixed.prop_map(str::to_owned),
        2 => prop::collection::vec(-1_i64..70_000, 0..4).prop_map(|ports| format!("ports = {ports:?}")),
        1 => any::<(u32, u8)>().prop_map(|(address, prefix)| {
            format!("source = \"{}/{}\"", std::net::Ipv4Addr::from(address), prefix % 40)
        }),
        1 => any::<i64>().prop_map(|number| format!("tracked = {number}")),
        1 => "\\PC{0,20}",
    ]
}

proptest! {
    #[test]
    fn any_text_is_a_sound_policy_or_located_faults(lines in prop::collection::vec(line(), 0..12)) {
        let text = lines.join("\n");
        match parse(Path::new("f"), &text) {
            Ok(policy) => {
                let written = serde_json::to_string(&policy).unwrap();
                prop_assert_eq!(&serde_json::from_str::<Policy>(&written).unwrap(), &policy, "status reads another");
                prop_assert!((1..=MAX_SERVICES).contains(&policy.services.len()));
                for (nth, service) in policy.services.iter().enumerate() {
                    prop_assert!(!service.ports.is_empty() && !service.protocols.is_empty());
                    for other in &policy.services[..nth] {
                        prop_assert_ne!(&service.name, &other.name);
                        prop_assert!(
                            service.protocols.is_disjoint(&other.protocols) || service.ports.is_disjoint(&other.ports)
                        );
                    }
                }
                let covered = policy.services.iter().any(|service| {
                    service.name.as_str() == "ollama" || service.covers(Protocol::Tcp, OLLAMA)
                });
                prop_assert!(covered || !policy.ollama);
                for allow in &policy.allow {
                    prop_assert_eq!(allow.source, allow.source.trunc());
                    let known = |name: &ServiceName| policy.services.iter().any(|service| service.name == *name);
                    prop_assert!(allow.service.as_ref().is_none_or(known));
                }
                prop_assert!(policy.sources.tracked > 0 && policy.sources.exported <= policy.sources.tracked);
            }
            Err(error) => {
                let words = error.to_string();
                let ConfigError::Invalid { faults, .. } = error else { panic!("{words}") };
                prop_assert!(!faults.is_empty());
                for fault in faults {
                    prop_assert!((1..=text.lines().count().max(1) + 1).contains(&fault.line), "{}", words);
                    prop_assert!(fault.column >= 1 && !fault.problem.is_empty() && !fault.next_step.is_empty());
                }
            }
        }
    }

    #[test]
    fn faults_are_independent_of_each_other(first in 0_u32..=3, second in 0_u32..=3) {
        // Each faulty key is reported however many others are faulty too.
        let keys = ["mode = 1", "wall = 1", "forwarded = 1", "attach = 1"];
        let (first, second) = (keys[first as usize], keys[second as usize]);
        prop_assume!(first != second);
        let error = parse(Path::new("f"), &format!("{first}\n{second}")).unwrap_err();
        let ConfigError::Invalid { faults, .. } = error else { panic!() };
        prop_assert_eq!(faults.iter().map(|fault| fault.line).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn a_network_with_host_bits_is_told_what_was_meant(address in any::<u32>(), prefix in 0_u8..32) {
        let address = std::net::Ipv4Addr::from(address);
        let net = ipnet::Ipv4Net::new(address, prefix).unwrap();
        let text = format!("[[allow]]\nsource = \"{net}\"\n");
        match parse(Path::new("f"), &text) {
            Ok(policy) => prop_assert_eq!(policy.allow[0].source, ipnet::IpNet::from(net)),
            Err(error) => {
                prop_assert_ne!(net, net.trunc());
                for meant in [net.trunc().to_string(), format!("{address}/32")] {
                    prop_assert!(error.to_string().contains(&meant), "{}", error);
                }
            }
        }
    }
}
