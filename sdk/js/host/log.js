export * from "lockgate:plugin/log@0.1.0";
