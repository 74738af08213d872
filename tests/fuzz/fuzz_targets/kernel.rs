//! The loaded kernel programs against the classifier on the host. Needs root.
#![no_main]

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, OnceLock};

use ollama_guard::class::Class;
use tests::fuzz::kernel;
use tests::stand::Stand;

type Ends = Mutex<(SyncSender<Vec<u8>>, Receiver<Result<(), String>>)>;

/// The programs live on a thread in a network namespace of their own.
fn stand() -> &'static Ends {
    static ENDS: OnceLock<Ends> = OnceLock::new();
    ENDS.get_or_init(|| {
        let (frames, inbox) = sync_channel::<Vec<u8>>(0);
        let (outbox, answers) = sync_channel(0);
        std::thread::spawn(move || {
            let done = Stand::run(|stand| {
                let mut loaded = stand.load(kernel::POLICY, Class::Guarded)?;
                for frame in inbox {
                    outbox.send(kernel::check(&mut loaded, &frame).map(drop).map_err(|error| format!("{error:#}")))?;
                }
                Ok(())
            });
            done.expect("the stand for the kernel programs");
        });
        Mutex::new((frames, answers))
    })
}

libfuzzer_sys::fuzz_target!(|frame: &[u8]| {
    let ends = stand().lock().expect("one fuzzer");
    ends.0.send(frame.to_vec()).expect("the stand lives");
    ends.1.recv().expect("the stand lives").unwrap();
});
