//! SPF: the suites of RFC 7208 and RFC 4408 where they are at hand, a table of our own, and anything at all.

#[path = "spf/any.rs"]
mod any;
#[path = "spf/suites.rs"]
mod suites;
#[path = "spf/table.rs"]
mod table;
