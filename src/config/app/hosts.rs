//! `hosts` of `[apps.*]`: the names by which browsers reach an app. There are no wildcards.

use crate::config::reader::Section;
use crate::config::values::host_name::host;

/// Reads the key.
pub(crate) fn hosts(section: &Section<'_>) -> Option<Vec<String>> {
    section.required("hosts", "list the host names of the app, such as `[\"store.example.com\"]`", |item| {
        item.some("list at least one host name, such as `[\"store.example.com\"]`", host)
    })
}
