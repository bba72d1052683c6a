//! Telling the postmaster something by mail, as checks see it.

use futures_util::future::BoxFuture;

/// Somebody who can send mail of our own.
pub trait Notify: Send + Sync {
    /// Sends the postmaster a mail by the next hop of a listener. None: it is taken, or nobody shall be told. Else why not.
    fn notify(&self, listener: String, subject: String, text: String) -> BoxFuture<'static, Option<String>>;
}

/// Nobody is told, as in commands that only judge.
pub struct NoNotice;

impl Notify for NoNotice {
    fn notify(&self, _: String, _: String, _: String) -> BoxFuture<'static, Option<String>> {
        Box::pin(std::future::ready(None))
    }
}
