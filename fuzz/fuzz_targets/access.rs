//! Right-hand sides of access maps: whatever is read, a reply has a code that fits its status.
#![no_main]

use gatepost_mail::Access;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    for access in [Access::parse(input), Access::parse_sendmail(input)] {
        if let Ok(Access::Reply(reply)) = access {
            assert!((400..600).contains(&reply.code));
            assert!(reply.enhanced.starts_with(&(reply.code / 100).to_string()));
        }
    }
});
