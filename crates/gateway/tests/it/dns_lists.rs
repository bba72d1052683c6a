//! DNS lists and lists from files.
