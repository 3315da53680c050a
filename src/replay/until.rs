//! Where a replay stops: `--until`.

use std::str::FromStr;

/// Where a replay stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Until {
    /// The process: its id (`1.2`), key or recorded pid.
    pub process: String,
    /// Before this step of it; from 1 on, because the first one starts the process.
    pub step: u64,
}

/// Id of the root.
const ROOT_ID: &str = "1";

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Until, String> {
        let (process, step) = text.rsplit_once(':').unwrap_or((ROOT_ID, text));
        match step.parse() {
            Ok(step) if step > 0 => Ok(Until { process: process.to_owned(), step }),
            _ => Err("a step is needed, a number from 1 on, or PROCESS:STEP".into()),
        }
    }
}
