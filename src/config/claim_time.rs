//! The check that a claim of a refresh token outlasts everything that happens under it.

use std::time::Duration;

use crate::config::identity_provider::ReadProvider;
use crate::config::identity_provider_settings::REFRESH_READ_LIMIT;
use crate::config::quoting::list;
use crate::config::reader::Section;
use crate::config::refresh::ReadRefresh;
use crate::config::shared_state::{ReadSharedState, SharedState};
use crate::config::values::duration::shown;

/// A time that a claim must outlast, with the key that sets it.
struct Part<'a> {
    section: &'a Section<'a>,
    key: &'static str,
    time: Duration,
    /// The time that fits together with the usual times of the other parts.
    usual: Duration,
}

impl Part<'_> {
    fn path(&self) -> String {
        self.section.child(self.key)
    }

    fn excess(&self) -> Duration {
        self.time.saturating_sub(self.usual)
    }
}

/// Compares the time of a claim with the time for an answer, the replay window and the time of settling. While the claim
/// is there, no replica presents the token. So the claim must be there until no request can have a reason to do so.
pub(super) fn check(shared: &ReadSharedState<'_>, refresh: &ReadRefresh<'_>, providers: &[ReadProvider<'_>]) {
    let (Some(Some(state)), Some(settings)) = (&shared.state, &refresh.refresh) else { return };
    let slowest = providers.iter().filter_map(|read| Some((&read.section, read.provider.as_ref()?)));
    let slowest = slowest.max_by_key(|(_, provider)| provider.refresh_read_limit());
    let answer = slowest.map_or(REFRESH_READ_LIMIT, |(_, provider)| provider.refresh_read_limit());
    let part = |section, key, time, seconds| Part { section, key, time, usual: Duration::from_secs(seconds) };
    let mut parts = vec![
        part(&refresh.section, "replay_window", settings.replay_window, 30),
        part(&shared.section, "settle", state.settle, 3),
    ];
    let others = parts.iter().map(|part| part.time).sum::<Duration>();
    let Some(excess) = (answer + others).checked_sub(SharedState::CLAIM).filter(|excess| !excess.is_zero())
    else {
        return;
    };
    parts.extend(
        slowest
            .filter(|_| answer > REFRESH_READ_LIMIT)
            .map(|(section, _)| part(section, "request_timeout", answer, REFRESH_READ_LIMIT.as_secs())),
    );
    report(parts, answer, excess);
}

/// Reports the key that exceeds its usual time by the most, and says what to write there.
fn report(mut parts: Vec<Part<'_>>, answer: Duration, excess: Duration) {
    parts.sort_by_key(|part| std::cmp::Reverse(part.excess()));
    let Some(first) = parts.first() else { return };
    let mut times: Vec<String> =
        parts.iter().map(|part| format!("`{}` ({})", part.path(), shown(part.time))).collect();
    if answer <= REFRESH_READ_LIMIT {
        times.push(format!("the {} in which a provider may answer", shown(answer)));
    }
    let message = format!(
        "with `[shared_state]` a refresh is claimed for {}, and these times are longer together: {}",
        shown(SharedState::CLAIM),
        times.join(", ")
    );
    // A key that is lowered to its usual time has done its share.
    let hint = if first.excess() >= excess {
        format!("lower `{}` to `\"{}\"` or less", first.path(), shown(first.time.saturating_sub(excess)))
    } else {
        let high: Vec<String> =
            parts.iter().filter(|part| !part.excess().is_zero()).map(Part::path).collect();
        format!("lower {}", list(&high.iter().map(String::as_str).collect::<Vec<_>>()))
    };
    let _: Option<()> = first.section.fault_at(first.key, message, hint);
}
