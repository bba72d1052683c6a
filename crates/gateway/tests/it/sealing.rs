//! ARC: what gatepost seals as it passes it on, another verifier finds whole.

use crate::rig::*;

const CLIENT: &str = "192.0.2.1";

#[test]
fn what_is_passed_on_is_sealed_and_the_chain_verifies() {
    if !needs(&["unbound"]) {
        return;
    }
    let keys = folder();
    let place = keys.path().to_str().expect("a plain path");
    let output = run(&["dkim", "new", "example.org", "--selector", "seal", "--folder", place], b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let from = printed.find("[[signing.key]]").expect("configuration");
    let key = printed[from..].split("\n\n").next().expect("a block");
    let record: String = printed[..from].split('"').skip(1).step_by(2).collect();
    let records = [
        txt("seal._domainkey.example.org", &record),
        txt("author.test", "v=spf1 ip4:192.0.2.1 -all"),
        txt("_dmarc.author.test", "v=DMARC1; p=reject"),
    ];
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let (dns, sink) = (Dns::start(&["example.org", "author.test"], &records), Sink::start());
    let sealing = |next_hop, more: &str| {
        Setup::to(next_hop)
            .globally("domains = ['example.org', 'example.test']")
            .listening("xclient_from = ['127.0.0.0/8']")
            .with(&dns.config())
            .with(&format!("[checks.arc]\nseal = 'example.org'\n{more}\n{key}"))
            .start()
    };
    let verdict = |mail: &[u8]| {
        let output = run(&["auth", "--resolver", &dns.address.to_string(), "-"], mail);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let send = |gatepost: &Gatepost, client: &str, content: &str| {
        let mut dialog = gatepost.connect();
        dialog.greet();
        dialog.say(&format!("XCLIENT ADDR={client} NAME=client.test"), "220");
        dialog.say("EHLO client.test", "250");
        dialog.message("a@author.test", &["user@example.test"], content)
    };
    let first = sealing(sink.address, "");
    let letter = "From: <a@author.test>\nTo: <user@example.test>\nSubject: letter\n\nText.  \n\n.dot\n\n";
    assert_eq!(send(&first, CLIENT, letter).code, 250);
    let sealed = sink.wait_received(1).remove(0);
    let sets = |mail: &Received| mail.text().matches("ARC-Seal: ").count();
    assert_eq!(sets(&sealed), 1, "{}", sealed.text());
    let found = sealed.header("ARC-Authentication-Results").unwrap_or_default();
    assert!(found.starts_with("i=1; gatepost.test;") && found.contains("dmarc=pass"), "{found}");
    assert!(verdict(&sealed.content).contains("arc=pass"), "{}\n{}", verdict(&sealed.content), sealed.text());
    // The next hop over, the chain goes on; whoever trusts the seal does not refuse what SPF no longer proves.
    let second = sealing(sink.address, "trusted = ['example.org']");
    assert_eq!(send(&second, "198.51.100.7", &sealed.text()).code, 250);
    let again = sink.wait_received(2).remove(1);
    assert_eq!(sets(&again), 2, "{}", again.text());
    assert!(verdict(&again.content).contains("arc=pass"), "{}\n{}", verdict(&again.content), again.text());
    // A changed message breaks it: that is sealed once (RFC 8617 section 5.1.2), and then it is not continued.
    let changed = again.text().replace("Subject: letter", "Subject: changed");
    assert!(verdict(changed.as_bytes()).contains("arc=fail"), "{}", verdict(changed.as_bytes()));
    assert_eq!(send(&second, CLIENT, &changed).code, 250);
    let broken = sink.wait_received(3).remove(2);
    assert_eq!(sets(&broken), 3, "{}", broken.text());
    assert!(broken.header("ARC-Seal").is_some_and(|seal| seal.contains("cv=fail;")), "{}", broken.text());
    assert!(verdict(&broken.content).contains("arc=fail"), "{}", verdict(&broken.content));
    assert_eq!(send(&second, CLIENT, &broken.text()).code, 250);
    let still = sink.wait_received(4).remove(3);
    assert_eq!(sets(&still), 3, "{}", still.text());
}
