// Shows a share of the visitors another version of a site: who has seen one keeps seeing it, by a cookie.
//
// config = { cookie = "variant", share = 10, b = "http://10.0.0.2:8080" }: 10 of 100 get the backend `b`.
import { backends, exchange, random, request, response } from "lockgate";

let settings;

export function configure({ cookie = "variant", share, b }) {
  if (!(share >= 0 && share <= 100)) throw "share: must be a number from 0 to 100";
  if (typeof b !== "string") throw "b: must be the address of a backend";
  settings = { cookie, share, b };
}

export function onRequest() {
  const known = request.cookie(settings.cookie);
  const variant = known === "a" || known === "b" ? known : random.number() % 100 < settings.share ? "b" : "a";
  exchange.setNote("variant", variant);
  request.headers.set("x-variant", variant);
  if (variant !== known) response.headers.append("set-cookie", `${settings.cookie}=${variant}; Path=/; Max-Age=2592000; SameSite=Lax`);
}

export function pickBackend() {
  const b = exchange.note("variant") === "b";
  const wanted = backends.all().findIndex((backend) => (backend.address === settings.b) === b);
  // None of them lives: the upstream's own policy takes another.
  if (wanted >= 0) return wanted;
}
