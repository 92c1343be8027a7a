package relay

import (
	"context"
	"fmt"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/ticketed/doorman/commands"
)

// mostTickets is how many streams' heads are remembered.
const mostTickets = 16 << 10

// tickets are the actions that landed last on the streams of a log that is gone through in order: what is told with
// a rejection as the ticket to send next.
type tickets struct {
	store Store
	heads *simplelru.LRU[commands.Stream, commands.ID]
}

func newTickets(s Store) tickets {
	heads, _ := simplelru.NewLRU[commands.Stream, commands.ID](mostTickets, nil) // fails for sizes below 1 alone
	return tickets{s, heads}
}

func (t *tickets) landed(o *commands.Outcome) { t.heads.Add(o.Stream, o.ID) }

// forget is called when landings are not told here any more.
func (t *tickets) forget() {
	if t.heads.Len() > 0 {
		t.heads.Purge()
	}
}

// fill completes a rejection as of its place in the log, or, when that is not known, as of now.
func (t *tickets) fill(ctx context.Context, view *commands.CommandView, inOrder bool) error {
	if head, known := t.heads.Get(view.Stream); known && inOrder {
		view.Ticket = head
		return nil
	}
	record, known, err := t.store.Head(ctx, view.Stream)
	if err != nil {
		return fmt.Errorf("relay: read the head of %s: %w", view.Stream, err)
	}
	if !known {
		view.Ticket = commands.Genesis
		return nil
	}
	view.Ticket, view.Version = record.Head.Ticket(), record.Head.Version
	return nil
}
