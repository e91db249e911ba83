export * from "lockgate:plugin/metrics@0.1.0";
