//! What macro source says: procedures that run by themselves, calls that reach outside, addresses.

use std::collections::BTreeSet;

/// What was found in source, in lower case as VBA takes it, sorted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    /// Procedures that run when something happens to the document.
    pub(crate) auto: BTreeSet<String>,
    /// Words that start programs, write files or reach other machines.
    pub(crate) suspicious: BTreeSet<String>,
}

/// Names of procedures that Office runs, and of events that come without a click.
const AUTO: &[&str] = &[
    "app_documentopen",
    "application_itemload",
    "application_itemsend",
    "application_newmail",
    "application_newmailex",
    "application_startup",
    "auto_activate",
    "auto_close",
    "auto_deactivate",
    "auto_exec",
    "auto_exit",
    "auto_new",
    "auto_open",
    "auto_ope",
    "autoclose",
    "autoexec",
    "autoexit",
    "autonew",
    "autoopen",
    "document_beforeclose",
    "document_close",
    "document_contentcontrolonenter",
    "document_new",
    "document_open",
    "documentbeforeclose",
    "documentchange",
    "documentopen",
    "newdocument",
    "onslideshowpagechange",
    "onslideshowterminate",
    "presentation_close",
    "presentation_open",
    "workbook_activate",
    "workbook_addininstall",
    "workbook_beforeclose",
    "workbook_beforeprint",
    "workbook_close",
    "workbook_deactivate",
    "workbook_open",
    "workbook_sheetactivate",
    "workbook_sheetcalculate",
    "workbook_windowactivate",
    "workbookopen",
    "worksheet_activate",
    "worksheet_calculate",
];

/// Events of controls in a document that come without a click: any name may stand before.
const EVENTS: &[&str] = &[
    "_beforenavigate2",
    "_documentcomplete",
    "_downloadbegin",
    "_gotfocus",
    "_layout",
    "_mouseenter",
    "_mousehover",
    "_mousemove",
    "_navigatecomplete2",
    "_onconnecting",
    "_painted",
    "_painting",
    "_progresschange",
    "_propertychange",
    "_statustextchange",
    "_titlechange",
];

/// Words of VBA, objects and system calls that a macro needs to do harm, sorted.
const SUSPICIOUS: &[&str] = &[
    "adodb.stream",
    "application.run",
    "bitsadmin",
    "callbyname",
    "certutil",
    "cmd.exe",
    "createfile",
    "createfilea",
    "createobject",
    "createprocess",
    "createprocessa",
    "createremotethread",
    "createthread",
    "createthreadpoolwait",
    "cscript.exe",
    "ddeinitiate",
    "declare lib",
    "enumsystemlocalesa",
    "environ",
    "execquery",
    "executeexcel4macro",
    "followhyperlink",
    "getobject",
    "heapalloc",
    "heapcreate",
    "internetexplorer.application",
    "internetopenurla",
    "internetreadfile",
    "kill",
    "loadlibrary",
    "loadlibrarya",
    "macscript",
    "microsoft.xmldom",
    "microsoft.xmlhttp",
    "mmc20.application",
    "mshta",
    "mshta.exe",
    "msxml2.serverxmlhttp",
    "msxml2.xmlhttp",
    "powershell",
    "powershell.exe",
    "regread",
    "regsvr32",
    "regwrite",
    "responsebody",
    "rtlmovememory",
    "rundll32",
    "savetofile",
    "schedule.service",
    "scriptcontrol",
    "scripting.filesystemobject",
    "sendkeys",
    "setcontextmenu",
    "shell",
    "shell.application",
    "shellbrowserwindow",
    "shellexecute",
    "shellexecutea",
    "showwindow",
    "specialfolders",
    "strreverse",
    "urldownloadtofile",
    "urldownloadtofilea",
    "vbhide",
    "virtualalloc",
    "virtualallocex",
    "virtualprotect",
    "wbemscripting.swbemlocator",
    "win32_process",
    "win32_processstartup",
    "winexec",
    "winhttp.winhttprequest",
    "winmgmts",
    "writeprocessmemory",
    "wscript.network",
    "wscript.shell",
    "xmlhttp",
];

/// Those that are ordinary words in a text that is shown.
const CODE_ONLY: &[&str] =
    &["callbyname", "environ", "getobject", "kill", "schedule.service", "sendkeys", "shell"];

impl Words {
    /// Reads source. String literals that are put together from pieces and character codes are read as one.
    pub(crate) fn of(source: &[u8]) -> Words {
        let mut words = Words::default();
        let joined = join(source);
        for line in joined.split(|byte| matches!(byte, b'\n' | b'\r')) {
            words.line(line);
        }
        words
    }

    fn line(&mut self, line: &[u8]) {
        let (mut before, mut declares) = ("", false);
        for (place, piece) in code_of(line).split(|byte| *byte == b'"').enumerate() {
            let literal = place % 2 == 1;
            for token in piece.split(|byte| !is_of_word(*byte)).filter(|token| !token.is_empty()) {
                let Ok(token) = std::str::from_utf8(token) else { continue };
                if !literal && matches!(before, "sub" | "function") && is_auto(token) {
                    self.auto.insert(token.to_owned());
                }
                declares |= !literal && token == "declare";
                if declares && token == "lib" {
                    self.suspicious.insert("declare lib".to_owned());
                }
                if !(literal && CODE_ONLY.contains(&token)) {
                    self.token(token);
                }
                before = token;
            }
        }
    }

    /// `a.b.c` is looked up from each of its dots on to each later one, so that `x.Shell` and `CreateObject.Run` count.
    fn token(&mut self, token: &str) {
        let mut from = 0;
        for _ in 0..8 {
            let rest = &token[from..];
            let ends = rest.match_indices('.').map(|(at, _)| at).chain([rest.len()]).take(4);
            for end in ends {
                if let Ok(place) = SUSPICIOUS.binary_search(&&rest[..end]) {
                    self.suspicious.insert(SUSPICIOUS[place].to_owned());
                }
            }
            match rest.find('.') {
                Some(dot) => from += dot + 1,
                None => break,
            }
        }
    }
}

/// Whether a procedure of that name, in lower case, runs by itself.
pub(crate) fn is_auto(name: &str) -> bool {
    AUTO.contains(&name) || EVENTS.iter().any(|event| name.ends_with(event))
}

/// Whether a word by itself, in lower case, is one that starts programs, writes files or reaches other machines.
pub(crate) fn is_suspicious(word: &str) -> bool {
    SUSPICIOUS.binary_search(&word).is_ok()
}

/// Addresses in text, as they stand, at most 100.
pub(crate) fn urls(text: &[u8]) -> Vec<String> {
    const MOST: usize = 100;
    const LONGEST: usize = 2048;
    let ends =
        |byte: u8| byte <= b' ' || byte >= 127 || matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'|' | b'`');
    let mut found: Vec<String> = Vec::new();
    for at in memchr::memmem::find_iter(text, b"://") {
        let before = text[..at].iter().rev().take(5).take_while(|byte| byte.is_ascii_alphabetic()).count();
        // A longer word may end in the scheme.
        let scheme = ["https", "http", "ftps", "ftp"].into_iter().find(|known| {
            before >= known.len() && text[at - known.len()..at].eq_ignore_ascii_case(known.as_bytes())
        });
        let Some(scheme) = scheme else { continue };
        let rest = &text[at + 3..text.len().min(at + 3 + LONGEST)];
        let end = rest.iter().position(|byte| ends(*byte)).unwrap_or(rest.len());
        let rest = rest[..end].trim_ascii_end();
        let rest = rest.strip_suffix(b")").filter(|rest| !rest.contains(&b'(')).unwrap_or(rest);
        if rest.iter().any(u8::is_ascii_alphanumeric) {
            let url = String::from_utf8_lossy(&text[at - scheme.len()..at + 3 + rest.len()]).into_owned();
            if !found.contains(&url) {
                found.push(url);
            }
            if found.len() == MOST {
                break;
            }
        }
    }
    found
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.')
}

/// A line without its comment: what comes after `'` outside of a literal.
fn code_of(line: &[u8]) -> &[u8] {
    let mut quoted = false;
    let end = line.iter().position(|byte| {
        quoted ^= *byte == b'"';
        *byte == b'\'' && !quoted
    });
    let line = &line[..end.unwrap_or(line.len())];
    let start = line.trim_ascii_start();
    if start.starts_with(b"rem ") || start.starts_with(b"attribute ") { &[] } else { line }
}

/// The source in lower case, with lines that continue put together, and with string literals put together that `&` or
/// `+` joins, `Chr(number)` among them. Never longer than the source.
fn join(source: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(source.len());
    let mut at = 0;
    while at < source.len() {
        let rest = &source[at..];
        if let Some((byte, used)) = character(rest, &out) {
            out.extend([b'"', byte, b'"']);
            at += used;
        } else if let Some(used) = continuation(rest, &out) {
            out.push(b' ');
            at += used;
        } else if rest[0] == b'"' && joins(&mut out) {
            // The literal before goes on.
            at += 1;
        } else {
            out.push(rest[0].to_ascii_lowercase());
            at += 1;
        }
        // A character's literal joins too.
        let count = out.len();
        if count >= 3 && out[count - 1] == b'"' && out[count - 3] == b'"' && out[count - 2] != b'"' {
            let literal = out.split_off(count - 3);
            if joins(&mut out) { out.extend(&literal[1..]) } else { out.extend(literal) }
        }
    }
    out
}

/// If what was written ends in a literal and an operator that joins, takes both back, up to the literal's last
/// character.
fn joins(out: &mut Vec<u8>) -> bool {
    let head = out.trim_ascii_end();
    let Some(head) = head.strip_suffix(b"&").or_else(|| head.strip_suffix(b"+")) else { return false };
    let Some(head) = head.trim_ascii_end().strip_suffix(b"\"") else { return false };
    let length = head.len();
    out.truncate(length);
    true
}

/// `_` at the end of a line, its line end included.
fn continuation(rest: &[u8], before: &[u8]) -> Option<usize> {
    let ends = rest[0] == b'_' && before.last().is_some_and(|byte| matches!(byte, b' ' | b'\t'));
    let behind = rest.get(1..).filter(|_| ends)?;
    let line_end = [&b"\r\n"[..], b"\n", b"\r"].into_iter().find(|end| behind.starts_with(end))?;
    Some(1 + line_end.len())
}

/// `Chr(87)`, `ChrW$(&H57)` and kin: the character, and the bytes that were read.
fn character(rest: &[u8], before: &[u8]) -> Option<(u8, usize)> {
    const LONGEST: usize = 24;
    if before.last().is_some_and(|byte| is_of_word(*byte) && *byte != b'.') {
        return None;
    }
    let near = &rest[..rest.len().min(LONGEST)];
    let (name, behind) = near.split_at_checked(3)?;
    if !name.eq_ignore_ascii_case(b"chr") {
        return None;
    }
    let behind = behind.strip_prefix(b"W").or_else(|| behind.strip_prefix(b"w")).unwrap_or(behind);
    let behind = behind.strip_prefix(b"$").unwrap_or(behind).trim_ascii_start().strip_prefix(b"(")?;
    let close = behind.iter().position(|byte| *byte == b')')?;
    let number = std::str::from_utf8(&behind[..close]).ok()?.trim().trim_end_matches(['&', '%', '#']);
    let hex = number.strip_prefix("&H").or_else(|| number.strip_prefix("&h"));
    let code = match hex {
        Some(hex) => u8::from_str_radix(hex, 16).ok()?,
        None => number.parse().ok()?,
    };
    let printable = code.is_ascii_graphic() && code != b'"' || code == b' ';
    printable.then(|| (code.to_ascii_lowercase(), near.len() - behind.len() + close + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted() {
        assert!(SUSPICIOUS.is_sorted());
    }

    #[test]
    fn what_source_says() {
        let table: &[(&str, &[&str], &[&str])] = &[
            ("Sub AutoOpen()\r\nEnd Sub", &["autoopen"], &[]),
            ("Private Sub Workbook_Open()\nx = Shell(\"calc\")", &["workbook_open"], &["shell"]),
            ("' Sub AutoOpen()\nRem Shell\nx = 1 ' Shell", &[], &[]),
            ("Attribute VB_Name = \"Shell\"", &[], &[]),
            ("Call AutoOpen", &[], &[]),
            ("Sub InkPicture1_Painted(ByVal x)", &["inkpicture1_painted"], &[]),
            ("Set s = CreateObject(\"WScript.Shell\")", &[], &["createobject", "shell", "wscript.shell"]),
            ("s = \"WScr\" & \"ipt.Sh\" + \"ell\"", &[], &["shell", "wscript.shell"]),
            ("s = \"WScr\" & _\r\n \"ipt.Network\"", &[], &["wscript.network"]),
            ("s = Chr(77) & chrw$(&H53) & \"ht\" & Chr(65)", &[], &["mshta"]),
            (
                "Declare PtrSafe Function f Lib \"urlmon\" Alias \"URLDownloadToFileA\"",
                &[],
                &["declare lib", "urldownloadtofilea"],
            ),
            ("x = myshell + Shells.Count", &[], &[]),
            ("MsgBox \"it's a shell\"", &[], &[]),
            ("MsgBox \"it's\": Kill \"x\"", &[], &["kill"]),
        ];
        for (source, auto, suspicious) in table {
            let words = Words::of(source.as_bytes());
            assert_eq!(words.auto.iter().map(String::as_str).collect::<Vec<_>>(), *auto, "{source}");
            let found: Vec<_> = words.suspicious.iter().map(String::as_str).collect();
            assert_eq!(found, *suspicious, "{source}");
        }
    }

    #[test]
    fn addresses_end_where_they_end() {
        let table: &[(&str, &[&str])] = &[
            ("x = \"http://a.example/b?c\" & y", &["http://a.example/b?c"]),
            ("HTTPS://A.example) xhttp://b.example", &["HTTPS://A.example", "http://b.example"]),
            ("http://a http://a ://b http:// gopher://c", &["http://a"]),
            ("", &[]),
        ];
        for (text, found) in table {
            assert_eq!(urls(text.as_bytes()), *found, "{text}");
        }
    }
}
