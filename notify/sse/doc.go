// Package sse is GET and POST /v1/notifications: what the hub tells, as server-sent events, or as the
// answer of a long poll for proxies that buffer (DESIGN section 3).
//
//	handler, err := sse.New(sse.Config{Hub: h})
//	handler.Mount(mux)
//
// # Connections that cost little
//
// A connection over HTTP/1.1 is taken over from net/http, whose buffers, request and goroutine are freed:
// what is left of an idle one is a goroutine that waits for its end. It is written to without waiting, by
// the hub's pumps; only while a reader is slow does it have a goroutine of its own, for a bounded time.
// Where a connection cannot be taken over, as with HTTP/2, the same messages go through the ResponseWriter.
package sse
