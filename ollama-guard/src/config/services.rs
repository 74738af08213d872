//! `[[service]]`: what is guarded.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use super::defaults;
use super::section::{Field, Section};
use super::syntax;
use crate::policy::{MAX_SERVICES, OLLAMA, Protocol, Service, ServiceName};

const PROTOCOLS: [(&str, Protocol); 2] = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp)];

/// What a file guards.
#[derive(Default)]
pub(super) struct Services {
    pub(super) list: Vec<Service>,
    /// Every name that may be referred to: those written, sound or not, and the built-in one.
    pub(super) names: BTreeSet<String>,
}

/// What must be unique over the whole file.
#[derive(Default)]
struct Taken {
    names: BTreeSet<String>,
    ports: BTreeMap<(Protocol, NonZeroU16), String>,
}

/// The `[[service]]` entries, and Ollama's own unless one of them takes its place or the file says `ollama = false`.
pub(super) fn read(field: Option<&Field<'_, '_>>, ollama: Option<&Field<'_, '_>>, wanted: bool) -> Services {
    let mut services = field.map(written).unwrap_or_default();
    let own = defaults::ollama();
    let replaced = services.names.contains(own.name.as_str())
        || services.list.iter().any(|service| service.covers(Protocol::Tcp, OLLAMA));
    if !wanted && field.is_none() {
        if let Some(ollama) = ollama {
            ollama.fault("nothing would be guarded", "remove the line, or add a [[service]] to guard instead");
        }
    } else if wanted && !replaced {
        if let Some(field) = field.filter(|_| services.list.len() == MAX_SERVICES) {
            let problem = format!("there are {MAX_SERVICES} services besides Ollama's, which is guarded too");
            field.fault(problem, "merge two: one service may have several ports; or add `ollama = false` at the top");
        }
        services.names.insert(own.name.to_string());
        services.list.insert(0, own);
    }
    services
}

fn written(field: &Field<'_, '_>) -> Services {
    let mut taken = Taken::default();
    let mut list = Vec::new();
    let example = "`[[service]]` on a line of its own, with `name` and `ports` below it";
    let Some(items) = field.items(example) else { return Services { list, names: taken.names } };
    let items: Vec<_> = items.collect();
    if items.is_empty() {
        field.fault("the list is empty", "name a service, or remove the key: Ollama's port 11434 is guarded anyway");
    }
    for (nth, item) in items.iter().enumerate() {
        if nth == MAX_SERVICES {
            let problem = format!("there are {} services; {MAX_SERVICES} fit", items.len());
            item.fault(problem, "merge some: one service may have several ports");
        }
        list.extend(item.table().and_then(|section| service(section, &mut taken)));
    }
    Services { list, names: taken.names }
}

fn service(mut section: Section<'_, '_>, taken: &mut Taken) -> Option<Service> {
    let name = section.require("name", "give the service a name: name = \"open-webui\"");
    let name = name.and_then(|field| self::name(&field, &mut taken.names));
    let protocols = match section.take("protocols") {
        Some(field) => protocols(&field),
        None => BTreeSet::from([Protocol::Tcp]),
    };
    let insist = section.take("insist").and_then(|field| field.boolean()).unwrap_or(false);
    let ports = section.require("ports", "list the ports to guard: ports = [8080]");
    let ports = ports.map(|field| ports_of(&field)).unwrap_or_default();
    section.finish();

    let label = name.as_ref().map_or_else(|| "another service".to_owned(), |name| format!("\"{name}\""));
    for (field, port) in &ports {
        for &protocol in &protocols {
            if let Some(owner) = taken.ports.insert((protocol, *port), label.clone()) {
                let problem = format!("{protocol} {port} already belongs to {owner}");
                field.fault(problem, "a port belongs to one service: remove it from one of the two");
            }
        }
    }
    let ports: BTreeSet<_> = ports.into_iter().map(|(_, port)| port).collect();
    // Each absence has been reported where it was found.
    (!ports.is_empty() && !protocols.is_empty()).then_some(())?;
    Some(Service { name: name?, ports, protocols, insist })
}

fn name(field: &Field<'_, '_>, taken: &mut BTreeSet<String>) -> Option<ServiceName> {
    let text = field.text("\"ollama\"")?;
    if !taken.insert(text.to_owned()) {
        let next = "rename one, or merge them: one service may have several ports";
        field.fault(format!("there are two services \"{}\"", text.escape_debug()), next);
        return None;
    }
    let next = "choose a short name such as \"open-webui\"";
    text.parse().map_err(|error: crate::policy::InvalidService| field.fault(error.to_string(), next)).ok()
}

fn ports_of<'a, 'i>(field: &Field<'a, 'i>) -> Vec<(Field<'a, 'i>, NonZeroU16)> {
    if let Some(range) = field.is_text().filter(|text| syntax::is_range(text)) {
        field.fault(format!("\"{range}\" is a range, and there are none"), syntax::LIST_PORTS);
        return Vec::new();
    }
    let Some(items) = field.items("`[11434]` or `[3000, 8080]`") else { return Vec::new() };
    let items: Vec<_> = items.collect();
    if items.is_empty() {
        field.fault("the list is empty", "list the ports to guard: ports = [8080]");
    }
    let mut ports: Vec<(Field<'a, 'i>, NonZeroU16)> = Vec::new();
    for item in items {
        if let Some(range) = item.is_text().filter(|text| syntax::is_range(text)) {
            item.fault(format!("\"{range}\" is a range, and there are none"), syntax::LIST_PORTS);
            continue;
        }
        let why = "that is what a port can be";
        let number = item.integer(1..=u32::from(u16::MAX), why).and_then(|number| u16::try_from(number).ok());
        let Some(port) = number.and_then(NonZeroU16::new) else { continue };
        if ports.iter().any(|(_, other)| *other == port) {
            item.fault(format!("port {port} is listed twice"), "remove one of the two");
        } else {
            ports.push((item, port));
        }
    }
    ports
}

fn protocols(field: &Field<'_, '_>) -> BTreeSet<Protocol> {
    let Some(items) = field.items("`[\"tcp\"]` or `[\"tcp\", \"udp\"]`") else { return BTreeSet::new() };
    let items: Vec<_> = items.collect();
    if items.is_empty() {
        field.fault("the list is empty", "write [\"tcp\"], or remove the key: tcp is the default");
    }
    let mut protocols = BTreeSet::new();
    for item in items {
        let Some(protocol) = item.choice(&PROTOCOLS) else { continue };
        if !protocols.insert(protocol) {
            item.fault(format!("\"{protocol}\" is listed twice"), "remove one of the two");
        }
    }
    protocols
}
