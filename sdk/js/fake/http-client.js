import { host, refuse } from "../testing.js";

const bodies = [];

export function send({ method, url, headers, body }) {
  host.httpRequests.push({ method, url, headers, body });
  const { status, headers: fields = [], body: text = "" } = host.httpAnswers.shift() ?? refuse("not-granted");
  return { status, headers: fields, body: bodies.push(new TextEncoder().encode(text)) - 1 };
}
export const readAll = (body, max) => (bodies[body].length > max ? refuse("too-large") : bodies[body]);
export const close = () => {};
