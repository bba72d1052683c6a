//! Tables of every form: a number for the form, a key, and the table.
#![no_main]

use gatepost::resources::maps::parse_and_get;
use libfuzzer_sys::fuzz_target;

const FORMS: [&str; 8] = ["hash", "cidr", "regexp", "pcre", "sendmail", "virtusertable", "ldap", "pgsql"];

fuzz_target!(|input: (u8, &str, &str)| {
    let (form, key, table) = input;
    let _ = parse_and_get(FORMS[usize::from(form) % FORMS.len()], table, key);
});
