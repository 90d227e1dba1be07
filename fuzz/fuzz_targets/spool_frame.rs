//! The decoder of the spool's frames.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ponte_subscriber::fuzzing::frame(bytes));
