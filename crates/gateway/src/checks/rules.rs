//! Rules in SpamAssassin's language.

pub mod dns;
