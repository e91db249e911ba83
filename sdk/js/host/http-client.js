export * from "lockgate:plugin/http-client@0.1.0";
