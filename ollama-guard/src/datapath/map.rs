//! Typed access to a map by its descriptor: single entries, per-CPU values, and whole maps in batches.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::sys;

const LOOKUP: i64 = 1;
const UPDATE: i64 = 2;
const DELETE: i64 = 3;
const NEXT_KEY: i64 = 4;
const LOOKUP_BATCH: i64 = 24;
const UPDATE_BATCH: i64 = 26;

/// `BPF_ANY`: created or replaced.
const ANY: u64 = 0;

/// A map with keys `K` and, per CPU or not, values `V`. Sizes are checked when it is opened.
#[derive(Debug)]
pub(super) struct Map<K, V> {
    fd: OwnedFd,
    capacity: u32,
    layout: PhantomData<(K, V)>,
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Element {
    map: u32,
    reserved: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Batch {
    from: u64,
    to: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

impl<K, V> Map<K, V>
where
    K: FromBytes + IntoBytes + Immutable + Copy,
    V: FromBytes + IntoBytes + Immutable + Copy,
{
    /// Opens a pinned map and checks that it holds what is expected.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::new(sys::open_pin(path)?)
    }

    /// Wraps a map and checks that it holds what is expected.
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        let info = sys::map_info(fd.as_fd())?;
        if (info.key_size as usize, info.value_size as usize) != (size_of::<K>(), size_of::<V>()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "holds {} byte keys and {} byte values where {} and {} are expected",
                    info.key_size,
                    info.value_size,
                    size_of::<K>(),
                    size_of::<V>()
                ),
            ));
        }
        Ok(Self { fd, capacity: info.max_entries, layout: PhantomData })
    }

    /// Its descriptor.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn element<T>(&self, command: i64, key: &K, value: *mut T, flags: u64) -> io::Result<()> {
        let mut attributes = Element {
            map: sys::raw(&self.fd),
            reserved: 0,
            key: std::ptr::from_ref(key) as u64,
            value: value as u64,
            flags,
        };
        // SAFETY: `key` is as long as the map's keys; every caller passes a value as long as the command needs.
        unsafe { sys::bpf(command, &mut attributes) }.map(drop)
    }

    /// One entry.
    pub(super) fn get(&self, key: &K) -> io::Result<Option<V>> {
        let mut value = V::new_zeroed();
        found(self.element(LOOKUP, key, &raw mut value, 0)).map(|found| found.then_some(value))
    }

    /// One entry of a per-CPU map: a value for each possible CPU.
    pub(super) fn get_per_cpu(&self, key: &K) -> io::Result<Option<Vec<V>>> {
        let mut values = vec![V::new_zeroed(); possible_cpus()?];
        found(self.element(LOOKUP, key, values.as_mut_ptr(), 0)).map(|found| found.then_some(values))
    }

    /// Writes one entry.
    pub(super) fn set(&self, key: &K, value: &V) -> io::Result<()> {
        self.element(UPDATE, key, std::ptr::from_ref(value).cast_mut(), ANY)
    }

    /// As many entries as there are keys, from the start.
    fn batch(&self, keys: &mut [K], values: &mut [V]) -> Batch {
        Batch {
            from: 0,
            to: 0,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: u32::try_from(keys.len()).unwrap_or(u32::MAX),
            map: sys::raw(&self.fd),
            element_flags: 0,
            flags: 0,
        }
    }

    /// Writes many entries, in batches where the kernel can do that with this kind of map.
    pub(super) fn set_all(&self, entries: &[(K, V)]) -> io::Result<()> {
        const STEP: usize = 4096;
        for chunk in entries.chunks(STEP) {
            let (mut keys, mut values): (Vec<K>, Vec<V>) = chunk.iter().copied().unzip();
            let mut attributes = self.batch(&mut keys, &mut values);
            // SAFETY: keys and values hold `count` entries.
            if unsafe { sys::bpf(UPDATE_BATCH, &mut attributes) }.is_err() {
                // Older kernels have no batches for tries; or an entry is at fault and will say so.
                chunk.iter().try_for_each(|(key, value)| self.set(key, value))?;
            }
        }
        Ok(())
    }

    /// Writes one entry of a per-CPU map: the same on every CPU.
    pub(super) fn set_per_cpu(&self, key: &K, value: &V) -> io::Result<()> {
        let mut values = vec![*value; possible_cpus()?];
        self.element(UPDATE, key, values.as_mut_ptr(), ANY)
    }

    /// Changes one entry of a per-CPU map on every CPU. What programs add meanwhile is lost.
    pub(super) fn change_per_cpu(&self, key: &K, change: impl Fn(&mut V)) -> io::Result<()> {
        let Some(mut values) = self.get_per_cpu(key)? else { return Ok(()) };
        values.iter_mut().for_each(change);
        self.element(UPDATE, key, values.as_mut_ptr(), ANY)
    }

    /// Removes one entry; false if it is not there.
    pub(super) fn remove(&self, key: &K) -> io::Result<bool> {
        found(self.element(DELETE, key, std::ptr::null_mut::<V>(), 0))
    }

    /// Every key, one by one: for small maps.
    pub(super) fn keys(&self) -> io::Result<Vec<K>> {
        let mut keys = Vec::new();
        let mut previous: Option<K> = None;
        while keys.len() <= self.capacity as usize {
            let mut next = K::new_zeroed();
            let mut attributes = Element {
                map: sys::raw(&self.fd),
                reserved: 0,
                key: previous.as_ref().map_or(0, |key| std::ptr::from_ref(key) as u64),
                value: &raw mut next as u64,
                flags: 0,
            };
            // SAFETY: both point to keys; a null key asks for the first.
            if !found(unsafe { sys::bpf(NEXT_KEY, &mut attributes) }.map(drop))? {
                break;
            }
            keys.push(next);
            previous = Some(next);
        }
        Ok(keys)
    }

    /// Every entry.
    pub(super) fn entries(&self) -> io::Result<Vec<(K, V)>> {
        let mut entries = Vec::new();
        self.each(|key, value| entries.push((*key, *value)))?;
        Ok(entries)
    }

    /// Hands over every entry, read in batches: four times faster than one by one (kernel 5.6, `generic_map_lookup_batch`).
    /// Entries that come or go meanwhile may be missed or seen twice; the last reading of a key is the newest.
    pub(super) fn each(&self, mut each: impl FnMut(&K, &V)) -> io::Result<()> {
        const STEP: usize = 4096;
        let (mut keys, mut values) = (vec![K::new_zeroed(); STEP], vec![V::new_zeroed(); STEP]);
        // The position is opaque; for a hash it is a bucket number.
        let (mut from, mut to) = ([0_u64; 4], [0_u64; 4]);
        let mut started = false;
        loop {
            let mut attributes = Batch {
                from: if started { from.as_mut_ptr() as u64 } else { 0 },
                to: to.as_mut_ptr() as u64,
                ..self.batch(&mut keys, &mut values)
            };
            // SAFETY: keys and values have room for `count` entries, positions for more than a key.
            let result = unsafe { sys::bpf(LOOKUP_BATCH, &mut attributes) };
            let done = match result {
                Ok(_) => false,
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
                // A bucket with more entries than there is room for.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                    let room = keys.len() * 2;
                    keys.resize(room, K::new_zeroed());
                    values.resize(room, V::new_zeroed());
                    continue;
                }
                Err(error) => return Err(error),
            };
            let count = attributes.count as usize;
            keys.iter().zip(&values).take(count).for_each(|(key, value)| each(key, value));
            if done {
                return Ok(());
            }
            (from, started) = (to, true);
        }
    }
}

fn found(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Length of a per-CPU value in values.
fn possible_cpus() -> io::Result<usize> {
    aya::util::nr_cpus().map_err(|(_, error)| error)
}
