export * from "lockgate:plugin/trailers@0.1.0";
