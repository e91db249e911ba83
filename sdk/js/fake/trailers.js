import { message } from "../testing.js";

export const { header: get, headers: all, setHeader: set, removeHeader: remove } = message("trailers");
