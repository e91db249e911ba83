// Package host is what the SDK stands on: the host's imports where the plugin runs, a host of paper where it is tested.
package host

// Field is a field of a message.
type Field struct {
	Name  string
	Value []byte
}

// Backend is a backend as it is now.
type Backend struct {
	Address      string
	Weight       uint32
	InFlight     uint32
	LatencyNanos uint64
	Healthy      bool
}

// Certificate is what a client has shown.
type Certificate struct {
	Subject     string
	Names       []string
	Fingerprint string
	Serial      string
	NotAfter    uint64
}

// Connection is a connection that has just come.
type Connection struct {
	ClientAddress string
	ClientPort    uint16
	Listener      string
	TLS           bool
	ServerName    string
	ALPN          string
	HTTP2         bool
	Certificate   *Certificate
}

// Attempt is an attempt that has failed.
type Attempt struct {
	Number   uint32
	Backend  string
	Reason   string
	Status   uint16
	MayRetry bool
}

// Summary says how an exchange went.
type Summary struct {
	Method         string
	Route          uint32
	Status         uint16
	RequestBytes   uint64
	ResponseBytes  uint64
	FirstByteNanos uint64
	TotalNanos     uint64
	Attempts       uint32
	End            string
}

// Error is why the host refused something.
type Error struct {
	Code   string
	Detail string
}

func (e *Error) Error() string {
	if e.Detail == "" {
		return e.Code
	}
	return e.Code + ": " + e.Detail
}

// Levels of the log, as the contract numbers them.
const (
	LevelError uint8 = iota
	LevelWarn
	LevelInfo
	LevelDebug
)

// Names of the contract's cases, by their numbers.
var (
	EditErrors = []string{"invalid-name", "invalid-value", "forbidden", "too-large"}
	KVErrors   = []string{"invalid-key", "too-large", "not-a-number", "unavailable"}
	HTTPErrors = []string{
		"invalid-request", "not-granted", "private-address", "too-many", "busy", "timed-out", "too-large", "connect", "failed",
	}
	Origins = []string{"backend", "plugin", "route", "host"}
	Ends    = []string{"complete", "client-gone", "upstream-truncated", "timed-out", "aborted"}
	Methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", ""}
)
