package client

import (
	"encoding/json"
	"fmt"

	"github.com/ticketed/doorman/commands"
)

// Watch says what to follow. Streams, Sessions, or both must be given.
type Watch struct {
	Streams []WatchedStream // 256 at most
	// Sessions whose commands' outcomes are told, wherever those were sent.
	Sessions []string
	Deliver  Deliver

	// After is the Mark of an earlier Follow, to go on from there; zero for none.
	After commands.Position

	// Marks asks for marks that come by themselves, each as a Push of Event PushMark: whoever keeps its
	// place needs them, and whoever wants to know when it has caught up.
	Marks bool
	// Lost is told why a connection broke or did not come about, before another attempt is made. May be nil.
	Lost func(error)
}

// WatchedStream is one stream to follow, and what the caller has of it already.
type WatchedStream struct {
	Stream  commands.Stream
	Since   Since
	Version uint64 // of SinceVersion
}

// Since says what the caller has of a stream.
type Since uint8

// The values of Since.
const (
	SinceMark     Since = iota // all up to Watch.After; nothing when that is not given
	SinceVersion               // the stream as of Version
	SinceSnapshot              // nothing: a snapshot comes first in any case
)

// All watches streams of which the caller has nothing, or all up to Watch.After.
func All(streams ...commands.Stream) []WatchedStream {
	watched := make([]WatchedStream, len(streams))
	for i, stream := range streams {
		watched[i].Stream = stream
	}
	return watched
}

// String is the stream as the server is asked for it: "type/id", "type/id@17" or "type/id@new".
func (w WatchedStream) String() string {
	switch w.Since {
	case SinceVersion:
		return fmt.Sprintf("%s@%d", w.Stream, w.Version)
	case SinceSnapshot:
		return w.Stream.String() + "@new"
	case SinceMark:
	}
	return w.Stream.String()
}

// Deliver says how streams are told.
type Deliver string

// The values of Deliver.
const (
	DeliverState  Deliver = "state"  // the newest state, several landings as one; the default
	DeliverEvents Deliver = "events" // each landing by itself
	DeliverTicket Deliver = "ticket" // as DeliverState, without state and events
)

// PushMark is the Event of a Push that tells its Mark only.
const PushMark = "mark"

// Push is one thing told. Event is one of commands.PushState and its fellows, or PushMark, and says which
// of the pointers is set.
type Push struct {
	Event    string
	State    *commands.PushView    // a stream changed, or is as it is told
	Parked   *commands.ParkedView  // a session's command waits
	Landed   *commands.LandedView  // a session's command landed
	Rejected *commands.CommandView // a session's command was rejected
	// Reset: what follows does not go on from where the caller was. Each stream's state follows; outcomes
	// may have been missed, so ask for the Status of what is open.
	Reset *commands.ResetView
	// Refused: a stream is not watched, or with an ID that another command has this id.
	Refused *commands.RefusedView

	// Mark is the position up to which everything has been told, this push included: who keeps it can go on
	// from there. Zero until there is one.
	Mark commands.Position
}

// readPush decodes a message; known is false for an event of which this client knows nothing.
func readPush(event string, data []byte) (push Push, known bool, err error) {
	push.Event = event
	var into any
	switch event {
	case commands.PushState:
		push.State = new(commands.PushView)
		into = push.State
	case commands.PushParked:
		push.Parked = new(commands.ParkedView)
		into = push.Parked
	case commands.PushLanded:
		push.Landed = new(commands.LandedView)
		into = push.Landed
	case commands.PushRejected:
		push.Rejected = new(commands.CommandView)
		into = push.Rejected
	case commands.PushReset:
		push.Reset = new(commands.ResetView)
		into = push.Reset
	case commands.PushRefused:
		push.Refused = new(commands.RefusedView)
		into = push.Refused
	default:
		return push, false, nil
	}
	if err := json.Unmarshal(data, into); err != nil {
		return push, false, fmt.Errorf("read a push of %s (%s): %w", event, excerpt(data), err)
	}
	return push, true, nil
}
