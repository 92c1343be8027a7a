package store

import (
	"context"

	"github.com/ticketed/doorman/commands"
)

// Ask is a requester who is to be told what became of a command besides the one whose envelope brought it: who
// sent it again, or sent another command under its id. It is written with the batch in which that was judged,
// and stays until the requester has been answered, however long the command is parked and whoever works its lane
// meanwhile.
type Ask struct {
	N             uint64          // rising, given by the store; of one lane in the order of commits
	Stream        commands.Stream // that the ask was judged on; it is on this one's lane
	ID            commands.ID
	ReplyTo       string
	CorrelationID string
	// Conflict: the id is taken by another command than the requester's, who is to be told that and no more.
	Conflict bool
}

// Replies are the asks that a store keeps.
type Replies interface {
	// Asked reads asks of the lanes with numbers above after, by number, limit at most. What a commit brought is
	// there once it has returned.
	Asked(ctx context.Context, lanes []int, after uint64, limit int) ([]Ask, error)

	// Answered forgets asks. Those that are forgotten already are passed over.
	Answered(ctx context.Context, ns []uint64) error
}
