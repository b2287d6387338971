//! The promises, a file each. The README states them.

mod checked_certificates;
mod exactly_once;
mod good_citizen;
mod lifecycle;
mod lying_service;
mod nothing_missed;
mod proof;
mod request_counts;
mod retry;
mod secrets;
mod tolerant_reader;
mod waits_end;
