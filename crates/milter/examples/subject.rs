//! A filter that refuses mail with a word in its subject and marks what it lets through. A thread for each connection.
//!
//! `cargo run --example subject -- 127.0.0.1:8899 lottery`

use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use bytes::BytesMut;
use gatepost_milter::{Actions, Event, Refusal, Response, Session, Steps, Wanted};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8899".into());
    let word = arguments.next().unwrap_or_else(|| "lottery".into()).to_lowercase();
    let listener = TcpListener::bind(&address)?;
    println!("listening on {address}, refusing {word:?}");
    for stream in listener.incoming() {
        let (stream, word) = (stream?, word.clone());
        std::thread::spawn(move || {
            if let Err(error) = serve(stream, &word) {
                eprintln!("{error}");
            }
        });
    }
    Ok(())
}

fn serve(mut stream: TcpStream, word: &str) -> Result<(), Box<dyn Error>> {
    stream.set_read_timeout(Some(Duration::from_secs(7200)))?;
    let (mut session, mut input, mut output) = (Session::new(), BytesMut::new(), Vec::new());
    let mut found = false;
    let mut buffer = vec![0; 64 << 10];
    loop {
        while let Some(event) = session.event(&mut input)? {
            match event {
                Event::Negotiate(_) => {
                    let wanted = Wanted {
                        actions: Actions::ADD_HEADERS,
                        steps: Steps::NO_BODY | Steps::NO_REPLY_HEADER | Steps::HEADER_LEADING_SPACE,
                        ..Wanted::default()
                    };
                    session.negotiate(&wanted, &mut output)?;
                }
                Event::Mail(_) => found = false,
                Event::Header { name, value } if name.eq_ignore_ascii_case(b"Subject") => {
                    found = String::from_utf8_lossy(&value).to_lowercase().contains(word);
                }
                Event::EndOfMessage if found => {
                    let text = format!("We do not talk about {word} here");
                    let refusal = Refusal::new(550, "5.7.1", &text).ok_or("no such code")?;
                    session.respond(Response::Refuse(refusal), &mut output)?;
                }
                Event::EndOfMessage => {
                    let (name, value) = ("X-Subject-Seen".into(), " yes".into());
                    session.respond(Response::InsertHeader { index: 1, name, value }, &mut output)?;
                }
                Event::Quit { reuse: false } => return Ok(()),
                _ => {}
            }
            if session.due() {
                session.respond(Response::Continue, &mut output)?;
            }
        }
        stream.write_all(&output)?;
        output.clear();
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => input.extend_from_slice(&buffer[..length]),
        }
    }
}
