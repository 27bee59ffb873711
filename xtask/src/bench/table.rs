//! Medians and ratios as a markdown table: the first side against each of the others.

use super::{Samples, Side};
use std::collections::BTreeMap;

/// The table; the number before a row's name only orders it.
pub(super) fn table(sides: &[Side]) -> String {
    let Some((ours, others)) = sides.split_first() else { return String::new() };
    let mut text = format!("| what | {} | range |", ours.name);
    let mut rule = String::from("|---|---:|---:|");
    for other in others {
        text += &format!(" {0} | range | {0} / {1} |", other.name, ours.name);
        rule += "---:|---:|---:|";
    }
    text += &format!("\n{rule}\n");
    for (what, values) in &ours.samples {
        let mine = median(values);
        let name = what.split_once(' ').map_or(what.as_str(), |(_, n)| n);
        text += &format!("| {name} | {mine:.3} | {} |", range(values));
        for other in others {
            text += &match other.samples.get(what) {
                Some(values) => {
                    let theirs = median(values);
                    format!(" {theirs:.3} | {} | {:.2} |", range(values), theirs / mine)
                }
                None => " - | - | - |".to_owned(),
            };
        }
        text += "\n";
    }
    text + &means(ours, others)
}

/// The geometric mean of the ratios of each kind of program, and the least of them.
fn means(ours: &Side, others: &[Side]) -> String {
    let kind = |what: &str| Some(what.strip_prefix("4 ")?.split_once(": ")?.0.to_owned());
    let mut kinds: BTreeMap<String, String> = BTreeMap::new();
    for name in ours.samples.keys().filter_map(|what| kind(what)) {
        kinds.entry(name).or_default();
    }
    for (name, cells) in &mut kinds {
        for other in others {
            let ratios: Vec<f64> = rows(&ours.samples, &other.samples)
                .filter(|(what, _)| kind(what).as_ref() == Some(name))
                .map(|(_, ratio)| ratio)
                .collect();
            if ratios.is_empty() {
                *cells += " | | - |";
                continue;
            }
            let mean = (ratios.iter().map(|r| r.ln()).sum::<f64>() / ratios.len() as f64).exp();
            let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
            *cells += &format!(" | least {least:.2} | **{mean:.2}** |");
        }
    }
    kinds.iter().fold(String::new(), |text, (kind, cells)| {
        text + &format!("| **{kind}, geometric mean** | | |{cells}\n")
    })
}

/// The ratio in each row that both have.
fn rows<'a>(ours: &'a Samples, theirs: &'a Samples) -> impl Iterator<Item = (&'a str, f64)> {
    ours.iter().filter_map(|(what, values)| Some((what.as_str(), median(theirs.get(what)?) / median(values))))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let at = |i: usize| sorted.get(i).copied().unwrap_or(f64::NAN);
    if sorted.len().is_multiple_of(2) { (at(middle.wrapping_sub(1)) + at(middle)) / 2.0 } else { at(middle) }
}

fn range(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{least:.3}-{most:.3}")
}

#[cfg(test)]
#[path = "table_test.rs"]
mod test;
