//! AM.PDP as amavisd-milter speaks it: the message lies in a folder of its own, the request names it.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::time::Instant;

use super::Sent;
use super::connection::Connection;
use crate::load::Options;

/// Writes a message to where the server finds it. amavis takes only folders of such names, and works in them.
pub fn store(options: &Options, number: usize, raw: &[u8]) -> io::Result<PathBuf> {
    let base = options.spool.as_deref().ok_or_else(|| io::Error::other("am-pdp needs --spool"))?;
    let folder = base.join(format!("afbench{number:06}"));
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("email.txt");
    std::fs::write(&file, raw)?;
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777))?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666))?;
    Ok(folder)
}

/// Connects, asks, reads the answer: amavisd-milter makes a connection for each message.
pub async fn send(options: &Options, worker: usize, folder: Option<&Path>) -> io::Result<Sent> {
    let folder = folder.ok_or_else(|| io::Error::other("the message is not in a file"))?;
    let mut connection = Connection::open(options, worker).await?;
    connection.write(request(options, folder).as_bytes()).await?;
    let begin = Instant::now();
    let mut code = None;
    loop {
        let line = connection.line().await?;
        if line.is_empty() {
            break;
        }
        code = code_of(line).or(code);
    }
    code.map(|code| Sent::whole(code, begin)).ok_or_else(|| io::Error::other("an answer that says nothing"))
}

fn request(options: &Options, folder: &Path) -> String {
    let folder = folder.display();
    let mut request = format!(
        "request=AM.PDP\nversion_client=2\ntempdir={folder}\ntempdir_removed_by=client\n\
         mail_file={folder}/email.txt\ndelivery_care_of=client\nqueue_id=4Yxyz1\nsender=<{}>\n",
        options.from
    );
    for to in &options.to {
        request.push_str(&format!("recipient=<{to}>\n"));
    }
    request.push_str(
        "client_address=192.0.2.10\nclient_name=client.example.org\nhelo_name=client.example.org\n\
         protocol_name=ESMTP\n\n",
    );
    request
}

/// The code that an attribute of the answer amounts to.
fn code_of(line: &[u8]) -> Option<u16> {
    if let Some(reply) = line.strip_prefix(b"setreply=") {
        return std::str::from_utf8(reply.get(..3)?).ok()?.parse().ok();
    }
    match line.strip_prefix(b"return_value=")? {
        b"reject" => Some(550),
        b"tempfail" => Some(451),
        _ => Some(250),
    }
}

#[test]
fn answers() {
    for (line, expected) in [
        (&b"setreply=250 2.5.0 Ok, id=1, continue delivery"[..], Some(250)),
        (b"setreply=554 5.7.0 Reject", Some(554)),
        (b"return_value=reject", Some(550)),
        (b"return_value=tempfail", Some(451)),
        (b"return_value=continue", Some(250)),
        (b"addheader=X-A b", None),
    ] {
        assert_eq!(code_of(line), expected);
    }
}
