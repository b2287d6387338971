//! Two zones, each with a budget of its own: a token, a rate limit, and a task queue.

use std::net::SocketAddr;
use std::time::Duration;

use shieldcert_emulator::{Operation, RateLimit};
use tokio::net::{TcpListener, TcpStream};

use crate::kit::{OTHER_TOKEN, POLICY, World, ZONE, emulator, manifest};

const OTHER_ZONE: &str = "123e105f4ecef8ad9ca31a8372d0c353";

/// Hands each connection to the service of the zone that its first request is for: a client is that of one budget. Returns
/// the address.
async fn route(services: [(&'static str, SocketAddr); 2]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(forward(stream, services));
        }
    });
    address
}

async fn forward(mut stream: TcpStream, services: [(&'static str, SocketAddr); 2]) {
    let mut start = [0; 256];
    let address = loop {
        match stream.peek(&mut start).await {
            Ok(length) if length > 0 => {
                let start = String::from_utf8_lossy(&start[..length]);
                let mut services = services.iter();
                if let Some((_, address)) = services.find(|(zone, _)| start.contains(zone)) {
                    break *address;
                }
                assert!(length < 200, "a request for no zone: {start}");
                tokio::task::yield_now().await;
            }
            _ => return,
        }
    };
    let mut service = TcpStream::connect(address).await.expect("connects");
    let _ = tokio::io::copy_bidirectional(&mut stream, &mut service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_share_each_of_two_budgets() {
    const DEVICES: usize = 60;
    // Each is used up in between: half of the devices are in each zone.
    let limit = |requests| {
        let limit = RateLimit::new(requests, Duration::from_secs(10));
        emulator().rate_limit(limit)
    };
    let Some(mut world) = World::new(limit(20), "", &manifest(DEVICES)).await else {
        return;
    };
    let other = limit(24).token(OTHER_TOKEN).start().await.expect("starts");
    let services = [
        (ZONE, world.emulator.address()),
        (OTHER_ZONE, other.address()),
    ];
    let router = route(services).await;
    world.base_url = format!("http://{router}/client/v4");
    world.set_config(&format!(
        "[zones.a]\nid = \"{ZONE}\"\nbudget = \"a\"\n[zones.b]\nid = \"{OTHER_ZONE}\"\nbudget = \"b\"\n\
         [budgets.a]\ntoken_env = \"FLEET_TOKEN\"\nreserve_share = 0.0\n\
         [budgets.b]\ntoken_env = \"OTHER_TOKEN\"\nreserve_share = 0.0\n\
         [limits]\nsettle_window = \"2s\"\n"
    ));
    let workers = [world.worker("one", 0.5), world.worker("two", 0.5)];
    let applied = world.json(&["apply", "--timeout", "240s"]);
    assert_eq!(applied["settled"], DEVICES, "{applied}\n{}", world.logs());
    assert_eq!(applied["issued"], DEVICES, "{applied}");
    let histories = [world.emulator.history(), other.history()];
    let mut created = 0;
    for (history, limit) in histories.iter().zip([20, 24]) {
        assert!(history.iter().all(|event| !event.over_quota), "{history:?}");
        assert!(
            history.iter().all(|event| event.status == Some(200)),
            "{history:?}"
        );
        // Otherwise it shows nothing about the limit.
        assert!(history.len() > limit, "{}", history.len());
        created += history.count(Operation::Create);
    }
    assert_eq!(created, DEVICES);
    let sent = histories.iter().map(|history| history.len()).sum::<usize>();
    let counted = applied["requests"].as_u64().expect("a number");
    // An attempt that was cut off does not say what it has sent.
    assert!((DEVICES..=sent).contains(&(counted as usize)), "{applied}");
    // Each worker has used a part.
    workers.into_iter().for_each(crate::kit::Process::stop);
    let logs = world.logs();
    let parts: Vec<usize> = logs
        .lines()
        .filter_map(|line| line.rsplit_once("stopped requests=")?.1.parse().ok())
        .collect();
    assert_eq!(parts.len(), 2, "{logs}");
    assert_eq!(parts.iter().sum::<usize>(), sent, "{logs}");
    assert!(parts.iter().all(|part| *part >= sent / 5), "{parts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_alone_uses_no_more_than_its_share() {
    // The service would let it send all of the first at once.
    const LIMIT: u32 = 40;
    const SHARE: usize = 10;
    const WINDOW: Duration = Duration::from_secs(8);
    const DEVICES: usize = 24;
    let limit = RateLimit::new(LIMIT, WINDOW);
    let Some(world) = World::new(emulator().rate_limit(limit), POLICY, &manifest(DEVICES)).await
    else {
        return;
    };
    let _worker = world.worker("one", SHARE as f64 / f64::from(LIMIT));
    let applied = world.json(&["apply", "--timeout", "240s"]);
    assert_eq!(applied["issued"], DEVICES, "{applied}\n{}", world.logs());
    let history = world.emulator.history();
    assert!(history.len() >= DEVICES, "{}", history.len());
    // A request counts from when it is sent until a window after its response, and it came to the service in between.
    for sent in history.windows(SHARE + 1) {
        let within = sent[SHARE].at - sent[0].at;
        assert!(
            within >= WINDOW.as_secs_f64(),
            "{} requests in {within} s: {sent:#?}",
            SHARE + 1
        );
    }
}
