//! What the fuzzer has found, and what it starts from, once more: each file of `tests/fuzz/corpus` goes through its check.
//! And so many generated packets that the check itself would be seen to be broken.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use ollama_guard::class::Class;
use tests::fuzz::generate::{self, Addresses, Random};
use tests::fuzz::{classifier, config, kernel};
use tests::stand::{NETWORK, Stand};
use tests::{require, requires};

/// Every file of a target's corpus, with its name.
fn corpus(target: &str) -> Result<Vec<(String, Vec<u8>)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))? {
        let path = entry?.path();
        files.push((path.display().to_string(), fs::read(&path)?));
    }
    ensure!(!files.is_empty(), "{} is empty", folder.display());
    Ok(files)
}

/// Generated frames.
fn generated(count: usize, addresses: &Addresses, mut check: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let (mut random, mut frame) = (Random::new(7), Vec::new());
    (0..count).try_for_each(|number| {
        generate::frame(&mut random, addresses, &mut frame);
        check(&frame).with_context(|| format!("frame {number}: {frame:02x?}"))
    })
}

#[test]
fn the_classifier_agrees_with_etherparse() -> Result<()> {
    for (name, frame) in corpus("classifier")? {
        println!("{name}");
        classifier::check(&frame);
    }
    generated(200_000, &Addresses::default(), |frame| {
        classifier::check(frame);
        Ok(())
    })
}

#[test]
fn the_kernel_programs_agree_with_the_classifier() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    Stand::run(|stand| {
        let mut loaded = stand.load(kernel::POLICY, Class::Guarded)?;
        for (name, frame) in corpus("classifier")? {
            kernel::check(&mut loaded, &frame).context(name)?;
        }
        generated(10_000, &Addresses::of(&NETWORK), |frame| kernel::check(&mut loaded, frame).map(drop))
    })
}

#[test]
fn the_configuration_is_read_alike_and_without_a_panic() -> Result<()> {
    for (name, text) in corpus("config")? {
        println!("{name}");
        config::check(&text);
    }
    Ok(())
}
