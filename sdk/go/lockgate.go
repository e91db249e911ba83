// Package lockgate is for plugins of Lockgate that are written in Go.
//
// A plugin is a package with a function New, which is given the configuration of this use of the plugin, and a type with the
// hooks that the plugin has as its methods:
//
//	package plugin
//
//	type Config struct{}
//
//	type Plugin struct{}
//
//	func New(config Config) (*Plugin, error) { return &Plugin{}, nil }
//
//	func (p *Plugin) OnRequest(ctx context.Context) lockgate.Verdict {
//		if lockgate.Request.Path() == "/coffee" {
//			return lockgate.Reply(418, "I am a teapot\n")
//		}
//		return lockgate.Proceed
//	}
//
// `lockgate plugin build` finds the methods by their names, and the compiler holds them against the interfaces here. What each
// hook and each import means in full is in the contract, lockgate/wit. In tests, which run on your machine, package hosttest
// says what the imports answer.
//
// A call that must wait returns when it has its answer; nobody else waits meanwhile. There is nobody who would wake a
// goroutine after a hook has returned, nothing may sleep, and the clock and the random numbers of Go's own packages are not
// real: take Clock and Random. What a hook panics with, or a goroutine that it has started, ends its exchange, as on_failure of
// the configuration says, and is in the log with its stack. What is written to stderr goes nowhere: there is Log.
package lockgate

import (
	"context"

	"lockgate/internal/config"
	"lockgate/internal/host"
)

// RequestHook sees each request before a backend is picked.
type RequestHook interface {
	OnRequest(ctx context.Context) Verdict
}

// RequestCompleteHook sees the whole body of a request where OnRequest said Hold.
type RequestCompleteHook interface {
	OnRequestComplete(ctx context.Context, body []byte) Verdict
}

// RequestBodyHook sees, and may change, the body of each request on its way to the backend. A chunk holds until it returns.
type RequestBodyHook interface {
	OnRequestBody(ctx context.Context, chunk []byte, last bool) BodyAction
}

// PickBackendHook decides which backend gets the request: an index below count, or false to let the upstream decide.
type PickBackendHook interface {
	PickBackend(ctx context.Context, count uint32) (uint32, bool)
}

// AttemptFailedHook hears of each attempt at a backend that has failed.
type AttemptFailedHook interface {
	OnAttemptFailed(ctx context.Context, failed Attempt) NextAttempt
}

// ResponseHook sees each response before any of it is sent.
type ResponseHook interface {
	OnResponse(ctx context.Context) Verdict
}

// ResponseBodyHook sees, and may change, the body of each response on its way to the client.
type ResponseBodyHook interface {
	OnResponseBody(ctx context.Context, chunk []byte, last bool) BodyAction
}

// ResponseFinishHook sees how each exchange went.
type ResponseFinishHook interface {
	OnResponseFinish(ctx context.Context, summary Summary)
}

// TickHook works in the background, at an interval.
type TickHook interface {
	OnTick(ctx context.Context)
}

// ConnectHook sees each connection of the listeners that name the plugin.
type ConnectHook interface {
	OnConnect(ctx context.Context, arriving Connection) Admission
}

// SelfTestHook shows that the plugin works before it is put into service.
type SelfTestHook interface {
	SelfTest(ctx context.Context) error
}

// StateHook carries what a plugin knows over to the version that takes its place.
type StateHook interface {
	ExportState(ctx context.Context) []byte
	ImportState(ctx context.Context, state []byte) error
}

// Connection is a connection that has just come. What it does not have is empty.
type Connection = host.Connection

// Admission says whether a connection may be.
type Admission bool

// What there is to say of a connection.
const (
	Accept Admission = true
	Refuse Admission = false
)

// Attempt is an attempt at a backend that has failed. Its Status is 0 if there was no response.
type Attempt = host.Attempt

// Summary says how an exchange went. Its Method is "GET", .. or "" for one that is seldom; its End is "complete",
// "client-gone", "upstream-truncated", "timed-out" or "aborted".
type Summary = host.Summary

// Verdict is what a hook decided about a request or a response.
type Verdict struct {
	Kind   VerdictKind
	Answer Answer
	Hold   uint32
}

// VerdictKind says which of them it is.
type VerdictKind uint8

// The kinds of verdicts.
const (
	KindProceed VerdictKind = iota
	KindAnswer
	KindHold
)

// Answer is a response that the plugin gives.
type Answer struct {
	Status  uint16
	Headers [][2]string
	Body    []byte
}

// Proceed goes on: to the next plugin, then to the backend.
var Proceed = Verdict{}

// Reply answers with a text.
func Reply(status uint16, text string) Verdict {
	return ReplyWith(Answer{status, [][2]string{{"content-type", "text/plain; charset=utf-8"}}, []byte(text)})
}

// ReplyWith answers.
func ReplyWith(answer Answer) Verdict { return Verdict{Kind: KindAnswer, Answer: answer} }

// Hold waits for the whole body of the request, of so many bytes at most, and calls OnRequestComplete.
func Hold(bytes uint32) Verdict { return Verdict{Kind: KindHold, Hold: bytes} }

// BodyAction is what becomes of a chunk of a body.
type BodyAction struct {
	Kind  BodyActionKind
	Chunk []byte
}

// BodyActionKind says which of them it is.
type BodyActionKind uint8

// The kinds of actions.
const (
	KindPass BodyActionKind = iota
	KindReplace
	KindAbort
)

// Pass lets a chunk go on as it came.
var Pass = BodyAction{}

// Abort ends the exchange.
var Abort = BodyAction{Kind: KindAbort}

// Replace puts other bytes, or none, in the place of a chunk.
func Replace(chunk []byte) BodyAction { return BodyAction{KindReplace, chunk} }

// NextAttempt is what comes after an attempt that has failed.
type NextAttempt struct {
	Kind    NextAttemptKind
	Backend uint32
}

// NextAttemptKind says which of them it is.
type NextAttemptKind uint8

// The kinds of next attempts.
const (
	KindAsUsual NextAttemptKind = iota
	KindPick
	KindGiveUp
)

// AsUsual does what would come without the plugin.
var AsUsual = NextAttempt{}

// GiveUp makes no other attempt.
var GiveUp = NextAttempt{Kind: KindGiveUp}

// Pick has the next attempt go to the backend of that index.
func Pick(backend uint32) NextAttempt { return NextAttempt{KindPick, backend} }

// Register is called by what `lockgate plugin build` generates.
func Register[Config any, Plugin any](new func(Config) (Plugin, error)) {
	configure = func(text string) (any, error) {
		var given Config
		if err := config.Decode(text, &given); err != nil {
			return nil, err
		}
		return new(given)
	}
}

// Configure makes the plugin as the host does, from the JSON of its configuration.
func Configure(text string) (any, error) { return configure(text) }

var configure func(string) (any, error)
