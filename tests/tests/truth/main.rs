//! Promises 4 and 5: `status` says what the kernel says, tells each refused packet once, and tells what was repaired and what
//! was not reloaded.

mod bridges;
mod hooks;
mod reload;

const PORT: u16 = 11434;
