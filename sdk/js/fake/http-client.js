import { host, refuse } from "../testing.js";

const responses = [];

export function send({ method, url, headers, body }) {
  host.httpRequests.push({ method, url, headers, body });
  const { status, headers: fields = [], body: text = "" } = host.httpAnswers.shift() ?? refuse("not-granted");
  return { status, id: responses.push({ fields, body: new TextEncoder().encode(text) }) - 1 };
}
export const header = (id, name) => responses[id].fields.find(([known]) => known === name.toLowerCase())?.[1];
export const headers = (id) => responses[id].fields.slice();
export function read(id, max) {
  const { body } = responses[id];
  responses[id].body = body.subarray(max);
  return body.subarray(0, max);
}
export function readAll(id, max) {
  const { body } = responses[id];
  return body.length > max ? refuse("too-large") : body;
}
export const close = () => {};
