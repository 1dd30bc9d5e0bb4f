//! `[refresh]`: the settings of refreshes.

use std::time::Duration;

use crate::config::reader::Section;
use crate::config::values::duration::duration;

/// `[refresh]`.
#[derive(Debug, Clone)]
pub struct Refresh {
    /// A JWT that expires within this time is refreshed early, but never before three quarters of its lifetime.
    pub ahead: Duration,
    /// For this time, requests with the old refresh token get the outcome of the refresh.
    pub replay_window: Duration,
}

/// The table for the checks that look at the whole file.
pub(crate) struct ReadRefresh<'a> {
    pub(crate) section: Section<'a>,
    pub(crate) refresh: Option<Refresh>,
}

/// Reads the table.
pub(crate) fn refresh<'a>(root: &Section<'a>) -> ReadRefresh<'a> {
    let section = root.section("refresh");
    let ahead = section.defaulted("ahead", "\"30s\"", |item| duration(item, "0s", "1h"));
    let replay_window = section.defaulted("replay_window", "\"30s\"", |item| duration(item, "10ms", "10m"));
    let refresh = ahead.zip(replay_window).map(|(ahead, replay_window)| Refresh { ahead, replay_window });
    ReadRefresh { section, refresh }
}
