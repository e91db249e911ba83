//! The contract as text and as types: which hooks there are, the world of one plugin, and whether a component keeps to it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

use wit_component::DecodedWasm;
use wit_parser::{Function, Interface, InterfaceId, PackageId, Resolve, Type, TypeDefKind, WorldId, WorldItem};

use super::{Error, kit};

/// The contract: this host's own, or the one that a project was made with.
#[derive(Debug, Clone)]
pub(super) struct Contract {
    resolve: Resolve,
    package: PackageId,
}

/// The version of this host's contract: `0.1.0`.
pub(super) fn version() -> String {
    OWN.version()
}

/// The functions of all hooks but `configure`, as this host knows them: `on-request`.
pub(super) fn hooks() -> Vec<String> {
    let own = &*OWN;
    let mut hooks: Vec<_> = own.exported().flat_map(|(_, interface)| interface.functions.keys().cloned()).collect();
    hooks.retain(|hook| hook != CONFIGURE);
    hooks
}

impl Contract {
    /// The contract in a folder of WIT.
    pub(super) fn read(folder: &Path) -> Result<Self, Error> {
        let mut resolve = Resolve::default();
        let (package, _) = resolve
            .push_dir(folder)
            .map_err(|error| Error::Project(format!("cannot read the contract in {}: {error:#}", folder.display())))?;
        Ok(Self { resolve, package })
    }

    /// A world that exports the hooks of those names, and `lifecycle`, and imports all that there is.
    ///
    /// # Errors
    /// When this contract does not have one of them.
    pub(super) fn world(&self, hooks: &[String]) -> Result<(Resolve, WorldId), Error> {
        let mut resolve = self.resolve.clone();
        let text = self.world_text(hooks, None)?;
        let unsound = |error: anyhow::Error| Error::Project(format!("the contract makes no world: {error:#}"));
        let package = resolve.push_str("plugin.wit", &text).map_err(unsound)?;
        let world = resolve.select_world(&[package], Some(WORLD)).map_err(unsound)?;
        Ok((resolve, world))
    }

    /// That world as text, for tools that read files. Where `imports` are given, it has only those.
    pub(super) fn world_text(&self, hooks: &[String], imports: Option<&[String]>) -> Result<String, Error> {
        let version = self.version();
        let mut text = format!("package local:plugin;\n\nworld {WORLD} {{\n");
        match imports {
            None => text += &format!("    include lockgate:plugin/imports@{version};\n"),
            Some(names) => {
                names.iter().for_each(|name| text += &format!("    import lockgate:plugin/{name}@{version};\n"));
            }
        }
        for interface in self.interfaces(hooks)? {
            text += &format!("    export lockgate:plugin/{interface}@{version};\n");
        }
        Ok(text + "}\n")
    }

    /// The world that imports all that there is, and exports nothing: also of what [`Self::world`] gives.
    pub(super) fn imports(&self) -> Result<WorldId, Error> {
        let found = self.resolve.packages[self.package].worlds.get("imports");
        found.copied().ok_or_else(|| Error::Project("the contract has no world `imports`".to_owned()))
    }

    /// The interfaces of those hooks and `lifecycle`, each once.
    pub(super) fn interfaces(&self, hooks: &[String]) -> Result<Vec<String>, Error> {
        let mut interfaces = Vec::new();
        let wanted = std::iter::once(CONFIGURE).chain(hooks.iter().map(String::as_str));
        for hook in wanted {
            let mut exported = self.exported();
            let (name, _) =
                exported.find(|(_, interface)| interface.functions.contains_key(hook)).ok_or_else(|| {
                    Error::Project(format!(
                        "the contract that the project was made with ({}) has no hook {hook}",
                        self.version()
                    ))
                })?;
            if !interfaces.contains(&name) {
                interfaces.push(name);
            }
        }
        Ok(interfaces)
    }

    /// The functions of an interface: two hooks may be a pair.
    pub(super) fn functions(&self, interface: &str) -> Vec<String> {
        self.interface(interface).into_iter().flat_map(|interface| interface.functions.keys().cloned()).collect()
    }

    /// The names of all interfaces that a plugin can import.
    pub(super) fn imported_interfaces(&self) -> Vec<String> {
        let hooks: Vec<_> = self.exported().map(|(name, _)| name).collect();
        let names = self.resolve.packages[self.package].interfaces.keys();
        names.filter(|name| !hooks.contains(name)).cloned().collect()
    }

    /// Its version: `0.1.0`.
    pub(super) fn version(&self) -> String {
        self.resolve.packages[self.package].name.version.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    /// The interfaces that the world of everything exports.
    fn exported(&self) -> impl Iterator<Item = (String, &Interface)> {
        let world = self.resolve.packages[self.package].worlds.get("plugin").map(|id| &self.resolve.worlds[*id]);
        world.into_iter().flat_map(|world| world.exports.values()).filter_map(|item| {
            let WorldItem::Interface { id, .. } = item else { return None };
            let interface = &self.resolve.interfaces[*id];
            Some((interface.name.clone()?, interface))
        })
    }

    fn interface(&self, name: &str) -> Option<&Interface> {
        let id = self.resolve.packages[self.package].interfaces.get(name)?;
        Some(&self.resolve.interfaces[*id])
    }
}

/// Where a component departs from this host's contract: a sentence each. What an interface is called, and whether there is
/// one, is for `plugin::inspect` to judge.
pub(super) fn departures(component: &[u8]) -> Vec<String> {
    let Ok(DecodedWasm::Component(theirs, world)) = wit_component::decode(component) else {
        return vec!["its types cannot be read".to_owned()];
    };
    let mut departures = BTreeSet::new();
    let world = &theirs.worlds[world];
    for (how, items) in [("imports", &world.imports), ("exports", &world.exports)] {
        for item in items.values() {
            if let WorldItem::Interface { id, .. } = item {
                depart(&theirs, *id, how, &mut departures);
            }
        }
    }
    departures.into_iter().collect()
}

/// What one interface has that ours does not have, or has otherwise.
fn depart(theirs: &Resolve, id: InterfaceId, how: &str, departures: &mut BTreeSet<String>) {
    let interface = &theirs.interfaces[id];
    let package = interface.package.map(|package| &theirs.packages[package].name);
    let (Some(name), Some(package)) = (&interface.name, package) else { return };
    if (package.namespace.as_str(), package.name.as_str()) != ("lockgate", "plugin") {
        return;
    }
    let Some(own) = OWN.interface(name) else { return };
    for (function, signature) in &interface.functions {
        let Some(known) = own.functions.get(function) else {
            departures.insert(format!(
                "{how} `{name}.{function}`, which this lockgate ({}) does not have: the plugin was made with a newer contract",
                env!("CARGO_PKG_VERSION")
            ));
            continue;
        };
        let (is, ours) = (shape(theirs, signature), shape(&OWN.resolve, known));
        if is != ours {
            departures.insert(format!("{how} `{name}.{function}` as `{is}`, which is `{ours}` here"));
        }
    }
}

/// A function's type with all names of types resolved.
fn shape(resolve: &Resolve, function: &Function) -> String {
    let parameters: Vec<_> = function.params.iter().map(|parameter| type_shape(resolve, &parameter.ty)).collect();
    let result = function.result.as_ref().map(|ty| format!(" -> {}", type_shape(resolve, ty)));
    format!("func({}){}", parameters.join(", "), result.unwrap_or_default())
}

fn type_shape(resolve: &Resolve, ty: &Type) -> String {
    let Type::Id(id) = ty else { return format!("{ty:?}").to_lowercase() };
    let of = |ty: &Type| type_shape(resolve, ty);
    let perhaps = |ty: &Option<Type>| ty.as_ref().map_or_else(|| "_".to_owned(), of);
    match &resolve.types[*id].kind {
        TypeDefKind::Type(ty) => of(ty),
        TypeDefKind::Option(ty) => format!("option<{}>", of(ty)),
        TypeDefKind::List(ty) => format!("list<{}>", of(ty)),
        TypeDefKind::Result(result) => format!("result<{}, {}>", perhaps(&result.ok), perhaps(&result.err)),
        TypeDefKind::Tuple(tuple) => format!("tuple<{}>", tuple.types.iter().map(of).collect::<Vec<_>>().join(", ")),
        TypeDefKind::Record(record) => {
            let fields: Vec<_> =
                record.fields.iter().map(|field| format!("{}: {}", field.name, of(&field.ty))).collect();
            format!("record {{ {} }}", fields.join(", "))
        }
        TypeDefKind::Variant(variant) => {
            let cases = variant.cases.iter().map(|case| match &case.ty {
                Some(ty) => format!("{}({})", case.name, of(ty)),
                None => case.name.clone(),
            });
            format!("variant {{ {} }}", cases.collect::<Vec<_>>().join(", "))
        }
        TypeDefKind::Enum(cases) => {
            let names: Vec<_> = cases.cases.iter().map(|case| case.name.clone()).collect();
            format!("enum {{ {} }}", names.join(", "))
        }
        other => other.as_str().to_owned(),
    }
}

/// This host's own.
static OWN: LazyLock<Contract> = LazyLock::new(|| {
    // In one file, that with the package's name must come first.
    let mut files: Vec<_> = kit::WIT.to_vec();
    files.sort_by_key(|(_, text)| !text.contains("\npackage "));
    let text: String = files.into_iter().flat_map(|(_, text)| [text, "\n"]).collect();
    let mut resolve = Resolve::default();
    let package = resolve.push_str("lockgate.wit", &text).expect("the host is generated from it");
    Contract { resolve, package }
});

/// The hook that is not asked for by name: every plugin has it.
const CONFIGURE: &str = "configure";

/// What a plugin's own world is called.
pub(super) const WORLD: &str = "lockgate";
