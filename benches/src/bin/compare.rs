//! `fixp-codec` and its competitors, measured against each other in one run.

use std::process::ExitCode;

use fixp_benches::args::{Args, USAGE};
use fixp_benches::contest::{Contest, Outcome};
use fixp_benches::streaming::Stream;
use fixp_benches::{cases, decoding, encoding, pin, report, targets};

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(why) => {
            eprint!("{why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if cfg!(debug_assertions) {
        eprintln!("numbers of a debug build mean nothing: cargo run --release --bin compare");
        return ExitCode::from(2);
    }
    if let Some(core) = args.pin
        && let Err(why) = pin::pin(core)
    {
        eprintln!("cannot pin to core {core}: {why}");
        return ExitCode::from(2);
    }
    let pinning = pin::report();
    println!("{} rounds of {} ms, {pinning}\n", args.rounds, args.batch.as_millis());
    let outcomes = run(&args);
    let verdicts = targets::judge(&outcomes);
    if args.markdown {
        println!("{}", report::markdown_targets(&verdicts));
    } else {
        verdicts.iter().for_each(|verdict| println!("{verdict}"));
    }
    if let Some(path) = &args.json {
        let json = report::json(&pinning, args.rounds, &outcomes, &verdicts);
        if let Err(why) = std::fs::write(path, format!("{json:#}\n")) {
            eprintln!("cannot write {}: {why}", path.display());
            return ExitCode::from(2);
        }
    }
    let missed = verdicts.iter().filter(|verdict| !verdict.met).count();
    if args.check && missed > 0 {
        eprintln!("{missed} of {} targets missed", verdicts.len());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn run(args: &Args) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let mut hold = |contest: Contest<'_>| {
        if !args.wants(contest.case) {
            return;
        }
        let outcome = contest.run(args.rounds, args.batch);
        println!("{}", if args.markdown { report::markdown(&outcome) } else { report::text(&outcome) });
        outcomes.push(outcome);
    };
    for case in &cases::all() {
        hold(decoding::contest(case));
        hold(encoding::contest(case, &case.draft_messages()));
    }
    for stream in &Stream::all() {
        hold(stream.in_pieces());
        hold(stream.by_bytes());
    }
    outcomes
}
