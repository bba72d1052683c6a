//! One message on its way from the incoming queue to the outgoing one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use gatepost_mail::{
    Address, Cause, Envelope, Fault, HeaderChange, Headers, Mail, OnFault, Parameters, Place, Protocol,
    Recipient, Reply, Session, Tls,
};
use gatepost_wire::sendmail_queue::{Among, ControlFile, QueuedRecipient};
use gatepost_wire::smtp::StrayReport;

use super::files::{self, Decided, Folder, NotTaken, Taken};
use super::{Between, End, blocking};
use crate::pipeline::{Arrival, Carrier, Shipment};
use crate::verdict::Answers;

/// Takes, judges and moves one message.
pub(super) async fn judge(between: &Between, id: String) -> End {
    let name = &between.queue.name;
    let began = Instant::now();
    let (incoming, outgoing) = (Folder::new(&between.queue.incoming), Folder::new(&between.queue.outgoing));
    let marking = outgoing.clone();
    let (front, taking) = (between.front.clone(), id.clone());
    let limit = front.limits.message_size.bytes();
    let taken = blocking(move || {
        let mut taken = Taken::take(&incoming, &taking)?;
        let size = taken.body_size()?;
        if size > limit {
            let reason = format!("its {size} bytes are more than limits.message_size = {limit}");
            return Err(NotTaken::Later(reason));
        }
        let message = taken.message(&front.spool, front.limits.memory.bytes())?;
        let Some(envelope) = envelope(&taken.control, message.len()) else {
            return Err(NotTaken::Damaged("a recipient has no address".into()));
        };
        // Before it is judged: while the outgoing folder is away it need not be.
        let mark = marking.mark()?;
        Ok((taken, envelope, message, mark))
    });
    let (taken, envelope, raw, mark) = match taken.await {
        Ok(Ok(taken)) => taken,
        Ok(Err(NotTaken::Busy)) => return End::Busy,
        Ok(Err(NotTaken::Later(reason))) => return later(name, &id, &reason),
        Ok(Err(NotTaken::Damaged(reason))) => return lose(between, id, reason).await,
        Err(error) => return later(name, &id, &error.to_string()),
    };
    let arrival = arrival(between, &taken, envelope, raw, began).await;
    let mut hand = Hand::new(taken, outgoing);
    let conclusion = between.front.pipeline.process(arrival, &mut hand).await;
    let Hand { taken, outgoing, unfit, .. } = hand;
    if conclusion.one.is_positive() {
        let moved = blocking(move || {
            let goes_out = !hand.onward.is_empty();
            hand_over(&taken, &outgoing, goes_out.then_some(mark.as_str()))
        });
        return match moved.await.map_err(std::io::Error::other).flatten() {
            Ok(()) => End::Gone,
            Err(error) => later(name, &id, &error.to_string()),
        };
    }
    // It ends with the lock: whoever puts the message aside takes it anew.
    let withdrawn = blocking(move || taken.withdraw(&outgoing)).await;
    if let Err(error) = withdrawn.map_err(std::io::Error::other).flatten() {
        tracing::warn!(queue = name, id, %error, "what was prepared stays in the outgoing folder");
    }
    match unfit {
        Some(reason) => lose(between, id, reason).await,
        None => later(name, &id, &conclusion.one.to_string()),
    }
}

/// Ends what was decided already.
pub(super) async fn finish(between: &Between, decided: Decided) -> End {
    let (incoming, outgoing) = (Folder::new(&between.queue.incoming), Folder::new(&between.queue.outgoing));
    let id = decided.id.clone();
    let finished = blocking(move || files::finish(&incoming, &outgoing, &decided)).await;
    match finished.map_err(std::io::Error::other).flatten() {
        Ok(true) => {
            tracing::info!(queue = between.queue.name, id, "finished what was decided before");
            End::Gone
        }
        Ok(false) => End::Busy,
        Err(error) => {
            tracing::error!(queue = between.queue.name, id, %error, "what was decided cannot be finished; all is left as it is");
            End::Later
        }
    }
}

/// The answer was positive: the message is in the outgoing folder, ready, or in the vault, or thrown away as configured.
/// `mark`: that of the outgoing folder, if something goes out.
fn hand_over(taken: &Taken, outgoing: &Folder, mark: Option<&str>) -> std::io::Result<()> {
    if mark.is_none() {
        // What a killed process has prepared must not go out now.
        taken.withdraw(outgoing)?;
    }
    let decided = taken.decide(mark.map(|mark| (outgoing, mark)))?;
    taken.finish(outgoing, &decided)
}

fn later(queue: &str, id: &str, reason: &str) -> End {
    tracing::warn!(queue, id, reason, "stays in the incoming queue for now");
    End::Later
}

async fn lose(between: &Between, id: String, reason: String) -> End {
    let (incoming, name) = (Folder::new(&between.queue.incoming), &between.queue.name);
    let losing = id.clone();
    match blocking(move || Taken::lose(&incoming, &losing)).await.map_err(std::io::Error::other).flatten() {
        Ok(()) => {
            tracing::error!(queue = name, id, reason, "damaged, put aside as Qf{id}: look at it by hand");
            End::Gone
        }
        Err(error) => later(name, &id, &format!("{reason}, and cannot be put aside: {error}")),
    }
}

async fn arrival(
    between: &Between,
    taken: &Taken,
    envelope: Envelope,
    raw: Bytes,
    began: Instant,
) -> Arrival {
    let front = &between.front;
    let mut session = session(&taken.control);
    session.listener.clone_from(&between.queue.name);
    front.direct(&mut session, &envelope.recipients);
    let mut early = front.pipeline.checks.envelope(&session, &envelope).await;
    early.faults.extend(misread(&taken.control, &raw));
    Arrival {
        session,
        envelope,
        raw,
        stray: StrayReport { bare_cr: taken.stray, ..StrayReport::default() },
        unmended: None,
        early,
        answers: Answers::OneCopy,
        after_queue: true,
        receiving: began.elapsed(),
    }
}

/// Where the header that is read ends elsewhere than the one in the control file, as by a line that is no field, edits
/// would be made in the wrong places, and trying again would change nothing: somebody has to look at it.
fn misread(control: &ControlFile, raw: &Bytes) -> Option<Fault> {
    let (read, stored) = (Headers::parse(raw.clone()).0.raw.len(), control.header().len());
    (read != stored).then(|| Fault {
        check: "queue".into(),
        cause: Cause::Limit,
        detail: format!("its header ends after {read} bytes, but in the control file after {stored}"),
        answer: OnFault::Quarantine,
    })
}

/// Who brought it, as the macros tell that Sendmail saves with each message.
fn session(control: &ControlFile) -> Session {
    let (client, client_name) = control.client();
    let with = control.macro_value("r").unwrap_or_default().to_ascii_uppercase();
    let protocol = match with.as_str() {
        "" => Protocol::Local,
        with if with.starts_with("ESMTP") => Protocol::Esmtp,
        with if with.starts_with("LMTP") => Protocol::Lmtp,
        _ => Protocol::Smtp,
    };
    let sender = || control.auth().filter(|auth| auth != "<>").unwrap_or_else(|| "unknown".into());
    let user = control.macro_value("{auth_authen}").or_else(|| match protocol {
        // A local program: its user is known to the system.
        Protocol::Local if client.is_none() => Some(sender()),
        // RFC 3848: `with` ends in A after authentication.
        _ if with.len() > 5 && with.ends_with('A') => Some(sender()),
        _ => None,
    });
    let tls = control
        .macro_value("{tls_version}")
        .map(|version| Tls { version, cipher: control.macro_value("{cipher}").unwrap_or_default() });
    let helo = control.macro_value("s").unwrap_or_default();
    Session { client, client_name, helo, protocol, tls, user, ..Session::default() }
}

/// None where a recipient has no address.
fn envelope(control: &ControlFile, size: usize) -> Option<Envelope> {
    let flags = control.flags();
    let mut other = Vec::new();
    if flags.contains('d') {
        other.push(format!("RET={}", if flags.contains('n') { "HDRS" } else { "FULL" }));
    }
    other.extend(control.envelope_id().map(|id| format!("ENVID={id}")));
    Some(Envelope {
        sender: Address::new(&control.sender()),
        parameters: Parameters {
            size: size.try_into().ok(),
            eight_bit: control.body_type().is_some_and(|body| body.eq_ignore_ascii_case("8BITMIME")),
            smtputf8: flags.contains('e'),
            other,
            ..Parameters::default()
        },
        recipients: control.recipients().iter().map(recipient).collect::<Option<_>>()?,
    })
}

fn recipient(queued: &QueuedRecipient) -> Option<Recipient> {
    let notify = queued.notify().map(|notify| format!("NOTIFY={notify}"));
    let original = queued.original.as_ref().map(|original| format!("ORCPT={original}"));
    let parameters = notify.into_iter().chain(original).collect();
    Some(Recipient { address: Address::new(&queued.address)?, parameters })
}

/// Puts the message into the outgoing folder, for those who are to get it. What it answers stands only once the whole is
/// decided; until then the message is in the incoming queue.
struct Hand {
    taken: Arc<Taken>,
    outgoing: Folder,
    /// Places of recipients, with what is put behind their local parts.
    onward: BTreeMap<usize, Option<String>>,
    /// Why the edits cannot be made in this control file, now or later.
    unfit: Option<String>,
}

impl Hand {
    fn new(taken: Taken, outgoing: Folder) -> Hand {
        Hand { taken: Arc::new(taken), outgoing, onward: BTreeMap::new(), unfit: None }
    }

    /// The control file and, where it changes, the body that these edits come to.
    fn edited(&self, shipment: &Shipment<'_>) -> Result<(ControlFile, Option<Vec<Bytes>>), String> {
        let mut control = self.taken.control.clone();
        let changes = gatepost_mail::changes(&shipment.mail.message, shipment.edits);
        let header = control.header().len();
        if shipment.mail.message.headers.raw.len() != header {
            return Err("its header is read in another way than it stands in the control file".into());
        }
        // Added fields keep their order: each goes behind those added before.
        let mut top = 0;
        for change in &changes.headers {
            let done = match change {
                HeaderChange::Change { name, nth, value } => control.change_field(name, *nth, value),
                HeaderChange::Remove { name, nth } => control.remove_field(name, *nth),
                HeaderChange::Insert { place, name, value } => {
                    let among = if *place == Place::Top { Among::First(top) } else { Among::Last };
                    top += usize::from(*place == Place::Top);
                    control.insert_field(among, name, value);
                    true
                }
            };
            if !done {
                return Err(format!("its control file has no field for {change:?}"));
            }
        }
        let changed = |place| {
            let extension = self.onward.get(&place)?.as_ref()?;
            let recipient = shipment.mail.envelope.recipients.get(place)?;
            Some(recipient.address.with_extension(extension).to_string())
        };
        control.change_recipients(changed);
        control.keep_recipients(|place| self.onward.contains_key(&place));
        let body = changes.body.or_else(|| self.mended(shipment.mail, header));
        Ok((control, body))
    }

    fn mended(&self, mail: &Mail, header: usize) -> Option<Vec<Bytes>> {
        let raw = &mail.message.raw;
        self.taken.body_mended().then(|| vec![raw.slice((header + 2).min(raw.len())..)])
    }
}

impl Carrier for Hand {
    fn name(&self) -> String {
        "queue".into()
    }

    fn carry<'a>(&'a mut self, shipment: Shipment<'a>) -> BoxFuture<'a, Vec<Reply>> {
        let extension = shipment.extension.map(str::to_owned);
        self.onward.extend(shipment.recipients.iter().map(|&place| (place, extension.clone())));
        let edited = self.edited(&shipment);
        Box::pin(async move {
            let (control, body) = match edited {
                Ok(edited) => edited,
                Err(reason) => {
                    self.onward.clear();
                    let reply = Reply::new(554, "5.6.0", reason.clone());
                    self.unfit = Some(reason);
                    return vec![reply];
                }
            };
            let (taken, outgoing) = (self.taken.clone(), self.outgoing.clone());
            let prepared = blocking(move || taken.prepare(&outgoing, &control, body.as_deref())).await;
            match prepared.map_err(std::io::Error::other).flatten() {
                Ok(()) => vec![Reply::new(250, "2.0.0", format!("Queued as {}", self.taken.id))],
                Err(error) => vec![self.failed(&error.to_string())],
            }
        })
    }
}

impl Hand {
    fn failed(&self, reason: &str) -> Reply {
        tracing::error!(id = self.taken.id, reason, "cannot be put into the outgoing queue");
        Reply::new(451, "4.3.0", "Cannot be put into the outgoing queue now")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(records: &str) -> ControlFile {
        ControlFile::parse(format!("V8\n{records}\n.\n").as_bytes()).unwrap()
    }

    #[test]
    fn sessions_are_what_the_macros_tell() {
        let rest = "S<a@b.test>\nRPFD:<c@d.test>";
        for (macros, client, helo, protocol, user) in [
            (
                "$_mx.a.test [192.0.2.7]\n$rESMTP\n$smx.a.test",
                "192.0.2.7",
                "mx.a.test",
                Protocol::Esmtp,
                None,
            ),
            ("$_[192.0.2.7]\n$rSMTP\n$sx", "192.0.2.7", "x", Protocol::Smtp, None),
            ("$_[192.0.2.7]\n$rESMTPS\n$sx", "192.0.2.7", "x", Protocol::Esmtp, None),
            ("$_[192.0.2.7]\n$rESMTPSA\n$sx", "192.0.2.7", "x", Protocol::Esmtp, Some("unknown")),
            (
                "$_[192.0.2.7]\n$rESMTPA\n$sx\nAjoe@b.test",
                "192.0.2.7",
                "x",
                Protocol::Esmtp,
                Some("joe@b.test"),
            ),
            (
                "$_[192.0.2.7]\n$rESMTPA\n${auth_authen}joe\nA<>",
                "192.0.2.7",
                "",
                Protocol::Esmtp,
                Some("joe"),
            ),
            // AUTH= of somebody who has not authenticated is only said.
            ("$_[192.0.2.7]\n$rESMTP\nAjoe@b.test", "192.0.2.7", "", Protocol::Esmtp, None),
            ("$_[192.0.2.7]\n$rLMTP", "192.0.2.7", "", Protocol::Lmtp, None),
            ("$_root@localhost\nAroot@b.test", "", "", Protocol::Local, Some("root@b.test")),
        ] {
            let session = session(&control(&format!("{macros}\n{rest}")));
            assert_eq!(session.client, client.parse().ok(), "{macros}");
            assert_eq!((session.helo.as_str(), session.protocol), (helo, protocol), "{macros}");
            assert_eq!(session.user.as_deref(), user, "{macros}");
        }
        let session = session(&control("${tls_version}TLSv1.3\n${cipher}X\nS<a@b.test>\nRPFD:<c@d.test>"));
        assert_eq!(session.tls, Some(Tls { version: "TLSv1.3".into(), cipher: "X".into() }));
    }

    #[test]
    fn envelopes_keep_what_was_asked_for() {
        let records = "B8BITMIME\nF8dne\nS<>\nZabc\nQrfc822;x@y\nRPNS:<c@d.test>\nRPFD:<e@d.test>";
        let envelope = envelope(&control(records), 100).unwrap();
        assert!(envelope.sender.is_none());
        let parameters = &envelope.parameters;
        assert_eq!((parameters.size, parameters.eight_bit, parameters.smtputf8), (Some(100), true, true));
        assert_eq!(parameters.other, ["RET=HDRS", "ENVID=abc"]);
        assert_eq!(envelope.recipients[0].parameters, ["NOTIFY=SUCCESS", "ORCPT=rfc822;x@y"]);
        assert_eq!(envelope.recipients[1].parameters, Vec::<String>::new());
        assert_eq!(envelope.recipients[1].address.to_string(), "e@d.test");
        assert!(super::envelope(&control("S<a@b>\nRPFD:<>"), 1).is_none());
    }

    /// A line that is no field, at the end of the header, counts for the reader as body.
    #[test]
    fn a_header_that_ends_elsewhere_is_held() {
        for (fields, misread) in [
            ("H??Subject: x", false),
            ("H??Subject: x\nH??no field", true),
            ("H??no field\nH??Subject: x\nH??To: y", false),
            ("H??Subject: x\nH??\nH??To: y", true),
        ] {
            let control = control(&format!("S<a@b.test>\nRPFD:<c@d.test>\n{fields}"));
            let raw = Bytes::from([&control.header()[..], b"\r\nbody\r\n"].concat());
            let fault = super::misread(&control, &raw);
            assert_eq!(fault.map(|fault| fault.answer), misread.then_some(OnFault::Quarantine), "{fields}");
        }
    }

    fn shipment<'a>(mail: &'a Mail, recipients: &'a [usize], extension: Option<&'a str>) -> Shipment<'a> {
        Shipment { mail, recipients, extension, edits: &[], needs_body: false }
    }

    /// A message between two folders, with this control file.
    fn hand(folder: &std::path::Path, records: &str) -> (Hand, Mail) {
        let path = |name: &str| folder.join(name);
        std::fs::write(path("qfA1"), format!("V8\n{records}\n.\n")).unwrap();
        std::fs::write(path("dfA1"), "body\n").unwrap();
        std::fs::create_dir(path("out")).unwrap();
        let Ok(mut taken) = Taken::take(&Folder::new(folder), "A1") else { panic!("it is free") };
        let raw = taken.message(folder, 1 << 20).unwrap();
        let envelope = envelope(&taken.control, raw.len()).unwrap();
        let mut budget = gatepost_mail::Budget::new(&gatepost_mail::Limits::default());
        let message = gatepost_mail::Message::read(raw, &mut budget);
        let mail = Mail { session: Session::default(), envelope, message };
        (Hand::new(taken, Folder::new(&path("out"))), mail)
    }

    /// What cannot be edited is answered for good, so that it is put aside and not tried for ever.
    #[tokio::test]
    async fn what_cannot_be_edited_is_not_put_off() {
        let folder = tempfile::tempdir().unwrap();
        let (mut hand, mail) =
            hand(folder.path(), "S<a@b.test>\nRPFD:<c@d.test>\nH??Subject: x\nH??no field");
        let shipment = shipment(&mail, &[0], None);
        let replies = hand.carry(shipment).await;
        assert!(replies[0].is_permanent(), "{replies:?}");
        assert!(hand.onward.is_empty() && hand.unfit.is_some());
        assert_eq!(std::fs::read_dir(folder.path().join("out")).unwrap().count(), 0);
    }

    #[test]
    fn many_recipients_take_no_long_time() {
        const MANY: usize = 60_000;
        let folder = tempfile::tempdir().unwrap();
        let recipients: Vec<String> = (0..MANY).map(|number| format!("RPFD:<u{number}@d.test>")).collect();
        let records = format!("S<a@b.test>\n{}\nH??Subject: x", recipients.join("\n"));
        let (mut hand, mail) = hand(folder.path(), &records);
        hand.onward = (0..MANY).map(|place| (place, Some("+spam".to_owned()))).collect();
        let began = Instant::now();
        let all: Vec<usize> = (0..MANY).collect();
        let shipment = shipment(&mail, &all, Some("+spam"));
        let (control, _) = hand.edited(&shipment).unwrap();
        // Some 0.2 seconds, and half a minute where each recipient is looked for among all.
        assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
        assert_eq!(control.recipients()[MANY - 1].address, format!("u{}+spam@d.test", MANY - 1));
    }
}
