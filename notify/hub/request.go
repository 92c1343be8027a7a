package hub

import (
	"errors"
	"fmt"

	"github.com/ticketed/doorman/commands"
)

// Deliver says how a connection wants its streams told.
type Deliver uint8

// The values of Deliver.
const (
	DeliverState  Deliver = iota // the newest state; several landings may be told as one
	DeliverEvents                // each landing by itself
	DeliverTicket                // as DeliverState, without state and events
)

// ParseDeliver reads a value of deliver; the empty text is the default, state.
func ParseDeliver(text string) (Deliver, bool) {
	switch text {
	case "", "state":
		return DeliverState, true
	case "events":
		return DeliverEvents, true
	case "ticket":
		return DeliverTicket, true
	}
	return 0, false
}

// Request is what one connection asks for.
type Request struct {
	Streams  []Watch
	Sessions []string
	Deliver  Deliver
	// After is the mark of an earlier connection: only what is newer is told. Nil for none.
	After *commands.Position
	// Reopened: After is where the same request was cut (Last-Event-ID), so that it counts for streams with
	// a version too, where it is later. Otherwise a stream's own version alone decides.
	Reopened bool
}

// Watch is one stream to be watched.
type Watch struct {
	Stream  commands.Stream
	Since   Since
	Version uint64 // of SinceVersion
}

// Since says what of a stream the reader has.
type Since uint8

// The values of Since.
const (
	SinceMark     Since = iota // what the request's After says; nothing when it says nothing
	SinceVersion               // the stream as of Version
	SinceSnapshot              // nothing: it wants a snapshot in any case
)

// The bounds of a request.
const (
	MaxWatched  = 256  // streams (DESIGN section 3)
	MaxSessions = 1024 // of one connection
)

// Errors of Open.
var (
	ErrFull    = errors.New("too many connections are watching")
	ErrBusy    = errors.New("too many connections are being opened")
	ErrStopped = errors.New("the hub is stopped")
	// ErrNoRoom is a sink's: all of them together hold as much as they may.
	ErrNoRoom = errors.New("too much is held for readers that are slow")
)

// RequestError says what is wrong with a request.
type RequestError struct {
	Code   commands.Reason
	Detail string
}

func (e *RequestError) Error() string { return e.Detail }

// Validate says what is wrong with a request; the error is a *RequestError.
func (r *Request) Validate() error {
	if len(r.Streams)+len(r.Sessions) == 0 {
		return &RequestError{commands.Malformed, "nothing is asked for: name streams, sessions, or both"}
	}
	if len(r.Streams) > MaxWatched {
		return tooMany("streams", len(r.Streams), MaxWatched)
	}
	if len(r.Sessions) > MaxSessions {
		return tooMany("sessions", len(r.Sessions), MaxSessions)
	}
	seen := make(map[commands.Stream]bool, len(r.Streams))
	for _, w := range r.Streams {
		if seen[w.Stream] {
			return &RequestError{commands.Malformed, "the stream " + w.Stream.String() + " is asked for twice"}
		}
		seen[w.Stream] = true
	}
	return nil
}

func tooMany(what string, asked, most int) error {
	return &RequestError{commands.TooLarge, fmt.Sprintf("%d %s are asked for, %d at most on one connection", asked, what, most)}
}

// Message is one thing told: what an SSE message has as its event and data. The data is one line of JSON
// and must not be changed.
type Message struct {
	Event string
	Data  []byte
}

// Delivery is what is told a connection at once.
type Delivery struct {
	Messages []Message
	// Mark is the position up to which all has been told by these messages; zero when there is more to come
	// before that can be said.
	Mark commands.Position
	// Beat: it is also a sign of life.
	Beat bool
}

// Sink is where a connection's messages go. It is used by one goroutine at a time, Close aside.
type Sink interface {
	// Put takes a delivery and does not block: left tells that some of it is not through yet. The delivery and
	// its slice are used again afterwards; the messages' data is not. ErrNoRoom says that it cannot keep what is not
	// through.
	Put(d *Delivery) (left bool, err error)
	// Flush sends what is left. It may block, within a bound of its own.
	Flush() error
	// Close ends it. It may be called at any time, more than once; reason is for people, empty when the
	// reader has gone.
	Close(reason string)
}
