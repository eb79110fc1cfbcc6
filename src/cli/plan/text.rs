//! A plan for people.

use super::super::size::{self, count};
use super::told::{Amount, From, Told, bricks, percent};
use dtar::plan::{Load, Prices};

/// The least width of the first column.
const LABEL: usize = 10;

/// Label, bricks, bytes, and what else there is to say.
type Row = (String, String, String, String);

pub fn show(
    told: &Told<'_>,
    detail: bool,
    prices: Option<&Prices>,
    unknown: &[&str],
    next: &[String],
) -> String {
    let mut lines = in_columns(&rows(told));
    let mut put = |label: &str, more: &[&str]| {
        for (number, line) in more.iter().enumerate() {
            let label = if number == 0 { label } else { "" };
            lines.push(format!("{label:<LABEL$}  {line}"));
        }
    };
    put("", unknown);
    if let Some(prices) = prices {
        put("cost", &strs(&costs(told, prices)));
    }
    put("next", &strs(next));
    if detail {
        lines.extend(each_brick(told));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn strs(lines: &[String]) -> Vec<&str> {
    lines.iter().map(String::as_str).collect()
}

fn row(label: &str, amount: Amount, rest: String) -> Row {
    let label = label.to_owned();
    (label, bricks(amount), size::show(amount.bytes), rest)
}

fn rows(told: &Told<'_>) -> Vec<Row> {
    let used = format!(
        "; of these {}, {} ({})",
        count(told.frames, "frame"),
        size::show(told.used),
        percent(told.used, told.all.bytes),
    );
    let mut rows = vec![row("needed", told.all, used)];
    rows.push(row("at hand", told.here, String::new()));
    for (bucket, amount) in told.plan.buckets.iter().zip(&told.buckets) {
        if amount.bricks > 0 {
            let class = bucket.class.as_deref().unwrap_or("STANDARD");
            let rest = format!(", in {} ({class})", bucket.url);
            rows.push(row("pushed", *amount, rest));
        }
    }
    if !told.loads.is_empty() {
        let tapes = count(told.loads.len() as u64, "tape");
        let order = if told.loads.len() == 1 {
            ""
        } else {
            ", in this order"
        };
        rows.push(row(
            "on tape",
            told.on_tape,
            format!(", on {tapes}{order}:"),
        ));
        for (number, load) in (1..).zip(&told.loads) {
            rows.push(tape(number, load));
        }
    }
    for (file, amount) in &told.containers {
        rows.push(row("container", *amount, format!(", in {file}")));
    }
    if told.somewhere.bricks > 0 {
        let rest = ", and no catalog or list says where";
        rows.push(row("away", told.somewhere, rest.to_owned()));
    }
    if told.nowhere.bricks > 0 {
        let rest = ", not here, and in no catalog or list that is here";
        rows.push(row("NOWHERE", told.nowhere, rest.to_owned()));
    }
    rows
}

fn tape(number: u32, load: &Load) -> Row {
    let amount = Amount {
        bricks: load.files.iter().map(|file| file.bricks.len() as u64).sum(),
        bytes: load.bytes,
    };
    let files: Vec<_> = load
        .files
        .iter()
        .map(|file| file.file.to_string())
        .collect();
    let s = if files.len() == 1 { "" } else { "s" };
    let rest = format!(", tape file{s} {}", files.join(", "));
    row(&format!("  {number}. {}", load.name), amount, rest)
}

fn in_columns(rows: &[Row]) -> Vec<String> {
    let width = |column: fn(&Row) -> &str| {
        let widths = rows.iter().map(|row| column(row).chars().count());
        widths.max().unwrap_or(0)
    };
    let label = width(|row| &row.0).max(LABEL);
    let (bricks, bytes) = (width(|row| &row.1), width(|row| &row.2));
    let lines = rows.iter().map(|(name, amount, size, rest)| {
        let comma = format!("{amount},");
        let width = bricks + 1;
        format!("{name:<label$}  {comma:<width$} {size:>bytes$}{rest}")
    });
    lines.collect()
}

fn costs(told: &Told<'_>, prices: &Prices) -> Vec<String> {
    let pay = told.to_pay();
    let costs = prices.costs(pay.bricks, pay.bytes);
    let totals: Vec<_> = costs
        .iter()
        .map(|cost| match cost.total {
            total if total > 0.0 && total < 0.005 => "<0.01".to_owned(),
            total => format!("{total:.2}"),
        })
        .collect();
    let width = totals.iter().map(String::len).max().unwrap_or(0);
    let names = costs.iter().map(|cost| cost.tier.name.chars().count());
    let name = names.max().unwrap_or(0);
    let head = format!("of bringing up {}, {}:", bricks(pay), size::show(pay.bytes));
    let lines = costs.iter().zip(&totals).map(|(cost, total)| {
        let (tier, currency, hours) = (&cost.tier.name, &prices.currency, cost.tier.hours);
        format!("  {tier:<name$}  {total:>width$} {currency}, after {hours} h")
    });
    std::iter::once(head).chain(lines).collect()
}

/// Each brick, in the order in which they are needed.
fn each_brick(told: &Told<'_>) -> Vec<String> {
    let head = "   share     needed     length  frames  brick, in the order of need; from where";
    let mut lines = vec![String::new(), head.to_owned()];
    for (planned, from) in told.bricks() {
        let need = &planned.need;
        let place = match from {
            From::Here => "here".to_owned(),
            From::Bucket(at) => {
                let bucket = told.plan.buckets.get(*at);
                bucket.map_or_else(String::new, |bucket| bucket.url.clone())
            }
            From::Tape(load, file) => {
                let name = told.loads.get(*load).map_or("", |load| &load.name);
                format!("{name}, tape file {file}")
            }
            From::Container(file) => file.clone(),
            From::Somewhere => "away".to_owned(),
            From::Nowhere => "NOWHERE".to_owned(),
        };
        lines.push(format!(
            "{:>8} {:>10} {:>10} {:>7}  {}  {place}",
            percent(need.used, need.length),
            size::show(need.used),
            size::show(need.length),
            need.frame_count,
            need.brick,
        ));
    }
    lines
}
