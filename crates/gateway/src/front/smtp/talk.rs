//! What is said on the line and what is heard: replies, what they count for, and the limits of waiting.

use std::time::{Duration, Instant};

use gatepost_mail::Reply;
use gatepost_wire::smtp::{self, Line};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::{CHUNK, Client, End, Phase, Step};

impl Client<'_> {
    /// Nothing may have been sent behind a command that ends a pipelined group.
    pub(super) fn in_step(&mut self) -> Step {
        if self.input.is_empty() {
            return Ok(());
        }
        self.last_reply(Reply::new(554, "5.5.1", "You went on before it was your turn"))
    }

    pub(super) fn reply(&mut self, reply: &Reply) {
        smtp::Reply::new(reply.code, &reply.enhanced, &reply.text).write(&mut self.output);
    }

    /// An answer to a command that brings no message forward; too many of them end the session.
    pub(super) fn idle(&mut self, reply: Reply) -> Step {
        self.count_idle()?;
        self.reply(&reply);
        Ok(())
    }

    pub(super) fn count_idle(&mut self) -> Step {
        self.idle += 1;
        if self.idle > self.front.limits.idle_commands {
            return self.last_reply(Reply::new(421, "4.7.0", "Too many commands without mail"));
        }
        Ok(())
    }

    /// A refusal; too many of them end the session.
    pub(super) fn error(&mut self, reply: Reply) -> Step {
        self.errors += 1;
        self.reply(&reply);
        self.tarpit();
        if self.errors >= self.front.limits.errors || reply.code == 421 {
            if reply.code != 421 {
                self.reply(&Reply::new(421, "4.7.0", "Too many errors"));
            }
            return Err(End::Told);
        }
        Ok(())
    }

    /// A recipient that shall come in another transaction is no error of the client's (RFC 5321 section 4.5.3.1.10):
    /// those that were taken must get their message. Only somebody who goes on for very long is cut off.
    pub(super) fn later(&mut self, reply: Reply) -> Step {
        const MOST: u32 = 1000;
        self.put_off += 1;
        if self.put_off > MOST {
            return self.error(reply);
        }
        self.reply(&reply);
        Ok(())
    }

    pub(super) fn last_reply(&mut self, reply: Reply) -> Step {
        self.reply(&reply);
        Err(End::Told)
    }

    /// Says what is left to say and closes. What the client still sends is read for a moment: closed with unread input,
    /// TCP would reset the connection and might take our last words with it.
    pub(super) async fn say_last(&mut self) {
        const MOST: usize = 256 * 1024;
        let _ = timeout(Duration::from_secs(5), async {
            self.flush().await.ok();
            self.stream.shutdown().await?;
            let mut read = 0;
            while read < MOST {
                self.input.clear();
                self.input.reserve(2048);
                match self.stream.read_buf(&mut self.input).await? {
                    0 => break,
                    more => read += more,
                }
            }
            Ok::<(), std::io::Error>(())
        })
        .await;
    }

    pub(super) async fn line(&mut self) -> Result<Line, End> {
        loop {
            match self.lines.next(&mut self.input) {
                Line::More => self.fill(2048).await?,
                line => return Ok(line),
            }
        }
    }

    /// Sends what is to be said and waits for more commands. Where nothing is under way, a stopping daemon ends it.
    pub(super) async fn fill(&mut self, room: usize) -> Step {
        self.flush().await?;
        self.input.reserve(room);
        let idle = !matches!(self.phase, Phase::Open(_));
        let mut time = self.front.limits.command_time.duration();
        if let Phase::Open(open) = &self.phase
            && let Some(chunks) = &open.chunks
        {
            time = time.min(chunks.deadline.saturating_duration_since(Instant::now()));
        }
        let stopping = async {
            if !idle || self.draining.wait_for(|draining| *draining).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            read = timeout(time, self.stream.read_buf(&mut self.input)) => match read {
                Err(_) => Err(End::Timeout),
                Ok(Ok(0)) => Err(End::Closed),
                Ok(read) => Ok(read.map(|_| ())?),
            },
            () = stopping => Err(End::Draining),
        }
    }

    pub(super) async fn fill_until(&mut self, deadline: Instant) -> Step {
        let left = deadline.saturating_duration_since(Instant::now());
        let time = self.front.limits.data_time.duration().min(left);
        self.input.reserve(CHUNK);
        match timeout(time, self.stream.read_buf(&mut self.input)).await {
            Err(_) => Err(End::Timeout),
            Ok(Ok(0)) => Err(End::Closed),
            Ok(read) => Ok(read.map(|_| ())?),
        }
    }

    pub(super) async fn flush(&mut self) -> Step {
        if self.output.is_empty() {
            return Ok(());
        }
        let time = self.front.limits.command_time.duration();
        // Taken first: what may have gone out in part must not go out again.
        let mut output = std::mem::take(&mut self.output);
        let writing = async {
            self.stream.write_all(&output).await?;
            self.stream.flush().await
        };
        timeout(time, writing).await.map_err(|_| End::Timeout)??;
        output.clear();
        self.output = output;
        Ok(())
    }
}
