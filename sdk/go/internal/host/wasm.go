//go:build wasm

package host

import (
	"lockgate/wit/lockgate_plugin_backends"
	"lockgate/wit/lockgate_plugin_clock"
	"lockgate/wit/lockgate_plugin_counters"
	"lockgate/wit/lockgate_plugin_exchange"
	"lockgate/wit/lockgate_plugin_http_client"
	"lockgate/wit/lockgate_plugin_kv"
	"lockgate/wit/lockgate_plugin_log"
	"lockgate/wit/lockgate_plugin_metrics"
	"lockgate/wit/lockgate_plugin_random"
	"lockgate/wit/lockgate_plugin_request"
	"lockgate/wit/lockgate_plugin_response"
	"lockgate/wit/lockgate_plugin_trailers"
	"lockgate/wit/lockgate_plugin_types"
	wit "lockgate/wit/types"
)

func edited(result wit.Result[wit.Unit, lockgate_plugin_types.EditError]) error {
	if result.Tag() == wit.ResultOk {
		return nil
	}
	return &Error{Code: EditErrors[result.Err().Tag()]}
}

func fields(all []wit.Tuple2[string, []uint8]) []Field {
	fields := make([]Field, len(all))
	for i, field := range all {
		fields[i] = Field{field.F0, field.F1}
	}
	return fields
}

func RequestMethod() string                    { return lockgate_plugin_request.Method() }
func RequestScheme() string                    { return lockgate_plugin_request.Scheme() }
func RequestHost() string                      { return lockgate_plugin_request.Host() }
func RequestPath() string                      { return lockgate_plugin_request.Path() }
func RequestQuery() (string, bool)             { return lockgate_plugin_request.Query().Get() }
func RequestHeader(name string) (string, bool) { return lockgate_plugin_request.Header(name).Get() }
func RequestHeaderBytes(name string) [][]byte  { return lockgate_plugin_request.HeaderBytes(name) }
func RequestHeaders() []Field                  { return fields(lockgate_plugin_request.Headers()) }
func RequestSetHeader(name, value string) error {
	return edited(lockgate_plugin_request.SetHeader(name, value))
}
func RequestAppendHeader(name, value string) error {
	return edited(lockgate_plugin_request.AppendHeader(name, value))
}
func RequestRemoveHeader(name string) error {
	return edited(lockgate_plugin_request.RemoveHeader(name))
}
func RequestSetPath(path string) error { return edited(lockgate_plugin_request.SetPath(path)) }
func RequestSetQuery(query string, some bool) error {
	option := wit.None[string]()
	if some {
		option = wit.Some(query)
	}
	return edited(lockgate_plugin_request.SetQuery(option))
}
func RequestSetBody(body []byte) error { return edited(lockgate_plugin_request.SetBody(body)) }

func ResponseStatus() uint16                    { return lockgate_plugin_response.Status() }
func ResponseMadeBy() string                    { return Origins[lockgate_plugin_response.MadeBy()] }
func ResponseHeader(name string) (string, bool) { return lockgate_plugin_response.Header(name).Get() }
func ResponseHeaderBytes(name string) [][]byte  { return lockgate_plugin_response.HeaderBytes(name) }
func ResponseHeaders() []Field                  { return fields(lockgate_plugin_response.Headers()) }
func ResponseSetStatus(status uint16) error {
	return edited(lockgate_plugin_response.SetStatus(status))
}
func ResponseSetHeader(name, value string) error {
	return edited(lockgate_plugin_response.SetHeader(name, value))
}
func ResponseAppendHeader(name, value string) error {
	return edited(lockgate_plugin_response.AppendHeader(name, value))
}
func ResponseRemoveHeader(name string) error {
	return edited(lockgate_plugin_response.RemoveHeader(name))
}

func TrailersGet(name string) (string, bool) { return lockgate_plugin_trailers.Get(name).Get() }
func TrailersAll() []Field                   { return fields(lockgate_plugin_trailers.All()) }
func TrailersSet(name, value string) error {
	return edited(lockgate_plugin_trailers.Set(name, value))
}
func TrailersRemove(name string) error { return edited(lockgate_plugin_trailers.Remove(name)) }

func ExchangeID() uint64                 { return lockgate_plugin_exchange.Id() }
func ExchangeRequestID() string          { return lockgate_plugin_exchange.RequestId() }
func ExchangeRoute() string              { return lockgate_plugin_exchange.Route() }
func ExchangeHostIsNamed() bool          { return lockgate_plugin_exchange.HostIsNamed() }
func ExchangeTenant() (string, bool)     { return lockgate_plugin_exchange.Tenant().Get() }
func ExchangeClientAddress() string      { return lockgate_plugin_exchange.ClientAddress() }
func ExchangePeerAddress() string        { return lockgate_plugin_exchange.PeerAddress() }
func ExchangePeerPort() uint16           { return lockgate_plugin_exchange.PeerPort() }
func ExchangeFromTrustedProxy() bool     { return lockgate_plugin_exchange.FromTrustedProxy() }
func ExchangeServerName() (string, bool) { return lockgate_plugin_exchange.ServerName().Get() }
func ExchangeBackend() (string, bool)    { return lockgate_plugin_exchange.Backend().Get() }
func ExchangeNote(key string) (string, bool) {
	return lockgate_plugin_exchange.Note(key).Get()
}
func ExchangeSetNote(key, value string) { lockgate_plugin_exchange.SetNote(key, value) }
func ExchangeClientCertificate() (Certificate, bool) {
	certificate, shown := lockgate_plugin_exchange.ClientCertificate().Get()
	return CertificateOf(certificate), shown
}

func CertificateOf(of lockgate_plugin_types.Certificate) Certificate {
	return Certificate{of.Subject, of.Names, of.Fingerprint, of.Serial, of.NotAfter}
}

func BackendsCount() uint32 { return lockgate_plugin_backends.Count() }
func BackendsGet(index uint32) Backend {
	backend := lockgate_plugin_backends.Get(index)
	return Backend{backend.Address, backend.Weight, backend.InFlight, backend.LatencyNanos, backend.Healthy}
}

func Log(level uint8, message string)              { lockgate_plugin_log.Log(level, message) }
func LogEnabled(level uint8) bool                  { return lockgate_plugin_log.Enabled(level) }
func ClockNow() uint64                             { return lockgate_plugin_clock.Now() }
func ClockMonotonic() uint64                       { return lockgate_plugin_clock.Monotonic() }
func RandomBytes(length uint32) []byte             { return lockgate_plugin_random.Bytes(length) }
func RandomNumber() uint64                         { return lockgate_plugin_random.Number() }
func CountersAdd(name string, delta uint64) uint64 { return lockgate_plugin_counters.Add(name, delta) }
func CountersGet(name string) uint64               { return lockgate_plugin_counters.Get(name) }
func CountersSet(name string, value uint64) uint64 { return lockgate_plugin_counters.Set(name, value) }

func pairs(labels [][2]string) []wit.Tuple2[string, string] {
	pairs := make([]wit.Tuple2[string, string], len(labels))
	for i, label := range labels {
		pairs[i] = wit.Tuple2[string, string]{F0: label[0], F1: label[1]}
	}
	return pairs
}

func MetricsCounter(name string, labels [][2]string) uint32 {
	return lockgate_plugin_metrics.Counter(name, pairs(labels))
}
func MetricsGauge(name string, labels [][2]string) uint32 {
	return lockgate_plugin_metrics.Gauge(name, pairs(labels))
}
func MetricsHistogram(name string, labels [][2]string, bounds []float64) uint32 {
	return lockgate_plugin_metrics.Histogram(name, pairs(labels), bounds)
}
func MetricsAdd(series uint32, by uint64)         { lockgate_plugin_metrics.Add(series, by) }
func MetricsSet(series uint32, value float64)     { lockgate_plugin_metrics.Set(series, value) }
func MetricsObserve(series uint32, value float64) { lockgate_plugin_metrics.Observe(series, value) }

func stored[T any](result wit.Result[T, lockgate_plugin_kv.Error]) (T, error) {
	if result.Tag() == wit.ResultOk {
		return result.Ok(), nil
	}
	err := result.Err()
	told := &Error{Code: KVErrors[err.Tag()]}
	if err.Tag() == lockgate_plugin_kv.ErrorUnavailable {
		told.Detail = err.Unavailable()
	}
	var none T
	return none, told
}

func life(millis uint64) wit.Option[uint64] {
	if millis == 0 {
		return wit.None[uint64]()
	}
	return wit.Some(millis)
}

func KVGet(key string) ([]byte, bool, error) {
	option, err := stored(lockgate_plugin_kv.Get(key))
	value, some := option.Get()
	return value, some, err
}
func KVSet(key string, value []byte, millis uint64) error {
	_, err := stored(lockgate_plugin_kv.Set(key, value, life(millis)))
	return err
}
func KVDelete(key string) (bool, error) { return stored(lockgate_plugin_kv.Delete(key)) }
func KVCompareAndSet(key string, expected, value []byte, millis uint64) (bool, error) {
	option := wit.None[[]uint8]()
	if expected != nil {
		option = wit.Some(expected)
	}
	return stored(lockgate_plugin_kv.CompareAndSet(key, option, value, life(millis)))
}
func KVIncrement(key string, by int64, millis uint64) (int64, error) {
	return stored(lockgate_plugin_kv.Increment(key, by, life(millis)))
}

func sent[T any](result wit.Result[T, lockgate_plugin_http_client.Error]) (T, error) {
	if result.Tag() == wit.ResultOk {
		return result.Ok(), nil
	}
	err := result.Err()
	told := &Error{Code: HTTPErrors[err.Tag()]}
	switch err.Tag() {
	case lockgate_plugin_http_client.ErrorInvalidRequest:
		told.Detail = err.InvalidRequest()
	case lockgate_plugin_http_client.ErrorConnect:
		told.Detail = err.Connect()
	case lockgate_plugin_http_client.ErrorFailed:
		told.Detail = err.Failed()
	}
	var none T
	return none, told
}

func HTTPSend(method, url string, headers [][2]string, body []byte, millis uint32) (uint16, uint32, error) {
	timeout := wit.None[uint32]()
	if millis != 0 {
		timeout = wit.Some(millis)
	}
	response, err := sent(lockgate_plugin_http_client.Send(lockgate_plugin_http_client.Request{
		Method: method, Url: url, Headers: pairs(headers), Body: body, TimeoutMillis: timeout,
	}))
	return response.Status, response.Id, err
}
func HTTPHeader(response uint32, name string) (string, bool) {
	return lockgate_plugin_http_client.Header(response, name).Get()
}
func HTTPHeaders(response uint32) [][2]string {
	fields := lockgate_plugin_http_client.Headers(response)
	all := make([][2]string, len(fields))
	for i, field := range fields {
		all[i] = [2]string{field.F0, field.F1}
	}
	return all
}
func HTTPRead(response, max uint32) ([]byte, error) {
	return sent(lockgate_plugin_http_client.Read(response, max))
}
func HTTPReadAll(response, max uint32) ([]byte, error) {
	return sent(lockgate_plugin_http_client.ReadAll(response, max))
}
func HTTPClose(response uint32) { lockgate_plugin_http_client.Close(response) }
