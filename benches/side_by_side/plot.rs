//! A bar chart as SVG, for a light and a dark page.

use std::fmt::Write;

use crate::rounds::Spread;

const WIDTH: f64 = 760.0;
const LABELS: f64 = 220.0;
/// Right of the longest bar, for its value.
const VALUES: f64 = 60.0;
const TOP: f64 = 44.0;
const ROW: f64 = 30.0;
const BAR: f64 = 18.0;

/// One bar.
pub(crate) struct Bar {
    /// The text beside it.
    pub(crate) title: String,
    /// Its length.
    pub(crate) value: Spread,
    /// Portcullis.
    pub(crate) is_ours: bool,
    /// A proxy that authenticates.
    pub(crate) checks_tokens: bool,
}

/// Horizontal bars of the medians, each with a line from the least to the most.
pub(crate) fn plot(title: &str, bars: &[Bar]) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a handful of bars")]
    let height = TOP + ROW * bars.len() as f64 + 34.0;
    let most = bars.iter().map(|bar| bar.value.high).fold(1.0, f64::max);
    let scale = (WIDTH - LABELS - VALUES) / most;
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" aria-label="{title}">
<style>
  text {{ font: 13px system-ui, sans-serif; fill: #1f2328; }}
  .title {{ font-weight: 600; }}
  .note {{ font-size: 12px; fill: #59636e; }}
  .other {{ fill: #8c959f; }} .ours {{ fill: #0969da; }} .open {{ fill-opacity: 0.45; }}
  .spread {{ stroke: #1f2328; stroke-width: 1.5; }}
  @media (prefers-color-scheme: dark) {{
    text {{ fill: #f0f6fc; }}
    .note {{ fill: #9198a1; }}
    .other {{ fill: #6e7681; }} .ours {{ fill: #4493f8; }}
    .spread {{ stroke: #f0f6fc; }}
  }}
</style>
<text class="title" x="8" y="22">{title}</text>
"#
    );
    let mut top = TOP;
    for bar in bars {
        draw(&mut svg, bar, top, scale);
        top += ROW;
    }
    let _always_fits = write!(
        svg,
        r#"<text class="note" x="8" y="{:.0}">Medians; the lines go from the least to the most of the rounds. Faint: forwards without a look at the token.</text>
</svg>
"#,
        top + 18.0
    );
    svg
}

fn draw(svg: &mut String, bar: &Bar, top: f64, scale: f64) {
    let Spread { median, low, high } = bar.value;
    let kind = if bar.is_ours { "ours" } else { "other" };
    let open = if bar.checks_tokens { "" } else { " open" };
    let middle = top + BAR / 2.0;
    let (from, to) = (LABELS + low * scale, LABELS + high * scale);
    let _always_fits = write!(
        svg,
        r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>
<rect class="{kind}{open}" x="{LABELS}" y="{top:.1}" width="{:.1}" height="{BAR}" rx="2"/>
<line class="spread" x1="{from:.1}" y1="{middle:.1}" x2="{to:.1}" y2="{middle:.1}"/>
<text x="{:.1}" y="{:.1}">{median:.1}</text>
"#,
        LABELS - 10.0,
        middle + 4.5,
        bar.title,
        median * scale,
        to.max(LABELS + median * scale) + 8.0,
        middle + 4.5,
    );
}
