module rate-limit

go 1.25

require lockgate v0.0.0

replace lockgate => ../../../sdk/go
