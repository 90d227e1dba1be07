//! The parsers of POST bodies, in all their forms.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ponte_api::fuzzing::body(bytes));
