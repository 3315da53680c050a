//! JUnit XML, which CI systems show.

use std::path::Path;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::error::{Error, Result};

/// How one test of a report ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passed.
    Passed,
    /// It did not: message, and the whole account.
    Failed(String, String),
    /// It could not be made: message.
    Errored(String),
}

/// One test of a report.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
}

/// Writes a report with one suite.
///
/// # Errors
/// The system's.
pub fn write(path: &Path, suite: &str, cases: &[Case]) -> Result<()> {
    let text = render(suite, cases).map_err(Error::file("write", path))?;
    std::fs::write(path, text).map_err(Error::file("write", path))
}

fn render(suite: &str, cases: &[Case]) -> std::io::Result<String> {
    let mut all = TestSuite::new(suite);
    for case in cases {
        let status = match &case.verdict {
            Verdict::Passed => TestCaseStatus::success(),
            Verdict::Failed(message, text) => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message(message.as_str()).set_description(text.as_str());
                status
            }
            Verdict::Errored(message) => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
                status.set_message(message.as_str());
                status
            }
        };
        let mut test = TestCase::new(case.name.as_str(), status);
        test.set_classname(suite);
        all.add_test_case(test);
    }
    let mut report = Report::new("rr-run");
    report.add_test_suite(all);
    report.to_string().map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_counts_failures_and_errors() {
        let case = |name: &str, verdict| Case { name: name.into(), verdict };
        let cases = [
            case("run 2", Verdict::Passed),
            case("run 3", Verdict::Failed("differs".into(), "a < b \u{1}".into())),
            case("run 4", Verdict::Errored("no session".into())),
        ];
        let xml = render("audit", &cases).unwrap();
        assert!(xml.contains("errors=\"1\" failures=\"1\""), "{xml}");
        assert!(xml.contains("a &lt; b"), "{xml}");
        assert!(!xml.contains('\u{1}'), "{xml}");
    }
}
