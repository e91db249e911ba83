export * from "lockgate:plugin/clock@0.1.0";
