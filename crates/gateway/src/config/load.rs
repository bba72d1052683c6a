//! Loading the configuration: one file, the files in `conf.d` beside it, and the environment over them.

use std::path::{Path, PathBuf};

use super::tree::{self, Located, Node, Origin};
use super::{Config, Problem, de};

/// Most files in `conf.d`.
const FILES: usize = 1000;

/// Largest configuration file, in bytes.
const FILE_SIZE: u64 = 16 * 1024 * 1024;

/// A configuration, and where each of its values comes from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration, its values checked as far as that needs no look at the system.
    pub config: Config,
    /// Where its values come from.
    pub origins: Origins,
    /// Things to tell that stop nothing: variables of the environment that look like ours but set no known key.
    pub warnings: Vec<Located>,
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
}

/// Where values come from.
#[derive(Clone, Debug)]
pub struct Origins {
    root: Node,
}

/// Loads the configuration from a file, the `*.toml` files in a folder `conf.d` beside it, and the environment
/// (`GATEPOST_DATA`, `GATEPOST_LIMITS__SESSIONS` …). Without a file: from the defaults and the environment.
///
/// # Errors
/// All that is wrong, as far as one thing wrong does not hide another: files that cannot be read, syntax errors,
/// unknown keys, wrong types, values that [`Config::validate`] refuses.
pub fn load(file: Option<&Path>) -> Result<Loaded, Vec<Located>> {
    // A variable that isn't UTF-8 is no valid value of any key; shown with replacement characters it is refused.
    let environment = std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
    load_with(file, environment)
}

/// As [`load`], with another environment.
///
/// # Errors
/// As [`load`].
pub fn load_with(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, Vec<Located>> {
    let files = match file {
        Some(file) => files_of(file)?,
        None => Vec::new(),
    };
    let mut problems = Vec::new();
    let mut root = Node::root();
    for path in &files {
        match read_file(path) {
            Ok(node) => root.lay_over(node),
            Err(mut wrong) => problems.append(&mut wrong),
        }
    }
    let mut warnings = Vec::new();
    let mut variables: Vec<_> =
        environment.into_iter().filter(|(name, _)| name.starts_with(tree::PREFIX)).collect();
    variables.sort();
    for (name, value) in variables {
        if let Err(warning) = tree::set_from_environment(&mut root, &name, &value) {
            warnings.push(warning);
        }
    }
    let mut outcome = de::read::<Config>(&mut root);
    problems.append(&mut outcome.problems);
    warnings.append(&mut outcome.warnings);
    let origins = Origins { root };
    match outcome.value {
        // What a value that could not be read would have made right or wrong is not known.
        Some(config) if problems.is_empty() => {
            let loaded = Loaded { config, origins, warnings, files };
            let problems = loaded.locate(loaded.config.validate());
            if problems.is_empty() { Ok(loaded) } else { Err(problems) }
        }
        Some(config) => {
            problems.append(&mut origins.locate(config.validate()));
            Err(problems)
        }
        None => Err(problems),
    }
}

impl Loaded {
    /// Gives problems that later stages find their places.
    pub fn locate(&self, problems: Vec<Problem>) -> Vec<Located> {
        self.origins.locate(problems)
    }
}

impl Origins {
    /// Where a key's value comes from: [`Origin::Default`] if neither it nor anything it is part of was set.
    pub fn of(&self, key: &str) -> Origin {
        self.root.nearest(key).map_or(Origin::Default, |node| node.place().clone())
    }

    /// Gives problems their places: that of the key, or of the nearest table around it that is present.
    fn locate(&self, problems: Vec<Problem>) -> Vec<Located> {
        problems
            .into_iter()
            .map(|Problem { key, message }| Located { origin: self.of(&key), key, message })
            .collect()
    }

    /// The tree, for what is printed.
    pub(super) fn root(&self) -> &Node {
        &self.root
    }
}

/// The file itself and those in `conf.d` beside it, by name.
fn files_of(file: &Path) -> Result<Vec<PathBuf>, Vec<Located>> {
    let mut files = vec![file.to_owned()];
    let folder = file.parent().unwrap_or(Path::new("")).join("conf.d");
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(files),
        Err(error) => return Err(vec![whole_file(&folder, format!("cannot be read: {error}"))]),
    };
    let mut names = Vec::new();
    for entry in entries {
        let path =
            entry.map_err(|error| vec![whole_file(&folder, format!("cannot be read: {error}"))])?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            names.push(path);
        }
    }
    if names.len() > FILES {
        return Err(vec![whole_file(&folder, format!("holds more than {FILES} files"))]);
    }
    names.sort();
    files.append(&mut names);
    Ok(files)
}

fn read_file(path: &Path) -> Result<Node, Vec<Located>> {
    let wrong = |message: String| vec![whole_file(path, message)];
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| {
            std::io::Read::read_to_end(&mut std::io::Read::take(file, FILE_SIZE + 1), &mut bytes)
        })
        .map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > FILE_SIZE {
        return Err(wrong(format!("is larger than {} MiB", FILE_SIZE >> 20)));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => tree::read_text(path, text),
        Err(error) => {
            let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            Err(wrong(format!("is not UTF-8 text (line {line})")))
        }
    }
}

/// Something wrong with a file as a whole.
fn whole_file(path: &Path, message: String) -> Located {
    let origin = Origin::File { path: std::sync::Arc::new(path.to_owned()), line: 1, column: 1 };
    Located { origin, key: String::new(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes files into a folder of its own and loads `gatepost.toml` from it; places lose the folder's name.
    fn load_files(files: &[(&str, &str)], environment: &[(&str, &str)]) -> Result<Loaded, Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("conf.d")).unwrap();
        let prefix = format!("{}/", folder.path().display());
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text.replace("FOLDER/", &prefix)).unwrap();
        }
        let environment =
            environment.iter().map(|(name, value)| ((*name).into(), value.replace("FOLDER/", &prefix)));
        load_with(Some(&folder.path().join("gatepost.toml")), environment).map_err(|problems| {
            problems.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect()
        })
    }

    fn problems(text: &str) -> Vec<String> {
        load_files(&[("gatepost.toml", text)], &[]).err().unwrap_or_default()
    }

    #[test]
    fn what_policies_say_is_left_to_those_who_compile_them() {
        let text =
            "policy = [{ name = \"files\", when.listeners = [\"scan\"] }, { when.listeners = [\"smtp\"] }]";
        assert_eq!(problems(text), [""; 0]);
    }

    #[test]
    fn unknown_keys_have_their_place_and_what_was_meant() {
        for (text, expected) in [
            (
                "dta = \"x\"",
                "gatepost.toml:1:1: unknown key \"dta\" at the top, outside of any [table]; did you mean \"data\"?",
            ),
            (
                "\n[[listener]]\nnexthop = []",
                "gatepost.toml:3:1: unknown key \"nexthop\" in [[listener]]; did you mean \"next_hop\"?",
            ),
            (
                "[checks.clamd.main]\nsoket = \"x\"",
                "gatepost.toml:2:1: unknown key \"soket\" in [checks.clamd.main]; did you mean \"socket\"?",
            ),
            (
                "[log]\ncolour = 1",
                "gatepost.toml:2:1: unknown key \"colour\" in [log]; known are level, format",
            ),
        ] {
            assert_eq!(problems(text), [expected], "{text}");
        }
    }

    #[test]
    fn wrong_values_have_their_place_and_what_would_be_right() {
        for (text, expected) in [
            (
                "limits.sessions = \"many\"",
                "gatepost.toml:1:19: limits.sessions: the text \"many\" where a whole number from 0 to 4294967295 is expected",
            ),
            (
                "limits.sessions = -1",
                "gatepost.toml:1:19: limits.sessions: -1 where a whole number from 0 to 4294967295 is expected",
            ),
            (
                "domains = \"example.org\"",
                "gatepost.toml:1:11: domains: the text \"example.org\" where a list is expected: write [\"example.org\"]",
            ),
            ("log = 5", "gatepost.toml:1:7: log: 5 where a table is expected"),
            ("data = true", "gatepost.toml:1:8: data: true where a text in quotes is expected"),
            ("data = 2026-01-01", "gatepost.toml:1:8: data: a date where a text in quotes is expected"),
            (
                "checks.embedded.on_fault = \"defr\"",
                "gatepost.toml:1:28: checks.embedded.on_fault: \"defr\" is none of accept, quarantine, defer; did you mean \"defer\"?",
            ),
            (
                "[default_policy.actions]\nviruss = \"refuse\"",
                "gatepost.toml:2:10: default_policy.actions.viruss: \"viruss\" is none of clean, spammy, spam, \
                 unauthenticated, restricted, bad-header, oversized, unchecked, banned, virus; did you mean \"virus\"?",
            ),
            (
                "networks = [\"10.0.0.0/8\", \"home\"]",
                "gatepost.toml:1:27: networks[1]: \"home\" is neither an address nor a network such as 192.0.2.0/24",
            ),
            (
                "[limits]\nmessage_size = \"25 apples\"",
                "gatepost.toml:2:16: limits.message_size: \"25 apples\" is not a size; write bytes, or \"25 MiB\"",
            ),
            (
                "[limits]\ndata_time = 1.5",
                "gatepost.toml:2:13: limits.data_time: 1.5 where a time: seconds, or \"5m\", \"2h\", \"6d\" is expected",
            ),
            (
                "hostname = { file = \"FOLDER/none\" }",
                "gatepost.toml:1:1: hostname: cannot read the value from none: No such file or directory (os error 2)",
            ),
            ("limits.sessions = 99999999999999999999", "gatepost.toml:1:19: that number is too large"),
            (
                "[[listener]]\n\n[[listener]]\nlisten = [\"[::1]:1\",\n  \"nowhere\"]",
                "gatepost.toml:5:3: listener[1].listen[1]: \"nowhere\" is not an address to listen on; write \
                 127.0.0.1:2525, [::]:25, unix:/path/to/socket or systemd:NAME",
            ),
            // A key that is absent is shown where its table begins.
            (
                "\n[checks.dnsbl.zen]\nweight = 3",
                "gatepost.toml:2:15: checks.dnsbl.zen.zone: \"\" is not a zone; write zen.spamhaus.org",
            ),
        ] {
            assert_eq!(problems(text), [expected], "{text}");
        }
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let text = "dta = 1\nhostname = 7\nlimits = { sessions = 0, sesions = 2 }\nnetworks = [\"a\", \"::1\", \"b\"]\n";
        let told = problems(text).join("\n");
        for part in [
            "gatepost.toml:1:1: unknown key \"dta\"",
            "gatepost.toml:2:12: hostname",
            "gatepost.toml:3:26: unknown key \"sesions\"",
            "gatepost.toml:3:23: limits.sessions: is 0",
            "gatepost.toml:4:13: networks[0]",
            "gatepost.toml:4:25: networks[2]",
        ] {
            assert!(told.contains(part), "{part} in:\n{told}");
        }
    }

    #[test]
    fn syntax_errors_and_duplicates_are_located() {
        let told = problems("data = \"a\"\n[log\nlevel = \"info\"\n");
        assert!(told[0].starts_with("gatepost.toml:2:"), "{told:?}");
        let told = problems("data = \"a\"\ndata = \"b\"\n");
        assert!(told[0].starts_with("gatepost.toml:2:1: duplicate key"), "{told:?}");
        let deep = format!("x = {}1{}", "[".repeat(70), "]".repeat(70));
        assert!(problems(&deep)[0].contains("nested too deep"), "{:?}", problems(&deep));
        assert!(!problems(&"[".repeat(100_000)).is_empty());
    }

    #[test]
    fn later_files_override_merge_and_append() {
        let loaded = load_files(
            &[
                ("gatepost.toml", "data = \"/a\"\ndomains = [\"a.org\"]\n[limits]\nsessions = 5\n[[policy]]\nname = \"a\"\n"),
                ("conf.d/20-two.toml", "data = \"/c\"\n[[policy]]\nname = \"c\"\n"),
                ("conf.d/10-one.toml", "data = \"/b\"\ndomains = [\"b.org\"]\nlimits.errors = 7\n[[policy]]\nname = \"b\"\n"),
                ("conf.d/ignored.txt", "what = ever"),
                ("conf.d/.hidden.toml", "what = ever"),
            ],
            &[],
        )
        .unwrap();
        let config = &loaded.config;
        assert_eq!(config.data, PathBuf::from("/c"));
        assert_eq!(config.domains, ["b.org"]);
        assert_eq!((config.limits.sessions, config.limits.errors), (5, 7));
        let names: Vec<&str> = config.policy.iter().map(|policy| policy.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert!(loaded.origins.of("policy[1].name").to_string().ends_with("conf.d/10-one.toml:5:8"));
        assert!(loaded.origins.of("limits.sessions").to_string().ends_with("gatepost.toml:4:12"));
        assert_eq!(loaded.origins.of("hostname"), Origin::Default);
        assert_eq!(loaded.files.len(), 3);
    }

    #[test]
    fn variables_set_values_of_every_type() {
        let file = "data = \"/a\"\n[[listener]]\nname = \"mx\"\n[checks.clamd.main]\nconnections = 2\n\
                    [default_policy.actions]\nbad-header = \"mark\"\n";
        let loaded = load_files(
            &[("gatepost.toml", file)],
            &[
                ("GATEPOST_DATA", "/b"),
                ("GATEPOST_HOSTNAME", "1234"),
                ("GATEPOST_DOMAINS", "a.org, b.org"),
                ("GATEPOST_NETWORKS", "[\"10.0.0.0/8\"]"),
                ("GATEPOST_LIMITS__SESSIONS", "9"),
                ("GATEPOST_LIMITS__MESSAGE_SIZE", "5 MiB"),
                ("GATEPOST_LISTENER__0__NEXT_HOP", "smtp://127.0.0.1:10026"),
                ("GATEPOST_LISTENER__0__AFTER_QUEUE", "true"),
                ("GATEPOST_LISTENER__1__LISTEN", "[::1]:25"),
                ("GATEPOST_CHECKS__CLAMD__MAIN__SOCKET", "tcp:127.0.0.1:3310"),
                ("GATEPOST_DEFAULT_POLICY__WEIGHTS__DNSBL_ZEN", "2.5"),
                ("GATEPOST_DEFAULT_POLICY__ACTIONS__BAD_HEADER", "refuse"),
                ("GATEPOST_DEFAULT_POLICY__KEEP", "virus"),
                ("GATEPOST_LOG", "{ level = \"debug\" }"),
                ("GATEPOST_LOG__FORMAT", "json"),
                ("GATEPOST_SERVICE_HOST", "10.0.0.1"),
                ("GATEPOST_LIMITS__SESIONS", "10"),
            ],
        )
        .unwrap();
        let config = &loaded.config;
        assert_eq!((config.data.to_str(), config.hostname.as_str()), (Some("/b"), "1234"));
        assert_eq!(config.domains, ["a.org", "b.org"]);
        assert_eq!(config.networks, ["10.0.0.0/8".parse().unwrap()]);
        assert_eq!((config.limits.sessions, config.limits.message_size.bytes()), (9, 5 << 20));
        assert_eq!((config.listener[0].name.as_str(), config.listener[0].after_queue), ("mx", true));
        assert_eq!(config.listener[0].next_hop, ["smtp://127.0.0.1:10026"]);
        assert_eq!(config.listener[1].listen, ["[::1]:25"]);
        assert_eq!(config.checks.clamd["main"].socket, "tcp:127.0.0.1:3310");
        assert_eq!(config.checks.clamd["main"].connections, 2);
        assert_eq!(config.default_policy.weights["DNSBL_ZEN"].as_thousandths(), 2500);
        assert_eq!(
            config.default_policy.actions[&gatepost_mail::Category::BadHeader],
            gatepost_mail::Action::Refuse
        );
        assert_eq!(config.default_policy.keep, Some(vec![gatepost_mail::Category::Virus]));
        assert_eq!(
            (config.log.level.as_str(), config.log.format),
            ("debug", super::super::typed::LogFormat::Json)
        );
        assert_eq!(loaded.origins.of("data").to_string(), "environment GATEPOST_DATA");
        let warnings: Vec<String> = loaded.warnings.iter().map(Located::to_string).collect();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings.iter().any(|warning| warning
            == "environment GATEPOST_LIMITS__SESIONS: unknown key \"sesions\" in [limits]; did you mean \"sessions\"?"));
    }

    #[test]
    fn wrong_values_in_the_environment_are_told_with_the_variable() {
        for (name, value, expected) in [
            (
                "GATEPOST_LIMITS__SESSIONS",
                "many",
                "environment GATEPOST_LIMITS__SESSIONS: limits.sessions: the text \"many\"",
            ),
            (
                "GATEPOST_LISTENER__0__AFTER_QUEUE",
                "maybe",
                "listener[0].after_queue: the text \"maybe\" where true or false",
            ),
            ("GATEPOST_LOG", "{ level = 5 }", "environment GATEPOST_LOG: log.level: 5 where a text"),
            // Hyphens cannot stand in a variable's name; a key that the files have is found, another is not.
            (
                "GATEPOST_DEFAULT_POLICY__ACTIONS__BAD_HEADER",
                "refuse",
                "\"bad_header\" is none of clean, spammy, spam, unauthenticated, restricted, bad-header, oversized, unchecked, banned, virus; did you \
                 mean \"bad-header\"?",
            ),
            ("GATEPOST_LOG", "info", "environment GATEPOST_LOG: log: that is not a table"),
            ("GATEPOST_DOMAINS", "[a]", "environment GATEPOST_DOMAINS: domains: that is not a list"),
        ] {
            let told = load_files(&[("gatepost.toml", "")], &[(name, value)]).unwrap_err();
            assert!(told.len() == 1 && told[0].contains(expected), "{name}={value}: {told:?}");
        }
    }

    #[test]
    fn secrets_come_from_files_and_the_environment() {
        let text = "hostname = { file = \"FOLDER/secret\" }\ndata = { env = \"PATH\" }\n";
        let loaded = load_files(&[("gatepost.toml", text), ("secret", "gate.example.org\r\n")], &[]).unwrap();
        assert_eq!(loaded.config.hostname, "gate.example.org");
        assert_eq!(loaded.config.data.to_str(), std::env::var("PATH").ok().as_deref());
    }

    #[test]
    fn files_that_cannot_be_read_are_told() {
        let told = load_with(Some(Path::new("/nonexistent/gatepost.toml")), []).unwrap_err();
        assert!(
            told[0].to_string().starts_with("/nonexistent/gatepost.toml:1:1: cannot be read: "),
            "{told:?}"
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gatepost.toml");
        std::fs::write(&file, b"data = \"a\"\n# \xff\n").unwrap();
        let told = load_with(Some(&file), []).unwrap_err();
        assert!(told[0].message.contains("not UTF-8 text (line 2)"), "{told:?}");
    }

    #[test]
    fn later_stages_find_the_place_of_a_key() {
        let loaded =
            load_files(&[("gatepost.toml", "[[policy]]\n[policy.weights]\nFOO = 1\n")], &[]).unwrap();
        let told = loaded.locate(vec![
            Problem::new("policy[0].weights.FOO", "no such symbol"),
            Problem::new("policy[0].replies.virus", "no such field"),
            Problem::new("checks.clamd.main.socket", "away"),
        ]);
        let places: Vec<String> =
            told.iter().map(|located| located.to_string().rsplit('/').next().unwrap_or("").into()).collect();
        assert_eq!(places[0], "gatepost.toml:3:7: policy[0].weights.FOO: no such symbol");
        assert_eq!(places[1], "gatepost.toml:1:1: policy[0].replies.virus: no such field");
        assert_eq!(places[2], "checks.clamd.main.socket: away");
    }
}
