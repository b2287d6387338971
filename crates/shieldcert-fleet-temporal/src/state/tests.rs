use serde_json::json;
use shieldcert_fleet::Config;

use super::*;

const TWO_ZONES: &str = "
[zones.a]
id = \"023e105f4ecef8ad9ca31a8372d0c353\"
[zones.b]
id = \"123e105f4ecef8ad9ca31a8372d0c353\"
[renew]
grace = \"1h\"
";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
}

fn state() -> DeviceState {
    let config = Config::from_toml(TWO_ZONES).expect("a policy");
    let device = json!({
        "name": "sensor", "state": "present", "subject": {"common_name": "sensor"},
        "key": {"generated": "ecdsa-p256"}, "validity_days": 90, "zone": null, "labels": [], "output": null
    });
    let device = serde_json::from_value(device).expect("a device");
    let fleet = "fleet".parse().expect("a name");
    let mut state = DeviceState::new(fleet, device, Policy::of(&config), None);
    state.set_clock(Some(at(0)), at(0));
    state
}

fn worker(name: &str) -> WorkerName {
    name.parse().expect("a name")
}

fn id(text: &str) -> CertificateId {
    text.parse().expect("an id")
}

fn prepared(number: u32) -> PreparedCsr {
    let csr = json!({"number": number, "csr": "PEM", "csr_sha256": csr_digest(number)});
    serde_json::from_value(csr).expect("a CSR")
}

fn csr_digest(generation: u32) -> String {
    generation.to_string().repeat(64)
}

fn certificate(text: &str) -> IssuedCertificate {
    let certificate = json!({
        "id": text, "pem": "PEM", "fingerprint": format!("print-{text}"), "issuer": null,
        "not_before": at(0), "not_after": at(90 * 86_400)
    });
    serde_json::from_value(certificate).expect("a certificate")
}

fn intent() -> Box<IssueIntent> {
    let intent = json!({
        "csr_sha256": "ab", "validity_days": 90, "sent_after": null, "sent_before": at(60), "known": [],
        "key_is_new": true
    });
    Box::new(serde_json::from_value(intent).expect("an intent"))
}

fn refusal(kind: &str) -> Refusal {
    let refusal = json!({"kind": kind, "problem": "no", "retry_after": null});
    serde_json::from_value(refusal).expect("a refusal")
}

fn issued(text: &str) -> IssueOutcome {
    IssueOutcome::Issued {
        certificate: Box::new(certificate(text)),
        surplus: Vec::new(),
        unclear: None,
        recovered: false,
    }
}

/// The device has a generation whose request was sent.
fn sent(state: &mut DeviceState) -> u32 {
    let Next::Do(Step::Begin(reason)) = state.next(at(0)) else {
        panic!("it begins nothing");
    };
    assert!(state.begin(reason));
    let number = state.snapshot.generations.last().expect("one").number;
    assert_eq!(state.next(at(0)), Next::Do(Step::MakeKey(number)));
    state.keyed(number, worker("one"), prepared(number));
    assert_eq!(state.next(at(0)), Next::Do(Step::Send(number)));
    state.sending(number);
    number
}

/// The device has a generation that is in use.
fn verified(state: &mut DeviceState, certificate: &str) -> u32 {
    let number = sent(state);
    let now = state.now(at(0));
    state.took(number, issued(certificate), now);
    assert_eq!(state.next(at(0)), Next::Do(Step::Write(number)));
    state.written(number);
    assert_eq!(state.next(at(0)), Next::Do(Step::Deploy(number)));
    state.hook_started(number);
    state.deployed(number);
    assert_eq!(state.next(at(0)), Next::Do(Step::Verify(number)));
    state.verified(number, now);
    number
}

fn suspect(text: &str, generation: u32) -> Suspect {
    Suspect {
        zone: "023e105f4ecef8ad9ca31a8372d0c353".parse().expect("an id"),
        certificate: id(text),
        fingerprint: Some(format!("print-{text}")),
        csr: csr_digest(generation)[..SHORT].to_owned(),
    }
}

#[test]
fn what_is_found_beside_the_own_certificate_is_surplus() {
    let mut state = state();
    verified(&mut state, "own");
    let mut respelled = suspect("OWN", 1);
    respelled.fingerprint = Some("print-own".to_owned());
    let strange = suspect("strange", 7);
    state.suspect(vec![suspect("own", 1), respelled, strange]);
    assert!(matches!(state.next(at(1)), Next::Wait(Some(_))));
    assert!(state.surplus.is_empty());
    state.suspect(vec![suspect("other", 1), suspect("other", 1)]);
    assert_eq!(state.next(at(1)), Next::RevokeSurplus(0));
    assert_eq!(state.surplus.len(), 1);
    assert_eq!(state.surplus[0].certificate, id("other"));
    state.surplus_revoked(0);
    assert!(matches!(state.next(at(1)), Next::Wait(Some(_))));
}

#[test]
fn nothing_is_surplus_before_a_request_is_clear() {
    let mut state = state();
    let number = sent(&mut state);
    state.suspect(vec![suspect("first", number), suspect("second", number)]);
    assert_eq!(state.next(at(1)), Next::Do(Step::Resume(number)));
    assert!(state.surplus.is_empty());
    let now = state.now(at(1));
    state.took(number, issued("second"), now);
    state.next(at(1));
    let surplus: Vec<_> = state.surplus.iter().map(|one| &one.certificate).collect();
    assert_eq!(surplus, [&id("first")]);
}

#[test]
fn a_certificate_of_a_generation_that_is_over_is_surplus_unless_it_was_its_own() {
    let mut state = state();
    let first = verified(&mut state, "old");
    state.ask(Ask::Rotate);
    let second = verified(&mut state, "new");
    let now = state.now(at(3_601));
    assert!(matches!(state.next(at(3_601)), Next::AskTime(_)));
    state.set_clock(Some(at(3_601)), at(3_601));
    let step = Step::Revoke(first, RevokeReason::Replaced);
    assert_eq!(state.next(at(3_601)), Next::Do(step));
    state.revoked(first, &RevokeOutcome::Revoked, now);
    state.next(at(3_601));
    assert_eq!(state.snapshot.generations.len(), 1);
    // Somebody reactivated the old one; another one of its CSR was issued late.
    state.suspect(vec![suspect("old", first), suspect("late", first)]);
    state.next(at(3_602));
    let surplus: Vec<_> = state.surplus.iter().map(|one| &one.certificate).collect();
    assert_eq!(surplus, [&id("late")]);
    assert_eq!(
        state
            .generation(second)
            .and_then(|one| one.certificate.clone()),
        Some(id("new"))
    );
}

#[test]
fn an_unclear_request_stays_open_and_is_owed_a_look() {
    let mut state = state();
    let number = sent(&mut state);
    let now = state.now(at(0));
    let unclear = IssueOutcome::Unclear {
        refusal: refusal("other"),
        intent: intent(),
    };
    state.took(number, unclear, now);
    // It is tried again after a minute, and not sent before.
    assert!(matches!(state.next(at(0)), Next::Wait(Some(until)) if until == at(60)));
    assert_eq!(state.next(at(61)), Next::Do(Step::Resume(number)));
    let now = state.now(at(61));
    state.took(number, IssueOutcome::Lost { intent: intent() }, now);
    assert_eq!(state.looks.len(), 1);
    assert_eq!(state.next(at(61)), Next::Do(Step::Send(number)));
    state.sending(number);
    state.took(number, issued("own"), now);
    state.written(number);
    state.hook_started(number);
    state.deployed(number);
    state.verified(number, now);
    // The settle window is 75 seconds.
    assert!(matches!(state.next(at(62)), Next::Wait(Some(until)) if until == at(137)));
    assert_eq!(state.next(at(137)), Next::Look(0));
    state.looked(0, vec![certificate("own"), certificate("late")]);
    assert!(state.looks.is_empty());
    let surplus: Vec<_> = state.surplus.iter().map(|one| &one.certificate).collect();
    assert_eq!(surplus, [&id("late")]);
}

#[test]
fn a_full_zone_moves_a_device_to_the_next_and_then_it_waits() {
    let mut state = state();
    let number = sent(&mut state);
    let zone = |state: &DeviceState| state.generation(number).map(|one| one.zone.clone());
    let first = zone(&state);
    let full = || IssueOutcome::NotIssued {
        refusal: refusal("quota"),
    };
    let now = state.now(at(0));
    state.took(number, full(), now);
    assert_eq!(state.next(at(0)), Next::Do(Step::Send(number)));
    assert_ne!(zone(&state), first);
    state.sending(number);
    state.took(number, full(), now);
    assert!(matches!(state.next(at(0)), Next::Wait(Some(_))));
    assert_eq!(state.show("waiting").hold.as_deref(), Some("quota"));
}

#[test]
fn a_paused_device_begins_nothing_but_what_an_operator_revokes() {
    let mut state = state();
    let number = verified(&mut state, "own");
    state.paused = true;
    state.ask(Ask::Rotate);
    assert_eq!(state.next(at(1)), Next::Wait(None));
    assert_eq!(state.resting(at(1)), "paused");
    state.ask(Ask::Revoke);
    let step = Step::Revoke(number, RevokeReason::Asked);
    assert_eq!(state.next(at(1)), Next::Do(step));
}

#[test]
fn of_a_lost_worker_what_was_deployed_is_renewed_elsewhere() {
    let mut state = state();
    let first = verified(&mut state, "own");
    assert_eq!(
        state.key_queue(&Step::MakeKey(2)).as_deref(),
        Some("fleet/worker/one")
    );
    state.lose_worker(&worker("other"));
    assert!(matches!(state.next(at(1)), Next::Wait(Some(_))));
    state.lose_worker(&worker("one"));
    assert_eq!(state.next(at(1)), Next::Do(Step::Begin(Reason::Asked)));
    assert_eq!(
        state.key_queue(&Step::MakeKey(2)).as_deref(),
        Some("fleet/keys")
    );
    // The old one goes once the new one is in use, and its grace period is over.
    let second = verified(&mut state, "new");
    let revoke_at = state.generation(first).and_then(|old| old.revoke_at);
    assert_eq!(revoke_at, Some(at(3_600)));
    assert_eq!(second, 2);
}

#[test]
fn of_a_lost_worker_what_was_never_deployed_is_revoked() {
    let mut state = state();
    let number = sent(&mut state);
    let now = state.now(at(0));
    state.lose_worker(&worker("one"));
    // First it is found out what was issued.
    assert_eq!(state.next(at(1)), Next::Do(Step::Settle(number)));
    state.settled(number, vec![certificate("own")], Some(*intent()), now);
    let step = Step::Revoke(number, RevokeReason::Outdated);
    assert_eq!(state.next(at(1)), Next::Do(step));
    state.revoked(number, &RevokeOutcome::Revoked, now);
    assert!(matches!(state.next(at(1)), Next::Do(Step::Begin(_))));
    assert_eq!(
        state.key_queue(&Step::MakeKey(2)).as_deref(),
        Some("fleet/keys")
    );
}

#[test]
fn a_state_survives_continuing_as_new() {
    let mut state = state();
    verified(&mut state, "own");
    let json = serde_json::to_string(&state).expect("JSON");
    let read: DeviceState = serde_json::from_str(&json).expect("a state");
    assert_eq!(serde_json::to_string(&read).expect("JSON"), json);
    let row = Row {
        device: read.snapshot.device.clone(),
        policy: read.policy.clone(),
        csr: None,
    };
    assert_eq!(row.digest(), read.row);
}
