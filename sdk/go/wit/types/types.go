// Package wit_types has the types that generated bindings are made of.
package wit_types

// Unit is nothing.
type Unit struct{}

// What an Option's Tag is.
const (
	OptionNone = 0
	OptionSome = 1
)

// Option is a value or none.
type Option[T any] struct {
	some  bool
	value T
}

// None is no value.
func None[T any]() Option[T] { return Option[T]{} }

// Some is a value.
func Some[T any](value T) Option[T] { return Option[T]{true, value} }

// Tag is OptionNone or OptionSome.
func (o Option[T]) Tag() uint8 {
	if o.some {
		return OptionSome
	}
	return OptionNone
}

// Some is the value, which must be there.
func (o Option[T]) Some() T {
	if !o.some {
		panic("there is no value")
	}
	return o.value
}

// Get is the value, if it is there.
func (o Option[T]) Get() (T, bool) { return o.value, o.some }

// What a Result's Tag is.
const (
	ResultOk  = 0
	ResultErr = 1
)

// Result is a value or an error.
type Result[T any, U any] struct {
	failed bool
	value  T
	err    U
}

// Ok is a value.
func Ok[T any, U any](value T) Result[T, U] { return Result[T, U]{value: value} }

// Err is an error.
func Err[T any, U any](err U) Result[T, U] { return Result[T, U]{failed: true, err: err} }

// Tag is ResultOk or ResultErr.
func (r Result[T, U]) Tag() uint8 {
	if r.failed {
		return ResultErr
	}
	return ResultOk
}

// Ok is the value, which must be there.
func (r Result[T, U]) Ok() T {
	if r.failed {
		panic("there is an error")
	}
	return r.value
}

// Err is the error, which must be there.
func (r Result[T, U]) Err() U {
	if !r.failed {
		panic("there is no error")
	}
	return r.err
}

// Tuple2 is two values.
type Tuple2[A any, B any] struct {
	F0 A
	F1 B
}
