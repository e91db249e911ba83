package plugin

import (
	"context"
	"testing"
	"time"

	"lockgate/hosttest"
)

func TestThatSoManyAreLetInPerWindow(t *testing.T) {
	host := hosttest.Reset(hosttest.Host{Now: uint64(90 * time.Second)})
	plugin, err := New(Config{Limit: 2, Window: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for number, want := range []uint16{0, 0, 429, 429} {
		if verdict := plugin.OnRequest(context.Background()); verdict.Answer.Status != want {
			t.Fatalf("%d: %+v", number, verdict)
		}
	}
	if after, _ := host.Header("retry-after"); after != "30" {
		t.Errorf("%q", after)
	}
	host.Now += uint64(30 * time.Second)
	if verdict := plugin.OnRequest(context.Background()); verdict.Answer.Status != 0 {
		t.Errorf("%+v", verdict)
	}
}

func TestThatWhatMakesNoSenseIsRefused(t *testing.T) {
	for _, config := range []Config{{}, {Limit: 1}, {Limit: 1, Window: time.Second, Unreachable: "panic"}} {
		if _, err := New(config); err == nil {
			t.Errorf("%+v", config)
		}
	}
}
