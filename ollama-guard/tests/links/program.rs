//! The smallest XDP program, `return XDP_PASS`, as an object file that `ip` loads: no compiler is needed.

use std::path::PathBuf;

/// Deleted when dropped.
pub(crate) struct Object {
    pub(crate) path: PathBuf,
}

impl Object {
    pub(crate) fn write() -> Self {
        let name = format!("og-links-{}-{:?}.o", std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, elf()).unwrap();
        Self { path }
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// `r0 = 2; exit` (`include/uapi/linux/bpf.h`).
const CODE: [u8; 16] = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
const NAMES: &[u8] = b"\0xdp\0license\0.symtab\0.strtab\0pass\0";
/// Offset in `NAMES`, ELF section type (`include/uapi/linux/elf.h`), flags, link, info, entry size.
const SECTIONS: [(u32, u32, u64, u32, u32, u64); 5] =
    [(0, 0, 0, 0, 0, 0), (1, 1, 6, 0, 0, 0), (5, 1, 3, 0, 0, 0), (13, 2, 0, 4, 1, 24), (21, 3, 0, 0, 0, 0)];
const HEADER: usize = 64;

/// A relocatable ELF for BPF: the program, its license, one symbol, the names.
fn elf() -> Vec<u8> {
    let mut symbols = vec![0; 24];
    symbols.extend_from_slice(&29_u32.to_le_bytes()); // its name
    symbols.extend_from_slice(&[0x12, 0, 1, 0]); // a global function in section 1
    symbols.extend_from_slice(&[0; 8]);
    symbols.extend_from_slice(&16_u64.to_le_bytes());
    let contents: [&[u8]; 5] = [&[], &CODE, b"GPL\0", &symbols, NAMES];

    let mut body = Vec::new();
    let mut headers = Vec::new();
    for ((name, kind, flags, link, info, entry), content) in SECTIONS.into_iter().zip(contents) {
        body.resize(body.len().next_multiple_of(8), 0);
        headers.extend([name, kind].map(u32::to_le_bytes).concat());
        headers.extend([flags, 0, (HEADER + body.len()) as u64, content.len() as u64].map(u64::to_le_bytes).concat());
        headers.extend([link, info].map(u32::to_le_bytes).concat());
        headers.extend([8, entry].map(u64::to_le_bytes).concat());
        body.extend_from_slice(content);
    }
    body.resize(body.len().next_multiple_of(8), 0);

    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend([1_u16, 247].map(u16::to_le_bytes).concat()); // relocatable, BPF
    file.extend(1_u32.to_le_bytes());
    file.extend([0, 0, (HEADER + body.len()) as u64].map(u64::to_le_bytes).concat());
    file.extend(0_u32.to_le_bytes());
    file.extend([64_u16, 0, 0, 64, 5, 4].map(u16::to_le_bytes).concat());
    file.extend(body);
    file.extend(headers);
    file
}
