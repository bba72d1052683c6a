//! Reads rules and prints what is wrong with them.
fn main() {
    let mut reader = gatepost_rules::conf::Reader::new(Default::default());
    let begun = std::time::Instant::now();
    for path in std::env::args().skip(1) {
        let text = std::fs::read(&path).unwrap();
        reader.read(&path, &text, &mut |name| std::fs::read(name).map_err(|e| e.to_string()));
    }
    let set = reader.finish();
    println!("{} rules in {:?}", set.rules.len(), begun.elapsed());
    for w in &set.warnings { println!("{w}"); }
    let mut kinds = std::collections::BTreeMap::new();
    let (mut back, mut none) = (0, 0);
    for rule in set.rules.values() {
        use gatepost_rules::conf::Definition::*;
        let (k, e) = match &rule.definition { Header{expression,..} => ("header", Some(expression)), Exists{..}=>("exists",None), Body(e)=>("body",Some(e)), RawBody(e)=>("rawbody",Some(e)), Full(e)=>("full",Some(e)), Uri(e)=>("uri",Some(e)), MimeHeader{expression,..}=>("mimeheader",Some(expression)), UriDetail(_)=>("uri_detail",None), Eval{..}=>("eval",None), Meta(_)=>("meta",None), Empty=>("empty",None) };
        *kinds.entry(k).or_insert(0) += 1;
        if let Some(e) = e {
            let p = gatepost_rules::regex::Pattern::plain(&e.inside, &e.modifiers).unwrap();
            if p.kind() == gatepost_rules::regex::Kind::Backtracking { back += 1; }
            match p.compile() { Ok(m) => if m.kind() != p.kind() { println!("too large {}", rule.name); }, Err(e) => println!("{} {e}", rule.name) }
            match p.required() { None => { none += 1; if k != "header" { println!("NOLIT {k} {} /{}/", rule.name, String::from_utf8_lossy(&e.inside)); } }, Some(l) => if l.iter().any(|t| t.len() < 3) && k != "header" { println!("SHORT {k} {} {:?}", rule.name, l.iter().map(|t| String::from_utf8_lossy(t).into_owned()).collect::<Vec<_>>()) } }
        }
    }
    println!("{kinds:?} pcre {back} without literals {none}");
}
