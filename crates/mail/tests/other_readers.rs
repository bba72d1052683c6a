//! Edited messages as others read them: Python's email, and MIME-tools. They find the parts that we find.

mod editing;

use std::io::Write;
use std::process::{Command, Stdio};

use editing::{add, read, rename, replace, rewrite};
use gatepost_mail::{Edit, Message, Place, apply};

/// Prints type, name and content (in hex, lines ended by LF) of each part that holds no others.
const PYTHON: &str = "import email, sys\n\
for part in email.message_from_binary_file(sys.stdin.buffer).walk():\n    \
    if not part.is_multipart():\n        \
        name = part.get_filename() or ''\n        \
        print(part.get_content_type(), name, part.get_payload(decode=True).replace(b'\\r\\n', b'\\n').hex(), sep='|')\n";

/// The same by MIME-tools, with which amavisd reads.
const PERL: &str = "use MIME::Parser; use Encode; binmode STDIN; binmode STDOUT, ':utf8';\n\
my $parser = MIME::Parser->new; $parser->output_to_core(1); $parser->tmp_to_core(1); $parser->decode_headers(0);\n\
sub show { my $e = shift; if ($e->parts) { show($_) for $e->parts } else {\n\
my $name = $e->head->recommended_filename // ''; $name = decode('utf-8', $name) unless utf8::is_utf8($name);\n\
my $body = $e->bodyhandle->as_string; $body =~ s/\\r\\n/\\n/g;\n\
print lc $e->mime_type, '|', $name, '|', unpack('H*', $body), \"\\n\" } }\n\
show($parser->parse(\\*STDIN));";

/// What another reader prints of a message; None where it is not installed.
fn printed(command: &[&str], message: &str) -> Option<Vec<String>> {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .env("PYTHONIOENCODING", "utf-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    // Small enough for a pipe.
    child.stdin.take()?.write_all(message.as_bytes()).ok()?;
    let output = child.wait_with_output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// The same as we read it. Preamble and epilogue are no parts to others.
fn ours(message: &Message) -> Vec<String> {
    let hex = |bytes: &[u8]| {
        let crlf = |(at, byte): &(usize, &u8)| **byte == b'\r' && bytes.get(at + 1) == Some(&b'\n');
        let kept = bytes.iter().enumerate().filter(|byte| !crlf(byte));
        kept.map(|(_, byte)| format!("{byte:02x}")).collect::<String>()
    };
    let leaves = message.parts.iter().filter(|part| !part.container && part.span.is_some());
    leaves
        .map(|part| format!("{}|{}|{}", part.declared, part.name().unwrap_or_default(), hex(&part.body)))
        .collect()
}

#[test]
fn others_read_the_same() {
    let inner = "Content-Type: multipart/alternative; boundary=a\r\n\r\n--a\r\n\r\nHello\r\n--a\r\n\
        Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nPGI+SGVsbG88L2I+\r\n--a--";
    let raw = format!(
        "Subject: gr\u{f6}\u{df}e\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n{inner}\r\n--b\r\n\
         Content-Type: application/zip; name*0=\"old\"; name*1=\".zip\"\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=\"old.zip\"\r\n\r\nUEsDBA==\r\n--b--\r\n"
    );
    let long = format!("{}.txt", "\u{444}\u{44b} ".repeat(40));
    let wrap = || Edit::Wrap { text: "Look out: gr\u{f6}\u{df}e.\n".into() };
    let edits: Vec<Vec<Edit>> = vec![
        vec![],
        vec![rename(4, "new name.txt")],
        vec![rename(4, "gr\u{f6}\u{df}e.txt")],
        vec![rename(4, &long)],
        vec![rename(2, "a.txt"), rewrite(4, b"\0\r\n\0"), rewrite(3, b"<!-- x -->\r\n--b\r\n--a--\r\n \r\n")],
        vec![replace(4, "Gone: gr\u{f6}\u{df}e.\n")],
        vec![add("Below \u{20ac}.", "", Place::Bottom), add("--b", "<i>--b</i>", Place::Top)],
        vec![wrap()],
        vec![wrap(), replace(4, "Gone."), add("Above.", "", Place::Top)],
        vec![rewrite(3, "\u{444}\u{44b} = ".repeat(100).as_bytes())],
    ];
    let (python, perl) = (["/usr/bin/python3", "-c", PYTHON], ["/usr/bin/perl", "-e", PERL]);
    for command in [python, perl] {
        if printed(&command, &raw).is_none() {
            println!("skipped: {} does not read mail", command[0]);
            continue;
        }
        for edits in &edits {
            let applied = apply(&read(raw.clone()), edits);
            assert_eq!(applied.skipped, [0; 0], "{edits:?}");
            let text = String::from_utf8(applied.chunks.concat()).expect("UTF-8");
            let expected = ours(&read(text.clone()));
            assert_eq!(printed(&command, &text).as_deref(), Some(&expected[..]), "{edits:?}: {text}");
        }
    }
}
