#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nexarch_fuzz::cache_typed(data));
