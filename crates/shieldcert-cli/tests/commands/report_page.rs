//! The page of `shieldcert report --html`, in a browser.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use shieldcert_emulator::Fixture;

use crate::browser::Page;
use crate::report::fleet;
use crate::service::{Service, is_installed};

const HOSTILE: [&str; 4] = [
    "<script>window.pwned = 1</script>",
    "</script><img src=http://127.0.0.1:1/x onerror='window.pwned = 1'>",
    "\u{202e}gpj.exe\u{1b}[2J",
    "' onmouseover=\"window.pwned = 1\" --><!--<script>",
];

fn write_report(service: &Service) -> PathBuf {
    let ran = service.run(&["report", "--html", "report.html"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    service.folder.path().join("report.html")
}

/// The names in the rows that are there, in order.
fn names(page: &mut Page) -> Value {
    page.eval("[...document.querySelectorAll('#certificates tbody tr:not(.spacer)')].map(row => row.cells[0].textContent)")
}

fn click(page: &mut Page, selector: &str) {
    page.eval(&format!(
        "document.querySelector({}).click()",
        json!(selector)
    ));
}

fn type_in(page: &mut Page, text: &str) {
    page.eval(&format!(
        "search.value = {}; search.dispatchEvent(new Event('input'))",
        json!(text)
    ));
}

fn shown(page: &mut Page) -> Value {
    page.eval("document.getElementById('shown').textContent")
}

/// Writes what the page looks like into the folder that `SHIELDCERT_SCREENSHOTS` names.
fn screenshot(page: &mut Page, name: &str) {
    let Some(folder) = std::env::var_os("SHIELDCERT_SCREENSHOTS") else {
        return;
    };
    use base64::Engine;
    let shot = page.call(
        "Page.captureScreenshot",
        json!({"captureBeyondViewport": true}),
    );
    let data = shot["data"].as_str().expect("an image");
    let image = base64::engine::general_purpose::STANDARD.decode(data);
    let file = Path::new(&folder).join(format!("{name}.png"));
    fs::write(file, image.expect("base64")).expect("is written");
}

#[test]
fn the_page_sorts_searches_and_filters() {
    if !is_installed("chromium", "--version") {
        return;
    }
    let service = fleet();
    let mut page = Page::open(&write_report(&service));
    assert_eq!(shown(&mut page), "6");
    // What expires first comes first.
    let by_expiry = [
        "sensor-003",
        "gateway-1",
        "sensor-002",
        "sensor-004",
        "sensor-005",
        "sensor-001",
    ];
    assert_eq!(names(&mut page), json!(by_expiry));

    click(&mut page, "[data-column=name] button");
    let mut by_name = by_expiry;
    by_name.sort_unstable();
    assert_eq!(names(&mut page), json!(by_name));
    click(&mut page, "[data-column=name] button");
    by_name.reverse();
    assert_eq!(names(&mut page), json!(by_name));
    let sort = page.eval("document.querySelector('[data-column=name]').getAttribute('aria-sort')");
    assert_eq!(sort, "descending");

    type_in(&mut page, "SENSOR revoked");
    assert_eq!(names(&mut page), json!(["sensor-004"]));
    assert_eq!(shown(&mut page), "1 of 6");
    type_in(&mut page, "nothing like it");
    assert_eq!(names(&mut page), json!(["No certificate matches."]));
    type_in(&mut page, "");

    click(&mut page, "[data-month='2026-03']");
    assert_eq!(
        names(&mut page),
        json!(["sensor-005", "sensor-004", "sensor-002"])
    );
    assert_eq!(shown(&mut page), "3 of 6 · expires 2026-03");
    click(&mut page, "[data-tile=active]");
    assert_eq!(names(&mut page), json!(["sensor-002"]));
    click(&mut page, "#clear");
    assert_eq!(shown(&mut page), "6");
    for (tile, expected) in [("soon", 2), ("expired", 1), ("pending", 1), ("revoked", 1)] {
        click(&mut page, &format!("[data-tile={tile}]"));
        let tile = format!("document.querySelector('[data-tile={tile}] b').textContent");
        assert_eq!(page.eval(&tile), expected.to_string(), "{tile}");
        assert_eq!(
            names(&mut page).as_array().map(Vec::len),
            Some(expected),
            "{tile}"
        );
    }
    click(&mut page, "#clear");
    click(&mut page, "[data-organization='0']");
    assert_eq!(shown(&mut page), "6 of 6 · no organization");
    assert_eq!(page.complaints(), Vec::<&Value>::new());
}

#[test]
fn the_keyboard_is_enough() {
    if !is_installed("chromium", "--version") {
        return;
    }
    let service = fleet();
    let mut page = Page::open(&write_report(&service));
    let focus = "document.activeElement.id || document.activeElement.dataset.month || document.activeElement.dataset.tile";
    page.press("/");
    for key in ["g", "a", "t", "e"] {
        page.press(key);
    }
    assert_eq!(names(&mut page), json!(["gateway-1"]));
    type_in(&mut page, "");
    page.eval("document.querySelector('[data-tile=revoked]').focus()");
    // The timeline is the next stop, at the month of the report or the first after it.
    page.press("Tab");
    assert_eq!(page.eval(focus), "2026-02");
    page.press("ArrowRight");
    assert_eq!(page.eval(focus), "2026-03");
    page.press("End");
    assert_eq!(page.eval(focus), "2027-01");
    page.press("Enter");
    assert_eq!(names(&mut page), json!(["sensor-001"]));
    page.press("Tab");
    assert_ne!(page.eval(focus), "2027-01");
    assert_eq!(page.complaints(), Vec::<&Value>::new());
}

#[test]
fn hostile_names_are_text_and_the_page_requests_nothing() {
    if !is_installed("chromium", "--version") {
        return;
    }
    let service = Service::start();
    for name in HOSTILE {
        service.add(Fixture::new(name).issued_on("2026-01-30T00:00:00Z"));
    }
    let file = write_report(&service);
    let source = fs::read_to_string(&file).expect("is there");
    assert!(!source.contains(['\u{202e}', '\u{1b}']));
    // Some of the names would cancel each other out.
    let (_, data) = source.split_once("id=\"data\">").expect("has data");
    let (data, _) = data.split_once("</script>").expect("data ends");
    assert!(!data.contains('<'), "{data}");
    let mut page = Page::open(&file);
    let shown = names(&mut page);
    let shown = shown.as_array().expect("names");
    assert_eq!(shown.len(), HOSTILE.len());
    assert!(
        shown.contains(&json!(HOSTILE[0])) && shown.contains(&json!(HOSTILE[1])),
        "{shown:?}"
    );
    assert!(
        shown.contains(&json!("\\u{202e}gpj.exe\\u{1b}[2J")),
        "{shown:?}"
    );
    assert_eq!(page.eval("window.pwned"), Value::Null);
    assert_eq!(
        page.eval("document.querySelectorAll('script, img').length"),
        2
    );
    // The policy refuses what is injected all the same.
    assert_eq!(page.complaints(), Vec::<&Value>::new());
    for request in page.requests() {
        assert!(
            request.starts_with("file:") || request.starts_with("data:"),
            "{request}"
        );
    }
    page.eval("const script = document.createElement('script'); script.textContent = 'window.pwned = 1'; document.body.append(script)");
    assert_eq!(page.eval("window.pwned"), Value::Null);
}

#[test]
fn the_page_is_dark_narrow_and_printed() {
    if !is_installed("chromium", "--version") {
        return;
    }
    let service = Service::start_with(|builder| builder.populate(crate::service::ZONE, 1_500));
    service.add(Fixture::new(HOSTILE[0]).issued_on("2026-01-30T00:00:00Z"));
    let mut page = Page::open(&write_report(&service));
    screenshot(&mut page, "light");
    let background = "getComputedStyle(document.body).backgroundColor";
    let light = page.eval(background);
    let dark = json!({"features": [{"name": "prefers-color-scheme", "value": "dark"}]});
    page.call("Emulation.setEmulatedMedia", dark);
    assert_ne!(page.eval(background), light);
    screenshot(&mut page, "dark");
    page.call("Emulation.setEmulatedMedia", json!({}));

    let narrow = json!({"width": 360, "height": 800, "deviceScaleFactor": 2, "mobile": true});
    page.call("Emulation.setDeviceMetricsOverride", narrow);
    let overflow = page.eval("document.documentElement.scrollWidth - innerWidth");
    assert_eq!(overflow, 0, "nothing sticks out");
    screenshot(&mut page, "narrow");
    page.call("Emulation.clearDeviceMetricsOverride", json!({}));

    // A page on the screen has a window on the rows; on paper there are the rows.
    let rows = "document.querySelectorAll('#certificates tbody tr:not(.spacer)').length";
    // How many it shows changes with the size of the window, a frame later.
    let has_window = format!("(rows => rows >= 10 && rows < 200)({rows})");
    assert_eq!(page.eval(&has_window), true);
    page.eval("var printed = 0; addEventListener('beforeprint', () => { printed = document.querySelectorAll('#certificates tbody tr:not(.spacer)').length })");
    let pdf = page.call("Page.printToPDF", json!({"preferCSSPageSize": true}));
    assert!(pdf["data"].as_str().expect("a PDF").len() > 10_000);
    assert_eq!(page.eval("printed"), 1_000);
    assert_eq!(page.eval(&has_window), true);
    page.call("Emulation.setEmulatedMedia", json!({"media": "print"}));
    page.eval("dispatchEvent(new Event('beforeprint'))");
    screenshot(&mut page, "print");
    assert_eq!(page.complaints(), Vec::<&Value>::new());
}

/// The times are printed and not held to anything: they are the machine's.
#[test]
fn a_hundred_thousand_certificates_are_scrolled_through() {
    if !is_installed("chromium", "--version") {
        return;
    }
    const COUNT: usize = 100_000;
    let service = fleet();
    let file = write_report(&service);
    // The page of six, with the data of many.
    let page = fs::read_to_string(&file).expect("is there");
    let (before, rest) = page.split_once("id=\"data\">").expect("has data");
    let (data, after) = rest.split_once("</script>").expect("data ends");
    let mut data: Value = serde_json::from_str(data).expect("JSON");
    for column in [
        "name",
        "id",
        "serial",
        "status",
        "organization",
        "zone",
        "issued",
        "expires",
    ] {
        let few = data[column].as_array().expect("a column").clone();
        let many = (0..COUNT).map(|row| match column {
            "name" => json!(format!("sensor-{:06}", row * 7_919 % COUNT)),
            "id" => json!(format!("7bf7f70c-7600-42e1-81c4-{row:012x}")),
            "serial" => json!(format!("{:040x}", row * 7_919)),
            "expires" => json!(1_769_860_800 + 1_000 * (row as i64 * 31 % 100_000)),
            _ => few[row % few.len()].clone(),
        });
        data[column] = many.collect();
    }
    fs::write(&file, format!("{before}id=\"data\">{data}</script>{after}")).expect("is written");

    let mut page = Page::open(&file);
    let paint = page.eval("performance.getEntriesByName('first-contentful-paint')[0].startTime");
    let timed = |page: &mut Page, action: &str| {
        page.eval(&format!(
            "(async () => {{ const start = performance.now(); {action};
             await new Promise(done => requestAnimationFrame(() => setTimeout(done))); return performance.now() - start }})()"
        ))
    };
    let search = |text: &str| {
        format!(
            "search.value = {}; search.dispatchEvent(new Event('input'))",
            json!(text)
        )
    };
    let first_search = timed(&mut page, &search("sensor-09999"));
    assert_eq!(shown(&mut page), "10 of 100,000");
    let next_search = timed(&mut page, &search("sensor-0999"));
    assert_eq!(shown(&mut page), "100 of 100,000");
    timed(&mut page, &search(""));
    let sort = timed(
        &mut page,
        "document.querySelector('[data-column=name] button').click()",
    );
    let scroll = timed(
        &mut page,
        "document.getElementById('window').scrollTop = 1e9",
    );
    let names = names(&mut page);
    let names = names.as_array().expect("names");
    assert!(names.len() < 200, "{} rows are drawn", names.len());
    assert_eq!(names.last(), Some(&json!("sensor-099999")));
    let last = page.eval("(() => { const row = [...document.querySelectorAll('#certificates tbody tr:not(.spacer)')].at(-1).getBoundingClientRect(); const frame = document.getElementById('window').getBoundingClientRect(); return Math.abs(row.bottom - frame.bottom) })()");
    assert!(
        last.as_f64().is_some_and(|distance| distance < 20.0),
        "{last}"
    );
    assert_eq!(page.complaints(), Vec::<&Value>::new());
    let milliseconds = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    println!(
        "100,000 certificates: first paint {:.0} ms, first search {:.0} ms, next search {:.0} ms, sort {:.0} ms, scroll {:.0} ms",
        milliseconds(&paint),
        milliseconds(&first_search),
        milliseconds(&next_search),
        milliseconds(&sort),
        milliseconds(&scroll)
    );
}
