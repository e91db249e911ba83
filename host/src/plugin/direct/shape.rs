//! What a component is made of.

use wasmparser::{Encoding, Parser, Payload};

use super::super::component::PACKAGE;

/// The name under which a component's core module is exported, if it is the only one that matters.
pub(super) const EXPORT: &str = "lockgate-core-module";

/// The component with its core module exported, if it is one module that imports and exports what the contract names, and
/// what `wit-component` puts around it to connect it. Any other is given back as it is.
pub(in super::super) fn reveal_core_module(mut component: Vec<u8>) -> Vec<u8> {
    if let Some(module) = only_module(&component) {
        component.extend(export_section(module));
    }
    component
}

/// The index of the core module.
fn only_module(component: &[u8]) -> Option<u8> {
    let mut modules: Vec<Module> = Vec::new();
    // The component itself is the outermost of what we are in.
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(component) {
        match payload.ok()? {
            Payload::Version { encoding, .. } => {
                depth += 1;
                match encoding {
                    Encoding::Module if depth == 2 => modules.push(Module::default()),
                    // The components within only give the exports their types.
                    Encoding::Module => return None,
                    Encoding::Component => {}
                }
            }
            Payload::End(_) => depth -= 1,
            Payload::ImportSection(imports) => {
                let module = modules.last_mut()?;
                for import in imports.into_imports() {
                    module.imports(import.ok()?.module);
                }
            }
            Payload::ExportSection(exports) => {
                let module = modules.last_mut()?;
                for export in exports {
                    module.has_memory |= export.ok()?.name == "memory";
                }
            }
            Payload::ComponentStartSection { .. } => return None,
            Payload::ComponentExportSection(exports) if depth == 1 => {
                for export in exports {
                    if export.ok()?.name.name == EXPORT {
                        return None;
                    }
                }
            }
            _ => {}
        }
    }
    let mut mains = modules.iter().enumerate().filter(|(_, module)| module.has_memory);
    let (index, main) = mains.next()?;
    let others_connect = modules.iter().all(|module| module.has_memory || !module.imports_named);
    let alone = mains.next().is_none() && main.imports_only_ours && others_connect;
    u8::try_from(index).ok().filter(|index| alone && *index < 128)
}

struct Module {
    imports_only_ours: bool,
    /// Whether it imports from anything that has a name. What only connects does not.
    imports_named: bool,
    has_memory: bool,
}

impl Default for Module {
    fn default() -> Self {
        Self { imports_only_ours: true, imports_named: false, has_memory: false }
    }
}

impl Module {
    fn imports(&mut self, from: &str) {
        self.imports_only_ours &= from.starts_with(PACKAGE);
        self.imports_named |= !from.is_empty();
    }
}

/// A section with one export: a core module.
fn export_section(module: u8) -> Vec<u8> {
    let mut content = vec![1, 0, EXPORT.len() as u8];
    content.extend(EXPORT.bytes());
    content.extend([0, 0x11, module, 0]);
    let mut section = vec![11, content.len() as u8];
    section.extend(content);
    section
}

#[cfg(test)]
mod tests {
    use super::super::super::bundled;
    use super::*;

    #[test]
    fn the_bundled_plugins_are_one_module_each() {
        for (name, component) in bundled::ALL {
            assert_eq!(only_module(component), Some(0), "{name}");
            let revealed = reveal_core_module(component.to_vec());
            assert_eq!(only_module(&revealed), None, "{name} is not revealed twice");
        }
    }

    #[test]
    fn what_is_not_a_component_is_left_alone() {
        assert_eq!(reveal_core_module(b"nonsense".to_vec()), b"nonsense");
    }
}
