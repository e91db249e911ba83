export * from "lockgate:plugin/response@0.1.0";
