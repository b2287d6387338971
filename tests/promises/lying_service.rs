//! A small service that lists certificates and does little of what it is asked to.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use http::{Request, Response};
use serde_json::{Value, json};
use shieldcert::{BoxFuture, StatusFilter, Transport, TransportError};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    OldestFirst,
    NewestFirst,
    ById,
}

/// How a cap works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CapKind {
    /// The size that was asked for is replaced, so pages start elsewhere too.
    Rewrites,
    /// The response is cut.
    Cuts,
}

/// Which responses have fewer records than asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cap {
    None,
    Always(u64, CapKind),
    /// Every page but the first.
    Later(u64, CapKind),
    /// Some, by chance, to any number of records.
    Sometimes(CapKind),
    /// Every page has this size, whatever is asked for.
    Fixed(u64),
}

/// What `total_count` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Total {
    Right,
    Filtered,
    Missing,
    Null,
    Text,
    Zero,
    /// The number of records in the response.
    Own,
    /// The number of active certificates.
    Active,
    /// Counted once in eight requests.
    Cached,
    /// Of an older state.
    Lagging,
    /// Counted after the page was read, while others go on.
    SecondQuery,
    TooLarge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offset {
    Supported,
    Ignored,
    Refused,
}

/// What a page beyond the end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beyond {
    Empty,
    NotFound,
    BadRequest,
    LastPage,
}

/// What others do between two requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moves {
    None,
    /// A few changes, and sometimes many.
    Bursts,
    /// The beginning of the list leaves it, as many at once.
    BeginningLeaves(usize),
    /// So many are issued before each request, up to `issued_at_most`.
    Issues(usize),
    /// One is issued before one request in so many, by chance.
    Seldom(usize),
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) count: usize,
    pub(super) order: Order,
    pub(super) cap: Cap,
    pub(super) total: Total,
    pub(super) offset: Offset,
    pub(super) beyond: Beyond,
    pub(super) moves: Moves,
    pub(super) issued_at_most: u64,
    pub(super) page_ignored: bool,
    pub(super) filter_ignored: bool,
    /// How many of a hundred responses show an older state than others before.
    pub(super) stale: u8,
    /// How many of a hundred records can't be read, or oddly.
    pub(super) odd: u8,
}

impl Settings {
    /// A well-behaved service.
    pub(super) fn new(count: usize) -> Self {
        Self {
            count,
            order: Order::NewestFirst,
            cap: Cap::None,
            total: Total::Right,
            offset: Offset::Supported,
            beyond: Beyond::Empty,
            moves: Moves::None,
            issued_at_most: 1000,
            page_ignored: false,
            filter_ignored: false,
            stale: 0,
            odd: 0,
        }
    }
}

#[derive(Clone, Debug)]
struct Record {
    number: u64,
    /// The place in the order by id.
    id: u64,
    active: bool,
    is_odd: bool,
}

impl Record {
    fn id(&self) -> String {
        format!("{:016x}{:016x}", self.id, self.number)
    }

    fn matches(&self, filter: StatusFilter) -> bool {
        match filter {
            StatusFilter::Active => self.active,
            StatusFilter::Revoked => !self.active,
            _ => true,
        }
    }

    fn json(&self) -> Value {
        let status = if self.active { "active" } else { "revoked" };
        if !self.is_odd {
            return json!({ "id": self.id(), "status": status });
        }
        match self.number % 4 {
            0 => Value::Null,
            1 => json!({ "status": status, "common_name": self.id() }),
            2 => json!({ "id": { "nested": [self.id()] } }),
            _ => json!({ "id": null, "status": status }),
        }
    }
}

struct State {
    random: Rng,
    /// Every state so far, the last one being the present one.
    states: Vec<Arc<Vec<Record>>>,
    next_number: u64,
    requests: Vec<String>,
    cached_total: usize,
    /// The ids that have matched the whole time, by filter.
    lasting: HashMap<&'static str, HashSet<String>>,
    /// Responses instead of the list's own, by the number of the request.
    instead: HashMap<usize, (u16, String)>,
}

/// The service. Clones share the list.
#[derive(Clone)]
pub(super) struct LyingService {
    settings: Settings,
    state: Arc<Mutex<State>>,
}

const FILTERS: [StatusFilter; 3] = [
    StatusFilter::All,
    StatusFilter::Active,
    StatusFilter::Revoked,
];

impl LyingService {
    pub(super) fn new(settings: Settings, seed: u64) -> Self {
        let mut state = State {
            random: Rng::with_seed(seed),
            states: vec![Arc::default()],
            next_number: 0,
            requests: Vec::new(),
            cached_total: 0,
            lasting: HashMap::new(),
            instead: HashMap::new(),
        };
        for _ in 0..settings.count {
            state.issue(&settings);
        }
        let mut first = state.present().to_vec();
        for record in &mut first {
            record.active = state.random.bool();
        }
        state.cached_total = first.len();
        for filter in FILTERS {
            let ids = first
                .iter()
                .filter(|record| record.matches(filter) && !record.is_odd)
                .map(Record::id);
            state.lasting.insert(filter.as_str(), ids.collect());
        }
        state.states = vec![Arc::new(first)];
        Self {
            settings,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Sends this in place of a page, by the number of the request from 0.
    pub(super) fn instead(self, request: usize, status: u16, body: impl Into<String>) -> Self {
        self.lock().instead.insert(request, (status, body.into()));
        self
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the queries so far.
    pub(super) fn requests(&self) -> Vec<String> {
        self.lock().requests.clone()
    }

    /// Returns the readable ids that have matched the whole time.
    pub(super) fn lasting(&self, filter: StatusFilter) -> HashSet<String> {
        self.lock().lasting[filter.as_str()].clone()
    }

    /// Returns how many records there are now.
    pub(super) fn read(&self) -> usize {
        self.lock().present().len()
    }

    /// Returns how many records can't be read.
    pub(super) fn odd(&self) -> HashSet<String> {
        let state = self.lock();
        let odd = state.present().iter().filter(|record| record.is_odd);
        odd.map(|record| record.json().to_string()).collect()
    }

    fn respond(&self, query: &str) -> (u16, String) {
        let mut state = self.lock();
        let state = &mut *state;
        let number = state.requests.len();
        state.requests.push(query.to_owned());
        if let Some(instead) = state.instead.get(&number) {
            return instead.clone();
        }
        state.move_on(&self.settings);
        let settings = &self.settings;
        let parameters: HashMap<&str, &str> = query
            .split('&')
            .filter_map(|parameter| parameter.split_once('='))
            .collect();
        let number_of = |name| {
            parameters
                .get(name)
                .and_then(|text| text.parse::<u64>().ok())
        };
        let filter: StatusFilter = match parameters.get("status") {
            Some(status) if !settings.filter_ignored => status.parse().expect("a status"),
            _ => StatusFilter::All,
        };
        let mut size = number_of("per_page").unwrap_or(20);
        assert!((5..=50).contains(&size), "{query}");
        let mut page = number_of("page").unwrap_or(1);
        if settings.page_ignored {
            page = 1;
        }
        let offset = number_of("offset").filter(|_| settings.offset != Offset::Ignored);
        if offset.is_some() && settings.offset == Offset::Refused {
            return (400, error(1003, "offset is unknown"));
        }
        if offset.is_some() {
            size = number_of("limit").unwrap_or(size);
        }
        let is_first = page == 1 && offset.unwrap_or(0) == 0;
        let mut cut = u64::MAX;
        let mut cap = |count: u64, kind| match kind {
            CapKind::Rewrites => size = size.min(count),
            CapKind::Cuts => cut = count,
        };
        match settings.cap {
            Cap::Always(count, kind) => cap(count, kind),
            Cap::Later(count, kind) if !is_first => cap(count, kind),
            Cap::Sometimes(kind) if state.random.u8(0..3) == 0 => {
                // The smallest page has five records. Cut to fewer, by chance, a page may look like the end.
                let count = state.random.u64(5..=50);
                cap(count, kind);
            }
            Cap::Fixed(count) => size = count,
            _ => {}
        }
        let is_stale = state.random.u8(0..100) < settings.stale;
        let list = if is_stale {
            let index = state.random.usize(0..state.states.len());
            state.states[index].clone()
        } else {
            state.states.last().expect("not empty").clone()
        };
        let matching: Vec<&Record> = list
            .iter()
            .filter(|record| record.matches(filter))
            .collect();
        let mut start = offset.unwrap_or((page - 1) * size) as usize;
        if start >= matching.len() && start > 0 {
            match settings.beyond {
                Beyond::Empty => {}
                Beyond::NotFound => return (404, error(7404, "no such page")),
                Beyond::BadRequest => return (400, error(1004, "page is out of range")),
                Beyond::LastPage if offset.is_none() => {
                    start = matching.len().saturating_sub(1) / size as usize * size as usize;
                }
                Beyond::LastPage => {}
            }
        }
        let start = start.min(matching.len());
        let end = matching.len().min(start + size.min(cut) as usize);
        let records: Vec<Value> = matching[start..end].iter().map(|r| r.json()).collect();
        if settings.total == Total::SecondQuery {
            state.move_on(settings);
        }
        if number.is_multiple_of(8) {
            state.cached_total = list.len();
        }
        let total = match settings.total {
            Total::Right => json!(list.len()),
            Total::Filtered => json!(matching.len()),
            Total::Missing => {
                return (
                    200,
                    json!({ "success": true, "result": records, "result_info": {} }).to_string(),
                );
            }
            Total::Null => Value::Null,
            Total::Text => json!("many"),
            Total::Zero => json!(0),
            Total::Own => json!(records.len()),
            Total::Active => json!(list.iter().filter(|record| record.active).count()),
            Total::Cached => json!(state.cached_total),
            Total::Lagging => {
                let index = state.states.len().saturating_sub(4);
                json!(state.states[index].len())
            }
            Total::SecondQuery => json!(state.present().len()),
            Total::TooLarge => json!(list.len() + 1000),
        };
        let body = json!({
            "success": true, "errors": [], "messages": [],
            "result": records, "result_info": { "total_count": total },
        });
        (200, body.to_string())
    }
}

fn error(code: u32, message: &str) -> String {
    json!({ "success": false, "errors": [{ "code": code, "message": message }] }).to_string()
}

impl State {
    fn present(&self) -> &Arc<Vec<Record>> {
        self.states.last().expect("not empty")
    }

    fn issue(&mut self, settings: &Settings) {
        let record = Record {
            number: self.next_number,
            id: self.random.u64(..),
            active: true,
            is_odd: self.random.u8(0..100) < settings.odd,
        };
        self.next_number += 1;
        let mut list = self.present().to_vec();
        let place = match settings.order {
            Order::OldestFirst => list.len(),
            Order::NewestFirst => 0,
            Order::ById => list.partition_point(|other| other.id < record.id),
        };
        list.insert(place, record);
        *self.states.last_mut().expect("not empty") = Arc::new(list);
    }

    /// Does what others do between two requests.
    fn move_on(&mut self, settings: &Settings) {
        let before = self.present().clone();
        self.states.push(before);
        match settings.moves {
            Moves::None => {}
            Moves::Bursts => {
                let changes = match self.random.u8(0..10) {
                    0..6 => 0,
                    6..9 => self.random.usize(1..8),
                    _ => self.random.usize(20..60),
                };
                for _ in 0..changes {
                    if self.random.bool() {
                        if self.next_number < settings.issued_at_most {
                            self.issue(settings);
                        }
                        continue;
                    }
                    let mut list = self.present().to_vec();
                    if !list.is_empty() {
                        let index = self.random.usize(0..list.len());
                        // The older third stays as it is.
                        if !list[index].number.is_multiple_of(3) {
                            list[index].active = !list[index].active;
                        }
                    }
                    *self.states.last_mut().expect("not empty") = Arc::new(list);
                }
            }
            Moves::BeginningLeaves(count) => {
                let mut list = self.present().to_vec();
                let active = list.iter_mut().filter(|record| record.active);
                active.take(count).for_each(|record| record.active = false);
                *self.states.last_mut().expect("not empty") = Arc::new(list);
            }
            Moves::Issues(count) if self.next_number < settings.issued_at_most => {
                (0..count).for_each(|_| self.issue(settings));
            }
            Moves::Seldom(requests) if self.random.usize(0..requests) == 0 => self.issue(settings),
            Moves::Issues(_) | Moves::Seldom(_) => {}
        }
        let present = self.present().clone();
        for filter in FILTERS {
            let lasting = self.lasting.get_mut(filter.as_str()).expect("is there");
            for record in present.iter().filter(|record| !record.matches(filter)) {
                lasting.remove(&record.id());
            }
        }
    }
}

impl Transport for LyingService {
    fn send(
        &self,
        request: Request<Bytes>,
    ) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        Box::pin(async move {
            let delays = [0, 1].map(|_| self.lock().random.u64(0..100));
            tokio::time::sleep(Duration::from_millis(delays[0])).await;
            let (status, body) = self.respond(request.uri().query().unwrap_or_default());
            tokio::time::sleep(Duration::from_millis(delays[1])).await;
            let response = Response::builder().status(status);
            Ok(response.body(body.into()).expect("a response"))
        })
    }
}
