export * from "lockgate:plugin/request@0.1.0";
