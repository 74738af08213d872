//! The reader and the event stream against a real kernel, in network namespaces of their own.

mod changes;
mod device;
mod facts;
mod kinds;
mod namespace;
mod program;
