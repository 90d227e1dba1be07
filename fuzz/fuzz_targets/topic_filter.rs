//! Topic filters, as MQTT_TOPICS lists them.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ponte_subscriber::fuzzing::topics(bytes));
