//! Steps with a name, an outcome and a duration; a summary at the end.

use std::{
    io::{IsTerminal, stdout},
    time::{Duration, Instant},
};

use anyhow::Result;

/// What the steps of one run came to.
pub(crate) struct Report {
    steps: Vec<Step>,
    colour: bool,
}

struct Step {
    name: &'static str,
    passed: bool,
    took: Duration,
}

impl Report {
    /// An empty report; colours only when a person looks.
    pub(crate) fn new() -> Self {
        Self { steps: Vec::new(), colour: stdout().is_terminal() }
    }

    /// Runs a step. A failure is shown at once and remembered; later steps still run.
    pub(crate) fn step(&mut self, name: &'static str, body: impl FnOnce() -> Result<()>) {
        println!("{}", self.paint("1", &format!("── {name}")));
        let start = now();
        let result = body();
        let took = now() - start;
        if let Err(error) = &result {
            println!("{}", self.paint("31", &format!("{name}: {error:#}")));
        }
        self.steps.push(Step { name, passed: result.is_ok(), took });
    }

    /// Did every step from the one named on pass?
    pub(crate) fn all_passed_since(&self, name: &str) -> bool {
        self.steps.iter().skip_while(|step| step.name != name).all(|step| step.passed)
    }

    /// Prints one line per step and says whether all passed.
    pub(crate) fn finish(self) -> bool {
        println!();
        for step in &self.steps {
            println!("{}", self.line(step));
        }
        self.steps.iter().all(|step| step.passed)
    }

    fn line(&self, step: &Step) -> String {
        let outcome = if step.passed { self.paint("32", "passed") } else { self.paint("31", "FAILED") };
        format!("{:<10}  {outcome}  {:>7.1} s", step.name, step.took.as_secs_f64())
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a step took on this machine is real time")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn one_failed_step_fails_the_run_but_not_the_later_steps() {
        let mut report = Report { steps: Vec::new(), colour: false };
        report.step("first", || bail!("on purpose"));
        report.step("second", || Ok(()));
        assert!(!report.all_passed_since("first"));
        assert!(report.all_passed_since("second"));
        assert!(report.line(&report.steps[0]).starts_with("first       FAILED"));
        assert!(report.line(&report.steps[1]).starts_with("second      passed"));
        assert!(!report.finish());
    }
}
