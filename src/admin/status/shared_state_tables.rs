//! The tables of the page about the fleet.

use crate::admin::status::cells::mark;
use crate::admin::status::facts::Status;
use crate::admin::status::html::Html;
use crate::admin::status::shared_state_facts::{EngineStatus, MemberStatus, SharedStateStatus};
use crate::admin::status::units::{bytes, duration, measure, whole};

/// Writes the section about the fleet, if this process is a replica of one.
pub(super) fn section(html: &mut Html, status: &Status) {
    let Some(shared_state) = &status.shared_state else { return };
    html.raw("<section>\n<h2>Shared state</h2>\n<div class=\"pair\">\n<div>\n");
    engine(html, shared_state, status.revocations);
    html.raw("</div>\n<div>\n");
    members(html, &shared_state.members);
    html.raw("</div>\n</div>\n</section>\n");
}

fn engine(html: &mut Html, shared_state: &SharedStateStatus, revocations: usize) {
    let engine = &shared_state.engine;
    html.open_table("The engine, and what this process keeps for the fleet", &["What", "Now"]);
    let row = |html: &mut Html, what: &'static str, fill: &dyn Fn(&mut Html)| {
        html.row(
            |html| {
                html.raw(what);
            },
            |html| {
                html.cell("Now", fill);
            },
        );
    };
    row(html, "Engine", &|html| engine_cell(html, engine));
    row(html, "Generation", &|html| match &engine.generation {
        Some(generation) => {
            html.raw("<code>").text(generation).raw("</code>");
        }
        None => {
            html.raw("not known");
        }
    });
    row(html, "Memory of the engine", &|html| {
        html.text(bytes(engine.used_memory));
        if engine.max_memory > 0 {
            html.raw(" of ").text(bytes(engine.max_memory));
        }
    });
    row(html, "Nodes that copy the primary", &|html| {
        html.text(whole(engine.copies));
    });
    row(html, "To be told to the engine", &|html| {
        html.text(whole(shared_state.outbox));
        if shared_state.outbox > 0 {
            html.raw(", for ").text(duration(shared_state.outbox_waits_seconds));
        }
    });
    row(html, "Results of refreshes", &|html| {
        html.text(bytes(shared_state.results_bytes as u64));
    });
    row(html, "Revocations", &|html| {
        html.text(whole(revocations));
        match shared_state.revocations_staleness_seconds {
            Some(seconds) => html.raw(", complete ").text(duration(seconds)).raw(" ago"),
            None => html.raw(", those of other replicas are not known"),
        };
    });
    html.close_table();
}

fn engine_cell(html: &mut Html, engine: &EngineStatus) {
    match (engine.is_up, &engine.complaint) {
        (false, _) => mark(html, "bad", "away"),
        (true, Some(_)) => mark(html, "warn", "up, with a complaint"),
        (true, None) => mark(html, "good", "up"),
    }
    html.raw(" <code>").text(&engine.address).raw("</code><div class=\"small\">");
    if engine.kind.is_empty() {
        html.raw("never reached");
    } else {
        html.text(&engine.kind).raw(" ").text(&engine.version);
    }
    html.raw("</div>");
}

fn members(html: &mut Html, members: &[MemberStatus]) {
    if members.is_empty() {
        html.raw("<p>No replica is heard: they hear each other through the engine.</p>\n");
        return;
    }
    html.open_table("The replicas that are heard", &["Replica", "Version", "Silent for"]);
    for member in members {
        html.row(
            |html| {
                html.raw("<b>").text(&member.host).raw("</b>");
                html.raw(if member.is_this { " (this one)" } else { "" });
                html.raw("<div class=\"small\"><code>").text(&member.replica).raw("</code></div>");
            },
            |html| {
                html.cell("Version", |html| {
                    html.text(&member.version);
                });
                html.number("Silent for", measure(member.silent_seconds, "s"));
            },
        );
    }
    html.close_table();
}
