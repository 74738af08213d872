//! `[paths]`: where pins and the control socket live.

use std::path::{Component, Path, PathBuf};

use super::section::{Field, Section};
use crate::policy::Paths;

/// A unix socket's path holds 107 bytes and a NUL (`sun_path`, `include/uapi/linux/un.h`); the longest name put
/// into `run` is `/control.sock`.
const LONGEST_RUN: usize = 107 - "/control.sock".len();

pub(super) fn read(mut section: Section<'_, '_>, paths: &mut Paths) {
    if let Some(field) = section.take("bpf")
        && let Some(path) = directory(&field, "\"/sys/fs/bpf/ollama-guard\"")
    {
        // The kernel refuses such names on a BPF file system (`bpf_lookup`, kernel/bpf/inode.c).
        let below_mount = path.strip_prefix("/sys/fs/bpf").ok();
        if below_mount.is_some_and(|rest| rest.as_os_str().as_encoded_bytes().contains(&b'.')) {
            field.fault("a BPF file system takes no names with a dot", "use a name without dots");
        }
        paths.bpf = path;
    }
    if let Some(field) = section.take("run")
        && let Some(path) = directory(&field, "\"/run/ollama-guard\"")
    {
        if path.as_os_str().len() > LONGEST_RUN {
            let problem = format!("is too long for a socket inside it: at most {LONGEST_RUN} bytes");
            field.fault(problem, "use a shorter path, such as \"/run/ollama-guard\"");
        }
        if path == paths.bpf {
            field.fault("is the same directory as `paths.bpf`", "a BPF file system holds no sockets: use another");
        }
        paths.run = path;
    }
    section.finish();
}

fn directory(field: &Field<'_, '_>, example: &str) -> Option<PathBuf> {
    let text = field.text(example)?;
    let path = Path::new(text);
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if path.is_absolute() && plain && path.parent().is_some() && !text.contains('\0') {
        return Some(path.to_owned());
    }
    let problem = format!("\"{}\" is not an absolute path to a directory of our own", text.escape_debug());
    field.fault(problem, format!("write it like {example}"));
    None
}
