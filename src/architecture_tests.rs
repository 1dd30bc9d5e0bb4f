//! The floors of the house, read from the source itself: which directory may import which, and that no files import each
//! other in a circle. Tests are left out: they may look at everything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree};

/// The floors from the ground up. Each one imports only the floors in its list, and these stand before it.
const FLOORS: [(&str, &[&str]); 17] = [
    ("syntax", &[]),
    ("system", &["syntax"]),
    ("answer", &["syntax"]),
    ("tls", &["system"]),
    ("config", &["syntax", "system", "tls"]),
    ("http1", &["syntax"]),
    ("access", &["answer", "config", "syntax"]),
    ("telemetry", &["answer", "config"]),
    ("identity_provider", &["access", "config", "syntax", "system", "telemetry"]),
    ("connection", &["answer", "config", "http1", "syntax", "system", "telemetry", "tls"]),
    ("upstream", &["config", "connection", "http1", "syntax", "system", "telemetry"]),
    ("engine", &["config", "syntax", "system", "telemetry", "tls"]),
    (
        "session",
        &["access", "answer", "config", "engine", "identity_provider", "syntax", "system", "telemetry"],
    ),
    (
        "gateway",
        &[
            "access",
            "answer",
            "config",
            "connection",
            "identity_provider",
            "session",
            "syntax",
            "system",
            "telemetry",
            "upstream",
        ],
    ),
    (
        "admin",
        &[
            "access",
            "answer",
            "config",
            "connection",
            "gateway",
            "identity_provider",
            "session",
            "syntax",
            "system",
            "telemetry",
            "tls",
        ],
    ),
    (
        "process",
        &[
            "access",
            "admin",
            "config",
            "connection",
            "engine",
            "gateway",
            "identity_provider",
            "session",
            "system",
            "telemetry",
            "upstream",
        ],
    ),
    ("command", &["access", "config", "engine", "identity_provider", "session", "syntax", "system"]),
];

/// The module of a source file: `["access", "token"]` for `access/token.rs`.
type Module = Vec<String>;

/// Every source file of the program with the modules that it imports.
fn imports() -> BTreeMap<Module, BTreeSet<Module>> {
    fn collect(directory: &Path, module: &Module, files: &mut BTreeMap<Module, syn::File>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let mut of_entry = module.clone();
            of_entry.push(name.clone());
            if path.is_dir() {
                collect(&path, &of_entry, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let is_root = module.is_empty() && ["lib", "main"].contains(&name.as_str());
                if !is_root {
                    files.insert(of_entry, syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap());
                }
            }
        }
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    collect(&source, &Vec::new(), &mut files);
    let modules: BTreeSet<Module> = files.keys().cloned().collect();
    let tests = modules_of_tests(&source, &files);
    let is_test = |module: &Module| tests.iter().any(|test| module.starts_with(test));
    files
        .iter()
        .filter(|(module, _)| !is_test(module))
        .map(|(module, file)| {
            let mut finder = Finder { within: module.clone(), modules: &modules, found: BTreeSet::new() };
            finder.visit_file(file);
            finder.found.remove(module);
            finder.found.retain(|imported| !is_test(imported));
            (module.clone(), finder.found)
        })
        .collect()
}

/// The modules that are declared for tests or for fuzzing alone.
fn modules_of_tests(source: &Path, files: &BTreeMap<Module, syn::File>) -> BTreeSet<Module> {
    let root = syn::parse_file(&fs::read_to_string(source.join("lib.rs")).unwrap()).unwrap();
    let all = files.iter().map(|(module, file)| (module.clone(), file));
    let declared = |(module, file): (Module, &syn::File)| {
        let for_tests = file.items.iter().filter_map(|item| match item {
            Item::Mod(declared) if is_for_tests(&declared.attrs) => Some(declared.ident.to_string()),
            _ => None,
        });
        for_tests.map(|name| [module.as_slice(), &[name]].concat()).collect::<Vec<_>>()
    };
    all.chain([(Vec::new(), &root)]).flat_map(declared).collect()
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let condition = attribute.meta.require_list().map(|list| list.tokens.to_string()).unwrap_or_default();
        attribute.path().is_ident("cfg") && (condition.contains("test") || condition.contains("fuzzing"))
    })
}

/// Finds what one file imports.
struct Finder<'a> {
    /// The module that is being read: the file's own, or one inside of it.
    within: Module,
    /// All files.
    modules: &'a BTreeSet<Module>,
    found: BTreeSet<Module>,
}

impl Finder<'_> {
    /// Notes the file that a path leads to, if it is one of this crate.
    fn note(&mut self, path: &[String]) {
        let Some(mut absolute) = self.absolute(path) else { return };
        while !absolute.is_empty() {
            if self.modules.contains(&absolute) {
                self.found.insert(absolute);
                return;
            }
            absolute.pop();
        }
    }

    fn absolute(&self, path: &[String]) -> Option<Module> {
        let ups = path.iter().take_while(|part| *part == "super").count();
        let first = path.first()?;
        if first == "crate" {
            return Some(path[1..].to_vec());
        }
        if first == "self" {
            return Some([&self.within, &path[1..]].concat());
        }
        if ups > 0 {
            return Some([&self.within[..self.within.len() - ups], &path[ups..]].concat());
        }
        let child = [self.within.as_slice(), std::slice::from_ref(first)].concat();
        self.modules.contains(&child).then(|| [&self.within, path].concat())
    }

    fn note_tree(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.note_tree(&with(&path.ident), &path.tree),
            UseTree::Name(name) => self.note(&with(&name.ident)),
            UseTree::Rename(rename) => self.note(&with(&rename.ident)),
            UseTree::Glob(_) => self.note(before),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.note_tree(before, tree)),
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_for_tests(&item.attrs) {
            self.note_tree(&[], &item.tree);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_for_tests(&item.attrs) && item.content.is_some() {
            self.within.push(item.ident.to_string());
            visit::visit_item_mod(self, item);
            self.within.pop();
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_impl(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    /// `pub(in …)` imports nothing.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if names.len() > 1 {
            self.note(&names);
        }
        visit::visit_path(self, path);
    }
}

#[test]
fn a_floor_imports_only_floors_below_it() {
    for (at, (floor, below)) in FLOORS.iter().enumerate() {
        for lower in *below {
            assert!(FLOORS[..at].iter().any(|(name, _)| name == lower), "{floor} stands below {lower}");
        }
    }
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for (module, imported) in imports() {
        let floor = module[0].as_str();
        let row = FLOORS.iter().find(|(name, _)| *name == floor);
        let (_, below) = row.unwrap_or_else(|| panic!("{floor} is in no row of the table"));
        for other in imported.iter().filter(|other| other[0] != floor) {
            used.insert((floor.to_owned(), other[0].clone()));
            if !below.contains(&other[0].as_str()) {
                wrong.push(format!("{} imports {}", module.join("/"), other.join("/")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let rows = FLOORS.iter().flat_map(|(floor, below)| below.iter().map(move |lower| (*floor, *lower)));
    let idle: Vec<_> =
        rows.filter(|(floor, lower)| !used.contains(&((*floor).to_owned(), (*lower).to_owned()))).collect();
    assert!(idle.is_empty(), "the table permits more than is needed: {idle:?}");
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut rest = imports();
    // What imports nothing that is left is in no circle; what remains in the end is in one, or leads into one.
    loop {
        let leaves: BTreeSet<Module> = rest
            .iter()
            .filter(|(_, imported)| imported.iter().all(|other| !rest.contains_key(other)))
            .map(|(module, _)| module.clone())
            .collect();
        if leaves.is_empty() {
            break;
        }
        rest.retain(|module, _| !leaves.contains(module));
    }
    let arrows = rest.iter().flat_map(|(module, imported)| {
        let others = imported.iter().filter(|other| rest.contains_key(*other));
        others.map(|other| format!("{} -> {}", module.join("/"), other.join("/")))
    });
    let arrows: Vec<_> = arrows.collect();
    assert!(arrows.is_empty(), "{arrows:#?}");
}

/// A document that names a file of this directory names one that exists.
#[test]
fn the_documents_name_files_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut missing = Vec::new();
    for document in ["docs/architecture.md", "docs/security.md", "CONTRIBUTING.md", "src/lib.rs"] {
        let text = fs::read_to_string(root.join(document)).unwrap();
        let is_file =
            |name: &&str| name.contains('/') && Path::new(name).extension().is_some_and(|end| end == "rs");
        for name in text.split('`').skip(1).step_by(2).filter(is_file) {
            let is_there = root.join(name).exists() || root.join("src").join(name).exists();
            if !is_there && !name.contains(' ') {
                missing.push(format!("{document}: {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
