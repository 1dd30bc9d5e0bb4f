//! Prints results, and writes them into `docs/`.

use std::fs;
use std::path::Path;

use crate::issuer::Error;
use crate::machine;
use crate::measurement::Window;
use crate::peers::Peers;

/// A number of things, such as `1 round` or `10,000 routes`.
pub(crate) fn counted(number: usize, thing: &str) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    let plural = if number == 1 { "" } else { "s" };
    format!("{text} {thing}{plural}")
}

/// One result.
pub(crate) struct Chapter {
    /// The tables.
    pub(crate) markdown: String,
    /// `docs/performance.svg`.
    pub(crate) plot: Option<String>,
}

/// Returns the text about the programs and the machine of a result.
pub(crate) fn foreword(peers: &Peers, pinned: bool, rounds: usize, window: Window) -> String {
    let shared = if pinned {
        ""
    } else {
        " PROXY AND LOAD SHARED CORES (no `taskset`, or one core): the ratios are less certain."
    };
    format!(
        "{};\n{}. {} of {:.1} s.\nThe figures are medians, with the least and the most of the rounds in parentheses. \
         Ratios are formed within a round.{shared}",
        machine::describe(),
        peers.versions(),
        counted(rounds, "round"),
        window.length.as_secs_f64(),
    )
}

impl Chapter {
    /// Prints it, and writes it between its markers in `docs/performance.md`.
    pub(crate) fn publish(self, name: &str, write: bool) -> Result<(), Error> {
        println!("\n{}\n", self.markdown);
        if !write {
            return Ok(());
        }
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        let page = docs.join("performance.md");
        fs::write(&page, between_markers(&fs::read_to_string(&page)?, name, &self.markdown)?)?;
        if let Some(plot) = self.plot {
            fs::write(docs.join("performance.svg"), plot)?;
        }
        Ok(())
    }
}

fn between_markers(page: &str, name: &str, text: &str) -> Result<String, Error> {
    let begin = format!("<!-- side_by_side {name}: begin -->\n");
    let end = format!("<!-- side_by_side {name}: end -->");
    let parts = page.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    let Some((before, after)) = parts else {
        return Err(format!("docs/performance.md has no `{}` and `{end}`", begin.trim()).into());
    };
    Ok(format!("{before}{begin}\n{text}\n\n{end}{after}"))
}
