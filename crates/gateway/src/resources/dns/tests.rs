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

#[tokio::test]
async fn what_waits_for_its_turn_says_how_long() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let servers = vec![silent.local_addr().unwrap().to_string()];
    let config = DnsConfig { servers, at_once: 1, ..DnsConfig::default() };
    let dns = Arc::new(Dns::build(&config).ok().unwrap());
    for name in ["one.example", "two.example"] {
        let dns = dns.clone();
        tokio::spawn(async move { dns.a(name).await });
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (one, two) = (dns.waited("One.example."), dns.waited("two.example"));
    assert!(two >= Duration::from_millis(300) && one < two, "{one:?} {two:?}");
    assert_eq!(dns.waited("three.example"), Duration::ZERO);
}
