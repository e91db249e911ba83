module {{name}}

go 1.25

require lockgate v0.0.0

replace lockgate => ./lockgate/sdk/go
