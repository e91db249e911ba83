export * from "lockgate:plugin/backends@0.1.0";
