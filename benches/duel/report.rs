//! The table and the plots.

use std::fmt::Write;
use std::path::Path;

use crate::Cell;
use crate::arena::measure::{Figures, median, worst};
use crate::arena::oracles::{BEFORE_S, Oracle};

const HEAD: &str = "\
| scorer | avoided after, s | wasted per call | most | healthy kept away, s | times | recovered after, s | calls lost, % | 95 % reached in, ms |
|---|---|---|---|---|---|---|---|---|
";

/// A table an oracle, each followed by its plot where there is one and they are wanted.
pub(crate) fn tables(cells: &[Cell], has_plots: bool) -> String {
    let mut text = String::new();
    for cells in cells.chunk_by(|a, b| a.oracle.name == b.oracle.name) {
        let Oracle { name, about, has_plot, .. } = cells[0].oracle;
        let _ = write!(text, "### {name}\n\n{}.\n\n{HEAD}", capitalized(about));
        for cell in cells {
            let middle = Figures::over(&cell.runs, median).columns();
            let worst = Figures::over(&cell.runs, worst).columns();
            let digits = [1, 3, 0, 0, 0, 1, 2, 0];
            let _ = write!(text, "| {} |", cell.contender.name());
            for ((middle, worst), digits) in middle.into_iter().zip(worst).zip(digits) {
                let _ = write!(text, " {} |", pair(middle, worst, digits));
            }
            text.push('\n');
        }
        text.push('\n');
        if has_plots && *has_plot {
            let _ = write!(text, "![{name}](duel-{name}.svg)\n\n");
        }
    }
    text
}

pub(crate) fn page(cells: &[Cell], seeds: u64, rate: f64) -> String {
    let before = include_str!("before.md");
    let after = include_str!("after.md");
    let before = before.replace("{seeds}", &seeds.to_string()).replace("{rate}", &rate.to_string());
    format!("{before}\n{}{after}", tables(cells, true))
}

pub(crate) fn write(folder: &str, page: &str, cells: &[Cell]) -> std::io::Result<()> {
    let folder = Path::new(folder);
    std::fs::write(folder.join("duel.md"), page)?;
    for cells in cells.chunk_by(|a, b| a.oracle.name == b.oracle.name) {
        let oracle = cells[0].oracle;
        if !oracle.has_plot {
            continue;
        }
        std::fs::write(folder.join(format!("duel-{}.svg", oracle.name)), plot(oracle, cells))?;
    }
    Ok(())
}

fn pair(middle: f64, worst: f64, digits: usize) -> String {
    let number = |value: f64| match value {
        value if value.is_nan() => "–".to_owned(),
        value if value.is_infinite() => "never".to_owned(),
        value => format!("{value:.digits$}"),
    };
    let (middle, worst) = (number(middle), number(worst));
    match middle == worst {
        true => middle,
        false => format!("{middle} ({worst})"),
    }
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().collect::<String>() + letters.as_str()
    })
}

const WIDTH: f64 = 720.0;
const ROW: f64 = 62.0;
const LEFT: f64 = 170.0;

/// A strip a scorer: the share of calls that begin with the faulty carrier, second by second.
fn plot(oracle: &Oracle, cells: &[Cell]) -> String {
    let height = ROW * cells.len() as f64 + 50.0;
    let seconds = cells[0].shares.len() as f64;
    let x = |second: f64| LEFT + (WIDTH - LEFT - 10.0) * second / seconds;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"18\" font-weight=\"bold\">{}: share of calls that begin with the \
         first carrier</text>\n\
         <rect x=\"{:.1}\" y=\"26\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#f6dcd8\"/>\n",
        oracle.name,
        x(BEFORE_S),
        x(BEFORE_S + cells[0].fault_s) - x(BEFORE_S),
        height - 50.0,
    );
    for (index, cell) in cells.iter().enumerate() {
        let bottom = 26.0 + ROW * (index as f64 + 1.0) - 6.0;
        // Half of all calls fill a strip.
        let y = |share: f64| bottom - (ROW - 12.0) * (2.0 * share).min(1.0);
        let mut points = String::new();
        for (second, share) in cell.shares.iter().enumerate() {
            let _ = write!(points, "{:.1},{:.1} ", x(second as f64 + 0.5), y(*share));
        }
        let _ = writeln!(
            svg,
            "<text x=\"10\" y=\"{:.1}\">{}</text>\n\
             <line x1=\"{LEFT}\" y1=\"{bottom}\" x2=\"{:.1}\" y2=\"{bottom}\" stroke=\"#bbb\"/>\n\
             <polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.4\"/>",
            bottom - 18.0,
            cell.contender.name(),
            WIDTH - 10.0,
            points.trim_end(),
            if index == 0 { "#0b6e4f" } else { "#44546a" },
        );
    }
    for second in (0..=cells[0].shares.len()).step_by(30) {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{second} s</text>",
            x(second as f64),
            height - 6.0,
        );
    }
    svg.push_str("</svg>\n");
    svg
}
