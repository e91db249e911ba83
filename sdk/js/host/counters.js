export * from "lockgate:plugin/counters@0.1.0";
