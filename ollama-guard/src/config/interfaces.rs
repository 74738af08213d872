//! `[interfaces]` and `[interfaces.attach]`.

use super::read::ATTACH;
use super::section::{Field, Section};
use crate::policy::{AttachPolicy, ContainerAccess, InterfaceName, InvalidName, NamePattern, Policy};

const ACCESS: [(&str, ContainerAccess); 2] = [("deny", ContainerAccess::Deny), ("allow", ContainerAccess::Allow)];

pub(super) fn read(mut section: Section<'_, '_>, policy: &mut Policy) {
    let mut seen = Vec::new();
    // An explicit list replaces the profile's: what is written is the whole truth.
    section.set("trusted", &mut policy.trusted, |field| patterns(field, &mut seen));
    section.set("containers", &mut policy.containers, |field| patterns(field, &mut seen));
    section.set("container_access", &mut policy.container_access, |field| field.choice(&ACCESS));
    section.set("count_loopback", &mut policy.count_loopback, Field::boolean);
    if let Some(hooks) = section.take("attach").and_then(|field| field.table()) {
        per_interface(&hooks, &mut policy.attach);
    }
    section.finish();
}

fn patterns(field: &Field<'_, '_>, seen: &mut Vec<(NamePattern, String)>) -> Option<Vec<NamePattern>> {
    let items = field.items("`[\"lo\", \"tailscale0\", \"wg*\"]`")?;
    Some(items.filter_map(|item| pattern(&item, seen)).collect())
}

fn pattern(item: &Field<'_, '_>, seen: &mut Vec<(NamePattern, String)>) -> Option<NamePattern> {
    let text = item.text("`\"wg0\"` or `\"wg*\"`")?;
    let pattern = match text.parse::<NamePattern>() {
        Ok(pattern) => pattern,
        Err(error) => {
            item.fault(error.to_string(), "write a name as `ip link` shows it, or its beginning and a star: \"wg*\"");
            return None;
        }
    };
    if let Some((_, earlier)) = seen.iter().find(|(known, _)| *known == pattern) {
        item.fault(format!("\"{pattern}\" is already in `{earlier}`"), "keep it in one place");
        return None;
    }
    seen.push((pattern.clone(), item.key.clone()));
    Some(pattern)
}

fn per_interface(hooks: &Section<'_, '_>, attach: &mut AttachPolicy) {
    for (place, key, value) in hooks.entries() {
        let hook = value.choice(&ATTACH);
        if let (Some(name), Some(hook)) = (exact(&place, key), hook) {
            attach.per_interface.insert(name, hook);
        }
    }
}

/// One interface, where a pattern would not do.
pub(super) fn exact(field: &Field<'_, '_>, text: &str) -> Option<InterfaceName> {
    let next = "name one interface exactly as `ip link` shows it";
    if text.contains('*') {
        field.fault(format!("\"{}\" is a pattern, and one interface is wanted", text.escape_debug()), next);
        return None;
    }
    text.parse().map_err(|error: InvalidName| field.fault(error.to_string(), next)).ok()
}
