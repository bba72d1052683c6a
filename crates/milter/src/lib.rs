//! The milter protocol, by which Sendmail and Postfix let a filter look at mail while its sender is still on the line.
//!
//! Nothing here opens a socket, waits, or knows a clock. A [`Session`] is fed with what was read from the mail server,
//! yields [`Event`]s, says which of them want a reply, and writes [`Response`]s to a buffer that the caller sends. It
//! works as well under threads as under any async runtime. Versions 2 to 6 of the protocol are spoken, as Sendmail 8.17
//! (libmilter's `mfdef.h`) and Postfix have it.
//!
//! [`Command`] and [`Response`] can be both read and written, so the same crate serves to test a filter, or to write a
//! mail server.
//!
//! What comes from the mail server is bounded: packets have a most length ([`Session::with_limit`]) and a most number
//! of strings, and commands out of order are an error. No input makes it panic.
//!
//! # A filter in a page
//!
//! ```
//! use bytes::BytesMut;
//! use gatepost_milter::{Actions, Event, Refusal, Response, Session, Steps, Wanted};
//!
//! /// What to answer to what was read; called again whenever there is more. False at the end.
//! fn read(session: &mut Session, input: &mut BytesMut, out: &mut Vec<u8>) -> Result<bool, Box<dyn std::error::Error>> {
//!     while let Some(event) = session.event(input)? {
//!         let response = match event {
//!             Event::Negotiate(_) => {
//!                 let wanted = Wanted {
//!                     actions: Actions::ADD_HEADERS,
//!                     steps: Steps::NO_HELO | Steps::NO_BODY | Steps::NO_REPLY_HEADER,
//!                     ..Wanted::default()
//!                 };
//!                 session.negotiate(&wanted, out)?;
//!                 continue;
//!             }
//!             Event::Rcpt(arguments) if arguments[0].starts_with(b"<nobody@") => {
//!                 Response::Refuse(Refusal::new(550, "5.1.1", "Nobody lives here").ok_or("no such code")?)
//!             }
//!             Event::EndOfMessage => {
//!                 let queue_id = session.macros().text("i").unwrap_or_default().into_owned();
//!                 let (name, value) = ("X-Seen-As".into(), format!(" {queue_id}").into());
//!                 session.respond(Response::InsertHeader { index: 1, name, value }, out)?;
//!                 Response::Accept
//!             }
//!             Event::Quit { reuse: false } => return Ok(false),
//!             _ => Response::Continue,
//!         };
//!         if session.due() {
//!             session.respond(response, out)?;
//!         }
//!     }
//!     Ok(true)
//! }
//!
//! // What a mail server sends first: version 6, all actions, all steps.
//! let mut input = BytesMut::from(&b"\0\0\0\x0dO\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff"[..]);
//! let (mut session, mut out) = (Session::new(), Vec::new());
//! assert!(read(&mut session, &mut input, &mut out).unwrap());
//! assert_eq!(out, b"\0\0\0\x0dO\0\0\0\x06\0\0\0\x01\0\0\0\x92");
//! ```

mod command;
mod flags;
mod frame;
mod macros;
mod refusal;
mod response;
mod session;

pub use command::{Command, Connect, Malformed, Offer, Peer};
pub use flags::{Actions, Steps};
pub use frame::{Frame, FrameError};
pub use macros::Macros;
pub use refusal::Refusal;
pub use response::{Agreement, CHUNK, Response, SymbolStage};
pub use session::{Error, Event, FRAME_LIMIT, NotNow, OLDEST, Session, VERSION, Wanted};
