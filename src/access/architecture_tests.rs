//! What the decision may know of, read from the source itself.

use std::fs;
use std::path::{Path, PathBuf};

/// Every source file under a folder or file of `src`, with its lines that are no comments.
fn sources(of: &str) -> Vec<(PathBuf, Vec<String>)> {
    fn collect(path: &Path, files: &mut Vec<PathBuf>) {
        if path.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                collect(&entry.unwrap().path(), files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path.to_owned());
        }
    }
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(of), &mut files);
    assert!(!files.is_empty(), "{of}");
    let this = Path::new(file!()).file_name().unwrap();
    let code = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        text.lines().filter(|line| !line.trim_start().starts_with("//")).map(String::from).collect()
    };
    files.retain(|path| path.file_name() != Some(this));
    files
        .into_iter()
        .map(|path| {
            let lines = code(&path);
            (path, lines)
        })
        .collect()
}

/// The decision is pure: neither it nor what it imports from this crate knows of the network or of a runtime.
#[test]
fn the_decision_imports_no_pingora_tokio_or_reqwest() {
    for part in ["access", "answer", "config", "syntax"] {
        for (path, lines) in sources(part) {
            for line in lines {
                for foreign in [
                    "pingora",
                    "tokio",
                    "reqwest",
                    "hyper",
                    "std::net::Tcp",
                    "thread::spawn",
                    "SystemTime",
                    "async fn",
                ] {
                    assert!(!line.contains(foreign), "{}: {line}", path.display());
                }
            }
        }
    }
}

/// Verified claims come from one place in `token::verify`, and an identity from one that takes verified claims.
#[test]
fn there_is_one_way_to_an_identity() {
    let made = |file: &str, name: &str| {
        let text = sources(file).remove(0).1.join("\n");
        let literals = text.matches(&format!("{name} {{")).count()
            - text.matches(&format!("struct {name} {{")).count()
            - text.matches(&format!("impl {name} {{")).count();
        let derived =
            text.split(&format!("pub struct {name} ")).next().unwrap().lines().last().unwrap().to_owned();
        let fields = text.split(&format!("pub struct {name} {{")).nth(1).unwrap().split('}').next().unwrap();
        assert!(!fields.contains("pub"), "{name} has private fields");
        for maker in [format!("for {name}"), format!("-> {name}")] {
            assert!(!text.contains(&maker), "{name}: {maker}");
        }
        (literals, derived)
    };
    assert_eq!(made("access/token.rs", "VerifiedClaims"), (1, String::from("#[derive(Debug, Clone)]")));
    assert_eq!(made("access/identity.rs", "Identity"), (0, String::from("#[derive(Debug)]")));
    let identity = sources("access/identity.rs").remove(0).1.join("\n");
    assert_eq!(identity.matches("Self {").count(), 1, "in `Identity::new` alone");
    assert!(identity.contains("pub fn new(claims: VerifiedClaims,"));
}

/// A permit is made by the decision alone: its fields are private, and its makers are visible below `access/decision/` only.
#[test]
fn there_is_one_maker_of_permits() {
    let text = sources("access/decision/outcome.rs").remove(0).1.join("\n");
    let fields = text.split("pub struct Permit {").nth(1).unwrap().split('}').next().unwrap();
    assert!(!fields.contains("pub"), "a permit has private fields");
    let derived = text.split("pub struct Permit ").next().unwrap().lines().last().unwrap();
    assert_eq!(derived, "#[derive(Debug)]", "nobody copies one, nor makes one of nothing");
    let methods = text.split("impl Permit {").nth(1).unwrap();
    let makers = methods.lines().filter(|line| line.contains("-> Self")).map(str::trim_start);
    let makers: Vec<_> = makers.collect();
    assert_eq!(makers.len(), 2, "{makers:?}");
    assert!(makers.iter().all(|maker| maker.starts_with("pub(super) const fn with")), "{makers:?}");
    assert!(!text.contains("for Permit"), "it has no trait that could make one");
    for (path, lines) in sources("") {
        let is_of_the_decision = path.to_string_lossy().contains("access/decision");
        for line in lines.iter().filter(|_| !is_of_the_decision) {
            assert!(
                !line.contains("Permit {") && !line.contains("Permit::with"),
                "{}: {line}",
                path.display()
            );
        }
    }
}

/// Whatever writes to an app takes a permit, or a `Permitted`, which holds one and is made in one place.
#[test]
fn the_way_to_an_app_takes_a_permit() {
    for file in ["gateway/upstream_request.rs", "gateway/http2_upstream.rs"] {
        let text = sources(file).remove(0).1.join("\n");
        let functions = text.split("pub(super) ").skip(1);
        let functions: Vec<_> = functions.filter(|text| text.contains("fn ")).collect();
        assert!(!functions.is_empty(), "{file}");
        for function in functions.iter().filter(|text| text.starts_with("async fn") || text.starts_with("fn"))
        {
            let signature = function.split('{').next().unwrap();
            assert!(signature.contains("&Permit") || signature.contains("&mut Permitted<'_>"), "{signature}");
        }
    }
    let context = sources("gateway/context.rs").remove(0).1.join("\n");
    let permitted = context.split("struct Permitted<'a> {").nth(1).unwrap();
    assert!(permitted.trim_start().starts_with("pub(crate) permit: &'a Permit,"), "never without one");
    let is_maker = |line: &&String| line.contains("Permitted {") && !line.contains("let Permitted {");
    let makers: Vec<_> = sources("gateway").into_iter().flat_map(|(_, lines)| lines).collect();
    let makers: Vec<_> = makers.iter().filter(is_maker).collect();
    assert_eq!(makers.len(), 1, "in `Context::permitted` alone: {makers:?}");
}
