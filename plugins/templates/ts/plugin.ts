// What this plugin is for.
import { {{names}}{{imports}} } from "lockgate";

let message: string;

export function configure(config: { message?: unknown }) {
  if (typeof config.message !== "string") throw "message: must be a text";
  message = config.message;
}
{{each code}}
