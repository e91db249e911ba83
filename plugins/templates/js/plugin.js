// What this plugin is for.
import { {{names}} } from "lockgate";

let message;

export function configure(config) {
  if (typeof config.message !== "string") throw "message: must be a text";
  message = config.message;
}
{{each code}}
