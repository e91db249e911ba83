export { bytes, number } from "#host/random";
