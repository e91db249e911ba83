package lockgate

import "lockgate/internal/host"

// Request is the request of the exchange in hand. It can be changed in OnRequest and OnRequestComplete only.
var Request request

// Response is the response of the exchange in hand, to be read from OnResponse on. Edits of its fields that are made earlier
// wait for it.
var Response response

// Trailers are the fields behind the last byte of a body. They are there in the call for its last chunk only.
var Trailers trailers

// Field is a field of a message, its name in lower case.
type Field = host.Field

type request struct{}

// Method is the method as it was sent.
func (request) Method() string { return host.RequestMethod() }

// Scheme is http or https, as the client's connection was made.
func (request) Scheme() string { return host.RequestScheme() }

// Host is the authority, with its port if the client sent one.
func (request) Host() string { return host.RequestHost() }

// Path is the path without the query.
func (request) Path() string { return host.RequestPath() }

// Query is what follows the first question mark, if there is one.
func (request) Query() (string, bool) { return host.RequestQuery() }

// Header is the first field of that name as text.
func (request) Header(name string) (string, bool) { return host.RequestHeader(name) }

// HeaderValues are all fields of that name, in order.
func (request) HeaderValues(name string) [][]byte { return host.RequestHeaderBytes(name) }

// Headers are all fields in order. Ask for single ones where you can.
func (request) Headers() []Field { return host.RequestHeaders() }

// SetHeader replaces all fields of that name by one.
func (request) SetHeader(name, value string) error { return host.RequestSetHeader(name, value) }

// AppendHeader adds a field.
func (request) AppendHeader(name, value string) error { return host.RequestAppendHeader(name, value) }

// RemoveHeader removes all fields of that name.
func (request) RemoveHeader(name string) error { return host.RequestRemoveHeader(name) }

// SetPath replaces the path that the backend sees.
func (request) SetPath(path string) error { return host.RequestSetPath(path) }

// SetQuery replaces the query.
func (request) SetQuery(query string) error { return host.RequestSetQuery(query, true) }

// RemoveQuery removes the query.
func (request) RemoveQuery() error { return host.RequestSetQuery("", false) }

// SetBody replaces the whole body. Only in OnRequestComplete.
func (request) SetBody(body []byte) error { return host.RequestSetBody(body) }

type response struct{}

// Status is the status; in OnResponseFinish 0 when there was no response.
func (response) Status() uint16 { return host.ResponseStatus() }

// MadeBy is "backend", "plugin", "route" or "host".
func (response) MadeBy() string { return host.ResponseMadeBy() }

// Header is the first field of that name as text.
func (response) Header(name string) (string, bool) { return host.ResponseHeader(name) }

// HeaderValues are all fields of that name, in order.
func (response) HeaderValues(name string) [][]byte { return host.ResponseHeaderBytes(name) }

// Headers are all fields in order. Ask for single ones where you can.
func (response) Headers() []Field { return host.ResponseHeaders() }

// SetStatus replaces the status. Only in OnResponse.
func (response) SetStatus(status uint16) error { return host.ResponseSetStatus(status) }

// SetHeader replaces all fields of that name by one.
func (response) SetHeader(name, value string) error { return host.ResponseSetHeader(name, value) }

// AppendHeader adds a field.
func (response) AppendHeader(name, value string) error {
	return host.ResponseAppendHeader(name, value)
}

// RemoveHeader removes all fields of that name.
func (response) RemoveHeader(name string) error { return host.ResponseRemoveHeader(name) }

type trailers struct{}

// Get is the first one of that name as text.
func (trailers) Get(name string) (string, bool) { return host.TrailersGet(name) }

// All are all of them in order.
func (trailers) All() []Field { return host.TrailersAll() }

// Set replaces all of that name by one.
func (trailers) Set(name, value string) error { return host.TrailersSet(name, value) }

// Remove removes all of that name.
func (trailers) Remove(name string) error { return host.TrailersRemove(name) }
