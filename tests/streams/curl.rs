//! curl over HTTP/1.1 and HTTP/2, with TLS and without.

use std::os::unix::fs::MetadataExt;

use rr_run::stream::connection::Peer;
use rr_run::stream::{End, Protocol, Tls};

use super::{exchanges, table, traffic};
use crate::harness::Case;

/// Records curl with these options and compares what it printed with the bodies.
fn check(options: &[&str], url: &str, protocol: Protocol) {
    let case = Case::new("curl")
        .args(options.iter().copied())
        .args(["-sS", &format!("{url}/"), &format!("{url}/stream?n=6&ms=3")])
        .args(["--next", "-sS", "-d", "a=b"])
        .args(options.iter().copied())
        .arg(format!("{url}/upload"))
        .env("SSL_CERT_FILE", "{ca}")
        .server();
    let recording = case.record().unwrap();
    let traffic = traffic(&recording.session);
    let exchanges = exchanges(&traffic);
    let bodies: Vec<u8> = exchanges
        .iter()
        .flat_map(|e| e.response.as_ref().expect("an answer").body.bytes().unwrap())
        .collect();
    assert_eq!(bodies, recording.output.stdout, "{}", table(&traffic));
    assert_eq!(exchanges.len(), 3);
    assert_eq!(exchanges[2].request.body.bytes().unwrap(), "a=b");
    let scheme = url.split(':').next().unwrap();
    for exchange in &exchanges {
        assert_eq!((exchange.protocol, &exchange.end), (protocol, &End::Complete));
        assert_eq!(exchange.request.scheme, scheme);
        assert!(exchange.request.authority.starts_with("localhost:"));
    }
    assert!(exchanges[1].response.as_ref().is_some_and(|r| r.body.chunks.len() >= 2));
    // The second time from the index, which is not made again.
    let index = || std::fs::metadata(recording.session.join("streams.idx")).unwrap().ino();
    let made = index();
    assert_eq!(super::exchanges(&super::traffic(&recording.session)), exchanges);
    assert_eq!(index(), made);
}

#[test]
fn what_curl_prints_is_the_body() {
    check(&["--http1.1"], "http://localhost:{http}", Protocol::Http11);
}

#[test]
fn http2_by_prior_knowledge() {
    // Some versions of curl can't use such a connection a second time.
    let url = "http://localhost:{http}/stream?n=6&ms=3";
    let case = Case::new("curl").args(["-sS", "--http2-prior-knowledge", url]).server();
    let recording = case.record().unwrap();
    let all = exchanges(&traffic(&recording.session));
    assert_eq!((all.len(), all[0].protocol, all[0].stream), (1, Protocol::Http2, Some(1)));
    assert_eq!(all[0].end, End::Complete);
    let answer = all[0].response.as_ref().unwrap();
    assert_eq!(answer.body.bytes().unwrap(), recording.output.stdout);
}

#[test]
fn http1_over_intercepted_tls() {
    check(&["--http1.1"], "https://localhost:{https}", Protocol::Http11);
}

#[test]
fn http2_over_intercepted_tls() {
    check(&["--http2"], "https://localhost:{https}", Protocol::Http2);
}

#[test]
fn tls_that_is_not_intercepted_is_named() {
    // Told to trust the server's own CA only, curl refuses another.
    let case = Case::new("curl")
        .args(["-sS", "--cacert", "{ca}", "https://localhost:{https}/"])
        .args(["--retry", "2", "--retry-all-errors", "--retry-delay", "0"])
        .server();
    let recording = case.record().unwrap();
    let traffic = traffic(&recording.session);
    let last = traffic.connections().iter().rfind(|c| matches!(c.peer, Peer::Inet(_))).unwrap();
    let Tls::Opaque { sni, reason } = &last.tls else { panic!("{}", table(&traffic)) };
    assert_eq!((sni.as_deref(), last.host.as_deref()), (Some("localhost"), Some("localhost")));
    assert!(!reason.is_empty());
}
