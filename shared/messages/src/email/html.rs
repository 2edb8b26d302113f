//! A notice as a page of HTML that readers of e-mail show: tables for the layout, styles on each element, nothing loaded.

use crate::notice::{Audience, Fact, Notice, Outcome, Severity, Table};
use crate::table::is_of_figures;
use crate::text::{cut, lines, one_line, spans, when};

/// Letters of every element.
const FONT: &str = "font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif";
const TYPED: &str = "font-family:ui-monospace,Menlo,Consolas,monospace;font-size:13px;background:#f1f3f6;\
    border-radius:4px;padding:1px 5px";
/// The space around the parts of the page.
const PART: &str = "padding:0 32px 20px";
/// Characters of a summary.
const SUMMARY_MAX: usize = 6_000;
/// Characters of a name, a figure, a step.
const LINE_MAX: usize = 600;
/// Characters of a cell.
const CELL_MAX: usize = 120;
/// Facts, rows or steps; more than that is no e-mail any more.
const LINES_MAX: usize = 30;
/// Columns of a table.
const COLUMNS_MAX: usize = 8;

struct Look {
    word: &'static str,
    colour: &'static str,
    ground: &'static str,
}

const fn look(notice: &Notice) -> Look {
    if notice.outcome.is_some() {
        return Look { word: "Done", colour: "#0f7a4a", ground: "#e7f6ee" };
    }
    match notice.severity {
        Severity::Info => Look { word: "For your information", colour: "#1f5fbf", ground: "#e9f1fd" },
        Severity::Warning => Look { word: "Needs attention", colour: "#9a5b00", ground: "#fdf3e0" },
        Severity::Critical => Look { word: "Act now", colour: "#b3261e", ground: "#fdecea" },
    }
}

/// The page.
pub(super) fn page_of(notice: &Notice) -> String {
    let Look { word, colour, ground } = look(notice);
    let title = escaped(&cut(&notice.heading(), LINE_MAX));
    let mut parts = vec![
        part(
            "padding:26px 32px 14px",
            &format!(
                "<span style=\"display:inline-block;padding:3px 10px;border-radius:10px;background:{ground};\
                 color:{colour};font-size:12px;font-weight:600\">{word}</span>\
                 <h1 style=\"margin:12px 0 0;font-size:21px;line-height:28px;font-weight:650;color:#16191f\">{title}</h1>"
            ),
        ),
        part("padding:0 32px 8px", &paragraphs(&notice.summary)),
    ];
    parts.extend(notice.outcome.as_ref().map(outcome));
    parts.extend((!notice.facts.is_empty()).then(|| facts(&notice.facts)));
    parts.extend(notice.table.as_ref().filter(|table| !table.rows.is_empty()).map(rows));
    if notice.outcome.is_none() && !notice.next_steps.is_empty() {
        parts.push(steps(&notice.next_steps));
    }
    parts.extend(links(notice, colour));
    parts.push(foot(notice));
    let preview = escaped(&cut(&one_line(&notice.summary), 180));
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light\"><meta name=\"supported-color-schemes\" content=\"light\">\
         <title>{title}</title></head>\n\
         <body style=\"margin:0;padding:0;background:#eef0f3\">\n\
         <div style=\"display:none;max-height:0;overflow:hidden;opacity:0\">{preview}</div>\n\
         <table role=\"presentation\" width=\"100%\" cellpadding=\"0\" cellspacing=\"0\" border=\"0\" bgcolor=\"#eef0f3\">\
         <tr><td align=\"center\" style=\"padding:28px 12px\">\n\
         <table role=\"presentation\" width=\"600\" cellpadding=\"0\" cellspacing=\"0\" border=\"0\" bgcolor=\"#ffffff\" \
         style=\"width:100%;max-width:600px;background:#ffffff;border:1px solid #dfe3e8;border-top:4px solid {colour};\
         border-radius:6px;text-align:left\">\n{}</table>\n\
         </td></tr></table>\n</body></html>\n",
        parts.concat()
    )
}

fn part(style: &str, content: &str) -> String {
    format!("<tr><td style=\"{style};{FONT};color:#30353f;font-size:15px;line-height:23px\">{content}</td></tr>\n")
}

fn paragraphs(summary: &str) -> String {
    let shown = cut(&lines(summary), SUMMARY_MAX);
    let paragraphs = shown.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty());
    let to_html = |paragraph: &str| {
        let lines: Vec<String> = paragraph.trim().lines().map(escaped).collect();
        format!("<p style=\"margin:0 0 10px\">{}</p>", lines.join("<br>"))
    };
    paragraphs.map(to_html).collect()
}

fn outcome(outcome: &Outcome) -> String {
    let what = escaped(&cut(&one_line(&outcome.what), LINE_MAX));
    let at = escaped(&when(&outcome.at));
    part(
        PART,
        &format!(
            "<div style=\"background:#e7f6ee;border-left:4px solid #0f7a4a;border-radius:4px;padding:12px 16px\">\
             <strong style=\"color:#0b5c38\">&#10003; {what}</strong><br><span style=\"color:#4b5563\">{at}</span></div>"
        ),
    )
}

fn facts(facts: &[Fact]) -> String {
    let row = |(at, fact): (usize, &Fact)| {
        let line = if at == 0 { "" } else { "border-top:1px solid #e8ebef;" };
        let label = escaped(&cut(&one_line(&fact.label), LINE_MAX));
        let value = escaped(&cut(&one_line(&fact.value), LINE_MAX));
        format!(
            "<tr><td style=\"{line}padding:9px 14px;color:#5b6472;{FONT};font-size:14px;width:34%;vertical-align:top\">\
             {label}</td><td style=\"{line}padding:9px 14px;color:#16191f;{FONT};font-size:14px;font-weight:600;\
             vertical-align:top;word-break:break-word;font-variant-numeric:tabular-nums\">{value}</td></tr>"
        )
    };
    let rows: String = facts.iter().take(LINES_MAX).enumerate().map(row).collect();
    part(PART, &boxed(&rows))
}

fn boxed(rows: &str) -> String {
    format!(
        "<table width=\"100%\" cellpadding=\"0\" cellspacing=\"0\" border=\"0\" style=\"border:1px solid #dfe3e8;\
         border-radius:6px;border-collapse:separate\">{rows}</table>"
    )
}

fn rows(table: &Table) -> String {
    let is_figures: Vec<bool> = (0..COLUMNS_MAX).map(|at| is_of_figures(table, at)).collect();
    let row = |cells: &[String], element: &str, style: &str| {
        let cell = |(cell, is_figure): (&String, &bool)| {
            let align = if *is_figure { "right" } else { "left" };
            let text = escaped(&cut(&one_line(cell), CELL_MAX));
            format!(
                "<{element} align=\"{align}\" style=\"padding:8px 14px;vertical-align:top;{FONT};font-size:14px;{style}\">{text}</{element}>"
            )
        };
        format!("<tr>{}</tr>", cells.iter().zip(&is_figures).map(cell).collect::<String>())
    };
    let head = row(&table.columns, "th", "color:#5b6472;font-weight:600;background:#f6f7f9");
    let figures = "border-top:1px solid #e8ebef;color:#16191f;word-break:break-word;font-variant-numeric:tabular-nums";
    let shown: String = table.rows.iter().take(LINES_MAX).map(|cells| row(cells, "td", figures)).collect();
    let more = more(table.rows.len());
    let title = escaped(&cut(&one_line(&table.title), LINE_MAX));
    part(PART, &format!("{}{}{more}", heading(&title), boxed(&format!("{head}{shown}"))))
}

/// How many of so many are not listed.
fn more(count: usize) -> String {
    match count.saturating_sub(LINES_MAX) {
        0 => String::new(),
        left_out => format!("<p style=\"margin:6px 0 0;color:#5b6472\">and {left_out} more</p>"),
    }
}

fn heading(escaped: &str) -> String {
    format!("<p style=\"margin:0 0 8px;font-weight:650;color:#16191f\">{escaped}</p>")
}

fn steps(steps: &[String]) -> String {
    let item = |step: &String| format!("<li style=\"margin:0 0 7px\">{}</li>", typed(&cut(&one_line(step), LINE_MAX)));
    let items: String = steps.iter().take(LINES_MAX).map(item).collect();
    part(PART, &format!("{}<ul style=\"margin:0;padding:0 0 0 20px\">{items}</ul>", heading("What to do")))
}

/// Pages to open; the first one is what the e-mail is about.
fn links(notice: &Notice, colour: &str) -> Option<String> {
    let link = |(at, (label, url)): (usize, (&str, &str))| {
        let look = match at {
            0 => format!("background:{colour};color:#ffffff;border:1px solid {colour}"),
            _ => format!("background:#ffffff;color:{colour};border:1px solid {colour}"),
        };
        format!(
            "<a href=\"{}\" style=\"display:inline-block;margin:0 10px 8px 0;padding:10px 20px;border-radius:5px;\
             {look};font-size:14px;font-weight:600;text-decoration:none\">{}</a>",
            escaped(url),
            escaped(&cut(&one_line(label), 75)),
        )
    };
    let links: String = notice.links().take(5).enumerate().map(link).collect();
    (!links.is_empty()).then(|| part("padding:2px 32px 16px", &links))
}

fn foot(notice: &Notice) -> String {
    let reason = reason(notice);
    format!(
        "<tr><td style=\"padding:14px 32px 18px;border-top:1px solid #e8ebef;{FONT};color:#6b7280;font-size:12px;\
         line-height:18px;word-break:break-word\">{reason}<br>{} &middot; {} &middot; {}</td></tr>\n",
        escaped(&one_line(&notice.kind)),
        escaped(&cut(&one_line(&notice.id), LINE_MAX)),
        escaped(&when(&notice.at)),
    )
}

/// Why somebody gets it.
fn reason(notice: &Notice) -> String {
    let team = notice.team.as_ref().map(|team| escaped(&cut(&one_line(team), LINE_MAX)));
    let is_for = |audience| notice.audience.contains(&audience);
    match team.filter(|_| is_for(Audience::Lead)) {
        Some(team) if is_for(Audience::FinOps) => {
            format!("Sent by recoup to the lead of the team {team} and to those who look after all budgets.")
        }
        Some(team) => format!("Sent by recoup to the lead of the team {team}."),
        None => "Sent by recoup to those who look after all budgets.".to_owned(),
    }
}

/// A line whose parts between backticks look typed.
fn typed(line: &str) -> String {
    let piece = |(piece, is_typed): (&str, bool)| match is_typed {
        true => format!("<code style=\"{TYPED}\">{}</code>", escaped(piece)),
        false => escaped(piece),
    };
    spans(line).into_iter().map(piece).collect()
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}
