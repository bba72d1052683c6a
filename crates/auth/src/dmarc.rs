//! DMARC (RFC 9989): the author domain's policy, found by walking up the tree, and alignment.
