// UTF-8 as the engine lacks it.

/** The UTF-8 bytes of a text. */
export function encode(text) {
  // The engine's own functions, which make of each byte a letter.
  const letters = unescape(encodeURIComponent(text.toWellFormed()));
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

/** As many letters as a function is given at once. */
const LONGEST_RUN = 4096;

/** Bytes as text; what is not UTF-8 becomes U+FFFD. */
export function decode(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; ) {
    const start = i;
    const end = Math.min(bytes.length, start + LONGEST_RUN);
    while (i < end && bytes[i] < 0x80) i++;
    if (i > start) {
      // ASCII at once: letter by letter takes ten times as long.
      text += String.fromCharCode.apply(null, bytes.subarray(start, i));
      continue;
    }
    const first = bytes[i++];
    const more = first >= 0xc2 && first < 0xe0 ? 1 : first >= 0xe0 && first < 0xf0 ? 2 : first >= 0xf0 && first < 0xf5 ? 3 : 0;
    let code = first & (0x3f >> more);
    let seen = 0;
    while (seen < more && (bytes[i] & 0xc0) === 0x80) {
      code = (code << 6) | (bytes[i++] & 63);
      seen++;
    }
    const least = [0, 0x80, 0x800, 0x10000][more];
    const sound = more > 0 && seen === more && code >= least && code < 0x110000 && (code < 0xd800 || code > 0xdfff);
    text += sound ? String.fromCodePoint(code) : "\ufffd";
  }
  return text;
}

/** Bytes of what may be either. */
export function bytesOf(value, what = "it") {
  if (typeof value === "string") return encode(value);
  // Anything else ends in the engine, which says nothing of why.
  if (value instanceof Uint8Array) return value;
  throw new TypeError(`${what} must be a text or a Uint8Array, and is ${value}`);
}
