//! Mail protocols as bytes ⇄ typed commands and replies.
//!
//! Nothing here opens a socket, waits, or knows a clock: the caller reads into a [`bytes::BytesMut`] and hands it over,
//! and each reader takes whole units from its front and leaves the rest. A reader that needs more says so; it never
//! keeps more than its stated limit, whatever the peer sends.
//!
//! * [`smtp`]: commands, replies and message content of SMTP and LMTP, for both ends of a connection.
//! * [`proxy`]: the PROXY protocol header a load balancer puts before the first byte of the client.
//! * [`ampdp`]: requests and responses of the amavis policy delegation protocol.
//! * [`clamd`], [`clamd_server`]: commands and answers of the ClamAV daemon, for either end.
//! * [`p0f`]: what p0f and amavis's p0f-analyzer are asked, and what they answer.
//! * [`policy`]: requests of Postfix's policy delegation and their answers.
//! * [`spamd`]: requests to the SpamAssassin daemon and its answers.
//! * [`sendmail_queue`]: the files of Sendmail's mail queue.
//!
//! # Reading one session
//!
//! ```
//! use bytes::BytesMut;
//! use gatepost_wire::smtp::{parse, Command, DataDecoder, Line, LineReader, Stray};
//!
//! let mut buf = BytesMut::from(&b"MAIL FROM:<a@example.org> SIZE=10\r\nDATA\r\nHello\r\n.\r\nQUIT\r\n"[..]);
//! let mut lines = LineReader::new(4096);
//!
//! let Line::Line(line) = lines.next(&mut buf) else { panic!("a whole line is there") };
//! let Ok(Command::Mail(mail)) = parse(&line) else { panic!("the line is MAIL") };
//! assert_eq!((mail.path.as_str(), mail.size()), ("a@example.org", Some(10)));
//!
//! let Line::Line(line) = lines.next(&mut buf) else { panic!("a whole line is there") };
//! assert_eq!(parse(&line), Ok(Command::Data));
//!
//! let (mut decoder, mut content) = (DataDecoder::new(1024, Stray::Refuse), Vec::new());
//! assert!(decoder.decode(&mut buf, &mut content));
//! assert_eq!(content, b"Hello\r\n");
//! assert_eq!(&buf[..], b"QUIT\r\n");
//! ```

pub mod ampdp;
pub mod clamd;
pub mod clamd_server;
pub mod icap;
pub mod p0f;
pub mod policy;
pub mod proxy;
pub mod sendmail_queue;
pub mod smtp;
pub mod spamd;
