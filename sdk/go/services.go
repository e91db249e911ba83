package lockgate

import (
	"context"
	"fmt"
	"time"

	"lockgate/internal/host"
)

// Error is why the host refused something. Its Code is the case's name in the contract: "invalid-name", "not-granted", ..
type Error = host.Error

// Log is the host's log.
var Log log

type log struct{}

// Level is how much a line of the log matters.
type Level uint8

// The levels of the log.
const (
	LevelError = Level(host.LevelError)
	LevelWarn  = Level(host.LevelWarn)
	LevelInfo  = Level(host.LevelInfo)
	LevelDebug = Level(host.LevelDebug)
)

// Enabled is whether a line of that level would be written, so that it need not be built in vain.
func (log) Enabled(level Level) bool { return host.LogEnabled(uint8(level)) }

// Error writes a line.
func (log) Error(format string, values ...any) { write(host.LevelError, format, values) }

// Warn writes a line.
func (log) Warn(format string, values ...any) { write(host.LevelWarn, format, values) }

// Info writes a line.
func (log) Info(format string, values ...any) { write(host.LevelInfo, format, values) }

// Debug writes a line, if anybody wants to read it.
func (log) Debug(format string, values ...any) { write(host.LevelDebug, format, values) }

func write(level uint8, format string, values []any) {
	if host.LogEnabled(level) {
		host.Log(level, fmt.Sprintf(format, values...))
	}
}

// Clock is the host's clock: that of package time stands nearly still.
var Clock clock

type clock struct{}

// Now is the time. It may jump.
func (clock) Now() time.Time { return time.Unix(0, int64(host.ClockNow())).UTC() }

// Monotonic is the time since some moment in the past. It never goes back.
func (clock) Monotonic() time.Duration { return time.Duration(host.ClockMonotonic()) }

// Random are random numbers of the host: those of math/rand and crypto/rand repeat themselves.
var Random random

type random struct{}

// Bytes are so many random bytes, at most 65536.
func (random) Bytes(length uint32) []byte { return host.RandomBytes(length) }

// Number is a random number.
func (random) Number() uint64 { return host.RandomNumber() }

// Counters are numbers that all workers share.
var Counters counters

type counters struct{}

// Add adds to a counter, and returns the value before.
func (counters) Add(name string, delta uint64) uint64 { return host.CountersAdd(name, delta) }

// Get is a counter's value.
func (counters) Get(name string) uint64 { return host.CountersGet(name) }

// Set sets a counter, and returns the value before.
func (counters) Set(name string, value uint64) uint64 { return host.CountersSet(name, value) }

// Labels are names and values, in order.
type Labels [][2]string

// Counter is a number that only grows, in /metrics. Open it once, in New.
type Counter uint32

// NewCounter opens a counter.
func NewCounter(name string, labels Labels) Counter {
	return Counter(host.MetricsCounter(name, labels))
}

// Add adds to it.
func (c Counter) Add(by uint64) { host.MetricsAdd(uint32(c), by) }

// Gauge is a number that goes up and down.
type Gauge uint32

// NewGauge opens a gauge.
func NewGauge(name string, labels Labels) Gauge { return Gauge(host.MetricsGauge(name, labels)) }

// Set sets it.
func (g Gauge) Set(value float64) { host.MetricsSet(uint32(g), value) }

// Histogram is a distribution.
type Histogram uint32

// NewHistogram opens a histogram with these upper bounds of its buckets.
func NewHistogram(name string, labels Labels, bounds []float64) Histogram {
	return Histogram(host.MetricsHistogram(name, labels, bounds))
}

// Observe counts an observation.
func (h Histogram) Observe(value float64) { host.MetricsObserve(uint32(h), value) }

// KV are keys and values that outlast exchanges. They need the grant kv. A time to live of 0 means for ever.
var KV kv

type kv struct{}

// Get is the value, if there is one.
func (kv) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	return host.KVGet(key)
}

// Set stores a value, whatever was there.
func (kv) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return host.KVSet(key, value, millis(ttl))
}

// Delete removes a key, and says whether it was there.
func (kv) Delete(ctx context.Context, key string) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	return host.KVDelete(key)
}

// CompareAndSet stores a value if what is there is expected (nil: nothing), and says whether it did.
func (kv) CompareAndSet(ctx context.Context, key string, expected, value []byte, ttl time.Duration) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	return host.KVCompareAndSet(key, expected, value, millis(ttl))
}

// Increment adds to a whole number, and returns the sum. The time to live counts from the call that made the key.
func (kv) Increment(ctx context.Context, key string, by int64, ttl time.Duration) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return host.KVIncrement(key, by, millis(ttl))
}

func millis(ttl time.Duration) uint64 { return uint64((ttl + time.Millisecond - 1) / time.Millisecond) }

// HTTPRequest is a request of the plugin's own. It needs the grant http. Without a Timeout, limits.http_timeout holds.
type HTTPRequest struct {
	Method  string
	URL     string
	Headers [][2]string
	Body    []byte
	Timeout time.Duration
}

// HTTPResponse is its response.
type HTTPResponse struct {
	Status uint16
	id     uint32
}

// Fetch sends a request and waits for the head of its response, whatever its status.
func Fetch(ctx context.Context, request HTTPRequest) (*HTTPResponse, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if request.Method == "" {
		request.Method = "GET"
	}
	timeout := uint32(millis(request.Timeout))
	status, id, err := host.HTTPSend(request.Method, request.URL, request.Headers, request.Body, timeout)
	if err != nil {
		return nil, err
	}
	return &HTTPResponse{status, id}, nil
}

// Header is the first field of that name.
func (r *HTTPResponse) Header(name string) (string, bool) { return host.HTTPHeader(r.id, name) }

// Headers is all fields in order, names in lower case.
func (r *HTTPResponse) Headers() [][2]string { return host.HTTPHeaders(r.id) }

// Read is the next bytes of the body, at most max; none at its end.
func (r *HTTPResponse) Read(max uint32) ([]byte, error) { return host.HTTPRead(r.id, max) }

// ReadAll is the rest of the body, if it is at most max bytes.
func (r *HTTPResponse) ReadAll(max uint32) ([]byte, error) { return host.HTTPReadAll(r.id, max) }

// Close gives up the rest of the body.
func (r *HTTPResponse) Close() { host.HTTPClose(r.id) }
