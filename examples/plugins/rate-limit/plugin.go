// Package plugin lets each client make so many requests in a window of time. All workers count together, and all processes that
// share a Redis: what is counted is in the key space, so the plugin needs the grant kv.
package plugin

import (
	"context"
	"errors"
	"strconv"
	"time"

	"lockgate"
)

// Config is `config = { limit = 100, window = "1m", by = "x-api-key" }`.
type Config struct {
	// Requests that a client may make in a window.
	Limit int64
	// How long a window is.
	Window time.Duration
	// The field that tells clients apart; without it, and where it is missing, their address does.
	By string
	// What happens while the key space cannot be reached: "allow" (the default) or "refuse".
	Unreachable string
}

// Plugin has the plugin's hooks.
type Plugin struct {
	config  Config
	refused lockgate.Counter
	unsure  lockgate.Counter
}

// New is called once for each instance.
func New(config Config) (*Plugin, error) {
	switch {
	case config.Limit < 1:
		return nil, errors.New("limit: must be at least 1")
	case config.Window < time.Second:
		return nil, errors.New("window: must be at least \"1s\"")
	case config.Unreachable != "" && config.Unreachable != "allow" && config.Unreachable != "refuse":
		return nil, errors.New("unreachable: must be \"allow\" or \"refuse\"")
	}
	return &Plugin{config, lockgate.NewCounter("refused", nil), lockgate.NewCounter("uncounted", nil)}, nil
}

// OnRequest counts the request, and refuses it if it is one too many.
func (p *Plugin) OnRequest(ctx context.Context) lockgate.Verdict {
	client, found := lockgate.Request.Header(p.config.By)
	if p.config.By == "" || !found {
		client = lockgate.Exchange.ClientAddress()
	}
	window := int64(p.config.Window / time.Second)
	now := lockgate.Clock.Now().Unix()
	left := window - now%window
	// Each window has a key of its own, which goes once the window is over.
	key := strconv.FormatInt(now/window, 10) + " " + client
	count, err := lockgate.KV.Increment(ctx, key[:min(len(key), 512)], 1, time.Duration(left)*time.Second)
	if err != nil {
		p.unsure.Add(1)
		lockgate.Log.Warn("not counted: %v", err)
		if p.config.Unreachable == "refuse" {
			return lockgate.Reply(503, "cannot count requests now\n")
		}
		return lockgate.Proceed
	}
	_ = lockgate.Response.SetHeader("ratelimit-limit", strconv.FormatInt(p.config.Limit, 10))
	_ = lockgate.Response.SetHeader("ratelimit-remaining", strconv.FormatInt(max(p.config.Limit-count, 0), 10))
	_ = lockgate.Response.SetHeader("ratelimit-reset", strconv.FormatInt(left, 10))
	if count <= p.config.Limit {
		return lockgate.Proceed
	}
	p.refused.Add(1)
	_ = lockgate.Response.SetHeader("retry-after", strconv.FormatInt(left, 10))
	return lockgate.Reply(429, "too many requests\n")
}
