//! Bodies of logins as apps send them: hidden fields beside checkboxes, `FormData`, odd names of UTF-8. And refusals of
//! them.

use serde_json::json;

use crate::support::program::Program;
use crate::support::{Answer, Browser, Endpoint, Request, World};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

async fn log_in(world: &World, content_type: &str, body: impl AsRef<[u8]>) -> Answer {
    world.browser().send(Request::post("/api/login").body(content_type, body)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_that_are_not_used_may_come_twice() {
    let world = World::start().await;
    for (content_type, body) in [
        (FORM, "username=ada&remember_me=0&password=correct+horse&remember_me=1"),
        (FORM, "a=1&a=2&a&=&=&username=ada&password=correct+horse&%61=3"),
        (FORM, "Username=eve&PASSWORD=x&username=ada&password=correct+horse&Username=mallory"),
        (JSON, r#"{"remember":0,"username":"ada","remember":1,"password":"correct horse"}"#),
        (
            JSON,
            r#"{"x":{"username":1,"username":2},"username":"ada","password":"correct horse","x":{"a":[{"b":1,"b":2}]}}"#,
        ),
        (
            JSON,
            r#"{"Username":"eve","Username":"eve","username":"ada","password":"correct horse","\u0052":1,"R":2}"#,
        ),
    ] {
        let answer = log_in(&world, content_type, body).await;
        assert_eq!(answer.status(), 200, "{body}: {}", answer.text());
        assert_eq!(answer.json()["sub"], "id-of-ada", "{body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_name_and_password_come_once() {
    let world = World::start().await;
    for (content_type, body) in [
        (FORM, "username=ada&username=ada&password=correct+horse"),
        (FORM, "username=ada&password=correct+horse&%70assword=correct+horse"),
        (FORM, "username=ada&password=correct+horse&password"),
        (JSON, r#"{"username":"ada","password":"correct horse","password":"correct horse"}"#),
        (JSON, r#"{"username":"ada","password":"correct horse","\u0070assword":"correct horse"}"#),
        (JSON, r#"{"username":null,"password":"correct horse","username":"ada"}"#),
    ] {
        let answer = log_in(&world, content_type, body).await;
        assert_eq!(answer.status(), 400, "{body}: {}", answer.text());
        answer.assert_problem(400, "bad_request");
        assert!(answer.text().contains("twice"), "{}", answer.text());
    }
    assert_eq!(world.provider.count(Endpoint::Login), 0);
}

const MULTIPART: &str = "multipart/form-data; boundary=x";

/// A part of `multipart/form-data` with the boundary `x`.
fn part(head: &str, value: &str) -> String {
    format!("--x\r\n{head}\r\n\r\n{value}\r\n")
}

fn text(name: &str, value: &str) -> String {
    part(&format!("Content-Disposition: form-data; name=\"{name}\""), value)
}

fn both() -> String {
    text("username", "ada") + &text("password", "correct horse")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn form_data_is_read_as_browsers_and_other_clients_write_it() {
    let world = World::start().await;
    let chrome = "----WebKitFormBoundary7MA4YWxkTrZu0gW";
    let end = "--x--\r\n";
    let of_password = |head: &str| text("username", "ada") + &part(head, "correct horse") + end;
    for (content_type, body) in [
        (
            format!("multipart/form-data; boundary={chrome}"),
            both().replace("--x", &format!("--{chrome}")) + &format!("--{chrome}--\r\n"),
        ),
        (
            "Multipart/Form-Data; charset=utf8; Boundary=\"a b:c\"".into(),
            both().replace("--x", "--a b:c") + "--a b:c--",
        ),
        (MULTIPART.into(), both() + "--x--"),
        (MULTIPART.into(), format!("a preamble\r\n{}--x--\r\nan epilogue --x", both())),
        (MULTIPART.into(), both().replace("--x\r\n", "--x \t\r\n") + "--x-- \r\n"),
        (MULTIPART.into(), text("remember_me", "0") + &both() + &text("remember_me", "1") + end),
        (
            MULTIPART.into(),
            both()
                + &part(
                    "Content-Disposition: form-data; name=\"avatar\"; filename=\"a.png\"\r\nContent-Type: image/png",
                    "\u{1}--x\n\r\r\n--y",
                )
                + end,
        ),
        (MULTIPART.into(), of_password("content-disposition:form-data;name=password")),
        (
            MULTIPART.into(),
            of_password(
                "Content-Disposition: form-data; name=\"password\"\r\nContent-Type: text/plain;charset=UTF8\r\nContent-Length: 13\r\nContent-Transfer-Encoding: 8bit",
            ),
        ),
        (
            MULTIPART.into(),
            of_password(
                "Content-Type: text/plain; charset=us-ascii\r\nContent-Disposition: form-data; name=\"password\"",
            ),
        ),
    ] {
        let answer = log_in(&world, &content_type, &body).await;
        assert_eq!(answer.status(), 200, "{content_type} {body}: {}", answer.text());
    }
    let odd = " P\u{e4}ss\r\n--y\r\n+%41&=\" ";
    let body = text("password", odd) + &text("username", "Zo\u{eb}") + end;
    log_in(&world, MULTIPART, &body).await.assert_problem(401, "invalid_credentials");
    let calls = world.provider.calls(Endpoint::Login);
    let call = calls.last().unwrap();
    assert_eq!((call.field("username"), call.field("password")), (Some("Zo\u{eb}"), Some(odd)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn form_data_with_two_readings_is_400() {
    let world = World::start().await;
    let end = "--x--\r\n";
    let of_password = |head: &str| text("username", "ada") + &part(head, "correct horse") + end;
    for body in [
        String::new(),
        r#"{"username":"ada","password":"correct horse"}"#.into(),
        both(),
        both() + "--x-",
        both() + "--x",
        both() + "--x--y",
        both().replace("\r\n", "\n") + "--x--\n",
        both() + "--xy\r\n" + end,
        text("username", "ada") + end,
        text("username", "ada") + &text("password", "") + end,
        both() + &text("password", "correct horse") + end,
        both() + &text("username", "ada") + end,
        both() + &part("Content-Type: text/plain", "without a name") + end,
        both() + &part("Content-Disposition: attachment; name=\"a\"", "x") + end,
        of_password("Content-Disposition: form-data; name=\"password\"; filename=\"p.txt\""),
        of_password("Content-Disposition: form-data; name=\"password\"; filename=\"\""),
        of_password("Content-Disposition: form-data; name=\"password\"; filename*=utf-8''p.txt"),
        of_password("Content-Disposition: form-data; name=\"password\"; name=\"other\""),
        of_password("Content-Disposition: form-data; name*=utf-8''password"),
        of_password("Content-Disposition: form-data; name=\"password"),
        of_password("Content-Disposition: form-data; name=\"pass\\word\""),
        of_password(
            "Content-Disposition: form-data; name=\"password\"\r\nContent-Disposition: form-data; name=\"a\"",
        ),
        of_password("Content-Disposition: form-data;\r\n name=\"password\""),
        of_password("Content-Disposition: form-data; name=\"password\"\r\nContent-Transfer-Encoding: base64"),
        of_password("Content-Disposition: form-data; name=\"password\"\r\nContent-Type: application/json"),
        text("username", "ada") + &text("password", "x\0") + end,
    ] {
        let answer = log_in(&world, MULTIPART, &body).await;
        assert_eq!(answer.status(), 400, "{body:?}: {}", answer.text());
        answer.assert_problem(400, "bad_request");
    }
    for content_type in [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        "multipart/form-data; boundary=x; boundary=x",
        "multipart/form-data; boundary=\"x",
    ] {
        log_in(&world, content_type, both() + end).await.assert_problem(400, "bad_request");
    }
    let not_utf8 = [
        both().as_bytes(),
        b"--x\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n\xff\r\n",
        end.as_bytes(),
    ]
    .concat();
    log_in(&world, MULTIPART, not_utf8).await.assert_problem(400, "bad_request");
    assert_eq!(world.provider.count(Endpoint::Login), 0);
    let large = both()
        + &part("Content-Disposition: form-data; name=\"a\"; filename=\"a\"", &"x".repeat(16 * 1024))
        + end;
    log_in(&world, MULTIPART, large).await.assert_problem(413, "body_too_large");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_name_of_utf_8_is_taken_and_no_other_charset() {
    let world = World::start().await;
    let bodies = [
        (JSON, r#"{"username":"ada","password":"correct horse"}"#.to_owned()),
        (FORM, "username=ada&password=correct+horse".to_owned()),
        (MULTIPART, both() + "--x--"),
    ];
    for (media_type, body) in bodies {
        for charset in ["utf-8", "utf8", "UTF8", "\"utf-8\"", "\"UTF8\"", "Utf-8", "us-ascii", "ascii"] {
            for parameter in [
                format!("; charset={charset}"),
                format!(";Charset={charset};q=1"),
                format!(" ; charset={charset} ;"),
            ] {
                let content_type = format!("{media_type}{parameter}");
                let answer = log_in(&world, &content_type, &body).await;
                assert_eq!(answer.status(), 200, "{content_type}: {}", answer.text());
            }
        }
        for charset in [
            "iso-8859-1",
            "utf-16",
            "windows-1252",
            "\"latin1\"",
            "utf-8-mac",
            "'utf-8'",
            "",
            "utf-8; charset=utf-16",
        ] {
            let content_type = format!("{media_type}; charset={charset}");
            let answer = log_in(&world, &content_type, &body).await;
            assert_eq!(answer.status(), 415, "{content_type}: {}", answer.text());
            answer.assert_problem(415, "unsupported_media_type");
            let named = charset
                .trim_matches('"')
                .split(';')
                .next_back()
                .unwrap()
                .trim()
                .trim_start_matches("charset=");
            assert!(answer.text().contains(named) && answer.text().contains("UTF-8"), "{}", answer.text());
        }
    }
    let part_of_latin1 = both()
        .replace("name=\"password\"", "name=\"password\"\r\nContent-Type: text/plain; charset=iso-8859-1");
    let answer = log_in(&world, MULTIPART, part_of_latin1 + "--x--").await;
    answer.assert_problem(415, "unsupported_media_type");
    assert!(answer.text().contains("iso-8859-1"), "{}", answer.text());
    let latin1 = text("_charset_", "iso-8859-1") + &both() + "--x--";
    log_in(&world, MULTIPART, latin1).await.assert_problem(415, "unsupported_media_type");
    log_in(&world, MULTIPART, text("_charset_", "UTF-8") + &both() + "--x--").await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_names_the_fields_that_are_expected_and_those_that_came_and_no_value() {
    let world = World::with("[apps.store.login]\nusername_field = \"mail\"\npassword_field = \"pass\"").await;
    let multipart = text("email", "canary") + &text("password", "canary") + "--x--";
    for (content_type, body) in [
        (JSON, r#"{"email":"canary","password":"canary"}"#),
        (FORM, "email=canary&password=canary"),
        (MULTIPART, multipart.as_str()),
    ] {
        let answer = log_in(&world, content_type, body).await;
        answer.assert_problem(400, "bad_request");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        for name in ["`mail`", "`pass`", "`email`", "`password`"] {
            assert!(detail.contains(name), "{name}: {detail}");
        }
        assert!(!answer.text().contains("canary"), "{}", answer.text());
    }
    // What has no `=` may be a piece of a password, and what is no plain name may be anything.
    let many: Vec<String> = (0..200).map(|number| format!("&field{number}=canary")).collect();
    let many = many.concat();
    for (content_type, body) in [
        (FORM, "mail=ada&canary".to_owned()),
        (FORM, "mail=ada&a%1b[2J%22canary=x&x`canary=1&canary%20canary=1".to_owned()),
        (FORM, r#"{"mail":"canary","pass":"canary=="}"#.to_owned()),
        (FORM, format!("mail=canary{many}")),
        (FORM, format!("mail=x&{}canary=x", "a".repeat(5000))),
        (JSON, r#"{"mail":"ada","\u001b[2Jcanary":1,"":2}"#.to_owned()),
        (JSON, r#"{"mail":"ada","pass":{"canary":"canary"}}"#.to_owned()),
        (JSON, r#"{"mail":"ada","pass":"canary","pass":"canary"}"#.to_owned()),
        (JSON, r#"["canary"]"#.to_owned()),
        (JSON, r#"{"mail":"canary"#.to_owned()),
        (JSON, "mail=canary&pass=canary".to_owned()),
    ] {
        let answer = log_in(&world, content_type, &body).await;
        answer.assert_problem(400, "bad_request");
        let (text, detail) = (answer.text(), answer.json()["detail"].as_str().unwrap().to_owned());
        assert!(detail.contains("`mail`") && detail.contains("`pass`"), "{body}: {detail}");
        assert!(!text.contains("canary"), "{body}: {text}");
        assert!(detail.len() < 1024 && detail.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{detail}");
    }
    let json_as_form = log_in(&world, FORM, r#"{"mail":"ada","pass":"x"}"#).await;
    assert!(json_as_form.text().contains("application/json"), "{}", json_as_form.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_type_is_told_which_ones_are_taken() {
    let world = World::start().await;
    for (content_type, named) in [
        ("text/plain;charset=UTF-8", "text/plain"),
        ("application/xml", "application/xml"),
        ("\u{e9}\u{1}", ""),
    ] {
        let content_type = content_type.replace('\u{1}', "");
        let answer = log_in(&world, &content_type, "x").await;
        answer.assert_problem(415, "unsupported_media_type");
        for name in [named, "application/json", "application/x-www-form-urlencoded", "multipart/form-data"] {
            assert!(answer.text().contains(name), "{name}: {}", answer.text());
        }
    }
    let without = world.browser().send(Request::post("/api/login")).await;
    without.assert_problem(415, "unsupported_media_type");
    assert!(without.text().contains("Content-Type"), "{}", without.text());
    let packed = Request::post("/api/login").body(JSON, "x").header("Content-Encoding", "gzip");
    assert!(world.browser().send(packed).await.text().contains("gzip"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_names_the_fields_that_are_expected_and_nothing_that_came() {
    let builder = World::builder().await.lay_over("[server.log]\nformat = 'json'\nlevel = 'trace'");
    let (program, builder) = Program::start_quietly(builder).await;
    let mut browser = Browser::new(program.address, "store.localhost");
    for (content_type, body) in [
        (FORM, "username=canary1&canary2&canary3=canary4"),
        (FORM, r#"{"username":"canary5","password":"canary6"}"#),
        (JSON, r#"{"canary7":"canary8","username":"canary9"}"#),
        ("canary10/canary11", "canary12"),
    ] {
        let answer = browser.send(Request::post("/api/login").body(content_type, body)).await;
        assert!(matches!(answer.status(), 400 | 415), "{}", answer.text());
    }
    program.logged(&[r#""target":"access""#, "unsupported_media_type"]).await;
    let log = program.end().await;
    drop(builder);
    let lines: Vec<serde_json::Value> =
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let said = |line: &&serde_json::Value| {
        line["username_field"] == "username" && line["password_field"] == "password"
    };
    assert_eq!(lines.iter().filter(said).count(), 4, "{log}");
    let reasons: Vec<_> =
        lines.iter().filter(|line| line["target"] == "access").map(|line| line["reason"].clone()).collect();
    assert_eq!(
        reasons,
        [json!("login_body"), json!("login_body"), json!("login_body"), json!("unsupported_media_type")]
    );
    assert!(!log.contains("canary"), "{}", log.lines().find(|line| line.contains("canary")).unwrap());
}
