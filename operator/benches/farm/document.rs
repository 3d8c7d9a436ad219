//! The table and the curves in docs/performance.md.

use std::error::Error;

use plotters::prelude::*;
use printernizer_e2e::farm::project;

use crate::results::Results;

const BEGIN: &str = "<!-- made by `cargo xtask bench --document` -->\n";
const CURVES: &str = "![Assignments a second, report to watcher and memory of each printer](images/performance.svg)\n";
const END: &str = "<!-- end of what is made -->\n";

/// Puts the table between its two marks in docs/performance.md, and the curves into docs/images/performance.svg.
pub fn write(results: &Results) {
    let path = project().join("docs/performance.md");
    let text = std::fs::read_to_string(&path).expect("docs/performance.md can be read");
    let (before, rest) = text.split_once(BEGIN).expect("docs/performance.md has the mark where the table begins");
    let (_, after) = rest.split_once(END).expect("docs/performance.md has the mark where the table ends");
    let made = format!("{before}{BEGIN}\n{}\n{CURVES}\n{END}{after}", results.table());
    std::fs::write(&path, made).expect("docs/performance.md can be written");
    curves(results).expect("the curves can be drawn");
}

/// Three curves over the number of printers, side by side.
fn curves(results: &Results) -> Result<(), Box<dyn Error>> {
    let path = project().join("docs/images/performance.svg");
    let area = SVGBackend::new(&path, (1080, 300)).into_drawing_area();
    area.fill(&WHITE)?;
    let panels = area.split_evenly((1, 3));
    let of = |n: u32| f64::from(n);
    let bursts = results.bursts.iter().map(|b| (of(b.printers), b.assignments_per_second)).collect();
    curve(&panels[0], "assignments a second", "free at once", &[("", bursts)], Some(350.0))?;
    let p50 = results.reports.iter().map(|(n, v)| (of(*n), v.p50)).collect();
    let p99 = results.reports.iter().map(|(n, v)| (of(*n), v.p99)).collect();
    curve(&panels[1], "report to watcher, ms", "printers", &[("p50", p50), ("p99", p99)], Some(50.0))?;
    let memory = results.costs.iter().map(|c| (of(c.printers), c.rss_bytes / 1000.0)).collect();
    curve(&panels[2], "memory of each, KB", "printers", &[("", memory)], Some(100.0))?;
    area.present()?;
    Ok(())
}

type Points = Vec<(f64, f64)>;

/// One panel: lines with their points over a logarithmic number of printers, and the goal as a grey line.
fn curve<B: DrawingBackend>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    title: &str,
    below: &str,
    lines: &[(&str, Points)],
    goal: Option<f64>,
) -> Result<(), Box<dyn Error>>
where
    B::ErrorType: 'static,
{
    let points = || lines.iter().flat_map(|(_, points)| points);
    let (least, most) = points().fold((f64::MAX, 1.0_f64), |(a, b), p| (a.min(p.0), b.max(p.0)));
    let top = points().map(|p| p.1).chain(goal).fold(1.0_f64, f64::max) * 1.15;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(44)
        .build_cartesian_2d((least.min(most)..most * 1.05).log_scale(), 0.0..top)?;
    chart.configure_mesh().light_line_style(TRANSPARENT).x_desc(below).x_labels(5).draw()?;
    if let Some(goal) = goal {
        chart.draw_series(LineSeries::new([(least, goal), (most, goal)], RGBColor(150, 150, 150)))?;
    }
    let colors = [RGBColor(31, 119, 180), RGBColor(214, 39, 40)];
    for ((name, points), color) in lines.iter().zip(colors) {
        let line = chart.draw_series(LineSeries::new(points.clone(), color.stroke_width(2)).point_size(3))?;
        if !name.is_empty() {
            line.label(*name).legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color));
        }
    }
    if lines.len() > 1 {
        chart.configure_series_labels().border_style(BLACK).background_style(WHITE).draw()?;
    }
    Ok(())
}
