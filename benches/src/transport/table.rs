//! What was measured of the rows of a contest, and whether the targets are met.

use super::sample::Sample;

/// The rows of a contest, each with its samples, round by round.
pub struct Table {
    name: String,
    rows: Vec<(&'static str, Vec<Sample>)>,
}

impl Table {
    /// A table without samples.
    #[must_use]
    pub fn new(name: String, rows: &[&'static str]) -> Self {
        Self { name, rows: rows.iter().map(|row| (*row, Vec::new())).collect() }
    }

    /// Adds what a row did in a round.
    pub fn add(&mut self, row: usize, sample: Sample) {
        self.rows[row].1.push(sample);
    }

    /// Least, median and most of a row's rounds.
    #[must_use]
    pub fn numbers(&self, row: usize, of: impl Fn(&Sample) -> f64) -> [f64; 3] {
        let mut numbers: Vec<f64> = self.rows[row].1.iter().map(of).collect();
        numbers.sort_by(f64::total_cmp);
        [numbers[0], numbers[numbers.len() / 2], numbers[numbers.len() - 1]]
    }

    /// Prints it.
    pub fn print(&self, markdown: bool) {
        if markdown {
            println!(
                "| {} | requests/s min | median | max | p50 µs | p99 µs |\n|---|---|---|---|---|---|",
                self.name
            );
        } else {
            println!("{}", self.name);
        }
        for (index, (name, _)) in self.rows.iter().enumerate() {
            let [min, median, max] = self.numbers(index, |sample| sample.rate);
            let p50 = self.numbers(index, |sample| sample.micros(0.5))[1];
            let p99 = self.numbers(index, |sample| sample.micros(0.99))[1];
            if markdown {
                println!("| {name} | {min:.0} | {median:.0} | {max:.0} | {p50:.1} | {p99:.1} |");
            } else {
                println!(
                    "  {name:28} {min:>9.0} {median:>9.0} {max:>9.0} /s   p50 {p50:>8.1}  p99 {p99:>8.1} µs"
                );
            }
        }
    }

    /// How many times the rate of another row the median of ours is.
    #[must_use]
    pub fn ratio(&self, other: usize) -> f64 {
        self.numbers(0, |sample| sample.rate)[1] / self.numbers(other, |sample| sample.rate)[1]
    }
}

/// Says whether a target is met, and counts what is missed.
pub fn verdict(missed: &mut usize, what: &str, got: f64, bound: f64, at_least: bool) {
    let met = if at_least { got >= bound } else { got <= bound };
    *missed += usize::from(!met);
    let word = if met { "met" } else { "MISSED" };
    println!("  {word}: {what}: {got:.2}, {} {bound:.2}", if at_least { "at least" } else { "at most" });
}
