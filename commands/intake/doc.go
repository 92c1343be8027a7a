// Package intake is the door: POST /v1/commands (DESIGN section 3). It reads one command or an array of
// them strictly, holds each against the type it is for, hands it over to the bus, and answers once the
// bus has confirmed it, or, for a client that would rather wait, once it has come to an outcome.
//
//	in, err := intake.New(intake.Config{Allows: …, Send: sender.Send, Register: …, Tell: …})
//	mux.Handle("POST /v1/commands", in)
//
// What it needs of types, bus and outcomes is handed in as functions; it knows none of them.
//
// # The order of checks
//
// The first that fails is told: memory for the request (429), query parameters (400), content type and
// encoding (415), length (413), memory for the body as it comes (429), its coming in time (408), the text
// (400, 413), headers against the body (400), the stream's type (404), the policy (403), the ticket (428),
// and whether what judges commands is known to be away (503). Of an array, what can be tied to one command
// refuses that one; its successors in the array are refused with it.
//
// A body that does not come in time has the code malformed with the status 408, which tells a client that it
// may simply send it again (RFC 9110 section 15.5.9); the code says, as always, that nothing was read.
//
// # Overload
//
// 429 rate_limited says that a bound is reached and nothing is broken: the lane of the stream is full, or
// the requests under way hold all the memory they may. 503 unavailable says that the bus or the store
// behind it is away: it is known to be, or no confirmation came in time and the command could be taken
// back. Nothing was accepted in either case. 503 fate_unknown says that no confirmation came in time of
// what had been handed over, and where to look for the command. All three carry Retry-After of one to three seconds, at
// random, so that those who were turned away together do not come back together.
//
// A client that asks to wait when too many wait already is answered without waiting, and without
// Preference-Applied.
//
// # Preference and content
//
// wait=0 asks for the outcome if it is known by the time the command is confirmed. Accept is not looked
// at: turning away what has been accepted would only hide the outcome.
package intake
