//! Clients that can't be answered: of services that speak no HTTP, and such that want another key.

use super::{replay, with_address};
use crate::harness::{Case, ROOT, RR_RUN};

/// They do not wait for what can't come, which they would complain of after 20 seconds; the account
/// says why, and the run has failed.
#[test]
fn are_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let banner = format!("python3 {ROOT}/tests/programs/banner.py 192.0.2.7");
    let recorded = with_address(
        &format!(
            "coproc {banner} serve; read -u ${{COPROC[0]}}; \
             {RR_RUN} record -o store --name mail -- {banner}"
        ),
        dir.path(),
    );
    assert_eq!(
        (recorded.code, recorded.out()),
        (Some(0), "b'220 hello\\r\\n'\n".into()),
        "{recorded}"
    );
    let replayed = with_address(&format!("{RR_RUN} replay --network -o store mail"), dir.path());
    assert_eq!((replayed.code, replayed.out()), (Some(119), "b''\n".into()), "{replayed}");
    assert!(
        replayed.err().contains("192.0.2.7:2525: while recording it spoke no HTTP"),
        "{replayed}"
    );
    // Unless it does not matter.
    let options = "--optional 192.0.2.7 -o store mail";
    let replayed = with_address(&format!("{RR_RUN} replay --network {options}"), dir.path());
    assert_eq!((replayed.code, replayed.out()), (Some(0), "b''\n".into()), "{replayed}");
    // One that is new waits a little, as long as it could yet ask.
    let other = banner.replace("192.0.2.7", "mail.example");
    let options = "--mode warn -o store mail";
    let replayed =
        with_address(&format!("{RR_RUN} replay --network {options} -- {other}"), dir.path());
    assert_eq!((replayed.code, replayed.out()), (Some(119), "b''\n".into()), "{replayed}");
    assert!(
        replayed.err().contains("(mail.example): it said nothing, as to servers that begin"),
        "{replayed}"
    );
}

/// A key that a client pins is not the player's, and the account says so.
#[test]
fn that_pin_a_key_are_told_of() {
    let pin = "--pinnedpubkey sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let script = "curl -sS $2 https://localhost:$1/ > /dev/null; echo $?; echo $1";
    let case = Case::bash(script).args(["bash", "{https}"]).env("SSL_CERT_FILE", "{ca}");
    let recording = case.server().record().expect("a recording");
    let (port, printed) = (recording.says_port(), recording.output.out());
    let output = replay(&recording, &["--", "bash", "-c", script, "bash", &port, pin]);
    let expected = (Some(119), printed.replacen('0', "90", 1));
    assert_eq!((output.code, output.out()), expected, "{output}");
    let why = "it went away after the TLS handshake; does it want another certificate?";
    assert!(output.err().contains(why), "{output}");
}
