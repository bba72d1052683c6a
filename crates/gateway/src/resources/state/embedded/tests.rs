//! The embedded engine's own promises, beside those of the contract.
