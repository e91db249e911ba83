export * from "lockgate:plugin/exchange@0.1.0";
