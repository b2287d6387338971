//! A case for each rule.

use std::collections::BTreeMap;

use shieldcert::CertificateId;

use super::*;
use crate::manifest::DeviceSubject;

const ZONE: &str = "[zones.main]\nid = \"00000000000000000000000000000000\"\n";

/// How long the certificates here are valid, in days. With the default policy they are due from day 57 to day 67.
const LIFETIME: i64 = 100;

/// A day of the service's calendar, which begins when the first certificate does.
fn day(day: i64) -> Timestamp {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    start + SignedDuration::from_hours(24 * day)
}

fn named(name: &str) -> DeviceName {
    name.parse().expect("a name")
}

fn device() -> Device {
    Device {
        name: named("sensor-1"),
        state: DeviceState::Present,
        subject: DeviceSubject {
            common_name: "sensor-1".to_owned(),
            ..DeviceSubject::default()
        },
        key: DeviceKey::Generated(shieldcert::KeyAlgorithm::EcdsaP256),
        validity_days: 100,
        zone: None,
        labels: Vec::new(),
        output: None,
    }
}

fn own_csr(mut device: Device) -> Device {
    device.key = DeviceKey::Csr("sensor-1.csr".into());
    device
}

/// The n-th generation. Its certificate was issued on this day, and a verified one was verified on the same day.
fn generation(number: u32, state: State, issued: i64) -> Generation {
    let has_key = state != State::Planned;
    let has_certificate = !matches!(
        state,
        State::Planned | State::Keyed | State::Sending | State::Abandoned
    );
    let certificate: Option<CertificateId> =
        has_certificate.then(|| format!("certificate-{number}").parse().expect("an id"));
    let reason = match number {
        1 => Reason::New,
        _ => Reason::Time,
    };
    let zone = "0".repeat(32).parse().expect("an id");
    Generation {
        id: i64::from(number),
        state,
        csr_sha256: has_key.then(|| format!("csr-{number}")),
        not_before: has_certificate.then(|| day(issued)),
        not_after: has_certificate.then(|| day(issued + LIFETIME)),
        certificate,
        hook_started: matches!(state, State::Deployed | State::Verified),
        verified_at: (state == State::Verified).then(|| day(issued)),
        ..Generation::planned(number, reason, zone, Spec::of(&device()))
    }
}

fn planned(number: u32) -> Generation {
    generation(number, State::Planned, 0)
}

fn verified(number: u32, issued: i64) -> Generation {
    generation(number, State::Verified, issued)
}

impl Generation {
    fn leaked(self) -> Self {
        Self {
            leaked: true,
            ..self
        }
    }

    fn with_hook(self) -> Self {
        Self {
            hook_started: true,
            ..self
        }
    }

    fn revoked_at(self, at: i64) -> Self {
        Self {
            revoke_at: Some(day(at)),
            ..self
        }
    }

    fn held(self, hold: Hold) -> Self {
        Self {
            hold: Some(hold),
            ..self
        }
    }

    fn retried(self, at: i64, hold: Hold) -> Self {
        Self {
            retry_at: Some(day(at)),
            failures: 1,
            ..self.held(hold)
        }
    }

    fn of(mut self, device: &Device) -> Self {
        self.spec = Spec::of(device);
        self
    }
}

/// A device at an instant, beside the rule that it shows.
struct Case {
    rule: &'static str,
    device: Option<Device>,
    ask: Option<Ask>,
    generations: Vec<Generation>,
    delivered: Delivered,
    policy: &'static str,
    now: Now,
}

/// A device of the manifest on day 10, by the service's clock.
fn case(rule: &'static str, generations: impl IntoIterator<Item = Generation>) -> Case {
    Case {
        rule,
        device: Some(device()),
        ask: None,
        generations: generations.into_iter().collect(),
        delivered: Delivered::NotNeeded,
        policy: "",
        now: Now {
            time: day(10),
            is_service_time: true,
        },
    }
}

impl Case {
    fn row(mut self, change: impl FnOnce(&mut Device)) -> Self {
        change(self.device.as_mut().expect("a row"));
        self
    }

    fn absent(self) -> Self {
        self.row(|device| device.state = DeviceState::Absent)
    }

    fn unmanaged(mut self) -> Self {
        self.device = None;
        self
    }

    fn asked(mut self, ask: Ask) -> Self {
        self.ask = Some(ask);
        self
    }

    fn on(mut self, at: i64) -> Self {
        self.now.time = day(at);
        self
    }

    fn by_local_clock(mut self) -> Self {
        self.now.is_service_time = false;
        self
    }

    fn policy(mut self, policy: &'static str) -> Self {
        self.policy = policy;
        self
    }

    /// The device has its key, and so had it for its generations.
    fn with_csr(mut self, delivered: Delivered) -> Self {
        self.device = self.device.map(own_csr);
        let own = own_csr(device());
        self.generations = self
            .generations
            .into_iter()
            .map(|generation| generation.of(&own))
            .collect();
        self.delivered = delivered;
        self
    }

    #[track_caller]
    fn gives(self, expected: Decision) {
        let config = Config::from_toml(&format!("{ZONE}{}", self.policy)).expect("a policy");
        let snapshot = Snapshot {
            id: Some(1),
            name: named("sensor-1"),
            device: self.device,
            ask: self.ask,
            generations: self.generations,
        };
        let decision = decide(&snapshot, &self.delivered, &config, self.now);
        assert_eq!(decision, expected, "{}", self.rule);
    }

    #[track_caller]
    fn now(self, step: Step) {
        self.gives(Decision::Now(step));
    }

    #[track_caller]
    fn waits(self, at: Option<i64>, hold: Hold) {
        self.gives(Decision::Later {
            at: at.map(day),
            hold: Some(hold),
        });
    }

    /// Nothing is to be done, and this is next.
    #[track_caller]
    fn settled(self, next: Option<Timestamp>) {
        self.gives(Decision::Settled { next });
    }
}

/// When a certificate that was issued on this day is due by the default policy.
fn due_of(issued: i64) -> Option<Timestamp> {
    let config = Config::from_toml(ZONE).expect("a policy");
    due(&named("sensor-1"), &verified(1, issued), &config.renew)
}

use RevokeReason as Why;

#[test]
fn what_has_leaked_is_revoked_before_everything_else() {
    case("leaked", [verified(1, 0).leaked()]).now(Step::Revoke(1, Why::Leaked));
    case(
        "leaked, before an open request",
        [verified(1, 0).leaked(), generation(2, State::Sending, 0)],
    )
    .now(Step::Revoke(1, Why::Leaked));
    case("leaked, and unmanaged", [verified(1, 0).leaked()])
        .unmanaged()
        .now(Step::Revoke(1, Why::Leaked));
    case("leaked, and absent", [verified(1, 0).leaked()])
        .absent()
        .now(Step::Revoke(1, Why::Leaked));
    case("leaked, by any clock", [verified(1, 0).leaked()])
        .by_local_clock()
        .now(Step::Revoke(1, Why::Leaked));
    case(
        "leaked, and its hook has started",
        [generation(1, State::Written, 0).with_hook().leaked()],
    )
    .now(Step::Revoke(1, Why::Leaked));
    let failed = || verified(1, 0).leaked().retried(11, Hold::Failed);
    case("a revocation that failed waits", [failed()]).waits(Some(11), Hold::Failed);
    case(
        "another leaked one does not wait for it",
        [failed(), verified(2, 5).leaked()],
    )
    .now(Step::Revoke(2, Why::Leaked));
    case(
        "once revoked, a new one is made",
        [generation(1, State::Revoked, 0).leaked()],
    )
    .asked(Ask::RotateNow)
    .now(Step::Begin(Reason::Leaked));
    case(
        "a leaked key without a certificate is given up",
        [generation(1, State::Keyed, 0).leaked()],
    )
    .now(Step::Abandon(1));
    case(
        "its open request is found out about, and not sent again",
        [generation(1, State::Sending, 0).leaked()],
    )
    .now(Step::Settle(1));
}

#[test]
fn an_unmanaged_device_is_left_alone() {
    for state in [
        State::Planned,
        State::Keyed,
        State::Sending,
        State::Issued,
        State::Written,
        State::Deployed,
        State::Verified,
        State::Revoked,
        State::Abandoned,
    ] {
        case("unmanaged", [generation(1, state, 0)])
            .unmanaged()
            .on(99)
            .gives(Decision::Unmanaged);
        case("a rotation needs a row", [generation(1, state, 0)])
            .unmanaged()
            .asked(Ask::Rotate)
            .on(99)
            .gives(Decision::Unmanaged);
    }
    case("an expired one", [verified(1, 0)])
        .unmanaged()
        .on(LIFETIME + 1)
        .gives(Decision::Unmanaged);
    case("an operator may revoke", [verified(1, 0)])
        .unmanaged()
        .asked(Ask::Revoke)
        .now(Step::Revoke(1, Why::Asked));
}

#[test]
fn of_an_absent_device_everything_is_revoked() {
    case("absent", [verified(1, 0)])
        .absent()
        .now(Step::Revoke(1, Why::Absent));
    case(
        "the old one, too",
        [verified(1, 0).revoked_at(50), verified(2, 5)],
    )
    .absent()
    .now(Step::Revoke(1, Why::Absent));
    case("the newest after the old ones", [verified(2, 5)])
        .absent()
        .now(Step::Revoke(2, Why::Absent));
    for state in [State::Issued, State::Written, State::Deployed] {
        case("whatever its state", [generation(1, state, 0).with_hook()])
            .absent()
            .now(Step::Revoke(1, Why::Absent));
    }
    case("by any clock", [verified(1, 0)])
        .absent()
        .by_local_clock()
        .now(Step::Revoke(1, Why::Absent));
    case("what has no certificate is given up", [planned(1)])
        .absent()
        .now(Step::Abandon(1));
    case("also with a key", [generation(1, State::Keyed, 0)])
        .absent()
        .now(Step::Abandon(1));
    case(
        "an open request is found out about, and not sent again",
        [generation(1, State::Sending, 0)],
    )
    .absent()
    .now(Step::Settle(1));
    let open = || generation(2, State::Sending, 0).retried(11, Hold::Unclear);
    case(
        "a request that can't be found out about now is waited for",
        [open()],
    )
    .absent()
    .waits(Some(11), Hold::Unclear);
    case("meanwhile the others are revoked", [verified(1, 0), open()])
        .absent()
        .now(Step::Revoke(1, Why::Absent));
    case("absent, and done", [generation(1, State::Revoked, 0)])
        .absent()
        .settled(None);
    case("absent, and never issued", []).absent().settled(None);
    case("an operator's revocation", [verified(1, 0)])
        .asked(Ask::Revoke)
        .now(Step::Revoke(1, Why::Asked));
    case(
        "no new one until somebody asks",
        [generation(1, State::Revoked, 0)],
    )
    .asked(Ask::Revoke)
    .on(99)
    .settled(None);
    case(
        "nor after a leak",
        [generation(1, State::Revoked, 0).leaked()],
    )
    .asked(Ask::RevokeNow)
    .settled(None);
    case("somebody asks", [generation(1, State::Revoked, 0)])
        .asked(Ask::Rotate)
        .now(Step::Begin(Reason::Asked));
}

#[test]
fn an_open_request_goes_before_anything_else_of_the_device() {
    let open = || generation(2, State::Sending, 0);
    case("resumed", [open()]).now(Step::Resume(2));
    case(
        "before a revocation that is due",
        [verified(1, 0).revoked_at(5), open()],
    )
    .now(Step::Resume(2));
    case("before a rotation", [verified(1, 0), open()])
        .asked(Ask::Rotate)
        .now(Step::Resume(2));
    case("before a renewal that is due", [verified(1, 0), open()])
        .on(99)
        .now(Step::Resume(2));
    case("not wanted any more: nothing is sent", [open()])
        .row(|device| device.subject.organization = Some("Acme".to_owned()))
        .now(Step::Settle(2));
    case(
        "while it waits, nothing else is sent",
        [
            verified(1, 0).revoked_at(5),
            open().retried(11, Hold::Unclear),
        ],
    )
    .asked(Ask::Rotate)
    .waits(Some(11), Hold::Unclear);
    case("its time has come", [open().retried(10, Hold::Unclear)]).now(Step::Resume(2));
}

#[test]
fn a_generation_goes_through_its_steps() {
    case("nothing is there", []).now(Step::Begin(Reason::New));
    for (state, step) in [
        (State::Planned, Step::MakeKey(2)),
        (State::Keyed, Step::Send(2)),
        (State::Issued, Step::Write(2)),
        (State::Written, Step::Deploy(2)),
        (State::Deployed, Step::Verify(2)),
    ] {
        case(state.as_str(), [generation(2, state, 0)]).now(step.clone());
        case(
            "beside the one in use",
            [verified(1, 0), generation(2, state, 0)],
        )
        .now(step);
    }
    case("in use", [verified(1, 0)]).settled(due_of(0));
}

#[test]
fn what_can_be_deployed_is_deployed_and_not_renewed() {
    let unused = || generation(2, State::Written, 5);
    case("asked for another", [verified(1, 0), unused()])
        .asked(Ask::Rotate)
        .now(Step::Deploy(2));
    case("the current one is due", [verified(1, 0), unused()])
        .on(80)
        .now(Step::Deploy(2));
    case("it is due itself", [unused()])
        .on(99)
        .now(Step::Deploy(2));
    case("the current one has expired", [verified(1, 0), unused()])
        .on(LIFETIME + 1)
        .now(Step::Deploy(2));
    case(
        "its hook fails: it waits, and no other is made",
        [
            verified(1, 0),
            unused().with_hook().retried(81, Hold::Failed),
        ],
    )
    .asked(Ask::Rotate)
    .on(80)
    .waits(Some(81), Hold::Failed);
    case(
        "a key waits for a place in the quota: no other is made",
        [
            verified(1, 0),
            generation(2, State::Keyed, 0).held(Hold::Quota),
        ],
    )
    .on(80)
    .now(Step::Send(2));
}

#[test]
fn what_has_expired_or_is_not_wanted_is_not_deployed() {
    let change = |device: &mut Device| device.validity_days = 30;
    for state in [State::Issued, State::Written] {
        case("outdated, and nothing uses it", [generation(1, state, 0)])
            .row(change)
            .now(Step::Revoke(1, Why::Outdated));
    }
    for state in [State::Issued, State::Written, State::Deployed] {
        case("expired", [generation(1, state, 0).with_hook()])
            .on(LIFETIME)
            .now(Step::Revoke(1, Why::Expired));
        case(
            "at the end of its last day",
            [generation(1, state, 0).with_hook()],
        )
        .on(LIFETIME - 1)
        .now(match state {
            State::Issued => Step::Write(1),
            State::Written => Step::Deploy(1),
            _ => Step::Verify(1),
        });
    }
    for state in [State::Planned, State::Keyed] {
        case("outdated before it was sent", [generation(1, state, 0)])
            .row(change)
            .now(Step::Abandon(1));
    }
    case(
        "given up, it is begun anew",
        [generation(1, State::Abandoned, 0)],
    )
    .row(change)
    .now(Step::Begin(Reason::New));
}

#[test]
fn what_a_device_may_use_is_not_revoked_before_a_later_one_is_verified() {
    let change = |device: &mut Device| device.validity_days = 30;
    for state in [State::Written, State::Deployed] {
        case(
            "outdated: another is made beside it",
            [generation(1, state, 0).with_hook()],
        )
        .row(change)
        .now(Step::Begin(Reason::ValidityChanged));
        let mut newer = generation(2, State::Written, 0);
        newer.spec.days = 30;
        case(
            "and comes into use first",
            [generation(1, state, 0).with_hook(), newer],
        )
        .row(change)
        .now(Step::Deploy(2));
        let mut newer = verified(2, 0);
        newer.spec.days = 30;
        case(
            "then it has its grace",
            [
                generation(1, state, 0).with_hook().revoked_at(20),
                newer.clone(),
            ],
        )
        .row(change)
        .settled(Some(day(20)));
        case(
            "and is revoked",
            [generation(1, state, 0).with_hook().revoked_at(20), newer],
        )
        .row(change)
        .on(20)
        .now(Step::Revoke(1, Why::Replaced));
    }
    case(
        "the second of two that may be in use, back to what was",
        [verified(1, 0), generation(2, State::Deployed, 1)],
    )
    .row(change)
    .now(Step::Begin(Reason::ValidityChanged));
}

#[test]
fn what_was_replaced_is_revoked_after_its_grace() {
    let pair = || [verified(1, 0).revoked_at(50), verified(2, 40)];
    case("in grace", pair()).on(49).settled(Some(day(50)));
    case("over", pair())
        .on(50)
        .now(Step::Revoke(1, Why::Replaced));
    case("not by a clock that is not the service's", pair())
        .on(60)
        .by_local_clock()
        .settled(Some(day(50)));
    case(
        "after a failure it waits",
        [
            verified(1, 0).revoked_at(50).retried(52, Hold::Failed),
            verified(2, 40),
        ],
    )
    .on(51)
    .settled(Some(day(52)));
    case(
        "one of several that does not wait",
        [
            verified(1, 0).revoked_at(50).retried(52, Hold::Failed),
            verified(2, 20).revoked_at(50),
            verified(3, 40),
        ],
    )
    .on(51)
    .now(Step::Revoke(2, Why::Replaced));
    case("a renewal that is due goes first", pair())
        .on(120)
        .now(Step::Begin(Reason::Time));
    // A restored journal does not know when.
    case(
        "replaced after the backup: the grace counts from the verification",
        [verified(1, 0), verified(2, 9)],
    )
    .now(Step::Revoke(1, Why::Replaced));
    case("and is not over", [verified(1, 0), verified(2, 10)]).settled(Some(day(11)));
    case(
        "what was taken over without its key replaces nothing",
        [verified(1, 0), verified(2, 9).held(Hold::Watched)],
    )
    .on(50)
    .settled(due_of(9));
}

#[test]
fn renewals_have_their_reasons() {
    let current = || [verified(1, 0)];
    case("too early", current()).on(56).settled(due_of(0));
    case("due", current()).on(67).now(Step::Begin(Reason::Time));
    case("asked for", current())
        .asked(Ask::Rotate)
        .now(Step::Begin(Reason::Asked));
    case("another subject", current())
        .row(|device| device.subject.organization = Some("Acme".to_owned()))
        .now(Step::Begin(Reason::SubjectChanged));
    case("another common name", current())
        .row(|device| device.subject.common_name = "other".to_owned())
        .now(Step::Begin(Reason::SubjectChanged));
    case("another type of key", current())
        .row(|device| device.key = DeviceKey::Generated(shieldcert::KeyAlgorithm::EcdsaP384))
        .now(Step::Begin(Reason::KeyChanged));
    case("another validity", current())
        .row(|device| device.validity_days = 30)
        .now(Step::Begin(Reason::ValidityChanged));
    case("labels, zone and output are none", current())
        .row(|device| {
            device.labels = vec!["new".to_owned()];
            device.zone = Some("main".to_owned());
            device.output = Some("file.pem".into());
        })
        .settled(due_of(0));
    case("expired", current())
        .on(LIFETIME)
        .now(Step::Begin(Reason::Lost));
    case(
        "the only one is revoked",
        [generation(1, State::Revoked, 0)],
    )
    .now(Step::Begin(Reason::Lost));
    case(
        "the only one is revoked, and the row has changed",
        [generation(1, State::Revoked, 0)],
    )
    .row(|device| device.validity_days = 30)
    .now(Step::Begin(Reason::ValidityChanged));
}

#[test]
fn a_device_with_its_own_key_waits_for_a_new_csr() {
    let new = |name: &str| Delivered::Csr(name.to_owned());
    case("none is there", [])
        .with_csr(Delivered::Missing)
        .waits(None, Hold::Csr);
    case("the first", [])
        .with_csr(new("csr-1"))
        .now(Step::Begin(Reason::New));
    case("due, with the CSR of the last one", [verified(1, 0)])
        .with_csr(new("csr-1"))
        .on(70)
        .waits(None, Hold::Csr);
    case("due, and the file is gone", [verified(1, 0)])
        .with_csr(Delivered::Missing)
        .on(70)
        .waits(None, Hold::Csr);
    case("due, and the policy allows the last one", [verified(1, 0)])
        .with_csr(new("csr-1"))
        .policy("[renew]\nreuse_csr = true\n")
        .on(70)
        .now(Step::Begin(Reason::Time));
    case("a new one is a reason", [verified(1, 0)])
        .with_csr(new("other"))
        .now(Step::Begin(Reason::NewCsr));
    case("not due, and no new one", [verified(1, 0)])
        .with_csr(new("csr-1"))
        .settled(due_of(0));
    case(
        "the subject of the row is not that of the CSR",
        [verified(1, 0)],
    )
    .with_csr(new("csr-1"))
    .row(|device| device.subject.organization = Some("Acme".to_owned()))
    .settled(due_of(0));
    case(
        "that of a generation before the last",
        [generation(1, State::Revoked, 0), verified(2, 5)],
    )
    .with_csr(new("csr-1"))
    .settled(due_of(5));
    case(
        "one that was given up before it led to anything",
        [generation(1, State::Abandoned, 0)],
    )
    .with_csr(new("csr-1"))
    .now(Step::Begin(Reason::New));
    for policy in ["", "[renew]\nreuse_csr = true\n"] {
        case(
            "a key that has leaked",
            [generation(1, State::Revoked, 0).leaked()],
        )
        .with_csr(new("csr-1"))
        .policy(policy)
        .asked(Ask::RotateNow)
        .waits(None, Hold::Csr);
        case(
            "a key that has leaked before it led to anything",
            [generation(1, State::Abandoned, 0).leaked()],
        )
        .with_csr(new("csr-1"))
        .policy(policy)
        .waits(None, Hold::Csr);
        case(
            "a key that has leaked, two generations later",
            [
                generation(1, State::Revoked, 0).leaked(),
                generation(2, State::Revoked, 0),
            ],
        )
        .with_csr(new("csr-1"))
        .policy(policy)
        .waits(None, Hold::Csr);
    }
    case(
        "the fleet makes keys from now on",
        [verified(1, 0).of(&own_csr(device()))],
    )
    .now(Step::Begin(Reason::KeyChanged));
}

#[test]
fn a_clock_that_is_not_the_services_renews_and_revokes_nothing() {
    case("renews", [verified(1, 0)])
        .on(70)
        .by_local_clock()
        .now(Step::Begin(Reason::Time));
    case("renews what has expired by it", [verified(1, 0)])
        .on(LIFETIME + 1)
        .by_local_clock()
        .now(Step::Begin(Reason::Time));
    for (state, step) in [
        (State::Issued, Step::Write(1)),
        (State::Written, Step::Deploy(1)),
        (State::Deployed, Step::Verify(1)),
    ] {
        case("deploys what has expired by it", [generation(1, state, 0)])
            .on(LIFETIME + 400)
            .by_local_clock()
            .now(step);
    }
    // It is 400 days ahead: what it has verified on its day 400 was issued on day 0.
    let mut renewed = verified(2, 0);
    renewed.verified_at = Some(day(400));
    case(
        "does not renew again what it has just renewed",
        [renewed.clone()],
    )
    .on(401)
    .by_local_clock()
    .settled(due_of(0));
    case(
        "but after its share of the lifetime by this clock",
        [renewed.clone()],
    )
    .on(400 + 68)
    .by_local_clock()
    .now(Step::Begin(Reason::Time));
    renewed.reason = Reason::Adopted;
    case(
        "what was taken over late in its life is due all the same",
        [renewed],
    )
    .on(401)
    .by_local_clock()
    .now(Step::Begin(Reason::Time));
    case(
        "does not revoke what is outdated by the time alone",
        [generation(1, State::Issued, 0)],
    )
    .on(LIFETIME + 400)
    .by_local_clock()
    .now(Step::Write(1));
}

#[test]
fn a_question_stops_renewals_until_somebody_asks() {
    for hold in [Hold::RevokedElsewhere, Hold::Missing, Hold::KeyLost] {
        let current = || [verified(1, 0).held(hold)];
        case("not due", current()).gives(Decision::Later {
            at: due_of(0),
            hold: Some(hold),
        });
        case("due", current()).on(70).waits(None, hold);
        case("expired", current()).on(LIFETIME).waits(None, hold);
        case("the row has changed", current())
            .row(|device| device.validity_days = 30)
            .waits(None, hold);
        case("asked", current())
            .asked(Ask::Rotate)
            .now(Step::Begin(Reason::Asked));
        case("absent", current())
            .absent()
            .now(Step::Revoke(1, Why::Absent));
        // What is not in use yet.
        for state in [State::Issued, State::Written, State::Deployed] {
            let open = || [verified(1, 0), generation(2, state, 5).held(hold)];
            let only = || [generation(1, state, 0).held(hold)];
            // A lost key may have been restored.
            let next_try = match (hold, state) {
                (Hold::KeyLost, State::Issued) => Some(Step::Write as fn(u32) -> Step),
                (Hold::KeyLost, State::Written) => Some(Step::Deploy as fn(u32) -> Step),
                _ => None,
            };
            match next_try {
                Some(step) => {
                    case("it is tried again", open()).now(step(2));
                    case("also late", open()).on(80).now(step(2));
                    case("the only one", only()).now(step(1));
                    case("not before its time", [only()[0].clone().retried(11, hold)])
                        .waits(Some(11), hold);
                }
                None => {
                    case("it is not deployed", open()).gives(Decision::Later {
                        at: due_of(0),
                        hold: Some(hold),
                    });
                    case("nor replaced", open()).on(80).waits(None, hold);
                    case("the only one", only()).waits(None, hold);
                }
            }
            case("until somebody asks", open())
                .asked(Ask::Rotate)
                .now(Step::Begin(Reason::Asked));
            case("the only one, asked", only())
                .asked(Ask::Rotate)
                .now(Step::Begin(Reason::Asked));
            case(
                "the only one, asked, and the row has changed",
                [generation(1, state, 0).with_hook().held(hold)],
            )
            .row(|device| device.validity_days = 30)
            .asked(Ask::Rotate)
            .now(Step::Begin(Reason::ValidityChanged));
        }
    }
    let watched = || [verified(1, 0).held(Hold::Watched)];
    case("watched: there is nothing to decide", watched()).settled(due_of(0));
    case("watched, and due", watched())
        .on(70)
        .waits(None, Hold::Watched);
    case("watched, and asked", watched())
        .asked(Ask::Rotate)
        .now(Step::Begin(Reason::Asked));
}

#[test]
fn what_failed_waits() {
    case(
        "given up after a failure",
        [generation(1, State::Abandoned, 0).retried(11, Hold::Failed)],
    )
    .waits(Some(11), Hold::Failed);
    case(
        "its time has come",
        [generation(1, State::Abandoned, 0).retried(10, Hold::Failed)],
    )
    .now(Step::Begin(Reason::New));
    case(
        "a renewal that was given up keeps its reason to wait",
        [
            verified(1, 0),
            generation(2, State::Abandoned, 0).retried(71, Hold::Failed),
        ],
    )
    .on(70)
    .waits(Some(71), Hold::Failed);
    for state in [
        State::Planned,
        State::Keyed,
        State::Sending,
        State::Issued,
        State::Written,
        State::Deployed,
    ] {
        case(
            "a step",
            [generation(1, state, 0).retried(11, Hold::Failed)],
        )
        .waits(Some(11), Hold::Failed);
    }
}

#[test]
fn a_time_that_a_wrong_clock_recorded_is_not_waited_for() {
    case(
        "a day is longer than any step waits",
        [generation(1, State::Deployed, 0).retried(11, Hold::Failed)],
    )
    .waits(Some(11), Hold::Failed);
    case(
        "a year is a clock that was ahead",
        [generation(1, State::Deployed, 0).retried(375, Hold::Failed)],
    )
    .now(Step::Verify(1));
}

#[test]
fn renewals_are_spread_by_name_within_the_jitter() {
    let config = Config::from_toml(ZONE).expect("a policy").renew;
    let current = verified(1, 0);
    let mut days = BTreeMap::<i64, u32>::new();
    for number in 0..10_000 {
        let name = named(&format!("sensor-{number}"));
        let at = due(&name, &current, &config).expect("is known");
        assert!(at > day(57) && at <= day(67), "{name}: {at}");
        assert_eq!(
            due(&name, &current, &config),
            Some(at),
            "it is the same each time"
        );
        let upper = named(&format!("SENSOR-{number}"));
        assert_eq!(
            due(&upper, &current, &config),
            Some(at),
            "whatever the case"
        );
        let hours = at.duration_since(day(0)).as_hours();
        *days.entry(hours / 24).or_default() += 1;
    }
    // Each of the ten days has about a tenth.
    assert_eq!(days.len(), 10, "{days:?}");
    assert!(
        days.values().all(|count| (850..1150).contains(count)),
        "{days:?}"
    );
    let without = RenewConfig {
        jitter: 0.0,
        ..config
    };
    assert_eq!(due(&named("sensor-1"), &current, &without), Some(day(67)));
    let mut unknown = current;
    unknown.not_after = None;
    assert_eq!(due(&named("sensor-1"), &unknown, &without), None);
}

#[test]
fn zones_get_their_part_and_a_device_keeps_its_zone() {
    let zone = |name: &str, digit: &str, rest: &str| {
        format!("[zones.{name}]\nid = \"{}\"\n{rest}\n", digit.repeat(32))
    };
    let count = |text: &str| {
        let config = Config::from_toml(text).expect("a policy");
        let mut counts = BTreeMap::<String, u32>::new();
        for number in 0..10_000 {
            let mut device = device();
            device.name = named(&format!("sensor-{number}"));
            let zone = choose_zone(&device, &config).expect("a zone");
            assert_eq!(
                choose_zone(&device, &config),
                Some(zone),
                "it is the same each time"
            );
            *counts.entry(zone.to_owned()).or_default() += 1;
        }
        counts
    };
    let near = |count: u32, expected: u32| count.abs_diff(expected) < 200;
    let weighted = count(
        &[
            zone("a", "a", "quota = 3000"),
            zone("b", "b", "quota = 1000"),
        ]
        .concat(),
    );
    assert!(
        near(weighted["a"], 7500) && near(weighted["b"], 2500),
        "{weighted:?}"
    );
    let equal = count(&[zone("a", "a", "quota = 3000"), zone("b", "b", "")].concat());
    assert!(
        near(equal["a"], 5000) && near(equal["b"], 5000),
        "{equal:?}"
    );
    let two = [zone("a", "a", ""), zone("b", "b", "")].concat();
    let of_fleet = count(&format!("{two}[devices]\nzone = \"b\"\n"));
    assert_eq!(of_fleet.get("a"), None, "the zone of [devices]");
    let config = Config::from_toml(&format!("{two}[devices]\nzone = \"b\"\n")).expect("a policy");
    let mut device = device();
    device.zone = Some("a".to_owned());
    assert_eq!(
        choose_zone(&device, &config),
        Some("a"),
        "the row goes first"
    );
    assert_eq!(
        zone_id("a", &config).map(ToString::to_string),
        Some("a".repeat(32))
    );
}

#[test]
fn what_leaves_a_device_without_a_certificate_is_told_apart() {
    let leaves: Vec<_> = [
        Why::Leaked,
        Why::Absent,
        Why::Asked,
        Why::Replaced,
        Why::Outdated,
        Why::Expired,
    ]
    .into_iter()
    .filter(|reason| reason.leaves_none())
    .collect();
    assert_eq!(leaves, [Why::Leaked, Why::Absent, Why::Asked]);
}
