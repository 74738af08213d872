//! The daemon as a service: without root's rights, under a manager that watches it, asked by people who are not root.

mod account;
mod manager;
mod unit;
