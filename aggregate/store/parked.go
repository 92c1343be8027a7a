package store

import (
	"context"

	"github.com/ticketed/doorman/commands"
)

// ParkedQuery says which parked commands are wanted: those behind After in the order of parking, Limit at most.
type ParkedQuery struct {
	Stream *commands.Stream // nil: of all streams
	After  uint64
	Limit  int
}

// ParkedEntry is a parked command with its place in the order of parking, in which numbers rise.
type ParkedEntry struct {
	N uint64
	CommandStatus
}

// ParkedList shows an operator what is parked.
type ParkedList interface {
	// ParkedList reads parked commands in the order of parking, all of one moment. Waiting and Until are as by
	// Status, but without data and session. No more is read of payloads than that takes, however large.
	ParkedList(ctx context.Context, query ParkedQuery) ([]ParkedEntry, error)
}
