export * from "lockgate:plugin/random@0.1.0";
