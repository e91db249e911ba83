#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::Path;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::pool::IDLE;
use super::*;
use crate::config::{At, Grants, Located};

/// A server that does one thing with each connection, in turn, and a client that may ask it.
async fn scene() -> (TcpListener, Client, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    let prefix = Located { value: url.parse().unwrap(), at: At::default() };
    let grants = Grants { http: vec![prefix], private: true, ..Grants::default() };
    (listener, Client::new(Access::new(&grants, Path::new("/")).unwrap().into()), url)
}

async fn ask(client: &Client, method: Method, url: &str, body: &[u8]) -> Result<(u16, Vec<u8>), CallError> {
    let body = Bytes::copy_from_slice(body);
    let bounds = (Duration::from_secs(60), 64 << 20);
    let mut response = client.send(method, url, HeaderMap::new(), body, bounds).await?;
    let all = response.body.read_all(usize::MAX).await?;
    Ok((response.status.as_u16(), all))
}

/// Reads a request without a body.
async fn request(stream: &mut TcpStream) -> String {
    let mut bytes = BytesMut::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "only {bytes:?}");
    }
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Reads a request and answers it.
async fn answer(stream: &mut TcpStream, text: &str) -> String {
    let request = request(stream).await;
    stream.write_all(text.as_bytes()).await.unwrap();
    request
}

const FINE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";

#[tokio::test]
async fn a_request_is_written_as_its_url_says() {
    let (listener, client, url) = scene().await;
    let serving = async {
        let (mut stream, address) = listener.accept().await.unwrap();
        let first = answer(&mut stream, FINE).await;
        let host = format!("host: {}\r\n", listener.local_addr().unwrap());
        assert_eq!(first, format!("GET /x/y?z=1 HTTP/1.1\r\n{host}\r\n"));
        let second = answer(&mut stream, FINE).await;
        assert_eq!(second, format!("POST /x HTTP/1.1\r\n{host}content-length: 0\r\n\r\n"), "from {address}");
    };
    let asking = async {
        assert_eq!(ask(&client, Method::GET, &format!("{url}/y?z=1"), b"").await, Ok((200, b"fine".to_vec())));
        assert_eq!(ask(&client, Method::POST, &url, b"").await, Ok((200, b"fine".to_vec())));
    };
    tokio::join!(serving, asking);
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_costs_a_get_nothing_and_a_post_its_answer() {
    let (listener, client, url) = scene().await;
    let serving = async {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            answer(&mut stream, FINE).await;
            // Seen, and not answered.
            request(&mut stream).await;
        }
        let (mut stream, _) = listener.accept().await.unwrap();
        answer(&mut stream, FINE).await;
    };
    let asking = async {
        for _ in 0..2 {
            assert_eq!(ask(&client, Method::GET, &url, b"").await, Ok((200, b"fine".to_vec())));
        }
        let failed = ask(&client, Method::POST, &url, b"").await.unwrap_err();
        assert!(matches!(&failed, CallError::Failed(why) if why.contains("before the response")), "{failed}");
        assert_eq!(ask(&client, Method::POST, &url, b"").await, Ok((200, b"fine".to_vec())));
    };
    tokio::join!(serving, asking);
}

#[tokio::test]
async fn a_request_goes_on_while_its_response_is_read() {
    let (listener, client, url) = scene().await;
    let body: Vec<u8> = (0..8_usize << 20).map(|place| (place % 251) as u8).collect();
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut bytes = BytesMut::new();
        while memchr::memmem::find(&bytes, b"\r\n\r\n").is_none() {
            assert!(stream.read_buf(&mut bytes).await.unwrap() > 0);
        }
        let mut echo = bytes.split_off(memchr::memmem::find(&bytes, b"\r\n\r\n").unwrap() + 4);
        let mut left = body.len();
        loop {
            left -= echo.len();
            stream.write_all(&echo).await.unwrap();
            echo.clear();
            if left == 0 {
                return answer(&mut stream, FINE).await;
            }
            assert!(stream.read_buf(&mut echo).await.unwrap() > 0);
        }
    };
    let asking = async {
        let (status, echo) = ask(&client, Method::PUT, &url, &body).await.unwrap();
        assert!(status == 200 && echo == body);
        assert_eq!(ask(&client, Method::GET, &url, b"").await, Ok((200, b"fine".to_vec())), "on the same connection");
    };
    tokio::join!(serving, asking);
}

#[tokio::test]
async fn what_is_no_final_response_is_waited_out_or_refused() {
    let (listener, client, url) = scene().await;
    let endless = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "a".repeat(80 << 10));
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n";
    let chatter = hints.repeat(2000);
    let texts = [
        format!("{hints}HTTP/1.1 100 Continue\r\n\r\n{FINE}"),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nfi\r\n2\r\nne\r\n0\r\na: b\r\n\r\n".to_owned(),
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n".to_owned(),
        endless,
        chatter,
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nfine".to_owned(),
        "nonsense\r\n\r\n".to_owned(),
    ];
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        answer(&mut stream, &texts[0]).await;
        answer(&mut stream, &texts[1]).await;
        answer(&mut stream, &texts[2]).await;
        for text in &texts[3..] {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream).await;
            // The other end may have had enough of it.
            let _ = stream.write_all(text.as_bytes()).await;
        }
    };
    let asking = async {
        for _ in 0..2 {
            assert_eq!(ask(&client, Method::GET, &url, b"").await, Ok((200, b"fine".to_vec())));
        }
        for text in &texts[2..] {
            let failed = ask(&client, Method::GET, &url, b"").await;
            assert!(matches!(failed, Err(CallError::Failed(_))), "{:?}: {failed:?}", &text[..20]);
        }
    };
    tokio::join!(serving, asking);
}

#[tokio::test]
async fn connections_that_nobody_uses_are_closed() {
    let (listener, client, url) = scene().await;
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        answer(&mut stream, FINE).await;
        stream.read(&mut [0]).await.unwrap()
    };
    let asking = async {
        assert_eq!(ask(&client, Method::GET, &url, b"").await, Ok((200, b"fine".to_vec())));
        assert!(!client.pool.sweep(Instant::now()), "it may be used again");
        assert!(client.pool.sweep(Instant::now() + IDLE));
    };
    let (read, ()) = tokio::join!(serving, asking);
    assert_eq!(read, 0);
}
