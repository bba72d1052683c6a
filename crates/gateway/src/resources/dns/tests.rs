//! Servers as they are configured; how they are asked is tested in tests/it/dns_resolver.rs.

use super::*;

#[test]
fn servers_of_the_system() {
    for (text, expected) in [
        ("# none\n", vec!["127.0.0.1:53"]),
        ("search a.example\nnameserver 192.0.2.1\n", vec!["192.0.2.1:53"]),
        ("nameserver ::1 # local\nnameserver\t192.0.2.1\nnameserver x\n", vec!["[::1]:53", "192.0.2.1:53"]),
        (
            "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n",
            vec!["192.0.2.1:53", "192.0.2.2:53", "192.0.2.3:53"],
        ),
    ] {
        let expected: Vec<SocketAddr> = expected.iter().map(|s| s.parse().unwrap()).collect();
        assert_eq!(system_servers(text), expected, "{text:?}");
    }
}

#[test]
fn servers_of_the_configuration() {
    let config = DnsConfig {
        servers: vec!["127.0.0.1:5353".into(), "::1".into(), "dns.example".into()],
        ..DnsConfig::default()
    };
    let problems = Dns::build(&config).err().unwrap();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].key, "checks.dns.servers[2]");

    // Outside of a runtime, as a command that only reads the configuration builds it.
    let config = DnsConfig { servers: config.servers[..2].to_vec(), ..config };
    assert_eq!(
        Dns::build(&config).ok().unwrap().servers(),
        ["127.0.0.1:5353".parse().unwrap(), "[::1]:53".parse().unwrap()]
    );
}
