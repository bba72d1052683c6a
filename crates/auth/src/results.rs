//! The `Authentication-Results` field (RFC 8601): building and reading it.
