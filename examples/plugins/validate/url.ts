// As much of the web's URL as references within a JSON Schema take; the engine has none.
class Reference {
  href: string;

  constructor(reference: string, base = "") {
    const [whole] = base.split("#");
    const absolute = /^[a-z][a-z0-9+.-]*:/i.test(reference);
    this.href = absolute ? reference : reference.startsWith("#") ? whole + reference : whole.replace(/[^/]*$/, "") + reference;
  }

  get hash() {
    const at = this.href.indexOf("#");
    return at < 0 || at === this.href.length - 1 ? "" : this.href.slice(at);
  }

  set hash(hash: string) {
    this.href = this.href.split("#")[0] + hash;
  }
}

Object.assign(globalThis, { URL: Reference });
