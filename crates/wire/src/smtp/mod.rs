//! SMTP and LMTP: commands, replies and message content (RFC 5321, RFC 2033 and the extensions named beside the code).
//!
//! A server reads with [`LineReader`] and [`parse`], answers with [`Reply`], and takes content with [`DataDecoder`] or
//! [`BdatDecoder`]. A client reads with [`ReplyReader`], learns what the server offers from [`Capabilities`], and sends
//! content through [`Stuffer`].

mod capabilities;
mod command;
mod content;
mod forward;
mod line;
mod path;
mod reply;
mod stuff;
mod xtext;

pub use capabilities::Capabilities;
pub use command::{Body, Command, MailFrom, Param, RcptTo, SyntaxError, parse};
pub use content::{BdatDecoder, DataDecoder, Stray, StrayReport, from_unix, normalize};
pub use forward::{
    address_literal, parse_address_literal, parse_xforward_addr, xclient_command, xforward_addr,
    xforward_command, xforward_commands,
};
pub use line::{Line, LineReader};
pub use path::{PATH_LIMIT, PathError, check_address};
pub use reply::{Reply, ReplyError, ReplyReader};
pub use stuff::{Pieces, Stuffer};
pub use xtext::{xtext_decode, xtext_encode};
