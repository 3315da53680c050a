//! TLS connections that the host takes over, by the programs that people use.
//!
//! `{ca}` is trusted by the host where a variable names it. Each case is also replayed strictly,
//! without network.

mod traffic;

use rr_run::intercept::plain::{What, events};
use rr_run::session::Session;
use rr_run::session::manifest::TlsSummary;
use rr_run::stream::Direction;

use crate::harness::{Case, ROOT, Recording};

const SERVER: &str = "https://localhost:{https}";

/// What a session has of TLS: the summary, and all bytes sent and received.
fn plaintext(recording: &Recording) -> (TlsSummary, Vec<u8>, Vec<u8>) {
    let session = Session::open(&recording.session).unwrap();
    let (mut sent, mut received) = (Vec::new(), Vec::new());
    let mut events = events(&session).unwrap();
    while let Some(event) = events.next_event().unwrap() {
        match event.what {
            What::Data(Direction::Sent, bytes) => sent.extend_from_slice(bytes),
            What::Data(Direction::Received, bytes) => received.extend_from_slice(bytes),
            _ => {}
        }
    }
    (session.manifest().tls.clone(), sent, received)
}

fn has(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

fn trusting(case: Case) -> Case {
    case.env("SSL_CERT_FILE", "{ca}").server()
}

/// Records and replays; all connections must have left their plaintext.
fn all_plain(case: Case) -> (TlsSummary, Vec<u8>, Vec<u8>) {
    let case = trusting(case);
    // Not natively: some trust the server only because the session's bundle has its authority.
    let recording = case.record().unwrap();
    case.replay(&recording).unwrap();
    let found = plaintext(&recording);
    assert!(found.0.intercepted > 0 && found.0.opaque.is_empty(), "{:?}", found.0);
    found
}

#[test]
fn plaintext_is_what_curl_received() {
    let url = format!("{SERVER}/stream?n=5&ms=3");
    let case = trusting(Case::new("curl").args(["-sS", "-i", "--raw", "--http1.1", &url]));
    let recording = case.record().unwrap();
    let (tls, sent, received) = plaintext(&recording);
    assert_eq!((tls.intercepted, tls.opaque.len()), (1, 0));
    assert_eq!(String::from_utf8_lossy(&received), recording.output.out());
    assert!(has(&sent, "GET /stream?n=5&ms=3 HTTP/1.1\r\n"));
    case.check();
}

#[test]
fn http2_is_agreed_on_by_all_three() {
    let url = format!("{SERVER}/stream?n=5&ms=3");
    let (_, sent, _) = all_plain(Case::new("curl").args(["-sS", "--http2", &url]));
    assert!(has(&sent, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
}

#[test]
fn an_upload_arrives_whole() {
    let case = Case::new("curl")
        .args(["-sS", "--http1.1", "--data-binary", "@sent", &format!("{SERVER}/upload")])
        .file("sent", "0123456789".repeat(300_000))
        .says(" 3000000 ");
    let (_, sent, _) = all_plain(case);
    assert!(sent.len() > 3_000_000, "{}", sent.len());
}

#[test]
fn python() {
    for name in ["requesting.py", "with_httpx.py", "looping.py", "threaded.py"] {
        let case = Case::python(name).args([SERVER, "http://localhost:{http}"]);
        all_plain(case.env("REQUESTS_CA_BUNDLE", "{ca}").says("done"));
    }
}

#[test]
fn openai_and_anthropic() {
    let case = Case::python("models.py").args([SERVER, "http://localhost:{http}"]).limit_s(120);
    let (_, sent, received) = all_plain(case.says("done"));
    assert!(has(&sent, "Bearer "), "{}", String::from_utf8_lossy(&sent));
    // A word that comes often: the server's chunks may cut some.
    let word = "chat.completion.chunk";
    assert!(has(&received, word), "{}", String::from_utf8_lossy(&received));
}

#[test]
fn node() {
    for name in ["fetching.mjs", "openai.cjs"] {
        let case = Case::node(name).args([SERVER, "http://localhost:{http}"]).limit_s(120);
        all_plain(case.says("done"));
    }
}

#[test]
fn programs_that_read_one_bundle_only() {
    let url = format!("{SERVER}/stream?n=3&ms=2");
    all_plain(Case::new("wget").args(["-qO-", &url]));
    let get = "public class Get { public static void main(String[] a) throws Exception {
        try (var in = new java.net.URI(a[0]).toURL().openStream()) {
            System.out.print(new String(in.readAllBytes())); } } }";
    let case = Case::new("java").args(["Get.java", &url]).file("Get.java", get);
    all_plain(case.limit_s(180));
}

#[test]
fn bundles_that_a_program_names_itself() {
    let url = format!("{SERVER}/stream?n=3&ms=2");
    all_plain(Case::new("curl").args(["-sS", "--cacert", "{ca}", &url]));
    let get = "import certifi, ssl, sys, urllib.request\n\
        trust = ssl.create_default_context(cafile=certifi.where())\n\
        print(urllib.request.urlopen(sys.argv[1], context=trust).read())";
    all_plain(Case::new(crate::harness::python()).args(["-c", get, &url]).says("0 "));
}

#[test]
fn reqwest_with_native_tls() {
    let client = format!("{ROOT}/tests/programs/reqwest-client/target/debug/reqwest-client");
    all_plain(Case::new(client).args(["native-tls", SERVER, "{ca}"]).says("done"));
}

#[test]
fn git_over_tls() {
    let case = Case::new("git").args(["ls-remote", &format!("{SERVER}/git/project.git")]);
    all_plain(case.env("GIT_SSL_CAINFO", "{ca}").says("refs/heads/main"));
}

#[test]
fn a_server_that_the_host_does_not_trust_is_left_to_the_guest() {
    let url = format!("{SERVER}/stream?n=3&ms=2");
    let case = Case::new("curl").args(["-sS", "--cacert", "{ca}", &url, &url]).server();
    case.check();
    let (tls, sent, _) = plaintext(&case.record().unwrap());
    assert_eq!((tls.intercepted, tls.opaque.len(), sent.len()), (0, 1, 0));
    assert!(tls.opaque[0].reason.contains("UnknownIssuer"), "{:?}", tls.opaque);
}

const REFUSES: &str = "url='https://localhost:{https}/stream?n=2&ms=2'
                       cp '{ca}' own.pem
                       curl -sS --cacert own.pem $url; echo first $?
                       curl -sS --cacert own.pem $url; echo second $?
                       curl -sS $url; echo third $?";

#[test]
fn with_intercept_every_connection_is_tried_anew() {
    let case = Case::new("bash").arg("script").file("script", REFUSES);
    let recording = trusting(case).record_with(["--tls", "intercept"]).record().unwrap();
    let shown = recording.output.out();
    assert!(["first 60", "second 60", "third 0"].iter().all(|s| shown.contains(s)), "{shown}");
    let (tls, _, received) = plaintext(&recording);
    assert_eq!((tls.intercepted, tls.opaque.len()), (1, 1));
    assert!(!received.is_empty());
}

#[test]
fn a_guest_that_refuses_the_certificate_is_left_alone_from_then_on() {
    let case = Case::new("bash").arg("script").file("script", REFUSES).says("second 0");
    let case = trusting(case);
    let recording = case.record().unwrap();
    let (tls, ..) = plaintext(&recording);
    assert!(recording.output.out().contains("first 60"), "{}", recording.output.out());
    assert_eq!((tls.intercepted, tls.opaque.len()), (0, 1));
    assert_eq!(tls.opaque[0].reason, "the program refuses the session's certificate");
    assert_eq!(tls.opaque[0].connections, 3);
}
