package plugin

import (
	"context"
	"testing"

	"lockgate"
	"lockgate/hosttest"
)

func TestThatThereMustBeAMessage(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Fatal("it is missed by nobody")
	}
}

func TestThatItDoesWhatItIsFor(t *testing.T) {
	host := hosttest.Reset(hosttest.Host{Path: "/shop", Status: 200, Backends: []lockgate.Backend{{Address: "http://10.0.0.1:8080"}}})
	plugin, err := New(Config{Message: "hello"})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
{{each test}}
	_, _, _ = host, ctx, plugin
}
