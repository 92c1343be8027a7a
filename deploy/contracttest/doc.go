// Package contracttest is the HTTP contract of DESIGN section 3 as a table: every refusal, every
// rejection and every rule about headers, with exact statuses, headers and bodies. It runs against
// whatever answers at an address and serves the [Types]:
//
//	contracttest.Run(t, contracttest.Doorman{URL: server.URL, RejectParked: …})
//
// Each row has streams and ids of its own, so that rows run side by side and a server can be used again.
// What needs a bus or a store that fails is tested where it is handled, in commands/intake and
// projections/query.
package contracttest
