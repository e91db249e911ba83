//go:build wasm

// Package export is what the generated exports of a plugin call.
package export

import (
	"context"
	"runtime"
	"unsafe"

	"lockgate"
	"lockgate/internal/host"
	"lockgate/wit/lockgate_plugin_types"
	wit_runtime "lockgate/wit/runtime"
	wit "lockgate/wit/types"
)

var plugin any

var background = context.Background()

// Room for what the runtime writes when it gives up, because another goroutine than the hook's has panicked or all wait for each
// other: what `lockgate plugin build` puts in the place of WASI logs it.
var stderr = struct {
	length, room uint32
	text         [1024]byte
}{room: 1024}

//go:wasmimport wasi_snapshot_preview1 lockgate_keep_stderr
func keepStderr(at unsafe.Pointer)

func init() {
	keepStderr(unsafe.Pointer(&stderr))
}

// Lets go of what the host has handed over, and has what a hook panics with in the log: otherwise nobody would see it.
func leave(hook string) {
	wit_runtime.Unpin()
	if why := recover(); why != nil {
		stack := make([]byte, 4096)
		stack = stack[:runtime.Stack(stack, false)]
		host.Log(host.LevelError, hook+" panicked: "+text(why)+"\n"+string(stack))
		// The runtime would say the same once more.
		keepStderr(nil)
		panic(why)
	}
}

// Package fmt would do the same, in half a megabyte.
func text(why any) string {
	switch why := why.(type) {
	case error:
		return why.Error()
	case string:
		return why
	default:
		return "something that is neither an error nor a text"
	}
}

func failure(err error) wit.Result[wit.Unit, string] {
	if err != nil {
		return wit.Err[wit.Unit](err.Error())
	}
	return wit.Ok[wit.Unit, string](wit.Unit{})
}

func Configure(config string) wit.Result[wit.Unit, string] {
	defer leave("New")
	made, err := lockgate.Configure(config)
	plugin = made
	return failure(err)
}

func SelfTest() wit.Result[wit.Unit, string] {
	defer leave("SelfTest")
	return failure(plugin.(lockgate.SelfTestHook).SelfTest(background))
}

func ExportState() []uint8 {
	defer leave("ExportState")
	return plugin.(lockgate.StateHook).ExportState(background)
}

func ImportState(state []uint8) wit.Result[wit.Unit, string] {
	defer leave("ImportState")
	return failure(plugin.(lockgate.StateHook).ImportState(background, state))
}

func OnTick() {
	defer leave("OnTick")
	plugin.(lockgate.TickHook).OnTick(background)
}

func OnConnect(arriving lockgate_plugin_types.Connection) lockgate_plugin_types.Admission {
	defer leave("OnConnect")
	server, _ := arriving.ServerName.Get()
	alpn, _ := arriving.Alpn.Get()
	told := lockgate.Connection{
		ClientAddress: arriving.ClientAddress, ClientPort: arriving.ClientPort, Listener: arriving.Listener,
		TLS: arriving.Tls, ServerName: server, ALPN: alpn, HTTP2: arriving.Http2,
	}
	if certificate, shown := arriving.Certificate.Get(); shown {
		of := host.CertificateOf(certificate)
		told.Certificate = &of
	}
	if plugin.(lockgate.ConnectHook).OnConnect(background, told) == lockgate.Accept {
		return lockgate_plugin_types.AdmissionAccept
	}
	return lockgate_plugin_types.AdmissionRefuse
}

func OnRequest() lockgate_plugin_types.Verdict {
	defer leave("OnRequest")
	return verdict(plugin.(lockgate.RequestHook).OnRequest(background))
}

func OnRequestComplete(body []uint8) lockgate_plugin_types.Verdict {
	defer leave("OnRequestComplete")
	return verdict(plugin.(lockgate.RequestCompleteHook).OnRequestComplete(background, body))
}

func OnRequestBody(chunk []uint8, last bool) lockgate_plugin_types.BodyAction {
	defer leave("OnRequestBody")
	return action(plugin.(lockgate.RequestBodyHook).OnRequestBody(background, chunk, last))
}

func PickBackend(count uint32) wit.Option[uint32] {
	defer leave("PickBackend")
	if index, picked := plugin.(lockgate.PickBackendHook).PickBackend(background, count); picked {
		return wit.Some(index)
	}
	return wit.None[uint32]()
}

func OnAttemptFailed(failed lockgate_plugin_types.Attempt) lockgate_plugin_types.NextAttempt {
	defer leave("OnAttemptFailed")
	status, _ := failed.Status.Get()
	next := plugin.(lockgate.AttemptFailedHook).OnAttemptFailed(background, lockgate.Attempt{
		Number: failed.Number, Backend: failed.Backend, Reason: failed.Reason, Status: status, MayRetry: failed.MayRetry,
	})
	switch next.Kind {
	case lockgate.KindPick:
		return lockgate_plugin_types.MakeNextAttemptPick(next.Backend)
	case lockgate.KindGiveUp:
		return lockgate_plugin_types.MakeNextAttemptGiveUp()
	default:
		return lockgate_plugin_types.MakeNextAttemptProceed()
	}
}

func OnResponse() lockgate_plugin_types.Verdict {
	defer leave("OnResponse")
	return verdict(plugin.(lockgate.ResponseHook).OnResponse(background))
}

func OnResponseBody(chunk []uint8, last bool) lockgate_plugin_types.BodyAction {
	defer leave("OnResponseBody")
	return action(plugin.(lockgate.ResponseBodyHook).OnResponseBody(background, chunk, last))
}

func OnResponseFinish(summary lockgate_plugin_types.Summary) {
	defer leave("OnResponseFinish")
	plugin.(lockgate.ResponseFinishHook).OnResponseFinish(background, lockgate.Summary{
		Method: host.Methods[summary.Method], Route: summary.Route, Status: summary.Status,
		RequestBytes: summary.RequestBytes, ResponseBytes: summary.ResponseBytes,
		FirstByteNanos: summary.FirstByteNanos, TotalNanos: summary.TotalNanos,
		Attempts: summary.Attempts, End: host.Ends[summary.End],
	})
}

func verdict(of lockgate.Verdict) lockgate_plugin_types.Verdict {
	switch of.Kind {
	case lockgate.KindAnswer:
		headers := make([]wit.Tuple2[string, string], len(of.Answer.Headers))
		for i, field := range of.Answer.Headers {
			headers[i] = wit.Tuple2[string, string]{F0: field[0], F1: field[1]}
		}
		return lockgate_plugin_types.MakeVerdictAnswer(lockgate_plugin_types.Answer{
			Status: of.Answer.Status, Headers: headers, Body: of.Answer.Body,
		})
	case lockgate.KindHold:
		return lockgate_plugin_types.MakeVerdictHold(of.Hold)
	default:
		return lockgate_plugin_types.MakeVerdictProceed()
	}
}

func action(of lockgate.BodyAction) lockgate_plugin_types.BodyAction {
	switch of.Kind {
	case lockgate.KindReplace:
		return lockgate_plugin_types.MakeBodyActionReplace(of.Chunk)
	case lockgate.KindAbort:
		return lockgate_plugin_types.MakeBodyActionAbort()
	default:
		return lockgate_plugin_types.MakeBodyActionPass()
	}
}
