//! A log that nobody reads, as when a container engine blocks, stops nothing. A log that is read has everything.

use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Child;

use crate::support::gateway::Builder;
use crate::support::program::{Program, run};
use crate::support::{Browser, World, patiently};

/// A pipe that takes nothing more.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut filling = writer.try_clone().unwrap();
    let (progress, filled) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // Ends with the reader.
        while filling.write_all(&[b'\n'; 4096]).is_ok() {
            if progress.send(()).is_err() {
                return;
            }
        }
    });
    // It is full when nothing more has gone in for a while.
    while filled.recv_timeout(std::time::Duration::from_millis(300)).is_ok() {}
    (reader, writer)
}

/// The program with this as its standard error.
async fn start(builder: Builder, stderr: PipeWriter) -> (Program, Builder) {
    Program::start_with(builder, || Stdio::from(stderr.try_clone().unwrap())).await
}

const LOST: &str = "portcullis_log_lines_dropped_total";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_reads_is_counted_and_stops_nobody() {
    let (mut reader, writer) = full_pipe();
    let builder =
        World::builder().await.lay_over("[server.log]\naccess = 'all'\n[server]\nshutdown_grace = '1s'");
    let (mut program, _builder) = start(builder, writer).await;
    let mut browser = Browser::new(program.address, "store.localhost");
    browser.log_in("ada").await;
    let long = "x".repeat(8000);
    patiently("lost lines", async {
        while program.metric(LOST).await == 0 {
            for _ in 0..100 {
                browser.get(&format!("/open/{long}")).await.assert_status(200);
            }
        }
    })
    .await;
    // As a reload, which has much to say.
    program.signal("HUP").await;
    browser.get("/api/cart").await.assert_status(200);
    // Read again, it says how much it has lost, and goes on.
    let lost = std::thread::spawn(move || {
        let mut lines = BufReader::new(&mut reader).lines();
        let lost = lines.by_ref().map(Result::unwrap).find(|line| line.contains("log lines were lost"));
        (lost, reader)
    });
    patiently("the word of it", async {
        while !lost.is_finished() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    let (line, _reader) = lost.join().unwrap();
    assert!(line.is_some_and(|line| line.contains("WARN")));
    program.signal("TERM").await;
    assert_eq!(program.exited().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_a_program_whose_log_nobody_reads() {
    let (_reader, writer) = full_pipe();
    let builder = World::builder().await.lay_over("[server.log]\nlevel = 'trace'");
    let (mut program, _builder) = start(builder, writer).await;
    let mut browser = Browser::new(program.address, "store.localhost");
    for _ in 0..20 {
        browser.get("/api/cart").await.assert_status(401);
    }
    drop(browser);
    program.signal("TERM").await;
    assert_eq!(program.exited().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_who_has_gone_stops_nothing_either() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let builder = World::builder().await.lay_over("[server.log]\naccess = 'all'");
    let (mut program, _builder) = start(builder, writer).await;
    let mut browser = Browser::new(program.address, "store.localhost");
    for _ in 0..20 {
        browser.get("/open/x").await.assert_status(200);
    }
    assert!(program.metric(LOST).await > 0);
    drop(browser);
    program.signal("TERM").await;
    assert_eq!(program.exited().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_logged_is_there_at_the_end_in_its_order() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let builder = World::builder().await.lay_over("[server.log]\naccess = 'all'");
    let (mut program, _builder) = start(builder, writer).await;
    let mut browser = Browser::new(program.address, "store.localhost");
    // More than the pipe takes, so that some waits for the end.
    let long = "x".repeat(500);
    for number in 0..400 {
        browser.get(&format!("/open/{number}/{long}")).await.assert_status(200);
    }
    assert_eq!(program.metric(LOST).await, 0);
    drop(browser);
    let reading = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    program.signal("TERM").await;
    let code = program.exited().await;
    // Its end of the pipe was the last one.
    drop(program);
    let text = patiently("the log's end", reading).await.unwrap().unwrap();
    let numbers: Vec<usize> = text
        .lines()
        .filter_map(|line| line.split("path=\"/open/").nth(1)?.split('/').next()?.parse().ok())
        .collect();
    assert_eq!(numbers, (0..400).collect::<Vec<_>>());
    assert!(text.trim_end().ends_with("stopped"), "{}", &text[text.len() - 300..]);
    assert_eq!(code, Some(0));
}

/// A configuration, run with this as its standard error.
fn run_file(toml: &str, stderr: &PipeWriter) -> (Child, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("gateway.toml"), toml).unwrap();
    (run(directory.path(), &[], |_| Stdio::from(stderr.try_clone().unwrap())), directory)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_fails_says_so_where_it_is_read_and_ends_where_it_is_not() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("[server]\nlisten = ['{}']", taken.local_addr().unwrap());
    let builder = World::builder().await;
    let cannot_listen = builder.lay_over(&taken).text();
    for (toml, code, words) in [
        (cannot_listen.as_str(), 1, "error: cannot listen on"),
        ("[server]\nlistne = ['127.0.0.1:1']", 64, "listne"),
    ] {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let (mut child, _directory) = run_file(toml, &writer);
        drop(writer);
        assert_eq!(patiently("its end", child.wait()).await.unwrap().code(), Some(code));
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert!(text.contains(words), "{text}");
        let (_reader, writer) = full_pipe();
        let (mut child, _directory) = run_file(toml, &writer);
        assert_eq!(patiently("its end", child.wait()).await.unwrap().code(), Some(code));
    }
}
