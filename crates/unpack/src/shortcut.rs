//! Shortcuts: those of Windows (MS-SHLLINK), internet shortcuts, and the entries of desktops on Linux. What they start,
//! where they lead, and what hides behind them.

use gatepost_mail::{DefectKind, FeatureKind, FileType};

use crate::fields::{u16_le, u32_le};
use crate::opening::{Member, Opening, Stop};
use crate::script::{self, Language, Script};

/// Programs that run what their arguments say. A shortcut that starts one of them is a script.
const RUNNERS: &[&str] = &[
    "cmd",
    "powershell",
    "powershell_ise",
    "pwsh",
    "mshta",
    "wscript",
    "cscript",
    "rundll32",
    "regsvr32",
    "msiexec",
    "certutil",
    "bitsadmin",
    "forfiles",
    "conhost",
    "wmic",
    "schtasks",
    "curl",
    "ftp",
    "msbuild",
    "installutil",
    "hh",
    "pcalua",
    "scriptrunner",
    "ssh",
    "sftp",
    "bash",
    "wsl",
    "finger",
    "cmstp",
    "odbcconf",
    "regasm",
    "regsvcs",
    "msdt",
    "sh",
    "python",
    "python3",
    "perl",
    "wget",
    "xterm",
    "gnome-terminal",
    "dash",
    "zsh",
    "control",
    "presentationhost",
];

/// Whether this is a shortcut.
pub(crate) fn is(_body: &[u8], detected: FileType) -> bool {
    matches!(detected, FileType::LNK | FileType::URL | FileType::DESKTOP)
}

/// Opens a shortcut.
pub(crate) fn open(opening: &mut Opening) -> Result<(), Stop> {
    match opening.part().detected {
        FileType::LNK => link(opening),
        _ => {
            lines(opening);
            Ok(())
        }
    }
}

/// What a shortcut of Windows says (MS-SHLLINK 2.1 to 2.5).
#[derive(Debug, Default)]
struct Link {
    /// Paths of what it starts, as each structure has it.
    targets: Vec<String>,
    arguments: String,
    icon: String,
    /// Where it ends; None if it is cut off.
    end: Option<usize>,
}

impl Link {
    fn read(body: &[u8]) -> Link {
        const HEADER: usize = 0x4c;
        let mut link = Link::default();
        let flags = u32_le(body, 20).unwrap_or_default();
        let has = |bit: u32| flags >> bit & 1 == 1;
        let mut at = HEADER;
        if has(0) {
            let size = usize::from(u16_le(body, at).unwrap_or_default());
            let list = body.get(at + 2..).unwrap_or_default();
            link.targets.extend(printable(&list[..size.min(list.len())]));
            at += 2 + size;
        }
        if has(1) {
            let size = u32_le(body, at).map_or(usize::MAX, |size| size as usize);
            let info = body.get(at..).unwrap_or_default();
            link.targets.extend(local_path(&info[..size.min(info.len())]));
            at = at.saturating_add(size.max(4));
        }
        let mut texts: [String; 5] = Default::default();
        for (place, text) in texts.iter_mut().enumerate() {
            if !has(2 + place as u32) {
                continue;
            }
            let count = usize::from(u16_le(body, at).unwrap_or_default());
            let size = if has(7) { count * 2 } else { count };
            let raw = body.get(at.saturating_add(2)..).unwrap_or_default();
            let raw = &raw[..size.min(raw.len())];
            *text = if has(7) { wide(raw) } else { String::from_utf8_lossy(raw).into_owned() };
            at = at.saturating_add(2 + size);
        }
        let [_name, relative, _folder, arguments, icon] = texts;
        link.targets.push(relative);
        (link.arguments, link.icon) = (arguments, icon);
        link.extra(body, at);
        link.targets.retain(|target| !target.is_empty());
        link
    }

    /// The blocks behind the strings (MS-SHLLINK 2.5), to the one that ends them.
    fn extra(&mut self, body: &[u8], mut at: usize) {
        const ENVIRONMENT: u32 = 0xa000_0001;
        while let Some(size) = u32_le(body, at) {
            if size < 4 {
                self.end = Some(at + 4);
                return;
            }
            let size = size as usize;
            if size > body.len() - at {
                return;
            }
            let block = &body[at..at + size];
            if u32_le(block, 4) == Some(ENVIRONMENT) {
                let narrow = block.get(8..8 + 260).unwrap_or_default();
                self.targets.push(String::from_utf8_lossy(until_nul(narrow)).into_owned());
                self.targets.push(wide(block.get(8 + 260..8 + 780).unwrap_or_default()));
            }
            at += size;
        }
        if at == body.len() {
            self.end = Some(at);
        }
    }

    /// The program that runs what the arguments say.
    fn runner(&self) -> Option<&'static str> {
        self.targets.iter().find_map(|target| runner(target))
    }
}

fn link(opening: &mut Opening) -> Result<(), Stop> {
    let body = opening.body.clone();
    let link = Link::read(&body);
    let target = link.targets.iter().max_by_key(|target| (target.contains('\\'), target.len()));
    let command = format!("{} {}", target.map_or("", String::as_str), link.arguments);
    let command = command.trim();
    if let Some(runner) = link.runner().filter(|_| !link.arguments.trim().is_empty()) {
        let arguments: Vec<&str> = link.arguments.split_whitespace().collect();
        opening.feature(FeatureKind::ShortcutCommand, format!("{runner} {}", arguments.join(" ")));
    }
    for word in [&link.arguments, &link.icon].into_iter().chain(&link.targets) {
        addresses(word).for_each(|address| opening.link(address));
    }
    if !command.is_empty()
        && let Some(source) = opening.made(command.as_bytes().to_vec())
    {
        opening.source("command", source)?;
        for payload in Script::read(command.as_bytes(), Language::Shell).payloads {
            script::embed(opening, payload, None)?;
        }
    }
    match link.end {
        Some(end) => overlay(opening, end),
        None => {
            opening.defective(DefectKind::TruncatedArchive, "the shortcut ends early");
            Ok(())
        }
    }
}

/// What hides behind the shortcut.
fn overlay(opening: &mut Opening, end: usize) -> Result<(), Stop> {
    let rest = opening.body.get(end..).unwrap_or_default();
    if rest.iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    let len = opening.body.len();
    match opening.slice(end..len) {
        Ok(body) => opening.embedded(Member { body, ..Member::default() }).map(|_| ()),
        Err(limit) => {
            opening.over(limit, None);
            Ok(())
        }
    }
}

/// Shortcuts that are lines `key=value` in sections.
fn lines(opening: &mut Opening) {
    const MOST: usize = 1000;
    let body = script::narrow(&opening.body);
    let text = String::from_utf8_lossy(&body[..body.len().min(1 << 20)]).into_owned();
    for line in text.lines().take(MOST) {
        let Some((key, value)) = line.split_once('=') else { continue };
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
        match key.as_str() {
            "url" | "baseurl" => {
                opening.link(value);
                let lower = value.to_ascii_lowercase();
                let runs = ["file:", "javascript:", "vbscript:", "\\\\", "search-ms:", "ms-"].iter();
                if runs.into_iter().any(|scheme| lower.starts_with(scheme)) {
                    opening.feature(FeatureKind::ShortcutCommand, value);
                }
            }
            "iconfile" | "workingdirectory" if value.starts_with("\\\\") || value.contains("://") => {
                opening.link(value)
            }
            "exec" | "tryexec" => {
                let mut words = value.split_whitespace();
                let program = words.next().unwrap_or_default();
                addresses(value).for_each(|address| opening.link(address));
                if runner(program).is_some() && words.next().is_some() {
                    opening.feature(FeatureKind::ShortcutCommand, value);
                }
            }
            _ => {}
        }
    }
}

/// Which of the runners a path names.
fn runner(path: &str) -> Option<&'static str> {
    let name =
        path.trim().trim_matches('"').rsplit(['\\', '/']).next().unwrap_or_default().to_ascii_lowercase();
    let name = name.split('\0').next().unwrap_or_default();
    let name = name.strip_suffix(".exe").unwrap_or(name);
    RUNNERS.iter().find(|runner| **runner == name).copied()
}

/// Addresses in a command line.
fn addresses(text: &str) -> impl Iterator<Item = &str> {
    const ENDS: [char; 7] = ['"', '\'', ')', '(', ';', ',', '|'];
    let words = text.split(|c: char| c.is_whitespace() || ENDS.contains(&c));
    words.filter(|word| {
        let lower = word.get(..8).unwrap_or(word).to_ascii_lowercase();
        ["http://", "https://", "ftp://", "\\\\"].iter().any(|scheme| lower.starts_with(scheme))
    })
}

/// The local or network path in the structure LinkInfo (MS-SHLLINK 2.3).
fn local_path(info: &[u8]) -> Vec<String> {
    let text = |at: usize| {
        let offset = u32_le(info, at).filter(|offset| *offset != 0)? as usize;
        Some(String::from_utf8_lossy(until_nul(info.get(offset..)?)).into_owned())
    };
    let unicode = |at: usize| {
        let offset = u32_le(info, at).filter(|offset| *offset != 0)? as usize;
        Some(wide(info.get(offset..)?))
    };
    let network = || {
        let offset = u32_le(info, 20).filter(|offset| *offset != 0)? as usize;
        let relative = info.get(offset..)?;
        let name = u32_le(relative, 8)? as usize;
        Some(String::from_utf8_lossy(until_nul(relative.get(name..)?)).into_owned())
    };
    let suffix = text(24).unwrap_or_default();
    let mut paths = Vec::new();
    paths.extend(text(16).map(|base| format!("{base}{suffix}")));
    paths.extend(network().map(|share| format!("{share}\\{suffix}")));
    if u32_le(info, 4).is_some_and(|header| header >= 0x24) {
        paths.extend(unicode(28).map(|base| format!("{base}{}", unicode(32).unwrap_or_default())));
    }
    paths
}

/// Texts in binary data, in bytes or in UTF-16: names of files in a list of shell items.
fn printable(data: &[u8]) -> Vec<String> {
    const MOST: usize = 64;
    const SHORTEST: usize = 3;
    let is_text = |byte: &u8| (b' '..=b'~').contains(byte);
    let narrow = data.split(|byte| !is_text(byte)).filter(|run| run.len() >= SHORTEST).take(MOST);
    let mut found: Vec<String> = narrow.map(|run| String::from_utf8_lossy(run).into_owned()).collect();
    let mut run = String::new();
    let mut at = 0;
    while at < data.len() && found.len() < 2 * MOST {
        match data.get(at..at + 2) {
            Some([byte, 0]) if is_text(byte) => {
                run.push(char::from(*byte));
                at += 2;
            }
            _ => {
                if run.len() >= SHORTEST {
                    found.push(std::mem::take(&mut run));
                }
                run.clear();
                at += 1;
            }
        }
    }
    if run.len() >= SHORTEST {
        found.push(run);
    }
    found
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    &bytes[..memchr::memchr(0, bytes).unwrap_or(bytes.len())]
}

/// UTF-16 up to its first NUL.
fn wide(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    String::from_utf16_lossy(&units.take_while(|unit| *unit != 0).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_run_their_arguments() {
        for (path, wanted) in [
            (r"C:\Windows\System32\cmd.exe", Some("cmd")),
            (r"%SystemRoot%\system32\WindowsPowerShell\v1.0\POWERSHELL.EXE", Some("powershell")),
            ("mshta", Some("mshta")),
            ("/bin/sh", Some("sh")),
            (r"C:\Program Files\Word\winword.exe", None),
            ("", None),
        ] {
            assert_eq!(runner(path), wanted, "{path}");
        }
    }

    #[test]
    fn addresses_in_commands() {
        let command = r"/c curl 'https://a.example/x' -o y & \\server\share\z.exe (ftp://b.example)";
        let found: Vec<&str> = addresses(command).collect();
        assert_eq!(found, ["https://a.example/x", r"\\server\share\z.exe", "ftp://b.example"]);
    }
}
