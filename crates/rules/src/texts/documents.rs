//! What others have taken out of attachments: rules unpack nothing themselves.

use bytes::Bytes;

/// An attachment, or something within one, that was opened.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// Its bytes, decoded, by which it is known again.
    pub content: Bytes,
    /// What lies in it, where it is a zip.
    pub members: Vec<Member>,
    /// The text that a reader sees, in UTF-8; None if it was not read, or cannot be.
    pub text: Option<String>,
    /// What is coded in a picture, a line each: `QR-Code:https://…`.
    pub code: Option<String>,
}

/// A file in a zip.
#[derive(Clone, Debug, Default)]
pub struct Member {
    /// Its name with its folders.
    pub name: String,
    /// Its content, as far as it could be read.
    pub content: Bytes,
    /// It is protected by a password.
    pub encrypted: bool,
}

/// All that were opened in a message.
#[derive(Clone, Debug, Default)]
pub struct Documents(pub Vec<Document>);

impl Documents {
    /// The one with that content.
    pub(crate) fn of(&self, content: &[u8]) -> Option<&Document> {
        self.0.iter().find(|document| document.content == content)
    }
}
