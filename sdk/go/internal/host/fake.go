//go:build !wasm

package host

import (
	"fmt"
	"strconv"
	"strings"
)

// State is what a host of paper answers, and what a plugin has done to it.
type State struct {
	Method, Scheme, Host, Path, Query string
	RequestHeaders                    []Field
	RequestBody                       []byte
	Status                            uint16
	MadeBy                            string
	ResponseHeaders                   []Field
	Trailers                          []Field
	ExchangeID                        uint64
	RequestID, Route, Tenant          string
	ClientAddress, PeerAddress        string
	PeerPort                          uint16
	HostIsNamed, FromTrustedProxy     bool
	ServerName, Backend               string
	Certificate                       *Certificate
	Notes                             map[string]string
	Backends                          []Backend
	Lines                             []string
	Now, Monotonic, Random            uint64
	Counters                          map[string]uint64
	Metrics                           map[string]float64
	KV                                map[string][]byte
	// Answers to calls by "GET https://..": what is not there is not granted.
	Answers map[string]Response
	Calls   []string
	series  []string
	// What the calls were answered with, with what is left of the bodies.
	responses []Response
}

// Response is what a call of the plugin's own is answered with.
type Response struct {
	Status  uint16
	Headers [][2]string
	Body    []byte
}

// Fake is the host.
var Fake State

// Header is the first field of that name of the response.
func (s *State) Header(name string) (string, bool) { return first(s.ResponseHeaders, name) }

func first(fields []Field, name string) (string, bool) {
	for _, field := range fields {
		if strings.EqualFold(field.Name, name) {
			return string(field.Value), true
		}
	}
	return "", false
}

func every(fields []Field, name string) (values [][]byte) {
	for _, field := range fields {
		if strings.EqualFold(field.Name, name) {
			values = append(values, field.Value)
		}
	}
	return values
}

func without(fields []Field, name string) (kept []Field) {
	for _, field := range fields {
		if !strings.EqualFold(field.Name, name) {
			kept = append(kept, field)
		}
	}
	return kept
}

func add(fields *[]Field, name, value string, replace bool) error {
	if name == "" || strings.ContainsAny(name, " \t\r\n:\"") {
		return &Error{Code: "invalid-name"}
	}
	if strings.ContainsAny(value, "\r\n\x00") {
		return &Error{Code: "invalid-value"}
	}
	if replace {
		*fields = without(*fields, name)
	}
	*fields = append(*fields, Field{strings.ToLower(name), []byte(value)})
	return nil
}

func or(value, standard string) string {
	if value == "" {
		return standard
	}
	return value
}

func set[K comparable, V any](all *map[K]V, key K, value V) {
	if *all == nil {
		*all = map[K]V{}
	}
	(*all)[key] = value
}

func RequestMethod() string                    { return or(Fake.Method, "GET") }
func RequestScheme() string                    { return or(Fake.Scheme, "http") }
func RequestHost() string                      { return or(Fake.Host, "localhost") }
func RequestPath() string                      { return or(Fake.Path, "/") }
func RequestQuery() (string, bool)             { return Fake.Query, Fake.Query != "" }
func RequestHeader(name string) (string, bool) { return first(Fake.RequestHeaders, name) }
func RequestHeaderBytes(name string) [][]byte  { return every(Fake.RequestHeaders, name) }
func RequestHeaders() []Field                  { return Fake.RequestHeaders }
func RequestSetHeader(name, value string) error {
	return add(&Fake.RequestHeaders, name, value, true)
}
func RequestAppendHeader(name, value string) error {
	return add(&Fake.RequestHeaders, name, value, false)
}
func RequestRemoveHeader(name string) error {
	Fake.RequestHeaders = without(Fake.RequestHeaders, name)
	return nil
}
func RequestSetPath(path string) error           { Fake.Path = path; return nil }
func RequestSetQuery(query string, _ bool) error { Fake.Query = query; return nil }
func RequestSetBody(body []byte) error           { Fake.RequestBody = body; return nil }

func ResponseStatus() uint16                    { return Fake.Status }
func ResponseMadeBy() string                    { return or(Fake.MadeBy, "backend") }
func ResponseHeader(name string) (string, bool) { return first(Fake.ResponseHeaders, name) }
func ResponseHeaderBytes(name string) [][]byte  { return every(Fake.ResponseHeaders, name) }
func ResponseHeaders() []Field                  { return Fake.ResponseHeaders }
func ResponseSetStatus(status uint16) error     { Fake.Status = status; return nil }
func ResponseSetHeader(name, value string) error {
	return add(&Fake.ResponseHeaders, name, value, true)
}
func ResponseAppendHeader(name, value string) error {
	return add(&Fake.ResponseHeaders, name, value, false)
}
func ResponseRemoveHeader(name string) error {
	Fake.ResponseHeaders = without(Fake.ResponseHeaders, name)
	return nil
}

func TrailersGet(name string) (string, bool) { return first(Fake.Trailers, name) }
func TrailersAll() []Field                   { return Fake.Trailers }
func TrailersSet(name, value string) error   { return add(&Fake.Trailers, name, value, true) }
func TrailersRemove(name string) error {
	Fake.Trailers = without(Fake.Trailers, name)
	return nil
}

func ExchangeID() uint64                 { return max(Fake.ExchangeID, 1) }
func ExchangeRequestID() string          { return or(Fake.RequestID, "test") }
func ExchangeRoute() string              { return or(Fake.Route, "default") }
func ExchangeHostIsNamed() bool          { return Fake.HostIsNamed }
func ExchangeTenant() (string, bool)     { return Fake.Tenant, Fake.Tenant != "" }
func ExchangeClientAddress() string      { return or(Fake.ClientAddress, "127.0.0.1") }
func ExchangePeerAddress() string        { return or(Fake.PeerAddress, "127.0.0.1") }
func ExchangePeerPort() uint16           { return Fake.PeerPort }
func ExchangeFromTrustedProxy() bool     { return Fake.FromTrustedProxy }
func ExchangeServerName() (string, bool) { return Fake.ServerName, Fake.ServerName != "" }
func ExchangeBackend() (string, bool)    { return Fake.Backend, Fake.Backend != "" }
func ExchangeNote(key string) (string, bool) {
	note, found := Fake.Notes[key]
	return note, found
}
func ExchangeSetNote(key, value string) { set(&Fake.Notes, key, value) }
func ExchangeClientCertificate() (Certificate, bool) {
	if Fake.Certificate == nil {
		return Certificate{}, false
	}
	return *Fake.Certificate, true
}

func BackendsCount() uint32            { return uint32(len(Fake.Backends)) }
func BackendsGet(index uint32) Backend { return Fake.Backends[index] }

func Log(level uint8, message string) {
	names := []string{"error", "warn", "info", "debug"}
	Fake.Lines = append(Fake.Lines, names[level]+": "+message)
}
func LogEnabled(uint8) bool            { return true }
func ClockNow() uint64                 { return Fake.Now }
func ClockMonotonic() uint64           { return Fake.Monotonic }
func RandomNumber() uint64             { return Fake.Random }
func RandomBytes(length uint32) []byte { return make([]byte, length) }
func CountersAdd(name string, delta uint64) uint64 {
	return CountersSet(name, Fake.Counters[name]+delta)
}
func CountersGet(name string) uint64 { return Fake.Counters[name] }
func CountersSet(name string, value uint64) uint64 {
	before := Fake.Counters[name]
	set(&Fake.Counters, name, value)
	return before
}

func MetricsCounter(name string, labels [][2]string) uint32 {
	if len(labels) > 0 {
		name += fmt.Sprint(labels)
	}
	Fake.series = append(Fake.series, name)
	return uint32(len(Fake.series) - 1)
}
func MetricsGauge(name string, labels [][2]string) uint32 { return MetricsCounter(name, labels) }
func MetricsHistogram(name string, labels [][2]string, _ []float64) uint32 {
	return MetricsCounter(name, labels)
}
func MetricsAdd(series uint32, by uint64) { MetricsObserve(series, float64(by)) }
func MetricsSet(series uint32, value float64) {
	set(&Fake.Metrics, Fake.series[series], value)
}
func MetricsObserve(series uint32, value float64) {
	MetricsSet(series, Fake.Metrics[Fake.series[series]]+value)
}

func KVGet(key string) ([]byte, bool, error) {
	value, found := Fake.KV[key]
	return value, found, nil
}
func KVSet(key string, value []byte, _ uint64) error { set(&Fake.KV, key, value); return nil }
func KVDelete(key string) (bool, error) {
	_, found := Fake.KV[key]
	delete(Fake.KV, key)
	return found, nil
}
func KVCompareAndSet(key string, expected, value []byte, millis uint64) (bool, error) {
	there, found := Fake.KV[key]
	if found != (expected != nil) || string(there) != string(expected) {
		return false, nil
	}
	return true, KVSet(key, value, millis)
}
func KVIncrement(key string, by int64, millis uint64) (int64, error) {
	number, err := strconv.ParseInt(or(string(Fake.KV[key]), "0"), 10, 64)
	if err != nil {
		return 0, &Error{Code: "not-a-number"}
	}
	number += by
	return number, KVSet(key, []byte(strconv.FormatInt(number, 10)), millis)
}

func HTTPSend(method, url string, _ [][2]string, _ []byte, _ uint32) (uint16, uint32, error) {
	Fake.Calls = append(Fake.Calls, method+" "+url)
	answer, found := Fake.Answers[method+" "+url]
	if !found {
		return 0, 0, &Error{Code: "not-granted"}
	}
	Fake.responses = append(Fake.responses, answer)
	return answer.Status, uint32(len(Fake.responses) - 1), nil
}
func HTTPHeader(response uint32, name string) (string, bool) {
	for _, field := range Fake.responses[response].Headers {
		if strings.EqualFold(field[0], name) {
			return field[1], true
		}
	}
	return "", false
}
func HTTPHeaders(response uint32) [][2]string { return Fake.responses[response].Headers }
func HTTPRead(response, most uint32) ([]byte, error) {
	left := &Fake.responses[response].Body
	chunk := (*left)[:min(int(most), len(*left))]
	*left = (*left)[len(chunk):]
	return chunk, nil
}
func HTTPReadAll(response, most uint32) ([]byte, error) {
	if len(Fake.responses[response].Body) > int(most) {
		return nil, &Error{Code: "too-large"}
	}
	return HTTPRead(response, most)
}
func HTTPClose(response uint32) { Fake.responses[response].Body = nil }
