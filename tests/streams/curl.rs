//! curl over HTTP/1.1 and HTTP/2 without TLS.

use super::{exchanges, table, traffic};
use crate::harness::Case;

#[test]
fn what_curl_prints_is_the_body() {
    let url = "http://localhost:{http}";
    let case = Case::new("curl")
        .args(["-sS", &format!("{url}/"), &format!("{url}/stream?n=6&ms=3")])
        .args(["--next", "-sS", "-d", "a=b", &format!("{url}/upload")])
        .server();
    let recording = case.record().unwrap();
    let traffic = traffic(&recording.session);
    let exchanges = exchanges(&traffic);
    println!("{}", table(&traffic));
    let bodies: Vec<u8> = exchanges
        .iter()
        .flat_map(|e| e.response.as_ref().expect("an answer").body.bytes().unwrap())
        .collect();
    assert_eq!(bodies, recording.output.stdout, "{}", table(&traffic));
    assert_eq!(exchanges.len(), 3);
    assert_eq!(exchanges[2].request.body.bytes().unwrap(), "a=b");
}
