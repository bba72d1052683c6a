//! DMARC aggregate reports (RFC 9990): building and reading them.
