//! The documented lines are the tested lines: a test reads its server's configuration from the pages.

use std::path::Path;

/// The fenced block that follows the line `<!-- rig: NAME -->` in docs/src/PAGE.
pub fn block(page: &str, name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src").join(page);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("docs/src/{page}: {error}"));
    find(&text, name).unwrap_or_else(|problem| panic!("docs/src/{page}: {problem}"))
}

/// The same, with what is the test's own in the place of the documented addresses and paths. Each of those must stand in
/// the block, so that a changed page does not leave a test with an address of this machine's real servers.
pub fn block_with(page: &str, name: &str, replace: &[(&str, String)]) -> String {
    let mut text = block(page, name);
    for (documented, own) in replace {
        assert!(
            text.contains(documented),
            "docs/src/{page}: block {name} does not say {documented:?}:\n{text}"
        );
        text = text.replace(documented, own);
    }
    text
}

fn find(text: &str, name: &str) -> Result<String, String> {
    let marker = format!("<!-- rig: {name} -->");
    let mut lines = text.lines().skip_while(|line| line.trim() != marker).skip(1);
    match lines.next() {
        None => return Err(format!("there is no line {marker}")),
        Some(fence) if fence.starts_with("```") => {}
        Some(other) => return Err(format!("after {marker} comes no fenced block, but {other:?}")),
    }
    let mut block = String::new();
    for line in lines {
        if line.starts_with("```") {
            return Ok(block);
        }
        block.push_str(line);
        block.push('\n');
    }
    Err(format!("the block after {marker} has no end"))
}

#[test]
fn blocks_are_found_by_their_names() {
    let page = "# Page\n<!-- rig: a -->\n```text\none\n  two\n```\n\n<!-- rig: b -->\nno block\n<!-- rig: c -->\n```\nx";
    for (name, expected) in [
        ("a", Ok("one\n  two\n".to_owned())),
        ("b", Err("after <!-- rig: b --> comes no fenced block, but \"no block\"".to_owned())),
        ("c", Err("the block after <!-- rig: c --> has no end".to_owned())),
        ("d", Err("there is no line <!-- rig: d -->".to_owned())),
    ] {
        assert_eq!(find(page, name), expected, "{name}");
    }
}
