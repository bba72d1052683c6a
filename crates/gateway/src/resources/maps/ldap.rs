//! `ldap:` tables (ldap_table(5)): one connection that all look-ups share, made again when it is lost.

use std::sync::Arc;
use std::time::Duration;

use ldap3::{
    DerefAliases, Ldap, LdapConnAsync, LdapConnSettings, LdapError, ResultEntry, Scope, SearchEntry,
    SearchOptions,
};
use tokio::sync::Mutex;
use tokio_rustls::rustls::ClientConfig;

use super::cf::{Common, Parameters, Template};
use super::lines::TableError;
use super::{MapError, Options};
use crate::resources::tls::client_config;

/// A table of a directory.
pub struct Directory {
    common: Common,
    servers: Vec<String>,
    base: Template,
    filter: Template,
    scope: Scope,
    /// In lower case.
    attributes: Vec<String>,
    /// Name and password, for a simple bind.
    bind: Option<(String, String)>,
    dereference: DerefAliases,
    size_limit: u32,
    time: Duration,
    start_tls: bool,
    tls: Option<Arc<ClientConfig>>,
    connection: Mutex<Connection>,
}

/// The shared connection, and the how-manieth it is.
#[derive(Default)]
struct Connection {
    ldap: Option<Ldap>,
    number: u64,
}

impl Connection {
    /// Forgets a connection, unless there is another one since.
    fn forget(&mut self, number: u64) {
        if self.number == number {
            self.ldap = None;
        }
    }

    fn begin(&mut self, ldap: Ldap) -> u64 {
        self.ldap = Some(ldap);
        self.number += 1;
        self.number
    }
}

impl Directory {
    /// From the parameters of its file.
    pub fn new(parameters: &mut Parameters, options: &Options) -> Result<Directory, TableError> {
        let common = Common::take(parameters)?;
        let template = |name: &str, text: String| {
            Template::parse(&text).map_err(|why| TableError::new(0, format!("{name}: {why}")))
        };
        let filter = parameters.text("query_filter").unwrap_or_else(|| "(mailacceptinggeneralid=%s)".into());
        let filter = if filter.starts_with('(') { filter } else { format!("({filter})") };
        let filter = template("query_filter", filter)?;
        // Whether it is a filter is known once a key is in it, and any will do.
        let tried = filter.fill("user@a.b.c.d.e.f.g.h.example", "user@a.b.c.d.e.f.g.h.example", filter_text);
        if tried.is_none_or(|tried| ldap3::parse_filter(tried).is_err()) {
            return Err(TableError::new(0, "query_filter: is no filter (RFC 4515)"));
        }
        let attributes = match parameters.words("result_attribute") {
            words if words.is_empty() => vec!["maildrop".into()],
            words => words,
        };
        let port = parameters.number("server_port", 389)?;
        let start_tls = parameters.flag("start_tls", false)?;
        let limit = parameters.number("size_limit", 0)?;
        parameters.without(&[
            "version",
            "cache",
            "cache_expiry",
            "cache_size",
            "debuglevel",
            "recursion_limit",
        ]);
        if parameters.flag("chase_referrals", false)? {
            return Err(TableError::new(0, "chase_referrals: referrals are not followed here"));
        }
        Ok(Directory {
            common,
            servers: servers(parameters.text("server_host"), port)?,
            base: template("search_base", parameters.needed("search_base")?)?,
            filter,
            scope: scope(parameters.text("scope"))?,
            attributes: attributes.iter().map(|name| name.to_lowercase()).collect(),
            bind: bind(parameters)?,
            dereference: dereference(parameters.number("dereference", 0)?)?,
            size_limit: limit,
            time: parameters.seconds("timeout", options.time)?,
            start_tls,
            tls: tls(parameters)?,
            connection: Mutex::default(),
        })
    }

    /// Asks for a key that is in lower case.
    pub async fn lookup(&self, key: &str) -> Result<Option<String>, MapError> {
        if !self.common.asks(key).map_err(|error| MapError::Failed(error.message))? {
            return Ok(None);
        }
        let base = self.base.fill(key, key, |text| ldap3::dn_escape(text).into_owned());
        let filter = self.filter.fill(key, key, filter_text);
        let (Some(base), Some(filter)) = (base, filter) else { return Ok(None) };
        let entries = self.search(&base, &filter).await?;
        let mut values = Vec::new();
        for entry in entries {
            let entry = SearchEntry::construct(entry);
            // In the order of the configuration; the directory has none.
            for name in &self.attributes {
                let found = entry.attrs.iter().filter(|(attribute, _)| attribute.to_lowercase() == *name);
                values.extend(found.flat_map(|(_, values)| values.clone()));
            }
        }
        self.common.join(key, values.iter().map(String::as_str)).map_err(MapError::Failed)
    }

    /// Searches over the connection there is; one that was lost meanwhile is made again once.
    async fn search(&self, base: &str, filter: &str) -> Result<Vec<ResultEntry>, MapError> {
        let mut last = None;
        for _ in 0..2 {
            let (mut ldap, number) = self.connected().await?;
            let size = i32::try_from(self.size_limit).unwrap_or(i32::MAX);
            let seconds = i32::try_from(self.time.as_secs()).unwrap_or(i32::MAX);
            let options = SearchOptions::new().deref(self.dereference).timelimit(seconds).sizelimit(size);
            let search = ldap.with_search_options(options).with_timeout(self.time).search(
                base,
                self.scope,
                filter,
                self.attributes.clone(),
            );
            match search.await.and_then(|result| result.success()) {
                Ok((entries, _)) => return Ok(entries),
                // There is no such object: nothing is below it.
                Err(LdapError::LdapResult { result }) if result.rc == NO_SUCH_OBJECT => return Ok(Vec::new()),
                Err(LdapError::LdapResult { result }) if !matches!(result.rc, BUSY | UNAVAILABLE) => {
                    return Err(MapError::Failed(result.to_string()));
                }
                Err(LdapError::Timeout { .. }) => {
                    self.forget(number).await;
                    return Err(MapError::Timeout(format!("no answer within {} s", self.time.as_secs())));
                }
                Err(why) => {
                    self.forget(number).await;
                    last = Some(why.to_string());
                }
            }
        }
        Err(MapError::Failed(last.unwrap_or_default()))
    }

    async fn forget(&self, number: u64) {
        self.connection.lock().await.forget(number);
    }

    /// The shared connection. Whoever comes while it is being made waits for it.
    async fn connected(&self) -> Result<(Ldap, u64), MapError> {
        let mut shared = self.connection.lock().await;
        let number = shared.number;
        if let Some(ldap) = shared.ldap.as_mut()
            && !ldap.is_closed()
        {
            return Ok((ldap.clone(), number));
        }
        let mut told = Vec::new();
        for server in &self.servers {
            match tokio::time::timeout(self.time, self.connect(server)).await {
                Ok(Ok(ldap)) => {
                    return Ok((ldap.clone(), shared.begin(ldap)));
                }
                Ok(Err(why)) => told.push(format!("{server}: {why}")),
                Err(_) => told.push(format!("{server}: no connection within {} s", self.time.as_secs())),
            }
        }
        Err(MapError::Failed(told.join("; ")))
    }

    async fn connect(&self, server: &str) -> Result<Ldap, LdapError> {
        let mut settings = LdapConnSettings::new().set_conn_timeout(self.time).set_starttls(self.start_tls);
        if let Some(tls) = &self.tls {
            settings = settings.set_config(tls.clone());
        }
        let (connection, mut ldap) = LdapConnAsync::with_settings(settings, server).await?;
        tokio::spawn(async move {
            if let Err(why) = connection.drive().await {
                tracing::debug!("LDAP connection ended: {why}");
            }
        });
        if let Some((name, password)) = &self.bind {
            ldap.with_timeout(self.time).simple_bind(name, password).await?.success()?;
        }
        Ok(ldap)
    }
}

/// noSuchObject (RFC 4511 section 4.1.9).
const NO_SUCH_OBJECT: u32 = 32;

/// busy.
const BUSY: u32 = 51;

/// unavailable.
const UNAVAILABLE: u32 = 52;

/// A key in a filter (RFC 4515 section 3).
fn filter_text(text: &str) -> String {
    ldap3::ldap_escape(text).into_owned()
}

/// URLs of the servers: hosts with or without port, or URLs.
fn servers(text: Option<String>, port: u32) -> Result<Vec<String>, TableError> {
    let text = text.unwrap_or_else(|| "localhost".into());
    let words = text.split([',', ' ', '\t', '\r', '\n']).filter(|word| !word.is_empty());
    let server = |word: &str| {
        let known = ["ldap://", "ldaps://", "ldapi://"].iter().any(|scheme| word.starts_with(scheme));
        match word.contains("://") {
            true if known => Ok(word.trim_end_matches('/').to_owned()),
            true => Err(TableError::new(0, format!("server_host: “{word}” is no LDAP URL"))),
            false if word.contains(':') => Ok(format!("ldap://{word}")),
            false => Ok(format!("ldap://{word}:{port}")),
        }
    };
    words.map(server).collect()
}

fn scope(text: Option<String>) -> Result<Scope, TableError> {
    match text.as_deref().unwrap_or("sub") {
        "sub" => Ok(Scope::Subtree),
        "one" => Ok(Scope::OneLevel),
        "base" => Ok(Scope::Base),
        other => Err(TableError::new(0, format!("scope: “{other}” is none of sub, one, base"))),
    }
}

fn dereference(number: u32) -> Result<DerefAliases, TableError> {
    Ok(match number {
        0 => DerefAliases::Never,
        1 => DerefAliases::Searching,
        2 => DerefAliases::Finding,
        3 => DerefAliases::Always,
        other => return Err(TableError::new(0, format!("dereference: {other} is none of 0, 1, 2, 3"))),
    })
}

fn bind(parameters: &mut Parameters) -> Result<Option<(String, String)>, TableError> {
    let how = parameters.text("bind").unwrap_or_else(|| "yes".into());
    let name = parameters.text("bind_dn").unwrap_or_default();
    let password = parameters.text("bind_pw").unwrap_or_default();
    match how.to_lowercase().as_str() {
        // Without a name it would be an anonymous bind, which is what there is without a bind.
        "yes" | "simple" | "1" | "true" => Ok((!name.is_empty()).then_some((name, password))),
        "no" | "none" | "0" | "false" => Ok(None),
        other => {
            Err(TableError::new(0, format!("bind: “{other}” is none of yes, no; SASL is not done here")))
        }
    }
}

/// TLS as the file wants it; None: with the system's authorities.
fn tls(parameters: &mut Parameters) -> Result<Option<Arc<ClientConfig>>, TableError> {
    let file = parameters.text("tls_ca_cert_file");
    let verify = parameters.flag("tls_require_cert", false)?;
    parameters.without(&["tls_random_file", "tls_cipher_suite"]);
    client_config(verify, file.as_deref().map(std::path::Path::new))
        .map(Some)
        .map_err(|why| TableError::new(0, format!("tls_ca_cert_file: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options { time: Duration::from_secs(1), ..Options::default() }
    }

    fn parsed(text: &str) -> Result<Directory, TableError> {
        let mut parameters = Parameters::parse(text)?;
        let directory = Directory::new(&mut parameters, &options())?;
        parameters.end()?;
        Ok(directory)
    }

    #[test]
    fn files_as_postfix_has_them() {
        let directory = parsed(
            "server_host = ldap1.example ldap2.example:1389\n ldaps://ldap3.example:636/\nserver_port = 1390\n\
             search_base = dc=example, dc=org\nquery_filter = (&(mail=%s)(paid=TRUE))\nresult_attribute = Mail, uid\n\
             bind_dn = cn=reader\nbind_pw = secret\nscope = one\ntimeout = 3\nversion = 3\ndereference = 1\n",
        );
        let directory = directory.map_err(|error| error.message).unwrap();
        assert_eq!(
            directory.servers,
            ["ldap://ldap1.example:1390", "ldap://ldap2.example:1389", "ldaps://ldap3.example:636"]
        );
        assert_eq!(directory.attributes, ["mail", "uid"]);
        assert_eq!(directory.bind, Some(("cn=reader".into(), "secret".into())));
        assert_eq!(directory.time, Duration::from_secs(3));
        // Nothing that a key says is a filter.
        let filter = directory.filter.fill("a*)(uid=\\@x", "a*)(uid=\\@x", filter_text).unwrap();
        assert_eq!(filter, "(&(mail=a\\2a\\29\\28uid=\\5c@x)(paid=TRUE))");
    }

    #[test]
    fn files_that_are_wrong() {
        for (text, part) in [
            ("query_filter = mail=%s", "search_base is missing"),
            ("search_base = dc=x\nquery_filter = (mail=%s", "no filter"),
            ("search_base = dc=x\nscope = all", "scope"),
            ("search_base = dc=x\nbind = sasl", "SASL"),
            ("search_base = dc=x\nserver_host = http://x", "no LDAP URL"),
            ("search_base = dc=x\nchase_referrals = yes", "referrals"),
            (
                "search_base = dc=x\nspecial_result_attribute = member",
                "special_result_attribute is not known",
            ),
            ("search_base = dc=x\ntls_ca_cert_file = /nonexistent/ca", "/nonexistent/ca"),
        ] {
            let error = parsed(text).err().expect(text);
            assert!(error.message.contains(part), "{text}: {error:?}");
        }
    }

    /// Whoever waited long for an answer must not end the connection that others have made meanwhile.
    #[tokio::test]
    async fn only_the_connection_that_failed_is_forgotten() {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = server.local_addr().unwrap();
        let text = format!("search_base = dc=x\nserver_host = ldap://{at}\n");
        let directory = parsed(&text).map_err(|error| error.message).unwrap();
        let (_, first) = directory.connected().await.unwrap();
        assert_eq!(directory.connected().await.unwrap().1, first, "shared");
        directory.forget(first).await;
        let (_, second) = directory.connected().await.unwrap();
        assert_ne!(first, second);
        directory.forget(first).await;
        assert_eq!(directory.connected().await.unwrap().1, second);
    }
}
