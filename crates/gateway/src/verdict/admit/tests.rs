//! The lists, rule by rule.

use gatepost_mail::{Address, Cause, Fault, Finding};

use super::*;

/// Lists as in the configuration; those left out are empty.
fn restrictions(text: &str) -> Result<Restrictions, Vec<Problem>> {
    let empty = "client = []\nhelo = []\nsender = []\nrelay = []\nrecipient = []\n";
    let lists: Vec<&str> = text.lines().collect();
    let given = |line: &&str| {
        let key = line.split(' ').next().unwrap();
        !lists.iter().any(|own| own.split(' ').next() == Some(key))
    };
    let rest = empty.lines().filter(given).collect::<Vec<_>>().join("\n");
    let text = format!(
        "domains = ['example.org', '.sub.example.org']\nnetworks = ['10.0.0.0/8', '2001:db8:1::/48']\n\
         [restrictions]\nshow_id = false\n{rest}\n{text}\n"
    );
    let symbols = ["DNSBL_ZEN", "DNSBL_ZEN_2", "DNSWL_GOOD", "LOCAL_X", "X", "Y", "SENDER_NOT_FQDN"];
    Restrictions::build(&toml::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}")), &symbols)
}

/// A request: client, user, sender, recipient, symbols and faults.
struct Case<'a> {
    client: &'a str,
    user: Option<&'a str>,
    sender: &'a str,
    recipient: &'a str,
    /// `SYMBOL`, `SYMBOL=evidence`, `!check` for a fault.
    found: &'a str,
    access: Vec<Hit>,
    asked: &'a [&'static str],
}

const OUTSIDE: Case = Case {
    client: "198.51.100.1",
    user: None,
    sender: "a@elsewhere.test",
    recipient: "b@example.org",
    found: "",
    access: Vec::new(),
    asked: &[],
};

impl Case<'_> {
    fn step(&self, restrictions: &Restrictions) -> Step {
        let session = Session {
            client: Some(self.client.parse().unwrap()),
            user: self.user.map(str::to_owned),
            helo: "helo.test".into(),
            listener: "smtp".into(),
            ..Session::default()
        };
        let mut findings = Vec::new();
        let mut faults = Vec::new();
        for word in self.found.split_whitespace() {
            let (name, evidence) = word.split_once('=').unwrap_or((word, ""));
            match name.strip_prefix('!') {
                Some(check) => faults.push(Fault {
                    check: check.into(),
                    cause: Cause::Timeout,
                    detail: "late".into(),
                    answer: OnFault::Accept,
                }),
                None => findings.push(Finding::mail(name.to_owned(), evidence)),
            }
        }
        let recipient = Address::new(self.recipient).map(Recipient::from);
        restrictions.admit(Request {
            stage: if recipient.is_some() { Stage::Recipient } else { Stage::Sender },
            session: &session,
            sender: self.sender,
            recipient: recipient.as_ref(),
            findings: &findings,
            faults: &faults,
            access: &self.access,
            asked: self.asked,
        })
    }

    /// The reply, `ask CHECK`, or nothing.
    fn told(&self, lists: &str) -> String {
        let restrictions = restrictions(lists).unwrap_or_else(|problems| panic!("{lists}: {problems:?}"));
        match self.step(&restrictions) {
            Step::Ask(check) => format!("ask {check}"),
            Step::Decided(admission) => admission.refusal.map(|reply| reply.to_string()).unwrap_or_default(),
        }
    }
}

#[test]
fn first_match_decides_its_list_and_all_lists_must_permit() {
    let cases = [
        ("recipient = ['permit', 'reject']", "", ""),
        ("recipient = ['reject']", "", "554 5.7.1 Access denied"),
        ("client = ['permit']\nrecipient = ['defer']", "", "450 4.7.1 Access denied, try again later"),
        (
            "sender = ['reject_non_fqdn_sender']\nrecipient = ['permit']",
            "SENDER_NOT_FQDN",
            "504 5.5.2 <a@elsewhere.test>: Sender address rejected: need fully-qualified address",
        ),
        ("sender = ['permit_symbol X', 'reject_symbol SENDER_NOT_FQDN']", "X SENDER_NOT_FQDN", ""),
        (
            "client = ['reject_rbl_client zen']",
            "DNSBL_ZEN=bad",
            "554 5.7.1 Service unavailable; Client host [198.51.100.1] blocked: bad",
        ),
        ("client = ['reject_rbl_client zen-2']", "DNSBL_ZEN=bad", ""),
        ("client = ['permit_dnswl_client good', 'reject_rbl_client zen']", "DNSBL_ZEN DNSWL_GOOD", ""),
        ("client = ['warn_if_reject reject_rbl_client zen']", "DNSBL_ZEN", ""),
        ("recipient = ['reject_spf_fail']", "SPF_FAIL=no", "550 5.7.23 SPF: no"),
    ];
    for (lists, found, reply) in cases {
        assert_eq!(Case { found, ..OUTSIDE }.told(lists), reply, "{lists}");
    }
}

#[test]
fn who_may_relay() {
    let relay = "relay = ['permit_mynetworks', 'permit_sasl_authenticated', 'reject_unauth_destination']";
    let outside = ("198.51.100.1", None);
    let six = ("2001:db8:2::1", None);
    for ((client, user), recipient, taken) in [
        (outside, "b@example.org", true),
        (outside, "b@Example.ORG", true),
        (outside, "b@x.sub.example.org", true),
        (outside, "postmaster", true),
        (outside, "Postmaster@elsewhere.test", false),
        (outside, "b@elsewhere.test", false),
        (outside, "b@sub.example.org", false),
        (outside, "b@notexample.org", false),
        (outside, "b", false),
        (outside, "b%elsewhere.test@example.org", false),
        (outside, "elsewhere.test!b@example.org", false),
        (outside, "b@elsewhere.test@example.org", false),
        (outside, "\"b@elsewhere.test\"@example.org", false),
        (outside, "\"b%elsewhere.test\"@example.org", false),
        (outside, "\"elsewhere.test!b\"@example.org", false),
        (outside, "@elsewhere.test:b@example.org", false),
        (outside, "b@[127.0.0.1]", false),
        (six, "b@elsewhere.test", false),
        (six, "b@example.org", true),
        (("10.1.2.3", None), "b@elsewhere.test", true),
        (("2001:db8:1::9", None), "b@elsewhere.test", true),
        (("198.51.100.1", Some("alice")), "b@elsewhere.test", true),
    ] {
        let told = Case { client, user, recipient, ..OUTSIDE }.told(relay);
        let expected =
            if taken { String::new() } else { format!("554 5.7.1 <{recipient}>: Relay access denied") };
        assert_eq!(told, expected, "{client} {user:?}");
    }
}

#[test]
fn what_is_late_is_asked_only_if_nothing_refuses() {
    let lists = "recipient = ['greylist', 'reject_unverified_recipient', 'reject_non_fqdn_recipient']";
    let told = |found, asked| Case { found, asked, ..OUTSIDE }.told(lists);
    assert!(told("RCPT_NOT_FQDN", &[]).starts_with("504"));
    assert_eq!(told("", &[]), "ask greylist");
    assert_eq!(told("", &["greylist"]), "ask callahead");
    assert_eq!(told("", &["greylist", "callahead"]), "");
    let greylisted = told("GREYLISTED=Greylisted", &["greylist"]);
    assert_eq!(greylisted, "450 4.2.0 <b@example.org>: Recipient address rejected: Greylisted");
    let inside = "recipient = ['permit_mynetworks', 'greylist']";
    assert_eq!(Case { client: "10.0.0.1", ..OUTSIDE }.told(inside), "");
    // Before there is a recipient nothing is asked.
    assert_eq!(Case { recipient: "", ..OUTSIDE }.told(lists), "");
}

#[test]
fn what_cannot_be_looked_up_puts_off_where_that_is_wanted() {
    let rule = "sender = ['reject_unknown_sender_domain']";
    let defer = format!("on_fault = 'defer'\n{rule}\nrecipient = ['reject_non_fqdn_recipient']");
    let late = "!sender_domain";
    assert_eq!(Case { found: late, ..OUTSIDE }.told(rule), "");
    let told = Case { found: late, ..OUTSIDE }.told(&defer);
    assert!(told.starts_with("450 4.1.8 <a@elsewhere.test>: Sender address rejected"), "{told}");
    // A refusal for good saves its coming again.
    let told = Case { found: "!sender_domain RCPT_NOT_FQDN", ..OUTSIDE }.told(&defer);
    assert!(told.starts_with("504 5.5.2"), "{told}");
}

#[test]
fn access_maps_decide_by_what_they_say() {
    let rule = "check_sender_access inline:{}";
    let text = Some("Go away".to_owned());
    let lists = format!("sender = ['{rule}', 'reject']");
    let denied = "554 5.7.1 <a@elsewhere.test>: Sender address rejected: Access denied";
    for (access, reply) in [
        (Access::Ok, ""),
        (Access::Relay, ""),
        (Access::Dunno, "554 5.7.1 Access denied"),
        (Access::Reject(None), denied),
        (Access::Reject(text.clone()), "554 5.7.1 Go away"),
        (Access::Defer(text.clone()), "450 4.7.1 Go away"),
        (Access::DeferIfPermit(text.clone()), "554 5.7.1 Access denied"),
        (Access::DeferIfReject(Some("4.3.2 Later".into())), "450 4.3.2 Later"),
        (Access::Reply(Reply::new(550, "5.1.1", "User unknown")), "550 5.1.1 User unknown"),
        (Access::Warn(text), "554 5.7.1 Access denied"),
    ] {
        let hit = Hit { rule: rule.into(), key: "elsewhere.test".into(), access, place: None };
        let shown = format!("{hit:?}");
        assert_eq!(Case { access: vec![hit], ..OUTSIDE }.told(&lists), reply, "{shown}");
    }
    let restrictions =
        restrictions(&format!("sender = ['{rule}']\nrelay = ['{rule}', 'reject']")).ok().unwrap();
    for (access, action, refused) in [
        (Access::Discard(None), Some(Action::Discard), true),
        (Access::Ok, None, true),
        (Access::Relay, None, false),
    ] {
        let hit = Hit { rule: rule.into(), key: "k".into(), access, place: None };
        let Step::Decided(admission) = (Case { access: vec![hit], ..OUTSIDE }).step(&restrictions) else {
            panic!()
        };
        assert_eq!((admission.action, admission.refusal.is_some()), (action, refused));
    }
}

#[test]
fn what_is_wrong_in_a_list_is_told_with_its_place() {
    for (lists, key, part) in [
        (
            "client = ['permit', 'reject_rbl_clien x']",
            "restrictions.client[1]",
            "the nearest is reject_rbl_client",
        ),
        ("helo = ['reject_rbl_client']", "restrictions.helo[0]", "needs one name"),
        ("recipient = ['permit_mynetworks x']", "restrictions.recipient[0]", "takes no argument"),
        ("sender = ['check_sender_access /etc/x']", "restrictions.sender[0]", "needs a map"),
    ] {
        let problems = restrictions(lists).err().unwrap();
        assert!(problems[0].key == key && problems[0].message.contains(part), "{problems:?}");
    }
}

#[test]
fn rates_are_asked_last_and_of_everybody() {
    let rate = "[[protection.rate]]\nmessages = 1";
    let mine = "recipient = ['permit_mynetworks', 'greylist']";
    let own = "recipient = ['permit_mynetworks', 'limit_rates']";
    let dry = "recipient = ['warn_if_reject limit_rates']";
    let over = "RATE_EXCEEDED=x";
    let slow = "restrictions.on_fault = 'defer'";
    let ours = Case { client: "10.0.0.1", ..OUTSIDE };
    for (case, lists, found, asked, expected) in [
        (&OUTSIDE, format!("{mine}\n{rate}"), "", &[][..], "ask greylist"),
        (&OUTSIDE, format!("{mine}\n{rate}"), "", &["greylist"], "ask rates"),
        (&OUTSIDE, format!("{mine}\n{rate}"), "", &["greylist", "rates"], ""),
        (&OUTSIDE, format!("{mine}\n{rate}"), "GREYLISTED", &["greylist"], "450 4.2.0 "),
        (&ours, format!("{mine}\n{rate}"), "", &[], "ask rates"),
        (&ours, format!("{mine}\n{rate}"), over, &["rates"], "450 4.7.1 Too much mail"),
        (&ours, mine.to_owned(), "", &[], ""),
        (&OUTSIDE, format!("recipient = ['reject']\n{rate}"), "", &[], "554 "),
        // A list that names it says for whom.
        (&ours, format!("{own}\n{rate}"), "", &[], ""),
        (&OUTSIDE, format!("{own}\n{rate}"), "", &[], "ask rates"),
        (&OUTSIDE, format!("{dry}\n{rate}"), over, &["rates"], ""),
        // What is put off counts on no rate.
        (
            &OUTSIDE,
            format!(
                "{}\nsender = ['reject_unknown_sender_domain']\n{rate}",
                slow.replace("restrictions.", "")
            ),
            "!sender_domain",
            &[],
            "450 4.1.8 ",
        ),
    ] {
        let case = Case { found, asked, access: Vec::new(), ..*case };
        let told = case.told(&lists);
        assert!(told.starts_with(expected) && told.is_empty() == expected.is_empty(), "{lists}: {told}");
    }
}

#[test]
fn what_goes_by_nothing_that_is_configured_is_a_mistake() {
    for (rule, wrong) in [
        (
            "reject_rbl_client zne",
            "no list \"zne\" is configured that finds DNSBL_…; the nearest is DNSBL_ZEN",
        ),
        ("permit_dnswl_client none", "goes by DNSWL_NONE"),
        ("warn_if_reject reject_local_list z", "goes by LOCAL_Z"),
        ("reject_symbol NO_SUCH", "there is no symbol NO_SUCH"),
        ("reject_symbol DNSBL_NONE", "there is no symbol DNSBL_NONE"),
    ] {
        let problems = restrictions(&format!("client = ['permit_mynetworks', '{rule}']")).err().unwrap();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].key, "restrictions.client[1]");
        assert!(problems[0].message.contains(wrong), "{}", problems[0].message);
    }
}

#[test]
fn a_table_that_has_not_answered_is_not_one_that_knows_nothing() {
    let rule = "check_sender_access ldap:/etc/senders.cf";
    let waiting = |answer| {
        let restrictions = restrictions(&format!("sender = ['{rule}']")).ok().unwrap();
        let session =
            Session { client: "198.51.100.1".parse().ok(), listener: "smtp".into(), ..Session::default() };
        let check = "access:ldap:/etc/senders.cf".into();
        let faults = [Fault { check, cause: Cause::Timeout, detail: "no result yet".into(), answer }];
        let recipient = Recipient::from(Address::new("b@example.org").unwrap());
        let request = Request {
            stage: Stage::Recipient,
            session: &session,
            sender: "a@elsewhere.test",
            recipient: Some(&recipient),
            findings: &[],
            faults: &faults,
            access: &[],
            asked: &[],
        };
        match restrictions.admit(request) {
            Step::Decided(admission) => admission.refusal.map(|reply| reply.to_string()),
            step => panic!("{step:?}"),
        }
    };
    assert_eq!(waiting(OnFault::Accept), None);
    let told = waiting(OnFault::Defer).expect("put off");
    assert_eq!(told, "450 4.3.0 <a@elsewhere.test>: Temporary lookup failure");
}

#[test]
fn whoever_has_not_logged_in_is_nobody_where_users_do() {
    let build = |auth: bool| {
        let text = format!(
            "domains = ['example.org']\n[[listener]]\noriginating = true\nauth = {auth}\nauth_without_tls = {auth}\n\
             next_hop = ['smtp://127.0.0.1:25']\n"
        );
        Restrictions::build(&toml::from_str(&text).unwrap(), &[]).ok().unwrap()
    };
    for (auth, user, via, permitted) in [
        (false, None, Via::Direct, true),
        (true, None, Via::Direct, false),
        (true, Some("alice"), Via::Direct, true),
        // Our own mail server, which asks about what it has taken, has decided about that already.
        (true, None, Via::Xforward, true),
    ] {
        let session = Session {
            client: "198.51.100.1".parse().ok(),
            user: user.map(str::to_owned),
            direction: Direction::Outbound,
            listener: "smtp".into(),
            helo: "client.test".into(),
            via,
            ..Session::default()
        };
        let recipient = Recipient::from(Address::new("b@elsewhere.test").unwrap());
        let request = Request {
            stage: Stage::Recipient,
            session: &session,
            sender: "a@example.org",
            recipient: Some(&recipient),
            findings: &[],
            faults: &[],
            access: &[],
            asked: &[],
        };
        let Step::Decided(admission) = build(auth).admit(request) else { panic!("something is asked") };
        assert_eq!(admission.refusal.is_none(), permitted, "{auth} {user:?} {via:?}");
    }
}
