use gatepost_rules::conf::{Definition, Options, Reader};
use gatepost_rules::regex::{Kind, Pattern};
fn main() {
    let mut reader = Reader::new(Options { local: true, ..Options::default() });
    for path in std::env::args().skip(1) {
        let text = std::fs::read(&path).unwrap();
        reader.read(&path, &text, &mut |name| std::fs::read(name).map_err(|e| e.to_string()));
    }
    let set = reader.finish();
    for rule in set.rules.values() {
        let expression = match &rule.definition {
            Definition::Header { expression, .. } | Definition::Body(expression) | Definition::RawBody(expression)
            | Definition::Full(expression) | Definition::Uri(expression) => expression,
            _ => continue,
        };
        let Ok(pattern) = Pattern::plain(&expression.inside, &expression.modifiers) else { continue };
        let kind = pattern.kind();
        let compiled = pattern.compile();
        let used = compiled.as_ref().map(|m| m.kind());
        let back = if expression.inside.len() > 1500 { pattern.backtracking().err() } else { None };
        let lists = pattern.all_required();
        println!("{}\t{}\tlinear {}\tused {}\t{}\t{:?}\t{}", rule.name, expression.inside.len(), kind == Kind::Linear,
            matches!(used, Ok(Kind::Linear)), matches!(rule.definition, Definition::Header{..}), back,
            lists.iter().map(|l| format!("{}:{}", l.len(), l.iter().take(5).map(|t| t.escape_ascii().to_string()).collect::<Vec<_>>().join("|"))).collect::<Vec<_>>().join("  "));
    }
}
