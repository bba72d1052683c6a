//! Authenticated Received Chain (RFC 8617): verifying chains and sealing.
