export * from "lockgate:plugin/kv@0.1.0";
