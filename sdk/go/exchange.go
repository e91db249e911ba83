package lockgate

import "lockgate/internal/host"

// Exchange is what else is known about the exchange in hand.
var Exchange exchange

// Backends are those that PickBackend and OnAttemptFailed can choose from.
var Backends backends

// Backend is a backend as it is now.
type Backend = host.Backend

// Certificate is what the client has shown in its TLS handshake.
type Certificate = host.Certificate

type exchange struct{}

// ID is never 0, and never the same for two exchanges of this process.
func (exchange) ID() uint64 { return host.ExchangeID() }

// RequestID is the value of x-request-id that the backend sees.
func (exchange) RequestID() string { return host.ExchangeRequestID() }

// Route is the name of the route.
func (exchange) Route() string { return host.ExchangeRoute() }

// HostIsNamed says whether the route was chosen because it names the request's host.
func (exchange) HostIsNamed() bool { return host.ExchangeHostIsNamed() }

// Tenant is the name of the tenant that the route is of, if it is a tenant's.
func (exchange) Tenant() (string, bool) { return host.ExchangeTenant() }

// ClientAddress is the client's IP address.
func (exchange) ClientAddress() string { return host.ExchangeClientAddress() }

// PeerAddress is the IP address at the other end of the connection: the client's or a proxy's.
func (exchange) PeerAddress() string { return host.ExchangePeerAddress() }

// PeerPort is the port there.
func (exchange) PeerPort() uint16 { return host.ExchangePeerPort() }

// FromTrustedProxy says whether the peer is one of trusted_proxies.
func (exchange) FromTrustedProxy() bool { return host.ExchangeFromTrustedProxy() }

// ServerName is the name that the client asked for in its TLS handshake.
func (exchange) ServerName() (string, bool) { return host.ExchangeServerName() }

// ClientCertificate is the certificate that the client has shown, if it was asked for one.
func (exchange) ClientCertificate() (Certificate, bool) { return host.ExchangeClientCertificate() }

// Backend is the address of the backend that answered, or was asked last.
func (exchange) Backend() (string, bool) { return host.ExchangeBackend() }

// Note is what an earlier plugin, or this one, noted for this exchange.
func (exchange) Note(key string) (string, bool) { return host.ExchangeNote(key) }

// SetNote leaves a note for later plugins and the access log.
func (exchange) SetNote(key, value string) { host.ExchangeSetNote(key, value) }

type backends struct{}

// Count is how many there are.
func (backends) Count() uint32 { return host.BackendsCount() }

// Get is the one at that place.
func (backends) Get(index uint32) Backend { return host.BackendsGet(index) }
