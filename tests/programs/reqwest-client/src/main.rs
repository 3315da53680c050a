//! Streams over TLS on many threads: `reqwest-client rustls|native-tls URL CA-FILE [models]`.
//!
//! `-` for the file: what the environment says is trusted. With `models`: calls of models.

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures_util::StreamExt;
use reqwest::{Certificate, Client};

#[tokio::main(flavor = "multi_thread", worker_threads = 4)]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, tls, base, ca, more @ ..] = args.as_slice() else {
        return Err("wrong arguments".into());
    };
    let ca = match ca.as_str() {
        "-" => None,
        file => Some(Certificate::from_pem(&std::fs::read(file)?)?),
    };
    let builder = match (tls.as_str(), ca) {
        ("rustls", Some(ca)) => Client::builder().tls_backend_rustls().tls_certs_only([ca]),
        ("rustls", None) => Client::builder().tls_backend_rustls(),
        (_, Some(ca)) => Client::builder().tls_backend_native().tls_certs_merge([ca]),
        (_, None) => Client::builder().tls_backend_native(),
    };
    let client = builder.build()?;
    if !more.is_empty() {
        return models(&client, base).await;
    }
    let start = Instant::now();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let tasks: Vec<_> = (0..6)
        .map(|task| {
            let (client, lines) = (client.clone(), lines.clone());
            let url = format!("{base}/stream?n={}&ms=2", 4 + task);
            tokio::spawn(async move {
                let mut body = client.get(url).send().await?.bytes_stream();
                while let Some(piece) = body.next().await {
                    let piece = String::from_utf8_lossy(&piece?).into_owned();
                    let thread = std::thread::current().id();
                    lines.lock().unwrap().push(format!("{task} on {thread:?}: {}", piece.trim()));
                }
                Ok::<_, reqwest::Error>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    let body = r#"{"model":"m","stream":true,"messages":[]}"#;
    let answer = client
        .post(format!("{base}/v1/chat/completions"))
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await?;
    println!("{:?} {:?}", answer.version(), answer.headers());
    println!("{}", answer.text().await?);
    for line in lines.lock().unwrap().iter() {
        println!("{line}");
    }
    let seeds: std::collections::HashMap<u32, u32> = (0..9).map(|n| (n, n * n)).collect();
    println!("{seeds:?} after {:?}", start.elapsed());
    println!("done");
    Ok(())
}

/// Calls of several interfaces, some at the same time.
async fn models(client: &Client, base: &str) -> Result<(), Box<dyn Error>> {
    let mut tasks = Vec::new();
    for path in ["chat/completions", "responses", "messages"] {
        for model in ["m", "m-reason", "m-error", "m-cut"] {
            let request = client
                .post(format!("{base}/v1/{path}"))
                .header("content-type", "application/json")
                .body(format!(r#"{{"model":"{model}","stream":true,"messages":[],"input":"x"}}"#));
            tasks.push(tokio::spawn(async move {
                let mut body = request.send().await?.bytes_stream();
                let mut len = 0;
                while let Some(piece) = body.next().await {
                    len += piece?.len();
                }
                Ok::<_, reqwest::Error>(len)
            }));
        }
    }
    for task in tasks {
        // Some break off.
        println!("{:?}", task.await?.map_err(|e| e.to_string()));
    }
    println!("done");
    Ok(())
}
