//! Reads everything that zones hold, for the commands that count it.

use jiff::Timestamp;
use shieldcert::{ClientCertificate, Zone};

use crate::context::Context;
use crate::failure::Result;
use crate::output::progress::Progress;

/// What was read.
pub(crate) struct Inventory {
    /// The service's time when reading began, to the second.
    pub(crate) taken_at: Timestamp,
    /// Records that hold no certificate that can be understood. Each was warned of.
    pub(crate) unreadable: usize,
}

/// Reads every certificate of the zones. `each` gets the zone's place among them, and the time of the inventory.
pub(crate) async fn read(
    context: &Context,
    zones: &[Zone],
    mut each: impl FnMut(usize, &ClientCertificate, Timestamp),
) -> Result<Inventory> {
    let mut progress = Progress::start(context.messages(), "read", None);
    let mut taken_at = None;
    let mut unreadable = 0;
    for (place, zone) in zones.iter().enumerate() {
        let mut pages = zone.list().pages();
        while let Some(page) = pages.try_next().await? {
            let taken_at = *taken_at.get_or_insert_with(|| now(context));
            for certificate in &page.certificates {
                each(place, certificate, taken_at);
            }
            for record in &page.unreadable {
                unreadable += 1;
                let zone = zone.id();
                let warning = format!("zone {zone}: a record can't be read: {record}");
                context.messages().warning(&warning);
            }
            progress.add(page.certificates.len());
        }
    }
    Ok(Inventory {
        taken_at: taken_at.unwrap_or_else(|| now(context)),
        unreadable,
    })
}

fn now(context: &Context) -> Timestamp {
    let now = context.now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}
