//go:build wasm

// Package wit_runtime gives the host room for what it hands over.
package wit_runtime

import (
	"runtime"
	"unsafe"
)

// What the host has been given since the hook began. That it is referred to here keeps it from being collected; Go does not move
// what it has allocated.
var held []unsafe.Pointer

// Unpin lets go of what the host was given. Values that the plugin still refers to stay.
func Unpin() {
	clear(held)
	held = held[:0]
}

// Allocate makes room that stays until the pinner lets go.
func Allocate(pinner *runtime.Pinner, size, align uintptr) unsafe.Pointer {
	room := allocate(size, align)
	if room != nil {
		pinner.Pin(room)
	}
	return room
}

func allocate(size, align uintptr) unsafe.Pointer {
	if size == 0 {
		return nil
	}
	// The collector looks for no pointers in these.
	if align <= 1 {
		return unsafe.Pointer(unsafe.SliceData(make([]byte, size)))
	}
	return unsafe.Pointer(unsafe.SliceData(make([]uint64, (size+7)/8)))
}

//go:wasmexport cabi_realloc
func realloc(old unsafe.Pointer, oldSize, align, size uintptr) unsafe.Pointer {
	room := allocate(size, align)
	if room == nil {
		// The contract's ABI wants a place even for nothing.
		return unsafe.Pointer(&nothing)
	}
	if old != nil && oldSize > 0 {
		copy(unsafe.Slice((*byte)(room), size), unsafe.Slice((*byte)(old), oldSize))
	}
	held = append(held, room)
	return room
}

var nothing uint64
