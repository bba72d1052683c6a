//! `pgsql:`, `mysql:` and `sqlite:` tables (pgsql_table(5), mysql_table(5), sqlite_table(5)).
//!
//! A key never becomes a part of the statement that could mean anything but a text: each quoted literal with a `%` in it
//! is bound (SQLite), written in hexadecimal digits (MySQL), or escaped in the way that means the same whatever
//! `standard_conforming_strings` says (PostgreSQL, where a bound text would not fit columns of types such as citext or inet). A `%` outside of quotes is an error.

use std::str::FromStr;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use futures_util::stream::BoxStream;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::pool::PoolOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{
    AssertSqlSafe, ColumnIndex, Connection, Database, Decode, MySqlPool, PgPool, Row, SqlitePool, Type,
};
use tokio::sync::{Mutex, OnceCell};

use super::cf::{Common, Parameters, Template};
use super::lines::TableError;
use super::{MapError, Options};

/// Most values that are read of one answer.
const VALUES: usize = 10_000;

/// How long a connection may be idle, as in Postfix.
const IDLE: Duration = Duration::from_secs(60);

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// PostgreSQL.
    Postgres,
    /// MySQL, MariaDB.
    MySql,
    /// SQLite.
    Sqlite,
}

/// A table of a database.
pub struct Sql {
    common: Common,
    query: Query,
    servers: Vec<Server>,
    /// The server that answered last; it is asked first.
    best: Mutex<usize>,
}

/// One server with its connections, which are made when first needed.
struct Server {
    name: String,
    target: Target,
    connections: u32,
    time: Duration,
    pool: OnceCell<Pool>,
}

enum Target {
    Postgres(Box<PgConnectOptions>),
    MySql(Box<MySqlConnectOptions>),
    Sqlite(Box<SqliteConnectOptions>),
}

enum Pool {
    Postgres(PgPool),
    MySql(MySqlPool),
    Sqlite(SqlitePool),
}

impl Sql {
    /// From the parameters of its file.
    pub fn new(engine: Engine, parameters: &mut Parameters, options: &Options) -> Result<Sql, TableError> {
        let common = Common::take(parameters)?;
        let statement = statement(parameters)?;
        let query =
            Query::parse(engine, &statement).map_err(|why| TableError::new(0, format!("query: {why}")))?;
        let targets = match engine {
            Engine::Postgres => postgres(parameters)?,
            Engine::MySql => mysql(parameters)?,
            Engine::Sqlite => {
                let path = parameters.needed("dbpath")?;
                let target =
                    SqliteConnectOptions::new().filename(&path).read_only(true).busy_timeout(options.time);
                vec![(path, Target::Sqlite(Box::new(target)))]
            }
        };
        // A pool tries again until its time is over, also where nobody listens; the next server needs time, too.
        let count = u32::try_from(targets.len()).unwrap_or(u32::MAX).saturating_add(1);
        let server = |(name, target)| Server {
            name,
            target,
            connections: options.connections.max(1),
            time: options.time / count,
            pool: OnceCell::new(),
        };
        Ok(Sql { common, query, servers: targets.into_iter().map(server).collect(), best: Mutex::new(0) })
    }

    /// Asks for a key that is in lower case.
    pub async fn lookup(&self, key: &str) -> Result<Option<String>, MapError> {
        if !self.common.asks(key).map_err(|error| MapError::Failed(error.message))? {
            return Ok(None);
        }
        let Some(query) = self.query.fill(key) else { return Ok(None) };
        let first = *self.best.lock().await;
        let mut told = Vec::new();
        for turn in 0..self.servers.len() {
            let place = (first + turn) % self.servers.len();
            let server = &self.servers[place];
            match server.ask(&query).await {
                Ok(values) => {
                    if turn > 0 {
                        *self.best.lock().await = place;
                    }
                    let values = values.iter().map(String::as_str);
                    return self.common.join(key, values).map_err(MapError::Failed);
                }
                // Another server would say the same of the statement itself.
                Err(sqlx::Error::Database(why)) => {
                    return Err(MapError::Failed(format!("{}: {why}", server.name)));
                }
                Err(why) => told.push(format!("{}: {why}", server.name)),
            }
        }
        Err(MapError::Failed(told.join("; ")))
    }
}

/// A statement ready to be sent, and what is bound to it.
struct Filled {
    statement: String,
    bound: Vec<String>,
}

impl Server {
    async fn ask(&self, query: &Filled) -> Result<Vec<String>, sqlx::Error> {
        let pool = self.pool.get_or_init(|| std::future::ready(self.connect())).await;
        let statement = AssertSqlSafe(query.statement.clone());
        match pool {
            Pool::Postgres(pool) => values(sqlx::raw_sql(statement).fetch(pool), usize::MAX).await,
            Pool::MySql(pool) => values(sqlx::raw_sql(statement).fetch(pool), usize::MAX).await,
            Pool::Sqlite(pool) => {
                let asked =
                    query.bound.iter().fold(sqlx::query(statement), |asked, value| asked.bind(value.clone()));
                // Of SQLite's columns Postfix takes the first.
                values(asked.fetch(pool), 1).await
            }
        }
    }

    /// Nothing is connected yet.
    fn connect(&self) -> Pool {
        match &self.target {
            Target::Postgres(target) => Pool::Postgres(self.pool_of(target.as_ref())),
            Target::MySql(target) => Pool::MySql(self.pool_of(target.as_ref())),
            Target::Sqlite(target) => Pool::Sqlite(self.pool_of(target.as_ref())),
        }
    }

    fn pool_of<D: Database>(&self, target: &<D::Connection as Connection>::Options) -> sqlx::Pool<D> {
        PoolOptions::new()
            .max_connections(self.connections)
            .acquire_timeout(self.time)
            .idle_timeout(IDLE)
            .connect_lazy_with(target.clone())
    }
}

/// The values of all rows in their order, of the first columns. Whatever their types, the servers show them as texts here.
async fn values<R>(
    mut rows: BoxStream<'_, Result<R, sqlx::Error>>,
    columns: usize,
) -> Result<Vec<String>, sqlx::Error>
where
    R: Row,
    usize: ColumnIndex<R>,
    Option<String>: for<'r> Decode<'r, R::Database>,
    Option<String>: Type<R::Database>,
{
    let mut values = Vec::new();
    while let Some(row) = rows.try_next().await? {
        for column in 0..row.len().min(columns) {
            if values.len() == VALUES {
                return Err(sqlx::Error::Protocol(format!("more than {VALUES} values")));
            }
            values.extend(row.try_get_unchecked::<Option<String>, _>(column)?);
        }
    }
    Ok(values)
}

/// The statement: `query`, or made from the parameters that older Postfix versions had.
fn statement(parameters: &mut Parameters) -> Result<String, TableError> {
    const OLDER: [&str; 5] =
        ["select_function", "select_field", "table", "where_field", "additional_conditions"];
    if let Some(query) = parameters.text("query") {
        parameters.without(&OLDER);
        return Ok(query);
    }
    let [function, field, table, column, conditions] = OLDER.map(|name| parameters.text(name));
    match (function, field, table, column) {
        (Some(function), ..) => Ok(format!("SELECT {function}('%s')")),
        (None, Some(field), Some(table), Some(column)) => Ok(format!(
            "SELECT {field} FROM {table} WHERE {column} = '%s' {}",
            conditions.unwrap_or_default()
        )),
        _ => Err(TableError::new(0, "query is missing")),
    }
}

type Targets = Result<Vec<(String, Target)>, TableError>;

fn postgres(parameters: &mut Parameters) -> Targets {
    let hosts = or_localhost(parameters.words("hosts"));
    let (user, password) = (parameters.text("user"), parameters.text("password"));
    let database = parameters.text("dbname");
    parameters.without(&["encoding"]);
    let target = |host: String| {
        let mut target = if host.starts_with("postgresql:") || host.starts_with("postgres:") {
            PgConnectOptions::from_str(&host).map_err(|why| TableError::new(0, format!("hosts: {why}")))?
        } else {
            let name = host.strip_prefix("unix:").or(host.strip_prefix("inet:")).unwrap_or(&host);
            match name.starts_with('/') {
                true => PgConnectOptions::new_without_pgpass().socket(name),
                false => {
                    let (name, port) = host_and_port(name, 5432)?;
                    PgConnectOptions::new_without_pgpass().host(name).port(port)
                }
            }
        };
        if let Some(user) = &user {
            target = target.username(user);
        }
        if let Some(password) = &password {
            target = target.password(password);
        }
        if let Some(database) = &database {
            target = target.database(database);
        }
        Ok((shown(&host), Target::Postgres(Box::new(target.application_name("gatepost")))))
    };
    hosts.into_iter().map(target).collect()
}

fn mysql(parameters: &mut Parameters) -> Targets {
    let hosts = or_localhost(parameters.words("hosts"));
    let (user, password) = (parameters.text("user"), parameters.text("password"));
    let database = parameters.text("dbname");
    let ca = parameters.text("tls_CAfile");
    parameters.without(&["charset", "require_result_set"]);
    let target = |host: String| {
        let name = host.strip_prefix("inet:").unwrap_or(&host);
        // The statement's own meaning is not to change with what the client asks for.
        let mut target = MySqlConnectOptions::new().pipes_as_concat(false).no_engine_substitution(false);
        target = match name.strip_prefix("unix:") {
            Some(path) => target.socket(path),
            None => {
                let (name, port) = host_and_port(name, 3306)?;
                target.host(name).port(port)
            }
        };
        if let Some(user) = &user {
            target = target.username(user);
        }
        if let Some(password) = &password {
            target = target.password(password);
        }
        if let Some(database) = &database {
            target = target.database(database);
        }
        if let Some(ca) = &ca {
            target = target.ssl_mode(sqlx::mysql::MySqlSslMode::VerifyCa).ssl_ca(ca);
        }
        Ok((shown(&host), Target::MySql(Box::new(target))))
    };
    hosts.into_iter().map(target).collect()
}

fn or_localhost(mut hosts: Vec<String>) -> Vec<String> {
    if hosts.is_empty() {
        hosts.push("localhost".into());
    }
    hosts
}

/// `host`, `host:port`, `[address]:port`.
fn host_and_port(text: &str, otherwise: u16) -> Result<(&str, u16), TableError> {
    let wrong = || TableError::new(0, format!("hosts: “{text}” is no host or host:port"));
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
            (host, rest.strip_prefix(':'))
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Ok(otherwise), |port| port.parse().map_err(|_| wrong()))?;
    if host.is_empty() { Err(wrong()) } else { Ok((host, port)) }
}

/// A host for the log: without a password.
fn shown(host: &str) -> String {
    match (host.split_once("://"), host.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => host.to_owned(),
    }
}

/// A statement with the places of the key in it.
struct Query {
    engine: Engine,
    pieces: Vec<Piece>,
}

enum Piece {
    Text(String),
    /// A quoted literal that the key is in.
    Literal(Template),
}

impl Query {
    /// Finds the quoted literals of a statement and what is to be expanded in them.
    fn parse(engine: Engine, statement: &str) -> Result<Query, String> {
        let mut pieces = Vec::new();
        let mut rest = statement;
        while let Some(start) = rest.find(|c| c == '\'' || c == '"' && engine == Engine::MySql) {
            let quote = &rest[start..=start];
            let (before, inside) = (&rest[..start], &rest[start + 1..]);
            let end =
                literal_end(inside, quote).ok_or_else(|| format!("a literal has no {quote} at its end"))?;
            let (inside, after) = (&inside[..end], &inside[end + 1..]);
            outside(before, &mut pieces)?;
            let template = Template::parse(&inside.replace(&quote.repeat(2), quote))?;
            if template.expands() {
                if before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '&') {
                    return Err(format!("the literal {quote}{inside}{quote} has a prefix; write it without"));
                }
                if inside.contains('\\') {
                    return Err(format!("the literal {quote}{inside}{quote} has a backslash beside a %"));
                }
                pieces.push(Piece::Literal(template));
            } else {
                let plain = inside.replace("%%", "%");
                pieces.push(Piece::Text(format!("{quote}{plain}{quote}")));
            }
            rest = after;
        }
        outside(rest, &mut pieces)?;
        Ok(Query { engine, pieces })
    }

    /// The statement for a key; None where the key lacks what it asks for.
    fn fill(&self, key: &str) -> Option<Filled> {
        let mut filled = Filled { statement: String::new(), bound: Vec::new() };
        for piece in &self.pieces {
            let template = match piece {
                Piece::Text(text) => {
                    filled.statement.push_str(text);
                    continue;
                }
                Piece::Literal(template) => template,
            };
            let value = template.fill(key, key, str::to_owned)?;
            match self.engine {
                Engine::Postgres => filled.statement.push_str(&postgres_literal(&value)),
                Engine::MySql => {
                    let digits: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
                    filled.statement.push_str(&format!("_utf8mb4 X'{digits}'"));
                }
                Engine::Sqlite => {
                    filled.bound.push(value);
                    filled.statement.push_str(&format!("?{}", filled.bound.len()));
                }
            }
        }
        Some(filled)
    }
}

/// A literal of PostgreSQL. Only in `E'…'` does a backslash mean the same under every setting of the server.
fn postgres_literal(value: &str) -> String {
    let quoted = value.replace('\'', "''");
    if quoted.contains('\\') {
        format!(" E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

/// What stands outside of literals: nothing is expanded there.
fn outside(text: &str, pieces: &mut Vec<Piece>) -> Result<(), String> {
    let template = Template::parse(text)?;
    if template.expands() {
        return Err(format!("a % stands outside of quotes in “{}”; write '%s'", text.trim()));
    }
    // Nothing is expanded, so nothing can be lacking.
    pieces.push(Piece::Text(template.fill("", "", str::to_owned).unwrap_or_default()));
    Ok(())
}

/// Where a literal ends: at a quote that is not doubled.
fn literal_end(text: &str, quote: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + text[from..].find(quote)?;
        if !text[at + 1..].starts_with(quote) {
            return Some(at);
        }
        from = at + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(engine: Engine, statement: &str, key: &str) -> Option<(String, Vec<String>)> {
        let filled = Query::parse(engine, statement).unwrap().fill(key)?;
        Some((filled.statement, filled.bound))
    }

    #[test]
    fn keys_stay_texts() {
        let query = "SELECT a FROM t WHERE k = '%s' AND d = 'x%u''%%' AND e = 'it''s 5%%' AND f % 2 = 0";
        let query = query.replace("f % 2", "f %% 2");
        assert_eq!(
            filled(Engine::Sqlite, &query, "o'b@x"),
            Some((
                "SELECT a FROM t WHERE k = ?1 AND d = ?2 AND e = 'it''s 5%' AND f % 2 = 0".into(),
                vec!["o'b@x".into(), "xo'b'%".into()]
            ))
        );
        let (statement, bound) = filled(Engine::Postgres, &query, "o'b\\@x").unwrap();
        assert_eq!(
            statement,
            "SELECT a FROM t WHERE k =  E'o''b\\\\@x' AND d =  E'xo''b\\\\''%' AND e = 'it''s 5%' AND f % 2 = 0"
        );
        assert!(bound.is_empty());
        let (statement, _) =
            filled(Engine::MySql, "SELECT a FROM t WHERE k = \"%s\" OR k='%d'", "'\\@x").unwrap();
        assert_eq!(statement, "SELECT a FROM t WHERE k = _utf8mb4 X'275c4078' OR k=_utf8mb4 X'78'");
        assert_eq!(filled(Engine::Postgres, "SELECT 1 WHERE '%d' = ''", "plain"), None);
    }

    #[test]
    fn statements_that_are_none() {
        for (statement, part) in [
            ("SELECT a FROM t WHERE k = %s", "outside of quotes"),
            ("SELECT a FROM t WHERE k = '%s", "no '"),
            ("SELECT a FROM t WHERE k = '%x'", "%x is not known"),
            ("SELECT a FROM t WHERE k = E'%s'", "has a prefix"),
            ("SELECT a FROM t WHERE k = '\\%s'", "backslash"),
            ("SELECT \"%s\"", "outside of quotes"),
        ] {
            let error = Query::parse(Engine::Postgres, statement).err().expect(statement);
            assert!(error.contains(part), "{statement}: {error}");
        }
    }

    #[test]
    fn older_parameters_and_hosts() {
        let mut parameters = Parameters::parse(
            "select_field = a\ntable = t\nwhere_field = k\nadditional_conditions = AND b = 'c'\n\
             hosts = inet:db1:5433, unix:/run/pg [::1]:1 postgresql://u:secret@h/d\n",
        )
        .unwrap();
        assert_eq!(statement(&mut parameters).unwrap(), "SELECT a FROM t WHERE k = '%s' AND b = 'c'");
        let names: Vec<_> = postgres(&mut parameters).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["inet:db1:5433", "unix:/run/pg", "[::1]:1", "postgresql://h/d"]);
        parameters.end().unwrap();
        for text in ["hosts = a:b", "hosts = :5", "hosts = [::1"] {
            assert!(postgres(&mut Parameters::parse(text).unwrap()).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        /// Whatever the key, a PostgreSQL statement has as many quotes as keep its literals apart, and what is between
        /// the outer ones is the key.
        #[test]
        fn no_key_ends_its_literal(key in "['\\\\a-c@;\\-\\PC]{1,30}") {
            let (statement, _) = filled(Engine::Postgres, "SELECT '%s' AS x", &key).unwrap();
            let inside = statement.trim_start_matches("SELECT ").trim_start().trim_start_matches('E');
            let inside = inside.strip_prefix('\'').and_then(|rest| rest.strip_suffix("' AS x")).unwrap();
            proptest::prop_assert_eq!(literal_end(&format!("{inside}' AS x"), "'"), Some(inside.len()));
            proptest::prop_assert_eq!(inside.replace("''", "'").replace("\\\\", "\\"), key);
        }
    }
}
