//! `[[allow]]`: sources that may reach a guarded port on a guarded interface.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::interfaces::exact;
use super::section::Field;
use crate::policy::{Allow, ServiceName};

pub(super) fn read(field: &Field<'_, '_>, services: &BTreeSet<String>) -> Vec<Allow> {
    let items = field.items("`[[allow]]` on a line of its own, with `source = …` below it");
    items.into_iter().flatten().filter_map(|item| allow(&item, services)).collect()
}

fn allow(item: &Field<'_, '_>, services: &BTreeSet<String>) -> Option<Allow> {
    let mut section = item.table()?;
    let source = section.require("source", "name who may: source = \"192.168.1.50/32\"");
    let source = source.and_then(|field| cidr(&field));
    let interface = section.take("interface").and_then(|field| exact(&field, field.text("\"eth0\"")?));
    let service = section.take("service").and_then(|field| service(&field, services));
    let comment = section.take("comment").and_then(|field| field.text("\"the desk\"")).map(str::to_owned);
    section.finish();
    // A faulty `interface` or `service` reads as absent here, which is wider than written; the fault makes sure
    // that this policy never leaves the module.
    Some(Allow { source: source?, interface, service, comment, implied: false })
}

fn cidr(field: &Field<'_, '_>) -> Option<IpNet> {
    let example = "\"192.168.1.0/24\" for a network or \"192.168.1.50\" for one host";
    let text = field.text(example)?;
    let written = text.escape_debug();
    // One address is a network of one: nothing else can be meant.
    let parsed = text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse::<IpNet>());
    let Ok(range) = parsed else {
        let next = match text.split_once('%') {
            Some((address, zone)) => format!("write source = \"{address}\" and interface = \"{}\"", zone_name(zone)),
            None => format!("write {example}; host names are not looked up"),
        };
        field.fault(format!("\"{written}\" is not an IP address or CIDR range"), next);
        return None;
    };
    if let IpNet::V6(v6) = range
        && let Some(v4) = v6.addr().to_ipv4_mapped()
        && v6.prefix_len() >= 96
    {
        let next = format!("write \"{v4}/{}\": IPv4 packets are matched as IPv4", v6.prefix_len() - 96);
        field.fault(format!("\"{written}\" is an IPv4 address in IPv6 clothes and would never match"), next);
        return None;
    }
    if range.trunc() != range {
        let (network, host) = (range.trunc(), IpNet::from(range.addr()));
        let next = format!("write \"{network}\" for the whole network, or \"{host}\" for that one host");
        field.fault(format!("\"{written}\" names a host and a network at once"), next);
        return None;
    }
    Some(range)
}

fn zone_name(zone: &str) -> &str {
    zone.split('/').next().unwrap_or(zone)
}

fn service(field: &Field<'_, '_>, services: &BTreeSet<String>) -> Option<ServiceName> {
    let text = field.text("\"ollama\"")?;
    if services.contains(text) {
        // A name that the service itself could not have has been reported there.
        return text.parse().ok();
    }
    let known = services.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let next = format!("use one of: {known}; or leave `service` out to allow all of them");
    field.fault(format!("there is no service \"{}\"", text.escape_debug()), next);
    None
}
