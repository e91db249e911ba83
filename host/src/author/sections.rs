//! The sections of a component's bytes: what is added, and what is left out.

/// Adds a custom section to a module or a component.
pub(super) fn append_custom(wasm: &mut Vec<u8>, name: &str, content: &[u8]) {
    let mut body = leb128(name.len());
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(content);
    append(wasm, CUSTOM, &body);
}

/// The module with all that it imports from one module imported from another. What cannot be understood is left as it is.
pub(super) fn with_import_from(module: &[u8], from: &str, instead: &str) -> Vec<u8> {
    let named = |name: &str| [leb128(name.len()), name.as_bytes().to_vec()].concat();
    renamed(module, &named(from), &named(instead)).unwrap_or_else(|| module.to_vec())
}

fn renamed(module: &[u8], from: &[u8], instead: &[u8]) -> Option<Vec<u8>> {
    let (header, mut rest) = module.split_at_checked(8)?;
    let mut made = header.to_vec();
    while let Some((kind, after)) = rest.split_first() {
        let (length, after) = read_leb128(after)?;
        let (body, after) = after.split_at_checked(length)?;
        rest = after;
        let mut body = body.to_vec();
        let mut looked_at = 0;
        while *kind == IMPORT
            && let Some(place) = body[looked_at..].windows(from.len()).position(|name| name == from)
        {
            let place = looked_at + place;
            body.splice(place..place + from.len(), instead.iter().copied());
            looked_at = place + instead.len();
        }
        append(&mut made, *kind, &body);
    }
    Some(made)
}

/// The component without those of its custom sections, and of all within it, that are called like one of these. What cannot be
/// understood is left as it is.
pub(super) fn without_custom(component: &[u8], names: &[&str]) -> Vec<u8> {
    stripped(component, names).unwrap_or_else(|| component.to_vec())
}

fn stripped(component: &[u8], names: &[&str]) -> Option<Vec<u8>> {
    let (header, mut rest) = component.split_at_checked(8)?;
    let mut kept = header.to_vec();
    while let Some((kind, after)) = rest.split_first() {
        let (length, after) = read_leb128(after)?;
        let (body, after) = after.split_at_checked(length)?;
        rest = after;
        if *kind == CUSTOM {
            let (length, name) = read_leb128(body)?;
            let name = name.get(..length)?;
            if names.iter().any(|unwanted| unwanted.as_bytes() == name) {
                continue;
            }
        }
        // Within a module, something else has these numbers.
        let is_within = header[4..] == COMPONENT_VERSION && [MODULE, COMPONENT].contains(kind);
        match is_within {
            true => append(&mut kept, *kind, &stripped(body, names)?),
            false => append(&mut kept, *kind, body),
        }
    }
    Some(kept)
}

fn append(wasm: &mut Vec<u8>, kind: u8, body: &[u8]) {
    wasm.push(kind);
    wasm.extend(leb128(body.len()));
    wasm.extend_from_slice(body);
}

/// A length as wasm writes it.
fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A length, and what comes after it.
fn read_leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut number = 0;
    for (place, byte) in bytes.iter().enumerate().take(5) {
        number |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[place + 1..]));
        }
    }
    None
}

const CUSTOM: u8 = 0;
/// What a module imports.
const IMPORT: u8 = 2;
/// A module within a component.
const MODULE: u8 = 1;
/// A component within a component.
const COMPONENT: u8 = 4;
/// What says that something is a component, and no module.
const COMPONENT_VERSION: [u8; 4] = [0x0d, 0, 1, 0];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const HEADER: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];

    #[test]
    fn names_go_at_every_depth_and_everything_else_stays() {
        let mut inner = HEADER.to_vec();
        append_custom(&mut inner, "producers", &[7; 300]);
        let mut outer = HEADER.to_vec();
        append(&mut outer, COMPONENT, &inner);
        append_custom(&mut outer, "lockgate:config-schema", b"{}");

        let mut inner_named = inner.clone();
        append_custom(&mut inner_named, "component-name", &[1; 200]);
        let mut named = HEADER.to_vec();
        append(&mut named, COMPONENT, &inner_named);
        append_custom(&mut named, "component-name", b"");
        append_custom(&mut named, "lockgate:config-schema", b"{}");
        assert_eq!(without_custom(&named, &["component-name"]), outer);
        assert_eq!(without_custom(&outer, &["component-name"]), outer);
    }

    #[test]
    fn names_of_modules_go_where_they_are_unwanted() {
        let with = |more: fn(&mut Vec<u8>)| {
            let mut module = vec![0, b'a', b's', b'm', 1, 0, 0, 0];
            // Types, which have the number of modules, and a table, which has that of components.
            append(&mut module, 1, &[1, 0x60, 0, 0]);
            append(&mut module, 4, &[1, 0x70, 0, 1]);
            more(&mut module);
            let mut component = HEADER.to_vec();
            append(&mut component, MODULE, &module);
            component
        };
        let named = with(|module| append_custom(module, "name", &[0; 9]));
        assert_eq!(without_custom(&named, &["name"]), with(|_| ()));
        assert_eq!(without_custom(&named, &["component-name"]), named);
    }

    #[test]
    fn what_is_cut_short_stays_as_it_is() {
        let mut component = HEADER.to_vec();
        append_custom(&mut component, "component-name", &[1; 200]);
        for end in 0..component.len() {
            if end != HEADER.len() {
                assert_eq!(without_custom(&component[..end], &["component-name"]), &component[..end]);
            }
        }
    }
}
