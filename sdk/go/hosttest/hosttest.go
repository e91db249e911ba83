//go:build !wasm

// Package hosttest says, in tests, what the host's imports answer, and holds what the plugin has done.
package hosttest

import "lockgate/internal/host"

// Host is a host of paper.
type Host = host.State

// Reset makes the host one of which only this is known, and returns it: what the plugin does can be seen there.
func Reset(state Host) *Host {
	host.Fake = state
	return &host.Fake
}
