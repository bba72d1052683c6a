//! What rules look at, made of a message as SpamAssassin makes it.
