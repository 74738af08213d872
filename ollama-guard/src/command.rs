//! The commands: thin, one file each. They print, and say how the program ends.

pub mod output;
